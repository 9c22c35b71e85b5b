import { useEffect, useRef, useState } from "preact/hooks";

import { LiveBoard } from "../live.ts";

/** Follows the board; redraws at most once a frame, however many deltas come. */
export function useLive(bearer: () => string, refused: (status: number) => void): LiveBoard {
  const [, redraw] = useState(0);
  const live = useRef<LiveBoard | null>(null);
  const pending = useRef(false);
  const told = useRef(refused);
  told.current = refused;
  if (live.current === null) {
    const changed = () => {
      if (pending.current) return;
      pending.current = true;
      // A hidden tab draws no frames; the connection's state must still be told.
      const soon = document.hidden ? (draw: () => void) => setTimeout(draw, 250) : requestAnimationFrame;
      soon(() => {
        pending.current = false;
        redraw((count) => count + 1);
      });
    };
    live.current = new LiveBoard(bearer, changed, (status) => told.current(status));
  }
  useEffect(() => {
    live.current?.start();
    return () => live.current?.stop();
  }, []);
  return live.current;
}
