import { useEffect, useState } from "preact/hooks";

import type { CallRow } from "../api-contract.ts";
import { ApiError, type Query } from "../api.ts";
import { useHelix } from "../context.ts";

interface Page {
  calls: CallRow[];
  nextCursor: string | null;
}

export interface CallPages {
  key: string;
  calls: CallRow[];
  nextCursor: string | null;
  /** Null while an answer is awaited or was had; else the status, 0 where nothing answered. */
  failed: number | null;
  busy: boolean;
}

/** Calls page by page: the first for each query, the rest when asked for. */
export function useCallPages(query: Query): [CallPages, () => void] {
  const { api } = useHelix();
  const key = JSON.stringify(query);
  const [state, setState] = useState<CallPages>({ key: "", calls: [], nextCursor: null, failed: null, busy: true });
  const ask = async (before: CallRow[], cursor: string | null, signal: AbortSignal) => {
    setState({ key, calls: before, nextCursor: cursor, failed: null, busy: true });
    try {
      const page = await api.get<Page>("/api/calls", { ...query, cursor }, signal);
      if (!signal.aborted)
        setState({ key, calls: [...before, ...page.calls], nextCursor: page.nextCursor, failed: null, busy: false });
    } catch (error) {
      const failed = error instanceof ApiError ? error.status : 0;
      if (!signal.aborted) setState({ key, calls: before, nextCursor: cursor, failed, busy: false });
    }
  };
  const [abort, setAbort] = useState(() => new AbortController());
  useEffect(() => {
    const own = new AbortController();
    setAbort(own);
    void ask([], null, own.signal);
    return () => own.abort();
  }, [key]);
  const more = () => {
    if (!state.busy) void ask(state.calls, state.nextCursor, abort.signal);
  };
  return [state, more];
}
