// How often the board is drawn. Deltas come as they like; people read no faster than ten times a second, and a page that draws
// more often than that has no time left for who types into it.

const REST_MS = 100;

export class Redraws {
  private drawnAt = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly draw: () => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /**
   * Draws at once where that was not just done, else when it has rested: the last change is always drawn. By a timer and not by
   * the browser's next frame: a tab that is hidden has no frames, and the state of its connection must still be told.
   */
  changed(): void {
    if (this.timer !== undefined) return;
    const rest = Math.max(0, this.drawnAt + REST_MS - this.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.drawnAt = this.now();
      this.draw();
    }, rest);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
