import type { ComponentChildren } from "preact";

import { timeOfDay } from "../clock.ts";
import { useHelix } from "../context.ts";
import type { Polled } from "../hooks/polled.ts";
import { pageNow } from "../hooks/polled.ts";
import { fill, strings } from "../strings/index.ts";

/** When what is shown was last known to be true, where that is past. */
export function AsOf() {
  const { truth, clock, session } = useHelix();
  if (truth === null) return null;
  return <span class="as-of">{fill(strings.asOf, { time: timeOfDay(clock.boardTime(truth), session.zone) })}</span>;
}

export function Panel(props: {
  id: string;
  title: string;
  count?: number | undefined;
  tools?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class={`panel ${props.id}`} aria-labelledby={`${props.id}-title`}>
      <div class="panel-head">
        <h2 id={`${props.id}-title`} tabIndex={-1}>
          {props.title} {props.count !== undefined && <span class="count">{props.count}</span>}
        </h2>
        <AsOf />
        {props.tools}
      </div>
      {props.children}
    </section>
  );
}

/** What is to be said of an answer that is not here, or not of now; nothing where all is well. */
export function PolledNote({ polled }: { polled: Polled<unknown> }) {
  const { session } = useHelix();
  if (polled.failed === null) return polled.data === null ? <p class="none">{strings.loadingPart}</p> : null;
  if (polled.failed === 403) return <p class="none">{strings.notAllowed}</p>;
  if (polled.failed === 404) return <p class="none">{strings.notFound}</p>;
  if (polled.askedAt === null) return <p class="note bad">{strings.notLoaded}</p>;
  const askedAt = Date.now() - (pageNow() - polled.askedAt);
  return <p class="note bad">{fill(strings.notFresh, { time: timeOfDay(askedAt, session.zone) })}</p>;
}
