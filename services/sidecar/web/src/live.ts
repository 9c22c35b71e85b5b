// The live board: follows the event stream, proves every step, comes back by itself.

import { BoardCopy } from "./board.ts";
import { BoardClock } from "./clock.ts";
import type { Board, Delta, Freshness } from "./contract.ts";
import { SseParser, type SseEvent } from "./sse.ts";
import { type LiveState, staleSince } from "./trust.ts";

/** The sidecar says something at least every 2 s: after this much silence the line is dead. */
const SILENCE_MS = 4000;
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 8000;

export class LiveBoard {
  state: LiveState = {
    line: "connecting",
    brokenSince: null,
    freshness: null,
    board: null,
    clock: new BoardClock(),
    mismatches: 0,
  };
  private lastId = "";
  private heardAt = Date.now();
  private wait = FIRST_WAIT_MS;
  private stopped = false;
  private abort = new AbortController();

  constructor(
    private readonly bearer: () => string,
    private readonly changed: () => void,
    private readonly refused: (status: number) => void,
  ) {}

  start(): void {
    addEventListener("pagehide", this.leave);
    void this.run();
  }

  stop(): void {
    removeEventListener("pagehide", this.leave);
    this.stopped = true;
    this.abort.abort();
  }

  /** The sign-in is over: nothing more comes, and what is shown stands still. */
  end(): void {
    this.stop();
    this.breaks("ended");
  }

  /** A page that is left may be kept for Back, with its connection, of which a browser has six for a host. */
  private readonly leave = (): void => this.abort.abort();

  private async run(): Promise<void> {
    while (!this.stopped) {
      try {
        await this.follow();
      } catch {
        // Whatever ended the stream, the answer is the same: say so, wait, come back.
      }
      if (this.stopped) return;
      this.breaks("disconnected");
      const wait = this.wait * (0.75 + Math.random() / 2);
      this.wait = Math.min(this.wait * 2, LAST_WAIT_MS);
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  /** Nothing runs on without a line; an attempt that failed may have let the clock go for a moment. */
  private breaks(line: "disconnected" | "ended"): void {
    const { state } = this;
    state.line = line;
    if (state.clock.freeze(this.heardAt)) state.brokenSince = state.clock.server();
    this.changed();
  }

  /** One stream, from its opening to its end. */
  private async follow(): Promise<void> {
    this.abort = new AbortController();
    let timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
    try {
      const headers: Record<string, string> = { authorization: `Bearer ${this.bearer()}`, accept: "text/event-stream" };
      if (this.lastId !== "") headers["last-event-id"] = this.lastId;
      const response = await fetch("/api/supervisor/events", { headers, signal: this.abort.signal, cache: "no-store" });
      if (response.status === 401 || response.status === 403) {
        this.stop();
        this.refused(response.status);
        return;
      }
      if (!response.ok || response.body === null) return;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new SseParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.heardAt = Date.now();
        clearTimeout(timer);
        timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
        const events = parser.push(value);
        for (const event of events) {
          if (!this.take(event)) {
            this.abort.abort();
            return;
          }
        }
        if (events.length > 0) {
          this.wait = FIRST_WAIT_MS;
          this.state.line = "live";
          this.state.brokenSince = null;
          this.changed();
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes one event; false where the copy is wrong and must be taken anew. Only what is proven moves the clock. */
  take(event: SseEvent): boolean {
    const { state } = this;
    if (event.name === "snapshot") {
      const board = JSON.parse(event.data) as Board;
      const copy = BoardCopy.of(board);
      if (!this.proven(copy, event.id, board.root)) return false;
      state.board = copy;
      this.freshnessTold(board);
    } else if (event.name === "delta" && state.board !== null) {
      const delta = JSON.parse(event.data) as Delta;
      state.board.apply(delta.changes);
      if (!this.proven(state.board, event.id, delta.hash)) return false;
      state.clock.told(delta.asOf, state.board.watermark(), state.board.producers());
    } else if (event.name === "heartbeat") {
      this.freshnessTold(JSON.parse(event.data) as Freshness);
      this.lastId = event.id;
    }
    return true;
  }

  private freshnessTold(freshness: Freshness): void {
    const { state } = this;
    state.freshness = freshness;
    state.clock.told(freshness.asOf, freshness.watermark, state.board?.producers() ?? []);
    state.clock.hold(staleSince(freshness));
  }

  private proven(copy: BoardCopy, id: string, root: string): boolean {
    if (copy.root() === root) {
      this.lastId = id;
      return true;
    }
    this.state.mismatches += 1;
    this.lastId = "";
    return false;
  }
}
