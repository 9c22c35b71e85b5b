import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { useHelix } from "../context.ts";
import { count } from "../format.ts";
import { useFocusInside } from "../hooks/focus-inside.ts";
import { isLate, pageNow, type Polled } from "../hooks/polled.ts";
import { fill, strings } from "../strings/index.ts";
import { boardMoment } from "../when.ts";
import { useTicking } from "./ticking.tsx";

/** When what is shown was last known to be true, where that is past: of the board, or of what is read from the records. */
export function AsOf({ records = false }: { records?: boolean }) {
  const { truth, recordsTruth, clock, session } = useHelix();
  const since = records ? recordsTruth : truth;
  if (since === null) return null;
  return <span class="as-of">{fill(strings.asOf, { time: boardMoment(clock, since, session.zone) })}</span>;
}

export function Panel(props: {
  id: string;
  title: string;
  count?: number | undefined;
  tools?: ComponentChildren;
  /** It is read from the records. */
  records?: boolean;
  children: ComponentChildren;
}) {
  const part = useFocusInside<HTMLElement>(`${props.id}-title`);
  return (
    <section ref={part} class={`panel ${props.id}`} aria-labelledby={`${props.id}-title`}>
      <div class="panel-head">
        <h2 id={`${props.id}-title`} tabIndex={-1}>
          {props.title} {props.count !== undefined && <span class="count">{count(props.count)}</span>}
        </h2>
        <AsOf records={props.records === true} />
        {props.tools}
      </div>
      {props.children}
    </section>
  );
}

/** What is to be said of an answer that is not here, or not of now; nothing where all is well. */
export function PolledNote({ polled }: { polled: Polled<unknown> }) {
  const { session, clock } = useHelix();
  const [late, setLate] = useState(false);
  useTicking(() => {
    const now = isLate(polled, pageNow());
    if (now !== late) setLate(now);
  });
  const { askedAt, failed, data } = polled;
  if (failed === 403) return <p class="none">{strings.notAllowed}</p>;
  if (failed === 404) return <p class="none">{strings.notFound}</p>;
  if (askedAt === null) {
    if (failed === null) return data === null ? <p class="none">{strings.loadingPart}</p> : null;
    return <p class="note bad">{strings.notLoaded}</p>;
  }
  if (failed === null && !late) return null;
  const time = boardMoment(clock, clock.now() - (pageNow() - askedAt), session.zone);
  return (
    <p class="note bad" data-testid="not-fresh">
      {fill(strings.notFresh, { time })}
    </p>
  );
}
