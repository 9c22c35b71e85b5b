// How far what is shown can be trusted: of the board, and of what is read from the records beside it.

import type { BoardCopy } from "./board.ts";
import type { BoardClock } from "./clock.ts";
import type { Freshness } from "./contract.ts";

/** `ended`: the sign-in is over, and nothing will come until there is another. */
export type Line = "connecting" | "live" | "disconnected" | "ended";

export interface LiveState {
  line: Line;
  /** When the server was last heard on a line that broke, by its own clock. */
  brokenSince: number | null;
  freshness: Freshness | null;
  board: BoardCopy | null;
  clock: BoardClock;
  /** How often the copy did not meet the sidecar's hash; each time a fresh snapshot was taken. */
  mismatches: number;
}

/** In one word. `quiet`: every link of ours is whole and calls are up, but the provider sends nothing. */
export type Trust = Line | "quiet" | "stale";

export function trustOf(state: LiveState): Trust {
  const { line, freshness } = state;
  if (line !== "live" || freshness?.stale !== true) return line;
  return isQuiet(freshness) ? "quiet" : "stale";
}

/** Silence alone makes nothing untrue: a hospital with one long call has nothing to tell (docs/decisions/0018). */
function isQuiet(freshness: Freshness): boolean {
  const { stale, staleReasons } = freshness;
  return stale && staleReasons.length > 0 && staleReasons.every((reason) => reason === "quiet");
}

/** Since when the board may be wrong, where the server says so. */
export function staleSince(freshness: Freshness): number | null {
  if (!freshness.stale || isQuiet(freshness) || freshness.staleSince === null) return null;
  return Date.parse(freshness.staleSince);
}

/** Until when the board is known to be true, where that is in the past, by the server's clock; null while it is live. */
export function lastTruth(state: LiveState): number | null {
  switch (trustOf(state)) {
    case "disconnected":
    case "ended":
      return state.brokenSince ?? state.clock.server();
    case "stale":
      return (state.freshness === null ? null : staleSince(state.freshness)) ?? state.clock.server();
    case "connecting":
    case "live":
    case "quiet":
      return null;
  }
}

/** The same of what is read from the records: lists, plots, days. They may lag while the board does not. */
export function recordsTruth(state: LiveState): number | null {
  const board = lastTruth(state);
  const told = state.freshness?.recordsStaleSince ?? null;
  if (told === null) return board;
  return Math.min(board ?? Infinity, Date.parse(told));
}
