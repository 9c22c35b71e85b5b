// Texts that change with time alone: each is written into its own element, nothing is drawn anew for them.

import { useLayoutEffect, useRef } from "preact/hooks";

import { type BoardClock, timeOfDay } from "../clock.ts";
import { fill, strings } from "../strings/index.ts";
import { lasted } from "../when.ts";

const writers = new Set<() => void>();
/** Writes every such text now, as when time has just stood still. */
export const tick = (): void => writers.forEach((write) => write());
setInterval(tick, 500);

/** Calls `write` now, whenever the element is drawn, and twice a second. */
export function useTicking(write: () => void): void {
  useLayoutEffect(() => {
    write();
    writers.add(write);
    return () => void writers.delete(write);
  });
}

/** An element whose text, class and title are functions of time. */
function Ticking(props: {
  text: () => [text: string, extra?: string, title?: string];
  class: string;
  dateTime?: string;
  title?: string;
  testid?: string | undefined;
}) {
  const ref = useRef<HTMLTimeElement>(null);
  const last = useRef("");
  useTicking(() => {
    const element = ref.current;
    if (element === null) return;
    const [text, extra = "", title = props.title ?? ""] = props.text();
    const now = `${text}\n${extra}\n${title}`;
    if (last.current === now) return;
    last.current = now;
    element.textContent = text;
    if (element.title !== title) element.title = title;
    element.className = `${props.class} ${extra}`.trim();
  });
  return <time ref={ref} dateTime={props.dateTime} data-testid={props.testid} />;
}

/** How long something has lasted by the provider's clock; what the provider dated later than now says so, and counts nothing. */
export function Since({ since, clock, testid }: { since: string; clock: BoardClock; testid?: string }) {
  const at = Date.parse(since);
  const text = (): [string, string?, string?] =>
    clock.liesAhead(at) ? [strings.datedAhead, "ahead", strings.datedAheadNote] : [lasted(clock.provider() - at)];
  return <Ticking class="since" dateTime={since} testid={testid} text={text} />;
}

/** A wait, with what it means: within the threshold, beyond it, or far beyond. */
export function Wait(props: { since: string; clock: BoardClock; threshold: number; testid?: string }) {
  const at = Date.parse(props.since);
  const text = (): [string, string] => {
    const waited = props.clock.provider() - at;
    const seconds = waited / 1000;
    return [lasted(waited), seconds > 3 * props.threshold ? "late" : seconds > props.threshold ? "long" : "fine"];
  };
  return <Ticking class="since wait" dateTime={props.since} testid={props.testid} text={text} />;
}

/** When something is due, or for how long it has been. */
export function Due(props: {
  at: string;
  clock: BoardClock;
  due: (time: string) => string;
  overdue: (time: string) => string;
}) {
  const at = Date.parse(props.at);
  const text = (): [string, string] => {
    const left = at - props.clock.provider();
    return left >= 0 ? [props.due(lasted(left)), "fine"] : [props.overdue(lasted(-left)), "late"];
  };
  return <Ticking class="due" dateTime={props.at} text={text} />;
}

/** For how long what is shown has not been known to be true: goes on while the board's own clock stands still. */
export function Lasts({ since, clock }: { since: number; clock: BoardClock }) {
  return <Ticking class="lasts" text={() => [fill(strings.lastsFor, { time: lasted(clock.now() - since) })]} />;
}

/** The time of day on the board: where that has stopped it does not look like one to set a watch by. */
export function Clock(props: { clock: BoardClock; zone: string; title: string; isStopped: boolean }) {
  const { clock, zone, title, isStopped } = props;
  const text = (): [string, string] => [timeOfDay(clock.provider(), zone), isStopped ? "stopped" : ""];
  return <Ticking class="clock" title={title} testid="clock" text={text} />;
}
