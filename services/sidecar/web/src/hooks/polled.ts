import { useEffect, useRef, useState } from "preact/hooks";

import { ApiError } from "../api.ts";

export interface Polled<T> {
  data: T | null;
  /** When the data was asked for, by this page's clock; null before the first answer. */
  askedAt: number | null;
  /** The last attempt failed: with this status, 0 where nothing answered. */
  failed: number | null;
  reload: () => void;
}

/** However often it is nudged, a server is asked no more often than this. */
const LEAST_GAP_MS = 1000;

/** This page's own clock, in milliseconds: it only goes forward, and means nothing elsewhere. */
export const pageNow = (): number => performance.now();

/** Asks in rounds: one at a time, `every` so often, sooner when told. A hidden page rests. */
class Rounds {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly abort = new AbortController();
  private begunAt = -Infinity;
  private running = false;
  private again = false;

  constructor(
    private readonly ask: (signal: AbortSignal) => Promise<void>,
    private readonly every: number,
  ) {
    document.addEventListener("visibilitychange", this.seen);
    void this.round();
  }

  private readonly seen = (): void => {
    if (!document.hidden) this.soon();
  };

  soon(): void {
    if (this.running) this.again = true;
    else this.after(Math.max(0, LEAST_GAP_MS - (pageNow() - this.begunAt)));
  }

  stop(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
  }

  private after(wait: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!document.hidden) void this.round();
    }, wait);
  }

  private async round(): Promise<void> {
    this.begunAt = pageNow();
    this.running = true;
    await this.ask(this.abort.signal);
    this.running = false;
    if (this.abort.signal.aborted) return;
    if (this.again) {
      this.again = false;
      this.soon();
    } else this.after(this.every);
  }
}

/** Keeps an answer fresh: asked every so many milliseconds, and at once when `nudge` changes. Another `key` starts anew. */
export function usePolled<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  every: number,
  nudge: unknown = null,
): Polled<T> {
  type State = { key: string; data: T | null; askedAt: number | null; failed: number | null };
  const [state, setState] = useState<State>({ key, data: null, askedAt: null, failed: null });
  const loader = useRef(load);
  loader.current = load;
  const rounds = useRef<Rounds | null>(null);

  useEffect(() => {
    const ask = async (signal: AbortSignal) => {
      const askedAt = pageNow();
      try {
        const data = await loader.current(signal);
        if (!signal.aborted) setState({ key, data, askedAt, failed: null });
      } catch (error) {
        if (signal.aborted) return;
        const failed = error instanceof ApiError ? error.status : 0;
        setState((known) => (known.key === key ? { ...known, failed } : { key, data: null, askedAt: null, failed }));
      }
    };
    const own = new Rounds(ask, every);
    rounds.current = own;
    return () => own.stop();
  }, [key, every]);

  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else rounds.current?.soon();
  }, [nudge]);

  const reload = () => rounds.current?.soon();
  return state.key === key ? { ...state, reload } : { data: null, askedAt: null, failed: null, reload };
}
