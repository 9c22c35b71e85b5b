import { useEffect, useRef, useState } from "preact/hooks";

import { ApiError, type Query } from "../api.ts";
import { type CallPage, continued, renewed } from "../call-pages.ts";
import { useHelix } from "../context.ts";
import { type Polled, usePolled } from "./polled.ts";

export interface CallPages {
  /** The first page, which is kept fresh. */
  polled: Polled<CallPage>;
  page: CallPage | null;
  /** Of the last attempt to read on: its status, 0 where nothing answered. */
  failed: number | null;
  busy: boolean;
  more: () => void;
}

/** Calls page by page: the first for each query, and again every so often; the rest when asked for. */
export function useCallPages(query: Query, every: number): CallPages {
  const { api } = useHelix();
  const key = JSON.stringify(query);
  const polled = usePolled(`calls ${key}`, (signal) => api.get<CallPage>("/api/calls", query, signal), every);
  const [held, setHeld] = useState<{ key: string; page: CallPage } | null>(null);
  const [on, setOn] = useState<{ busy: boolean; failed: number | null }>({ busy: false, failed: null });
  const abort = useRef(new AbortController());
  useEffect(() => {
    abort.current = new AbortController();
    setOn({ busy: false, failed: null });
    return () => abort.current.abort();
  }, [key]);
  useEffect(() => {
    const fresh = polled.data;
    if (fresh !== null) setHeld((known) => ({ key, page: known?.key === key ? renewed(known.page, fresh) : fresh }));
  }, [polled.data]);
  const page = held?.key === key ? held.page : null;

  const more = async () => {
    const cursor = page?.nextCursor ?? null;
    if (on.busy || cursor === null) return;
    const { signal } = abort.current;
    setOn({ busy: true, failed: null });
    try {
      const next = await api.get<CallPage>("/api/calls", { ...query, cursor }, signal);
      if (signal.aborted) return;
      setHeld((known) =>
        known?.key === key && known.page.nextCursor === cursor ? { key, page: continued(known.page, next) } : known,
      );
      setOn({ busy: false, failed: null });
    } catch (error) {
      if (!signal.aborted) setOn({ busy: false, failed: error instanceof ApiError ? error.status : 0 });
    }
  };
  return { polled, page, failed: on.failed, busy: on.busy, more: () => void more() };
}
