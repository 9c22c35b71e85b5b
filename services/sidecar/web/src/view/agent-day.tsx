import { useMemo, useState } from "preact/hooks";

import type { Performance, Timeline } from "../api-contract.ts";
import { useHelix } from "../context.ts";
import { dayRange, iso } from "../day.ts";
import { usePolled } from "../hooks/polled.ts";
import { stretches } from "../plot/stretches.ts";
import { TimelineBar } from "../plot/timeline.tsx";
import { strings } from "../strings/index.ts";
import { DayChoice } from "./day-choice.tsx";
import { Dispositions, Figures } from "./figures.tsx";
import { PagedCalls } from "./paged-calls.tsx";
import { PolledNote } from "./panel.tsx";
import { StretchTable } from "./stretch-table.tsx";

const EVERY_MS = 15_000;
const CALLS_A_PAGE = 20;

/** One agent's day: states, figures, calls. The same for the agent and for who supervises. */
export function AgentDay({ agentId }: { agentId: string }) {
  const { api, day, session, clock } = useHelix();
  const [chosen, setChosen] = useState<string | null>(null);
  const date = chosen ?? day;
  const range = useMemo(() => dayRange(date, session.zone), [date, session.zone]);
  const path = `/api/agents/${encodeURIComponent(agentId)}`;
  const timeline = usePolled(
    `timeline ${agentId} ${date}`,
    (signal) => api.get<Timeline>(`${path}/timeline`, { date }, signal),
    EVERY_MS,
  );
  const figures = usePolled(
    `performance ${agentId} ${date}`,
    (signal) => api.get<Performance>(`${path}/performance`, { date }, signal),
    EVERY_MS,
  );
  const parts = useMemo(
    () => stretches(timeline.data?.intervals ?? [], range, clock.provider()),
    [timeline.data, range],
  );
  return (
    <div class="agent-day" data-testid="agent-day" data-date={date}>
      <DayChoice date={date} last={day} choose={(next) => setChosen(next === day ? null : next)} />
      <section>
        <h3>{strings.timeline}</h3>
        <PolledNote polled={timeline} />
        {timeline.data !== null && parts.length === 0 && <p class="none">{strings.timelineNone}</p>}
        {parts.length > 0 && (
          <>
            <TimelineBar stretches={parts} day={range} zone={session.zone} />
            <details>
              <summary>{strings.asTable}</summary>
              <StretchTable stretches={parts} zone={session.zone} />
            </details>
          </>
        )}
      </section>
      <section>
        <h3>{strings.figures}</h3>
        <PolledNote polled={figures} />
        {figures.data !== null && <Figures day={figures.data} />}
      </section>
      {figures.data !== null && <Dispositions day={figures.data} />}
      <section>
        <h3>{strings.callsOfDay}</h3>
        <PagedCalls
          isToday={date === day}
          query={{ agentId, from: iso(range.from), to: iso(range.to), limit: CALLS_A_PAGE }}
          withAgent={false}
          label={strings.callsOfDay}
        />
      </section>
    </div>
  );
}
