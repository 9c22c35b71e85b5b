import { useMemo, useRef } from "preact/hooks";

import { queues } from "../agent-list.ts";
import type { AlertMetric } from "../alerts.ts";
import type { BoardCopy } from "../board.ts";
import { useHelix } from "../context.ts";
import type { Call } from "../contract.ts";
import { dayRange } from "../day.ts";
import { focusOn } from "../focus.ts";
import { readQueues } from "../hooks/metrics.ts";
import { useOverview } from "../hooks/overview.ts";
import { usePolled } from "../hooks/polled.ts";
import { MISSED_SORTS, useMissedSummary, useWorklist } from "../hooks/worklist.ts";
import { strings } from "../strings/index.ts";
import { Agents } from "./agents.tsx";
import { Alerts } from "./alerts.tsx";
import { Calls, WaitingCallers } from "./calls.tsx";
import { Counters, QueueCounters } from "./counters.tsx";
import { DayPlots } from "./day-plots.tsx";
import { Select } from "./select.tsx";
import { WorklistPanel } from "./worklist.tsx";

/** Up to so many agents there is room for the calls below them; a larger team has the whole side. */
const SMALL_TEAM = 24;
const QUEUES_EVERY_MS = 300_000;

/** Those that are presumed to be over last. */
const inOrder = (one: Call, other: Call): number =>
  Number(one.presumed) - Number(other.presumed) || one.startedAt.localeCompare(other.startedAt);

/** Where to look when an alert says that something needs attention. */
const LEADS: Record<AlertMetric, string> = {
  longestWait: "#waiting-title",
  waitingCallers: "#waiting-title",
  noneReady: "#agents-title",
  serviceLevel: "#day-title",
  overdueMissedCalls: "#worklist-title",
  openMissedCalls: "#worklist-title",
};

type Named = readonly { skill: string | null }[];
const NONE: Named = [];

/**
 * Every queue of the day, of what happens now or happened since the page was opened, and the one that is chosen: a choice does
 * not vanish between two calls.
 */
function useQueueNames(chosen: string | null, ...now: Named[]): string[] {
  const { api, day, session } = useHelix();
  const load = (signal: AbortSignal) => readQueues(api, dayRange(day, session.zone), signal);
  const ofDay = usePolled(`queues ${day}`, load, QUEUES_EVERY_MS).data ?? NONE;
  const seen = useRef<{ day: string; named: Named }>({ day, named: NONE });
  return useMemo(() => {
    const before = seen.current.day === day ? seen.current.named : NONE;
    const names = queues(ofDay, [{ skill: chosen }], before, ...now);
    seen.current = { day, named: names.map((skill) => ({ skill })) };
    return names;
  }, [day, ofDay, chosen, ...now]);
}

/** The live page of who supervises. */
export function Monitor({ board }: { board: BoardCopy }) {
  const { clock, choices, choose, workspace } = useHelix();
  const queue = choices.queue ?? null;
  const sort = MISSED_SORTS.find((name) => name === choices.missedSort) ?? "priority";
  const open = board.openMissedCalls();
  const worklist = useWorklist(sort, queue, open);
  const summary = useMissedSummary(null, open);
  const summaryOfOne = useMissedSummary(queue, open, queue !== null);
  const summaryOfQueue = queue === null ? summary : summaryOfOne;
  const isAllHere = queue === null && worklist.polled.data !== null && worklist.more === null;
  const overview = useOverview(board, clock, workspace, summary, isAllHere ? worklist.list.rows : null);
  const { today, waiting, threshold, goal } = overview;
  const all = board.calls();
  const calls = useMemo(() => [...all].sort(inOrder), [all]);
  const isLarge = board.agents().length > SMALL_TEAM;
  const named = useQueueNames(queue, calls, waiting, worklist.list.rows);
  const options = [["", strings.allQueues] as const, ...named.map((name) => [name, name] as const)];
  const ofQueue = <T extends { skill: string | null }>(list: readonly T[]): readonly T[] =>
    queue === null ? list : list.filter((entry) => entry.skill === queue);
  const lead = (metric: AlertMetric) => {
    if (metric === "overdueMissedCalls") choose("missed", "overdue");
    if (metric === "openMissedCalls") choose("missed", null);
    focusOn(LEADS[metric]);
  };
  return (
    <>
      <div class="above">
        <Alerts bounds={overview.bounds} read={overview.read} ofAll={queue !== null} lead={lead} />
        <Select
          label={strings.queue}
          testid="filter-queue"
          seen
          value={queue ?? ""}
          options={options}
          choose={(name) => choose("queue", name)}
        />
      </div>
      {queue !== null ? (
        <QueueCounters
          queue={queue}
          open={summaryOfQueue?.open ?? null}
          waiting={ofQueue(waiting)}
          counted={JSON.stringify(today)}
        />
      ) : (
        today !== null && (
          <Counters
            today={today}
            isNew={overview.isNew}
            isAhead={overview.isAhead}
            occurredAt={board.watermark().occurredAt}
            open={open}
            waiting={waiting}
            clock={clock}
          />
        )
      )}
      <div class="columns">
        <div class="side">
          <WaitingCallers waiting={ofQueue(waiting)} clock={clock} threshold={threshold} />
          <WorklistPanel
            worklist={worklist}
            summary={summaryOfQueue}
            sort={sort}
            queue={queue}
            open={open}
            missedToday={today?.missed ?? 0}
          />
          {isLarge && <Calls calls={ofQueue(calls)} />}
        </div>
        <div class="side">
          <DayPlots goal={goal} queue={queue} today={today} />
          <Agents agents={board.agents()} calls={all} queue={queue} />
          {!isLarge && <Calls calls={ofQueue(calls)} />}
        </div>
      </div>
    </>
  );
}
