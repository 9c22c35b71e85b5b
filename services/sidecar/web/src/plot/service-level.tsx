import { hourAndMinute } from "../clock.ts";
import type { Span } from "../day.ts";
import { percent } from "../format.ts";
import { fill, strings } from "../strings/index.ts";
import { EDGE, HEIGHT, PlotFrame, TimeAxis, usePlotWidth, ValueAxis } from "./frame.tsx";
import { linear } from "./scale.ts";
import type { LevelPoint } from "./series.ts";

function Table({ points, zone }: { points: readonly LevelPoint[]; zone: string }) {
  return (
    <table>
      <caption class="unseen">{strings.plotLevel}</caption>
      <thead>
        <tr>
          <th scope="col">{strings.from}</th>
          <th scope="col" class="number">
            {strings.quarterHour}
          </th>
          <th scope="col" class="number">
            {strings.soFar}
          </th>
        </tr>
      </thead>
      <tbody>
        {points.map((point) => (
          <tr key={point.from}>
            <th scope="row">{hourAndMinute(point.from, zone)}</th>
            <td class="number">
              {percent(point.within, point.of)} ({point.within}/{point.of})
            </td>
            <td class="number">
              {percent(point.withinSoFar, point.ofSoFar)} ({point.withinSoFar}/{point.ofSoFar})
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export interface ServiceLevelPlotProps {
  points: readonly LevelPoint[];
  span: Span;
  zone: string;
  /** Percent. */
  goal: number;
  /** No call is known of. */
  isQuiet: boolean;
}

export function ServiceLevelPlot({ points, span, zone, goal, isQuiet }: ServiceLevelPlotProps) {
  const [ref, width] = usePlotWidth();
  const x = linear([span.from, span.to], [EDGE.left, width - EDGE.right]);
  const y = linear([0, 100], [HEIGHT - EDGE.bottom, EDGE.top]);
  const last = points[points.length - 1];
  const now = last === undefined ? "" : percent(last.withinSoFar, last.ofSoFar);
  const about =
    last === undefined ? strings.plotLevelNone : fill(strings.plotLevelAbout, { value: now, goal: `${goal}%` });
  // The label stands where the day's line does not end.
  const isMet = last !== undefined && last.withinSoFar * 100 >= goal * last.ofSoFar;
  const path = points.map((point) => `${x(point.to)},${y((point.withinSoFar * 100) / point.ofSoFar)}`).join(" ");
  return (
    <PlotFrame
      title={strings.plotLevel}
      about={about}
      testid="plot-service-level"
      width={width}
      svgRef={ref}
      table={<Table points={points} zone={zone} />}
      legend={
        <span class="legend">
          <span>
            <i class="mark line" /> {strings.soFar}
          </span>
          <span>
            <i class="mark dot" /> {strings.quarterHour}
          </span>
        </span>
      }
    >
      <ValueAxis y={y} ticks={[0, 25, 50, 75, 100]} unit="%" width={width} />
      <line class="goal" x1={EDGE.left} x2={width - EDGE.right} y1={y(goal)} y2={y(goal)} />
      {points.map((point) => (
        <circle
          key={point.from}
          class={point.within * 100 < goal * point.of ? "level below" : "level"}
          cx={x((point.from + point.to) / 2)}
          cy={y((point.within * 100) / point.of)}
          r={3.5}
        >
          <title>
            {hourAndMinute(point.from, zone)} · {percent(point.within, point.of)} ({point.within}/{point.of})
          </title>
        </circle>
      ))}
      <polyline class="so-far" points={path} />
      <text class="goal-text" x={width - EDGE.right} y={y(goal) + (isMet ? 13 : -4)} text-anchor="end">
        {fill(strings.goal, { value: `${goal}%` })}
      </text>
      <TimeAxis x={x} span={span} zone={zone} width={width} />
      {isQuiet && (
        <text class="empty" x={width / 2} y={HEIGHT / 2} text-anchor="middle">
          {strings.noCallsYet}
        </text>
      )}
    </PlotFrame>
  );
}
