// What time it is at the server, and by the provider's clock, which the board's moments are told in.

/** When something happened by the provider's clock, and came by the server's. */
interface Told {
  occurredAt: string;
  receivedAt: string;
}

/** As far ahead of the server's the provider's clock may be taken to be by one event's word. */
const MOST_AHEAD_MS = 5 * 60_000;

const aheadOf = ({ occurredAt, receivedAt }: Told): number => Date.parse(occurredAt) - Date.parse(receivedAt);

/**
 * One misdated event takes the watermark hours ahead, and one of the provider's streams; a clock that is set wrong, or a day that
 * is played ahead of now, takes all of them. So further ahead than a little is believed when most streams say it.
 */
function believable(ahead: number, streams: readonly Told[]): number {
  const said = streams.map(aheadOf).sort((one, other) => one - other);
  const middle = said[Math.floor((said.length - 1) / 2)] ?? -Infinity;
  return Math.min(ahead, Math.max(middle, MOST_AHEAD_MS));
}

/** What lies this much later than the provider's now has not happened: two clocks that are asked differ by less. */
const AHEAD_MS = 60_000;

export class BoardClock {
  private serverAhead = 0;
  private providerAhead: number | null = null;
  private frozenAt: number | null = null;
  private heldAt: number | null = null;

  /** The server said: it is `asOf`; the latest fact happened at `occurredAt` and came at `receivedAt`; each stream's last did so. */
  told(
    asOf: string,
    watermark: { occurredAt: string | null; receivedAt: string | null },
    streams: readonly Told[] = [],
  ): void {
    this.frozenAt = null;
    this.serverAhead = Date.parse(asOf) - Date.now();
    const { occurredAt, receivedAt } = watermark;
    if (occurredAt !== null && receivedAt !== null) {
      this.providerAhead = believable(aheadOf({ occurredAt, receivedAt }), streams);
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

  /** Whether a moment of the provider's has not come yet, also by a clock that does not stand still: it was misdated. */
  liesAhead(at: number): boolean {
    return at - this.boardTime(this.now()) > AHEAD_MS;
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
