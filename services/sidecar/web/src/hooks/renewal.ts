import { useEffect, useRef, useState } from "preact/hooks";

import type { BoardClock } from "../clock.ts";
import { isEnding, isRenewalDue, termOf } from "../renewal.ts";
import { keepToken, renewToken, storedToken } from "../session.ts";

const LOOK_MS = 60_000;
const ASK_MS = 600_000;

/**
 * Keeps whoever looks signed in, as a screen on a wall must be. Gives the end of the sign-in, by the server's clock, when it
 * is near and could not be put off.
 */
export function useRenewal(expiresAt: number, clock: BoardClock, isHeard: boolean): number | null {
  const [endsAt, setEndsAt] = useState<number | null>(null);
  const term = useRef(termOf(storedToken() ?? "", expiresAt));
  useEffect(() => {
    // Before the server has spoken its time is not known.
    if (!isHeard) return;
    let askedAt = -Infinity;
    let isOver = false;
    const look = async () => {
      const now = clock.now();
      const token = storedToken();
      const mayAsk = now - askedAt >= ASK_MS || isEnding(term.current, now);
      if (token !== null && isRenewalDue(term.current, now) && mayAsk && askedAt < Infinity) {
        askedAt = now;
        const renewed = await renewToken(token);
        // Whoever has signed out meanwhile stays so.
        if (isOver || storedToken() !== token) return;
        if (renewed === "never") askedAt = Infinity;
        else if (renewed !== "later") {
          keepToken(renewed.token);
          term.current = { from: now, to: now + renewed.lastsSeconds * 1000 };
        }
      }
      setEndsAt(isEnding(term.current, clock.now()) ? term.current.to : null);
    };
    void look();
    const timer = setInterval(() => void look(), LOOK_MS);
    return () => {
      isOver = true;
      clearInterval(timer);
    };
  }, [isHeard]);
  return endsAt;
}
