// Texts that change with time alone: each redraws itself, the rest of the page does not.

import { useEffect, useState } from "preact/hooks";

import { type BoardClock, duration, timeOfDay } from "../clock.ts";

const listeners = new Set<() => void>();
setInterval(() => listeners.forEach((listener) => listener()), 500);

function useTick(): void {
  const [, tick] = useState(0);
  useEffect(() => {
    const listener = () => tick((count) => count + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
}

/** How long something has lasted by the provider's clock. */
export function Since({ since, clock, testid }: { since: string; clock: BoardClock; testid?: string }) {
  useTick();
  return (
    <time class="since" dateTime={since} data-testid={testid}>
      {duration(clock.provider() - Date.parse(since))}
    </time>
  );
}

/** A wait, with what it means: within the threshold, beyond it, or far beyond. */
export function Wait(props: { since: string; clock: BoardClock; threshold: number; testid?: string }) {
  useTick();
  const waited = props.clock.provider() - Date.parse(props.since);
  const seconds = waited / 1000;
  const level = seconds > 3 * props.threshold ? "late" : seconds > props.threshold ? "long" : "fine";
  return (
    <time class={`since wait ${level}`} dateTime={props.since} data-testid={props.testid}>
      {duration(waited)}
    </time>
  );
}

/** The time of day on the board. */
export function Clock({ clock, zone, title }: { clock: BoardClock; zone: string; title: string }) {
  useTick();
  return (
    <time class="clock" title={title} data-testid="clock">
      {timeOfDay(clock.provider(), zone)}
    </time>
  );
}
