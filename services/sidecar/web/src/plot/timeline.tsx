import { duration, hourAndMinute, timeOfDay } from "../clock.ts";
import { AGENT_STATES, type AgentState } from "../contract.ts";
import { busyHours, hourTicks, type Span } from "../day.ts";
import { useWidth } from "../hooks/width.ts";
import type { Stretch } from "./stretches.ts";
import { fill, strings } from "../strings/index.ts";
import { linear } from "./scale.ts";

const HEIGHT = 64;
const BAR = { top: 6, height: 34 };
/** How far a state is from the edges of the bar: the busier, the thicker, so that colour is not all that tells them apart. */
const INSET: Record<AgentState, number> = {
  on_call: 0,
  ringing: 5,
  wrap_up: 5,
  unknown: 5,
  ready: 10,
  paused: 13,
  offline: 15.5,
};

function named(stretch: Stretch): string {
  const state = strings.agentState[stretch.state];
  return stretch.presumed ? `${state} (${strings.presumed})` : state;
}

/** An agent's states over a day, as one bar. */
export function TimelineBar({ stretches, day, zone }: { stretches: readonly Stretch[]; day: Span; zone: string }) {
  const [ref, width] = useWidth<SVGSVGElement>(640);
  const span = busyHours(
    day,
    stretches.filter((stretch) => stretch.state !== "offline"),
  );
  const x = linear([span.from, span.to], [14, width - 14]);
  const within = (at: number): number => Math.min(span.to, Math.max(span.from, at));
  const seconds = new Map<AgentState, number>();
  for (const { state, from, to } of stretches) seconds.set(state, (seconds.get(state) ?? 0) + to - from);
  const states = AGENT_STATES.filter((state) => seconds.has(state));
  const sums = states.map((state) => `${strings.agentState[state]} ${duration(seconds.get(state) ?? 0)}`).join(", ");
  const about = fill(strings.timelineAbout, {
    from: hourAndMinute(span.from, zone),
    to: hourAndMinute(span.to, zone),
    states: sums,
  });
  return (
    <figure class="plot timeline">
      <svg
        ref={ref}
        role="img"
        aria-label={`${strings.timeline}. ${about}`}
        height={HEIGHT}
        viewBox={`0 0 ${width} ${HEIGHT}`}
      >
        {stretches.map((stretch) => {
          const [from, to] = [x(within(stretch.from)), x(within(stretch.to))];
          if (to <= from) return null;
          const inset = INSET[stretch.state] ?? 0;
          return (
            <rect
              key={stretch.from}
              class={`stretch ${stretch.state}${stretch.presumed ? " presumed" : ""}`}
              x={from}
              y={BAR.top + inset}
              width={Math.max(0.75, to - from)}
              height={BAR.height - 2 * inset}
            >
              <title>
                {named(stretch)} · {timeOfDay(stretch.from, zone)} – {timeOfDay(stretch.to, zone)} (
                {duration(stretch.to - stretch.from)})
              </title>
            </rect>
          );
        })}
        <g class="axis">
          {hourTicks(span, Math.max(3, Math.floor(width / 62))).map((at) => (
            <g key={at}>
              <line x1={x(at)} x2={x(at)} y1={BAR.top + BAR.height} y2={BAR.top + BAR.height + 5} />
              <text x={x(at)} y={HEIGHT - 6} text-anchor="middle">
                {hourAndMinute(at, zone)}
              </text>
            </g>
          ))}
        </g>
      </svg>
      <figcaption class="legend">
        {states.map((state) => (
          <span key={state} class={state}>
            <i class="mark state-mark" /> {strings.agentState[state]} <b>{duration(seconds.get(state) ?? 0)}</b>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}
