import { hourAndMinute } from "../clock.ts";
import type { Span } from "../day.ts";
import { fill, strings } from "../strings/index.ts";
import { EDGE, HEIGHT, PlotFrame, TimeAxis, usePlotWidth, ValueAxis } from "./frame.tsx";
import { countTicks, linear } from "./scale.ts";
import type { CallsBar } from "./series.ts";

const PARTS = ["answered", "missed", "shortAbandoned", "inProgress"] as const;
const QUARTER_HOUR_MS = 900_000;

function Table({ bars, zone }: { bars: readonly CallsBar[]; zone: string }) {
  return (
    <table>
      <caption class="unseen">{strings.plotCalls}</caption>
      <thead>
        <tr>
          <th scope="col">{strings.from}</th>
          {["offered" as const, ...PARTS].map((part) => (
            <th key={part} scope="col" class="number">
              {strings[part]}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {bars.map((bar) => (
          <tr key={bar.from}>
            <th scope="row">{hourAndMinute(bar.from, zone)}</th>
            {["offered" as const, ...PARTS].map((part) => (
              <td key={part} class="number">
                {bar[part]}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export interface CallsPlotProps {
  bars: readonly CallsBar[];
  span: Span;
  zone: string;
  /** No call is known of. */
  isQuiet: boolean;
}

export function CallsPlot({ bars, span, zone, isQuiet }: CallsPlotProps) {
  const [ref, width] = usePlotWidth();
  const most = Math.max(4, ...bars.map((bar) => bar.offered));
  const ticks = countTicks(most, 4);
  const x = linear([span.from, span.to], [EDGE.left, width - EDGE.right]);
  const y = linear([0, ticks[ticks.length - 1] ?? most], [HEIGHT - EDGE.bottom, EDGE.top]);
  const thick = Math.max(2, x(span.from + QUARTER_HOUR_MS) - x(span.from) - 2);
  const sum = (part: (typeof PARTS)[number] | "offered"): number => bars.reduce((total, bar) => total + bar[part], 0);
  const about = fill(strings.plotCallsAbout, {
    offered: sum("offered"),
    answered: sum("answered"),
    missed: sum("missed"),
    short: sum("shortAbandoned"),
  });
  return (
    <PlotFrame
      title={strings.plotCalls}
      about={about}
      testid="plot-calls"
      width={width}
      svgRef={ref}
      table={<Table bars={bars} zone={zone} />}
      legend={
        <span class="legend">
          {PARTS.map((part) => (
            <span key={part}>
              <i class={`mark ${part}`} /> {strings[part]}
            </span>
          ))}
        </span>
      }
    >
      <ValueAxis y={y} ticks={ticks} unit="" width={width} />
      {bars.map((bar) => {
        let height = 0;
        return (
          <g key={bar.from}>
            <title>
              {hourAndMinute(bar.from, zone)} ·{" "}
              {PARTS.filter((part) => bar[part] > 0)
                .map((part) => `${strings[part]} ${bar[part]}`)
                .join(" · ")}
            </title>
            {PARTS.filter((part) => bar[part] > 0).map((part) => {
              const from = y(height);
              height += bar[part];
              const to = y(height);
              return (
                <rect
                  key={part}
                  class={part}
                  x={x(bar.from) + 1}
                  width={thick}
                  y={to}
                  height={Math.max(1, from - to - 1)}
                />
              );
            })}
          </g>
        );
      })}
      <TimeAxis x={x} span={span} zone={zone} width={width} />
      {isQuiet && (
        <text class="empty" x={width / 2} y={HEIGHT / 2} text-anchor="middle">
          {strings.noCallsYet}
        </text>
      )}
    </PlotFrame>
  );
}
