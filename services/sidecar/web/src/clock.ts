// What time it is at the server, and by the provider's clock, which the board's moments are told in.

export class BoardClock {
  private serverAhead = 0;
  private providerAhead: number | null = null;
  private frozenAt: number | null = null;
  private heldAt: number | null = null;

  /** The server said: it is `asOf`; the latest fact happened at `occurredAt` and came at `receivedAt`. */
  told(asOf: string, watermark: { occurredAt: string | null; receivedAt: string | null }): void {
    this.frozenAt = null;
    this.serverAhead = Date.parse(asOf) - Date.now();
    if (watermark.occurredAt !== null && watermark.receivedAt !== null) {
      this.providerAhead = Date.parse(watermark.occurredAt) - Date.parse(watermark.receivedAt);
    }
  }

  /**
   * Stands still until the server speaks again: what lasts, and what is over, is not known since it last did. True where it
   * was running.
   */
  freeze(heardAt = Date.now()): boolean {
    if (this.frozenAt !== null) return false;
    this.frozenAt = heardAt;
    return true;
  }

  /** Goes no further than this moment of the server's: the board has been stale since. `null` lets it go. */
  hold(at: number | null): void {
    this.heldAt = at;
  }

  /** The server's clock, in milliseconds; no later than the last moment of which the board is known to tell the truth. */
  server(): number {
    const at = (this.frozenAt ?? Date.now()) + this.serverAhead;
    return this.heldAt === null ? at : Math.min(at, this.heldAt);
  }

  /** What the server's clock says by now, whatever is still known of the board. */
  now(): number {
    return Date.now() + this.serverAhead;
  }

  /** A moment of the server's clock by the provider's. */
  boardTime(at: number): number {
    return at + (this.providerAhead ?? 0);
  }

  /** The provider's clock: right under skew, and when a day is played in fast motion. */
  provider(): number {
    return this.boardTime(this.server());
  }
}

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (number: number): string => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** A formatter, made once: making one costs more than a hundred uses. */
export function timeFormat(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let format = formats.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-GB", { ...options, hourCycle: "h23", timeZone: zone });
    formats.set(key, format);
  }
  return format;
}

export function timeOfDay(milliseconds: number, zone: string): string {
  return timeFormat(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(milliseconds);
}

export function hourAndMinute(milliseconds: number, zone: string): string {
  return timeFormat(zone, { hour: "2-digit", minute: "2-digit" }).format(milliseconds);
}
