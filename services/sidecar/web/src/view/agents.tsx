import { useEffect, useMemo, useState } from "preact/hooks";

import { AGENT_SORTS, type AgentSort, countStates, listAgents } from "../agent-list.ts";
import { AGENT_STATES, type Agent, type AgentState, type Call } from "../contract.ts";
import { useHelix } from "../context.ts";
import { announce } from "../announcer.ts";
import { focusOn } from "../focus.ts";
import { count } from "../format.ts";
import { useRoving } from "../hooks/roving.ts";
import { fill, fillFor, strings } from "../strings/index.ts";
import { AgentTile } from "./agent-tile.tsx";
import { type Chip, Chips } from "./chips.tsx";
import { StateIcon } from "./icons.tsx";
import { Panel } from "./panel.tsx";
import { Select } from "./select.tsx";

/** So long after the last letter it is said how many were found. */
const TYPED_MS = 700;
/** Of the text that says how keys lead from agent to agent. */
const KEYS_ID = "agents-keys";

const told = (found: number): string => fillFor(found, strings.agentsFound, { count: count(found) });

function stateChips(counts: Record<AgentState, number>, shown: AgentState | null): Chip<AgentState | null>[] {
  const states = AGENT_STATES.filter((state) => state !== "unknown" || counts.unknown > 0 || state === shown);
  const chips = states.map((state) => ({
    value: state,
    class: counts[state] === 0 ? "zero" : state,
    testid: `filter-${state}`,
    label: (
      <>
        <StateIcon state={state} />
        {strings.agentState[state]} <b>{count(counts[state])}</b>
      </>
    ),
  }));
  return [{ value: null, label: strings.all, testid: "filter-all" }, ...chips];
}

export function Agents(props: { agents: readonly Agent[]; calls: readonly Call[]; queue: string | null }) {
  const { clock, go, session, choices, choose } = useHelix();
  const [text, setText] = useState("");
  const state = AGENT_STATES.find((name) => name === choices.state) ?? null;
  const sort: AgentSort = AGENT_SORTS.find((name) => name === choices.sort) ?? "name";
  const { agents, calls, queue } = props;
  const callOf = useMemo(() => new Map(calls.map((call) => [call.callId, call])), [calls]);
  const ofQueue = useMemo(
    () => listAgents(agents, callOf, { state: null, text: "", queue }, sort),
    [agents, queue === null ? null : callOf, queue, sort],
  );
  const counts = useMemo(() => countStates(ofQueue), [ofQueue]);
  const listed = useMemo(
    () => listAgents(ofQueue, callOf, { state, text, queue: null }, sort),
    [ofQueue, state, text, sort],
  );
  const open = useMemo(
    () => (session.role !== "agent" ? (agentId: string) => go({ agent: agentId }) : null),
    [session],
  );
  const ids = useMemo(() => listed.map(({ agentId }) => agentId), [listed]);
  const { stop, explains, handlers } = useRoving(ids);
  useEffect(() => {
    if (text === "") return;
    // Said when the typing rests, and not for every letter.
    const timer = setTimeout(() => announce(told(listed.length)), TYPED_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const tools = (
    <div class="tools">
      {queue !== null && <small class="of-queue">{strings.agentsOfQueue}</small>}
      <input
        type="search"
        data-testid="find-agent"
        aria-label={strings.findAgent}
        placeholder={strings.findAgent}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter") return;
          // Else the same key would press what it leads to.
          event.preventDefault();
          focusOn("[data-testid=agents] button");
        }}
      />
      {text !== "" && (
        <small class="found" aria-hidden="true">
          {told(listed.length)}
        </small>
      )}
      <Select
        label={fill(strings.ofList, { text: strings.sortBy, list: strings.agents })}
        testid="sort-agents"
        value={sort}
        options={AGENT_SORTS.map((name) => [name, strings.agentSort[name]] as const)}
        choose={(name) => choose("sort", name === "name" ? null : name)}
      />
    </div>
  );
  return (
    <Panel id="agents" title={strings.agents} count={ofQueue.length} tools={tools}>
      <Chips
        title={strings.filter}
        chips={stateChips(counts, state)}
        value={state}
        choose={(chosen) => choose("state", chosen === state ? null : chosen)}
      />
      {listed.length === 0 ? (
        <p class="none">{agents.length === 0 ? strings.noAgents : strings.noAgentsFound}</p>
      ) : (
        <>
          <p id={KEYS_ID} hidden>
            {strings.agentsKeys}
          </p>
          <ul class="tiles" data-testid="agents" {...handlers}>
            {listed.map((agent) => (
              <AgentTile
                key={agent.agentId}
                agent={agent}
                call={agent.callId === null ? undefined : callOf.get(agent.callId)}
                clock={clock}
                open={open}
                isStop={agent.agentId === stop}
                explainedBy={explains && agent.agentId === stop ? KEYS_ID : undefined}
              />
            ))}
          </ul>
        </>
      )}
    </Panel>
  );
}
