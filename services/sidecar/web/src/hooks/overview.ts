import { useMemo, useRef } from "preact/hooks";

import type { MissedCall, MissedSummary, Workspace } from "../api-contract.ts";
import { type Bound, bounds, type Readings, serviceLevelReading } from "../alerts.ts";
import type { BoardCopy } from "../board.ts";
import type { BoardClock } from "../clock.ts";
import { useHelix } from "../context.ts";
import type { Agent, Today, Waiting } from "../contract.ts";
import { todayOf } from "../today.ts";
import { isOverdue } from "../worklist-shown.ts";

const DEFAULT_SERVICE_LEVEL_SECONDS = 20;
const DEFAULT_GOAL = 80;

/** Before anything has been drawn nothing is known. */
const nothing: Readings = {
  longestWait: null,
  noneReady: null,
  waitingCallers: null,
  serviceLevel: null,
  overdueMissedCalls: null,
  openMissedCalls: null,
};

export interface Overview {
  today: Today | null;
  /** Nothing has happened yet on this day. */
  isNew: boolean;
  /** What the board counts is of a day that has not come. */
  isAhead: boolean;
  /** Who waits longest comes first. */
  waiting: readonly Waiting[];
  /** Seconds within which an answer meets the service level. */
  threshold: number;
  /** The service level that is aimed at, percent. */
  goal: number;
  bounds: readonly Bound[];
  /** What the alerts read, at any moment. */
  read: () => Readings;
}

/** What the day looks like as a whole: shared by the board and the wall display. */
export function useOverview(
  board: BoardCopy,
  clock: BoardClock,
  workspace: Workspace | null,
  summary: MissedSummary | null,
  /** All open missed calls, where they are here: an older server sums nothing up. */
  missed: readonly MissedCall[] | null,
): Overview {
  const { day, session } = useHelix();
  const counters = board.today();
  const { occurredAt } = board.watermark();
  const shown = useMemo(
    () => (counters === null ? null : todayOf(counters, occurredAt, day, session.zone)),
    [counters, occurredAt, day],
  );
  const today = shown?.counters ?? null;
  const unordered = board.waiting();
  const waiting = useMemo(() => [...unordered].sort((one, other) => one.since.localeCompare(other.since)), [unordered]);
  const threshold =
    today?.serviceLevel.thresholdSeconds ?? workspace?.thresholds.serviceLevelSeconds ?? DEFAULT_SERVICE_LEVEL_SECONDS;
  const all = useMemo(() => bounds(workspace?.alerts ?? [], threshold), [workspace, threshold]);
  const goal = all.find((bound) => bound.metric === "serviceLevel" && bound.side === "below")?.value ?? DEFAULT_GOAL;
  const current = useRef<() => Readings>(() => nothing);
  current.current = () => {
    const longest = waiting[0];
    const now = clock.provider();
    // Of a state that was dated ahead nobody knows whether it still is.
    const isReady = (agent: Agent): boolean => agent.state === "ready" && !clock.liesAhead(Date.parse(agent.since));
    const isSomebodyReady = board.agents().some(isReady);
    return {
      longestWait: longest === undefined ? null : (now - Date.parse(longest.since)) / 1000,
      noneReady: isSomebodyReady ? 0 : waiting.length,
      waitingCallers: waiting.length,
      serviceLevel: today === null ? null : serviceLevelReading(today.serviceLevel),
      overdueMissedCalls: summary?.overdue ?? missed?.filter((row) => isOverdue(row, now)).length ?? null,
      openMissedCalls: board.openMissedCalls(),
    };
  };
  const read = useRef(() => current.current()).current;
  const { isNew, isAhead } = shown ?? { isNew: false, isAhead: false };
  return { today, isNew, isAhead, waiting, threshold, goal, bounds: all, read };
}
