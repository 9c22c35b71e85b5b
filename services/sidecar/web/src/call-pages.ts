// A list of calls that is read page by page, newest first, while new ones come at its top.

import type { CallRow } from "./api-contract.ts";

export interface CallPage {
  calls: readonly CallRow[];
  nextCursor: string | null;
}

/** The list with its first page read again. What lies further down stays; where nothing joins the two, it is read anew. */
export function renewed(known: CallPage, fresh: CallPage): CallPage {
  const last = fresh.calls.at(-1);
  if (fresh.nextCursor === null || last === undefined) return fresh;
  const isFresh = new Set(fresh.calls.map((call) => call.callId));
  const further = known.calls.filter((call) => !isFresh.has(call.callId) && call.startedAt <= last.startedAt);
  const meets = known.calls.some((call) => isFresh.has(call.callId));
  return meets && further.length > 0
    ? { calls: [...fresh.calls, ...further], nextCursor: known.nextCursor }
    : fresh;
}

/** The list with its next page, of which the calls that moved down are known already. */
export function continued(known: CallPage, next: CallPage): CallPage {
  const isKnown = new Set(known.calls.map((call) => call.callId));
  const further = next.calls.filter((call) => !isKnown.has(call.callId));
  return { calls: [...known.calls, ...further], nextCursor: next.nextCursor };
}
