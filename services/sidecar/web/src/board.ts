// A copy of the board: values by path, and the root that proves it (helix_fold::board::visible).
// Root: for each path SHA-256 of `path \n JSON`, as eight words, added word by word modulo 2^32.

import type { Agent, Board, Call, Change, Producer, Today, Waiting } from "./contract.ts";
import { sha256 } from "./sha256.ts";

export class BoardCopy {
  private readonly values = new Map<string, { value: unknown; words: Int32Array }>();
  private readonly sum = new Int32Array(8);
  /** Collections as last told: the same array until one of its members changes, so that nothing is drawn for nothing. */
  private readonly told = new Map<string, unknown[]>();

  static of(board: Board): BoardCopy {
    const copy = new BoardCopy();
    for (const agent of board.agents) copy.set(`agents/${agent.agentId}`, agent);
    for (const call of board.calls) copy.set(`calls/${call.callId}`, call);
    for (const waiting of board.waiting) copy.set(`waiting/${waiting.callId}`, waiting);
    for (const producer of board.producers ?? []) copy.set(`producers/${producer.producer}`, producer);
    if (board.today !== null) copy.set("today", board.today);
    if (board.openMissedCalls !== null) copy.set("openMissedCalls", board.openMissedCalls);
    if (board.watermark.occurredAt !== null) copy.set("watermark/occurredAt", board.watermark.occurredAt);
    if (board.watermark.receivedAt !== null) copy.set("watermark/receivedAt", board.watermark.receivedAt);
    return copy;
  }

  apply(changes: Change[]): void {
    for (const change of changes) {
      if (change.op === "set") this.set(change.path, change.value);
      else this.remove(change.path);
    }
  }

  private set(path: string, value: unknown): void {
    this.remove(path);
    const words = sha256(`${path}\n${JSON.stringify(value)}`);
    for (let i = 0; i < 8; i++) this.sum[i]! += words[i]!;
    this.values.set(path, { value, words });
    this.told.delete(path.slice(0, path.indexOf("/") + 1));
  }

  private remove(path: string): void {
    const known = this.values.get(path);
    if (known === undefined) return;
    for (let i = 0; i < 8; i++) this.sum[i]! -= known.words[i]!;
    this.values.delete(path);
    this.told.delete(path.slice(0, path.indexOf("/") + 1));
  }

  root(): string {
    return Array.from(this.sum, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  private collection<T>(prefix: string): readonly T[] {
    let found = this.told.get(prefix) as T[] | undefined;
    if (found === undefined) {
      found = [];
      for (const [path, { value }] of this.values) if (path.startsWith(prefix)) found.push(value as T);
      this.told.set(prefix, found);
    }
    return found;
  }

  agents(): readonly Agent[] {
    return this.collection<Agent>("agents/");
  }

  calls(): readonly Call[] {
    return this.collection<Call>("calls/");
  }

  /** How many are in progress: those whose end is presumed stay in sight for a while, and are none of them. */
  callsUp(): number {
    return this.calls().filter((call) => !call.presumed).length;
  }

  waiting(): readonly Waiting[] {
    return this.collection<Waiting>("waiting/");
  }

  producers(): readonly Producer[] {
    return this.collection<Producer>("producers/");
  }

  /** When the provider was last heard, by our clock: of all its streams. */
  heardAt(): string | null {
    const told = this.producers().map((producer) => producer.receivedAt);
    // Written by one hand, so that text sorts as time.
    return told.length === 0 ? this.watermark().receivedAt : told.reduce((one, other) => (one > other ? one : other));
  }

  today(): Today | null {
    return (this.values.get("today")?.value as Today | undefined) ?? null;
  }

  openMissedCalls(): number | null {
    return (this.values.get("openMissedCalls")?.value as number | undefined) ?? null;
  }

  watermark(): { occurredAt: string | null; receivedAt: string | null } {
    const text = (path: string): string | null => (this.values.get(path)?.value as string | undefined) ?? null;
    return { occurredAt: text("watermark/occurredAt"), receivedAt: text("watermark/receivedAt") };
  }
}
