import { useEffect, useRef, useState } from "preact/hooks";

import { LiveBoard } from "../live.ts";
import { Redraws } from "../redraws.ts";

/** Follows the board; redraws only so often, however many deltas come. */
export function useLive(bearer: () => string, refused: (status: number) => void): LiveBoard {
  const [, redraw] = useState(0);
  const held = useRef<{ live: LiveBoard; redraws: Redraws } | null>(null);
  const told = useRef(refused);
  told.current = refused;
  if (held.current === null) {
    const redraws = new Redraws(() => redraw((count) => count + 1));
    const live = new LiveBoard(
      bearer,
      () => redraws.changed(),
      (status) => told.current(status),
    );
    held.current = { live, redraws };
  }
  const { live, redraws } = held.current;
  useEffect(() => {
    live.start();
    return () => {
      live.stop();
      redraws.stop();
    };
  }, []);
  return live;
}
