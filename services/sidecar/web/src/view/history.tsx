import { useMemo, useState } from "preact/hooks";

import { OUTCOMES } from "../api-contract.ts";
import type { Agent } from "../contract.ts";
import { useHelix } from "../context.ts";
import { dayRange, isDate, iso } from "../day.ts";
import { strings } from "../strings/index.ts";
import { DayChoice } from "./day-choice.tsx";
import { PagedCalls } from "./paged-calls.tsx";
import { AsOf } from "./panel.tsx";
import { Select } from "./select.tsx";

const CALLS_A_PAGE = 50;

/** Calls of a day, found by what they were. */
export function History({ agents }: { agents: readonly Agent[] }) {
  const { day, session, choices, choose } = useHelix();
  const [round, setRound] = useState(0);
  const { direction = "", outcome = "", handler: agentId = "" } = choices;
  const date = choices.date !== undefined && isDate(choices.date) && choices.date <= day ? choices.date : day;
  const range = useMemo(() => dayRange(date, session.zone), [date, session.zone]);
  const people = useMemo(
    () =>
      agents
        .map((agent) => [agent.agentId, agent.name ?? agent.agentId] as const)
        .sort((one, other) => one[1].localeCompare(other[1])),
    [agents],
  );
  const directions = (["inbound", "outbound"] as const).map((name) => [name, strings.directionTitle[name]] as const);
  const outcomes = OUTCOMES.map((name) => [name, strings.outcome[name]] as const);
  return (
    <section class="panel history" aria-labelledby="history-title">
      <div class="panel-head">
        <h2 id="history-title" tabIndex={-1}>
          {strings.callsPage}
        </h2>
        <AsOf records />
        <div class="tools" role="group" aria-label={strings.filters}>
          <DayChoice date={date} last={day} choose={(next) => choose("date", next === day ? null : next)} />
          <Select
            label={strings.directionColumn}
            testid="filter-direction"
            value={direction}
            options={[["", strings.anyDirection], ...directions]}
            choose={(name) => choose("direction", name)}
          />
          <Select
            label={strings.outcomeColumn}
            testid="filter-outcome"
            value={outcome}
            options={[["", strings.anyOutcome], ...outcomes]}
            choose={(name) => choose("outcome", name)}
          />
          <Select
            label={strings.agent}
            testid="filter-agent"
            value={agentId}
            options={[["", strings.anyAgent], ...people]}
            choose={(id) => choose("handler", id)}
          />
          <button class="quiet" data-testid="refresh" onClick={() => setRound(round + 1)}>
            {strings.refresh}
          </button>
        </div>
      </div>
      <PagedCalls
        key={round}
        isToday={date === day}
        query={{ from: iso(range.from), to: iso(range.to), direction, outcome, agentId, limit: CALLS_A_PAGE }}
        withAgent
        label={strings.callsPage}
      />
    </section>
  );
}
