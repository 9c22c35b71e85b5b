import { useEffect, useRef, useState } from "preact/hooks";

import { ApiError } from "../api.ts";

export interface Polled<T> {
  data: T | null;
  /** When the data was asked for, by this page's clock; null before the first answer. */
  askedAt: number | null;
  /** The last attempt failed: with this status, 0 where nothing answered. */
  failed: number | null;
  /** How often it is asked for, in milliseconds. */
  every: number;
  reload: () => void;
}

/** However often it is nudged, a server is asked no more often than this, unless the asker says otherwise. */
const LEAST_GAP_MS = 1000;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 5000;
/** An answer as old as so many rounds is not of now. */
const LATE_ROUNDS = 3;
/** Answers that asking again does not change. */
const SETTLED: readonly number[] = [401, 403, 404];

/** This page's own clock, in milliseconds: it only goes forward, and means nothing elsewhere. */
export const pageNow = (): number => performance.now();

/** How long to wait after so many failures in a row. */
export function retryAfter(failures: number, every: number): number {
  return Math.min(every, LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
}

/** Whether what is shown is older than it should be: nobody has answered for some rounds, whatever the reason. */
export function isLate(polled: { askedAt: number | null; every: number }, now: number): boolean {
  return polled.askedAt !== null && now - polled.askedAt > LATE_ROUNDS * polled.every;
}

/** How often to ask: regularly, and how soon again when told. */
interface Pace {
  every: number;
  leastGap: number;
}

/** Asks in rounds: one at a time, `every` so often, sooner when told, and soon after a failure. A hidden page rests. */
class Rounds {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly abort = new AbortController();
  private begunAt = -Infinity;
  private failures = 0;
  private running = false;
  private again = false;

  constructor(
    /** False where it is worth asking again soon. */
    private readonly ask: (signal: AbortSignal) => Promise<boolean>,
    private readonly pace: Pace,
  ) {
    document.addEventListener("visibilitychange", this.seen);
    void this.round();
  }

  private readonly seen = (): void => {
    if (!document.hidden) this.soon();
  };

  soon(): void {
    if (this.running) this.again = true;
    else this.after(Math.max(0, this.pace.leastGap - (pageNow() - this.begunAt)));
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
    const settled = await this.ask(this.abort.signal);
    this.running = false;
    this.failures = settled ? 0 : this.failures + 1;
    if (this.abort.signal.aborted) return;
    if (this.again) {
      this.again = false;
      this.soon();
    } else this.after(settled ? this.pace.every : retryAfter(this.failures, this.pace.every));
  }
}

/**
 * Keeps an answer fresh: asked every so many milliseconds, and soon when `nudge` changes, but not sooner than `leastGap` after
 * the last time. Another `key` starts anew.
 */
export function usePolled<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  every: number,
  nudge: unknown = null,
  leastGap = LEAST_GAP_MS,
): Polled<T> {
  type State = { key: string; data: T | null; askedAt: number | null; failed: number | null };
  const [state, setState] = useState<State>({ key, data: null, askedAt: null, failed: null });
  const loader = useRef(load);
  loader.current = load;
  const rounds = useRef<Rounds | null>(null);

  useEffect(() => {
    const ask = async (signal: AbortSignal): Promise<boolean> => {
      const askedAt = pageNow();
      try {
        const data = await loader.current(signal);
        if (!signal.aborted) setState({ key, data, askedAt, failed: null });
        return true;
      } catch (error) {
        const failed = error instanceof ApiError ? error.status : 0;
        if (signal.aborted) return true;
        setState((known) => (known.key === key ? { ...known, failed } : { key, data: null, askedAt: null, failed }));
        return SETTLED.includes(failed);
      }
    };
    const own = new Rounds(ask, { every, leastGap });
    rounds.current = own;
    return () => own.stop();
  }, [key, every, leastGap]);

  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else rounds.current?.soon();
  }, [nudge]);

  const reload = () => rounds.current?.soon();
  const known = state.key === key ? state : { data: null, askedAt: null, failed: null };
  return { data: known.data, askedAt: known.askedAt, failed: known.failed, every, reload };
}
