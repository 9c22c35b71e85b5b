import { useMemo, useState } from "preact/hooks";

import { queues } from "../agent-list.ts";
import type { BoardCopy } from "../board.ts";
import { useHelix } from "../context.ts";
import { useOverview } from "../hooks/overview.ts";
import { type MissedSort, useWorklist } from "../hooks/worklist.ts";
import { strings } from "../strings/index.ts";
import { Agents } from "./agents.tsx";
import { Alerts } from "./alerts.tsx";
import { Calls, WaitingCallers } from "./calls.tsx";
import { Counters } from "./counters.tsx";
import { DayPlots } from "./day-plots.tsx";
import { Select } from "./select.tsx";
import { WorklistPanel } from "./worklist.tsx";

/** Up to so many agents there is room for the calls below them; a larger team has the whole side. */
const SMALL_TEAM = 24;

/** The live page of who supervises. */
export function Monitor({ board }: { board: BoardCopy }) {
  const { clock, workspace } = useHelix();
  const [queue, setQueue] = useState<string | null>(null);
  const [sort, setSort] = useState<MissedSort>("priority");
  const worklist = useWorklist(sort, board.openMissedCalls());
  const missed = worklist.polled.data === null ? null : worklist.list.rows;
  const { today, waiting, threshold, goal, bounds, read } = useOverview(board, clock, workspace, missed);
  const all = board.calls();
  const calls = useMemo(() => [...all].sort((one, other) => one.startedAt.localeCompare(other.startedAt)), [all]);
  const isLarge = board.agents().length > SMALL_TEAM;
  const named = useMemo(() => queues(calls, waiting, missed ?? []), [calls, waiting, missed]);
  const options = [
    ["", strings.allQueues] as const,
    ...[...new Set([...named, ...(queue === null ? [] : [queue])])].map((name) => [name, name] as const),
  ];
  const ofQueue = <T extends { skill: string | null }>(list: readonly T[]): readonly T[] =>
    queue === null ? list : list.filter((entry) => entry.skill === queue);
  return (
    <>
      <div class="above">
        <Alerts bounds={bounds} read={read} />
        <Select
          label={strings.queue}
          testid="filter-queue"
          seen
          value={queue ?? ""}
          options={options}
          choose={(name) => setQueue(name === "" ? null : name)}
        />
      </div>
      {today !== null && <Counters today={today} open={board.openMissedCalls()} waiting={waiting} clock={clock} />}
      <div class="columns">
        <div class="side">
          <WaitingCallers waiting={ofQueue(waiting)} clock={clock} threshold={threshold} />
          <WorklistPanel worklist={worklist} sort={sort} setSort={setSort} queue={queue} />
          {isLarge && <Calls calls={ofQueue(calls)} />}
        </div>
        <div class="side">
          <DayPlots goal={goal} queue={queue} offered={today?.offered ?? 0} />
          <Agents agents={board.agents()} calls={all} queue={queue} />
          {!isLarge && <Calls calls={ofQueue(calls)} />}
        </div>
      </div>
    </>
  );
}
