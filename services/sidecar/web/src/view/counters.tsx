import type { ComponentChildren } from "preact";

import type { Today, Waiting } from "../contract.ts";
import type { LiveState } from "../live.ts";
import { fill, strings } from "../strings/index.ts";
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

export function Counters(props: { today: Today; open: number | null; waiting: Waiting[]; state: LiveState }) {
  const { answeredWithin, denominator, thresholdSeconds } = props.today.serviceLevel;
  const percent = denominator === 0 ? "–" : `${Math.round((answeredWithin * 100) / denominator)}%`;
  const of = fill(strings.serviceLevelOf, { within: answeredWithin, all: denominator, seconds: thresholdSeconds });
  const longest = props.waiting[0];
  return (
    <section aria-labelledby="today-title">
      <h2 id="today-title" class="unseen">
        {strings.today}
      </h2>
      <dl class="counters">
        <Counter
          name={strings.longestWait}
          testid="longest-wait"
          wide
          note={longest === undefined ? strings.nobodyWaits : fill(strings.waitingCount, { count: props.waiting.length })}
        >
          {longest === undefined ? (
            "–"
          ) : (
            <Wait since={longest.since} clock={props.state.clock} threshold={thresholdSeconds} />
          )}
        </Counter>
        <Counter
          name={strings.serviceLevel}
          testid="service-level"
          wide
          note={denominator === 0 ? strings.serviceLevelNone : of}
        >
          {percent}
        </Counter>
        <Counter name={strings.openMissedCalls} testid="open-missed-calls" wide note={strings.openMissedNote}>
          {props.open ?? "–"}
        </Counter>
        <Counter name={strings.offered} testid="counter-offered">
          {props.today.offered}
        </Counter>
        <Counter name={strings.answered} testid="counter-answered">
          {props.today.answered}
        </Counter>
        <Counter name={strings.missed} testid="counter-missed">
          {props.today.missed}
        </Counter>
        <Counter name={strings.shortAbandoned} testid="counter-short-abandoned">
          {props.today.shortAbandoned}
        </Counter>
        <Counter name={strings.inProgress} testid="counter-in-progress">
          {props.today.inProgress}
        </Counter>
      </dl>
    </section>
  );
}
