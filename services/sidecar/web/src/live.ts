// The live board: follows the event stream, proves every step, comes back by itself.

import { BoardCopy } from "./board.ts";
import { BoardClock } from "./clock.ts";
import type { Board, Delta, Freshness } from "./contract.ts";
import { SseParser, type SseEvent } from "./sse.ts";

/** The sidecar says something at least every 2 s: after this much silence the line is dead. */
const SILENCE_MS = 4000;
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 8000;

export type Line = "connecting" | "live" | "disconnected";

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

/** Until when the board is known to be true, where that is in the past, by the server's clock; null while it is live. */
export function lastTruth(state: LiveState): number | null {
  if (state.line === "disconnected") return state.brokenSince ?? state.clock.server();
  if (state.freshness?.stale !== true) return null;
  return state.freshness.staleSince === null ? state.clock.server() : Date.parse(state.freshness.staleSince);
}

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
    private readonly token: string,
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
      if (this.state.line !== "disconnected") {
        this.state.line = "disconnected";
        this.state.clock.freeze(this.heardAt);
        this.state.brokenSince = this.state.clock.server();
        this.changed();
      }
      const wait = this.wait * (0.75 + Math.random() / 2);
      this.wait = Math.min(this.wait * 2, LAST_WAIT_MS);
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  /** One stream, from its opening to its end. */
  private async follow(): Promise<void> {
    this.abort = new AbortController();
    let timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
    try {
      const headers: Record<string, string> = { authorization: `Bearer ${this.token}`, accept: "text/event-stream" };
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

  /** Takes one event; false where the copy is wrong and must be taken anew. */
  private take(event: SseEvent): boolean {
    const { state } = this;
    if (event.name === "snapshot") {
      const board = JSON.parse(event.data) as Board;
      state.board = BoardCopy.of(board);
      this.freshnessTold(board);
      return this.proven(event.id, board.root);
    }
    if (event.name === "delta" && state.board !== null) {
      const delta = JSON.parse(event.data) as Delta;
      state.board.apply(delta.changes);
      state.clock.told(delta.asOf, state.board.watermark());
      return this.proven(event.id, delta.hash);
    }
    if (event.name === "heartbeat") {
      const freshness = JSON.parse(event.data) as Freshness;
      this.freshnessTold(freshness);
      this.lastId = event.id;
    }
    return true;
  }

  private freshnessTold(freshness: Freshness): void {
    const { state } = this;
    state.freshness = freshness;
    state.clock.told(freshness.asOf, freshness.watermark);
    state.clock.hold(freshness.stale && freshness.staleSince !== null ? Date.parse(freshness.staleSince) : null);
  }

  private proven(id: string, root: string): boolean {
    if (this.state.board?.root() === root) {
      this.lastId = id;
      return true;
    }
    this.state.mismatches += 1;
    this.lastId = "";
    return false;
  }
}
