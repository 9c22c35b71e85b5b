import type { ComponentChildren } from "preact";

import type { BoardClock } from "../clock.ts";
import type { Today, Waiting } from "../contract.ts";
import { percent } from "../format.ts";
import { fill, strings } from "../strings/index.ts";
import { AsOf } from "./panel.tsx";
import { Wait } from "./ticking.tsx";

function Counter(props: { name: string; testid: string; note?: string; wide?: boolean; children: ComponentChildren }) {
  return (
    <div class={props.wide === true ? "counter wide" : "counter"}>
      <dt>{props.name}</dt>
      <dd>
        <b data-testid={props.testid}>{props.children}</b>
        {props.note !== undefined && <small>{props.note}</small>}
      </dd>
    </div>
  );
}

export interface CountersProps {
  today: Today;
  open: number | null;
  /** Longest wait first. */
  waiting: readonly Waiting[];
  clock: BoardClock;
}

export function Counters({ today, open, waiting, clock }: CountersProps) {
  const { answeredWithin, denominator, thresholdSeconds } = today.serviceLevel;
  const of = fill(strings.serviceLevelOf, { within: answeredWithin, all: denominator, seconds: thresholdSeconds });
  const longest = waiting[0];
  return (
    <section class="today" aria-labelledby="today-title">
      <h2 id="today-title" class="unseen">
        {strings.today}
      </h2>
      <AsOf />
      <dl class="counters">
        <Counter
          name={strings.longestWait}
          testid="longest-wait"
          wide
          note={longest === undefined ? strings.nobodyWaits : fill(strings.waitingCount, { count: waiting.length })}
        >
          {longest === undefined ? "–" : <Wait since={longest.since} clock={clock} threshold={thresholdSeconds} />}
        </Counter>
        <Counter
          name={strings.serviceLevel}
          testid="service-level"
          wide
          note={denominator === 0 ? strings.serviceLevelNone : of}
        >
          {percent(answeredWithin, denominator)}
        </Counter>
        <Counter name={strings.openMissedCalls} testid="open-missed-calls" wide note={strings.openMissedNote}>
          {open ?? "–"}
        </Counter>
        <Counter name={strings.offered} testid="counter-offered">
          {today.offered}
        </Counter>
        <Counter name={strings.answered} testid="counter-answered">
          {today.answered}
        </Counter>
        <Counter name={strings.missed} testid="counter-missed">
          {today.missed}
        </Counter>
        <Counter name={strings.shortAbandoned} testid="counter-short-abandoned">
          {today.shortAbandoned}
        </Counter>
        <Counter name={strings.inProgress} testid="counter-in-progress">
          {today.inProgress}
        </Counter>
      </dl>
    </section>
  );
}
