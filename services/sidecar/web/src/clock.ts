// What time it is at the server, and by the provider's clock, which the board's moments are told in.

export class BoardClock {
  private serverAhead = 0;
  private providerAhead: number | null = null;
  private frozenAt: number | null = null;

  /** The server said: it is `asOf`; the latest fact happened at `occurredAt` and came at `receivedAt`. */
  told(asOf: string, watermark: { occurredAt: string | null; receivedAt: string | null }): void {
    this.frozenAt = null;
    this.serverAhead = Date.parse(asOf) - Date.now();
    if (watermark.occurredAt !== null && watermark.receivedAt !== null) {
      this.providerAhead = Date.parse(watermark.occurredAt) - Date.parse(watermark.receivedAt);
    }
  }

  /** Stands still until the server speaks again: what lasts, and what is over, is not known meanwhile. */
  freeze(): void {
    this.frozenAt ??= Date.now();
  }

  /** The server's clock, in milliseconds. */
  server(): number {
    return (this.frozenAt ?? Date.now()) + this.serverAhead;
  }

  /** The provider's clock: right under skew, and when a day is played in fast motion. */
  provider(): number {
    return this.server() + (this.providerAhead ?? 0);
  }
}

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (number: number): string => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

export function timeOfDay(milliseconds: number, zone: string): string {
  const options: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }).format(milliseconds);
}
