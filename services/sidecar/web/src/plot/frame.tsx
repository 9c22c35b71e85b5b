import { type ComponentChildren, createContext } from "preact";
import { useContext, useId, useState } from "preact/hooks";

import { hourAndMinute } from "../clock.ts";
import { hourTicks, type Span } from "../day.ts";
import { count } from "../format.ts";
import { useWidth } from "../hooks/width.ts";
import { strings } from "../strings/index.ts";
import type { Scale } from "./scale.ts";

export const HEIGHT = 176;
/** How much larger than usual plots are drawn: on a wall they are read from afar. */
export const PlotScale = createContext(1);

/** The width a plot is drawn in, in its own units, and where to measure it. */
export function usePlotWidth(): [{ current: SVGSVGElement | null }, number] {
  const [ref, width] = useWidth<SVGSVGElement>(520);
  return [ref, Math.round(width / useContext(PlotScale))];
}

export const EDGE = { left: 38, right: 18, top: 10, bottom: 22 };

/** A plot with its title, what it says in words, and the same as a table. */
export function PlotFrame(props: {
  title: string;
  about: string;
  testid: string;
  width: number;
  svgRef: { current: SVGSVGElement | null };
  table: ComponentChildren;
  legend?: ComponentChildren;
  children: ComponentChildren;
}) {
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  const scale = useContext(PlotScale);
  return (
    <figure class="plot" data-testid={props.testid}>
      <figcaption>
        <b>{props.title}</b>
        <button
          class="quiet small"
          aria-label={`${asTable ? strings.asPlot : strings.asTable}: ${props.title}`}
          onClick={() => setAsTable(!asTable)}
        >
          {asTable ? strings.asPlot : strings.asTable}
        </button>
        {props.legend}
      </figcaption>
      {asTable && (
        <div class="scroll tall" role="group" aria-label={props.title} tabIndex={0}>
          {props.table}
        </div>
      )}
      <svg
        ref={props.svgRef}
        class={asTable ? "gone" : ""}
        role="img"
        aria-labelledby={`${id}t ${id}d`}
        height={HEIGHT * scale}
        viewBox={`0 0 ${props.width} ${HEIGHT}`}
      >
        <title id={`${id}t`}>{props.title}</title>
        <desc id={`${id}d`}>{props.about}</desc>
        {props.children}
      </svg>
    </figure>
  );
}

export function TimeAxis({ x, span, zone, width }: { x: Scale; span: Span; zone: string; width: number }) {
  return (
    <g class="axis">
      <line x1={EDGE.left} x2={width - EDGE.right} y1={HEIGHT - EDGE.bottom} y2={HEIGHT - EDGE.bottom} />
      {hourTicks(span, Math.max(3, Math.floor(width / 62))).map((at) => (
        <text key={at} x={x(at)} y={HEIGHT - 6} text-anchor="middle">
          {hourAndMinute(at, zone)}
        </text>
      ))}
    </g>
  );
}

export function ValueAxis({
  y,
  ticks,
  unit,
  width,
}: {
  y: Scale;
  ticks: readonly number[];
  unit: string;
  width: number;
}) {
  return (
    <g class="grid">
      {ticks.map((tick) => (
        <g key={tick}>
          <line x1={EDGE.left} x2={width - EDGE.right} y1={y(tick)} y2={y(tick)} />
          <text x={EDGE.left - 6} y={y(tick) + 4} text-anchor="end">
            {count(tick)}
            {unit}
          </text>
        </g>
      ))}
    </g>
  );
}
