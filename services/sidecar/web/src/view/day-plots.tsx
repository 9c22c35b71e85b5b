import { useMemo } from "preact/hooks";

import type { MetricsRow } from "../api-contract.ts";
import type { Today } from "../contract.ts";
import { useHelix } from "../context.ts";
import { busyHours, dayRange } from "../day.ts";
import { readDay } from "../hooks/metrics.ts";
import { usePolled } from "../hooks/polled.ts";
import { CallsPlot } from "../plot/calls.tsx";
import { bars, levels } from "../plot/series.ts";
import { ServiceLevelPlot } from "../plot/service-level.tsx";
import { strings } from "../strings/index.ts";
import { Panel, PolledNote } from "./panel.tsx";

const EVERY_MS = 15_000;
/** The board's counters move with every call; so often the plots follow them. */
const LEAST_GAP_MS = 5000;
const QUARTER_HOUR_MS = 900_000;
const NO_ROWS: MetricsRow[] = [];

export interface DayPlotsProps {
  goal: number;
  queue: string | null;
  /** As the board counts the day. */
  today: Today | null;
}

/** The day in quarter-hours, of which the board itself keeps only the sums. */
export function DayPlots({ goal, queue, today }: DayPlotsProps) {
  const { api, clock, day, session } = useHelix();
  const range = useMemo(() => dayRange(day, session.zone), [day, session.zone]);
  // In fast motion a quarter-hour is over before the next round.
  const quarter = Math.floor(clock.provider() / QUARTER_HOUR_MS);
  const load = (signal: AbortSignal) => readDay(api, range, queue, signal);
  const nudge = `${quarter} ${JSON.stringify(today)}`;
  const polled = usePolled(`metrics ${day} ${queue ?? ""}`, load, EVERY_MS, nudge, LEAST_GAP_MS);
  const rows = polled.data ?? NO_ROWS;
  const calls = useMemo(() => bars(rows), [rows]);
  const points = useMemo(() => levels(rows), [rows]);
  // The first call is on the board before it is in the rows.
  const isQuiet = calls.length === 0 && (queue !== null || (today?.offered ?? 0) === 0);
  const span = useMemo(() => busyHours(range, calls), [range, calls]);
  return (
    <Panel id="day" title={strings.dayInPlots} records>
      <PolledNote polled={polled} />
      {polled.data !== null && (
        <div class="plots">
          <ServiceLevelPlot points={points} span={span} zone={session.zone} goal={goal} isQuiet={isQuiet} />
          <CallsPlot bars={calls} span={span} zone={session.zone} isQuiet={isQuiet} />
        </div>
      )}
    </Panel>
  );
}
