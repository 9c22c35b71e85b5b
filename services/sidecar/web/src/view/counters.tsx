import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

import type { BoardClock } from "../clock.ts";
import type { Today, Waiting } from "../contract.ts";
import { useHelix } from "../context.ts";
import { dayRange } from "../day.ts";
import { count, NONE, percent } from "../format.ts";
import { readQueue } from "../hooks/metrics.ts";
import { pageNow, usePolled } from "../hooks/polled.ts";
import { fill, strings } from "../strings/index.ts";
import { boardMoment } from "../when.ts";
import { AsOf, PolledNote } from "./panel.tsx";
import { Wait } from "./ticking.tsx";

const EVERY_MS = 15_000;
const LEAST_GAP_MS = 5000;

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

interface FiguresProps {
  today: Today;
  open: number | null;
  /** Longest wait first. */
  waiting: readonly Waiting[];
  clock: BoardClock;
}

function CounterList({ today, open, waiting, clock }: FiguresProps) {
  const { answeredWithin, denominator, thresholdSeconds } = today.serviceLevel;
  const of = fill(strings.serviceLevelOf, { within: count(answeredWithin), all: count(denominator), seconds: thresholdSeconds });
  const longest = waiting[0];
  return (
    <dl class="counters">
      <Counter
        name={strings.longestWait}
        testid="longest-wait"
        wide
        note={longest === undefined ? strings.nobodyWaits : fill(strings.waitingCount, { count: count(waiting.length) })}
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
        {open === null ? NONE : count(open)}
      </Counter>
      <Counter name={strings.offered} testid="counter-offered">
        {count(today.offered)}
      </Counter>
      <Counter name={strings.answered} testid="counter-answered">
        {count(today.answered)}
      </Counter>
      <Counter name={strings.missed} testid="counter-missed">
        {count(today.missed)}
      </Counter>
      <Counter name={strings.shortAbandoned} testid="counter-short-abandoned">
        {count(today.shortAbandoned)}
      </Counter>
      <Counter name={strings.inProgress} testid="counter-in-progress">
        {count(today.inProgress)}
      </Counter>
    </dl>
  );
}

function Section({ records = false, children }: { records?: boolean; children: ComponentChildren }) {
  return (
    <section class="today" aria-labelledby="today-title">
      <h2 id="today-title" class="unseen">
        {strings.today}
      </h2>
      <AsOf records={records} />
      {children}
    </section>
  );
}

/** Says where the counters are not of today: it has not begun, or an event was misdated; and of when the last event is. */
export function DayNote({ isNew, isAhead, occurredAt }: { isNew: boolean; isAhead: boolean; occurredAt: string | null }) {
  const { clock, session } = useHelix();
  if (occurredAt === null || !(isNew || isAhead)) return null;
  // The moment is by the provider's clock already.
  const at = Date.parse(occurredAt) - clock.boardTime(0);
  const time = boardMoment(clock, at, session.zone);
  return (
    <p class="day-note warn" data-testid={isNew ? "no-events-yet" : "events-ahead"}>
      {fill(isNew ? strings.noEventsYet : strings.eventsAhead, { time })}
    </p>
  );
}

/** The day of the whole hospital, as the board counts it. */
export function Counters(props: FiguresProps & { isNew: boolean; isAhead: boolean; occurredAt: string | null }) {
  const { isNew, isAhead, occurredAt } = props;
  return (
    <Section>
      <DayNote isNew={isNew} isAhead={isAhead} occurredAt={occurredAt} />
      <CounterList {...props} />
    </Section>
  );
}

interface QueueCountersProps {
  queue: string;
  open: number | null;
  waiting: readonly Waiting[];
  /** Another value where the board has counted on. */
  counted: string;
}

/** The day of one queue: the board does not keep it, so it is read from the records. */
export function QueueCounters({ queue, open, waiting, counted }: QueueCountersProps) {
  const { api, clock, day, session } = useHelix();
  const range = useMemo(() => dayRange(day, session.zone), [day, session.zone]);
  const load = (signal: AbortSignal) => readQueue(api, range, queue, signal);
  const polled = usePolled(`counters ${day} ${queue}`, load, EVERY_MS, counted, LEAST_GAP_MS);
  const { data, askedAt } = polled;
  const readAt = askedAt === null ? null : clock.now() - (pageNow() - askedAt);
  return (
    <Section records>
      <PolledNote polled={polled} />
      {data !== null && readAt !== null && (
        <>
          <p class="day-note" data-testid="counters-of-queue">
            {fill(strings.ofQueue, { queue, time: boardMoment(clock, readAt, session.zone) })}
          </p>
          <CounterList today={data} open={open} waiting={waiting} clock={clock} />
        </>
      )}
    </Section>
  );
}
