import { useState } from "preact/hooks";

import type { BoardClock } from "../clock.ts";
import { AGENT_STATES, type Agent, type AgentState, type Call } from "../contract.ts";
import { strings } from "../strings/index.ts";
import { StateIcon } from "./icons.tsx";
import { Since } from "./ticking.tsx";

/** By name, so that everybody keeps their place; whoever is offline comes last. */
function inOrder(agents: Agent[]): Agent[] {
  const rank = (agent: Agent): number => (agent.state === "offline" ? 1 : 0);
  const name = (agent: Agent): string => agent.name ?? agent.agentId;
  return [...agents].sort((one, other) => rank(one) - rank(other) || name(one).localeCompare(name(other)));
}

function Tile({ agent, call, clock }: { agent: Agent; call: Call | undefined; clock: BoardClock }) {
  const reason = agent.reason === null ? null : (strings.reason[agent.reason] ?? agent.reason);
  const about = call === undefined ? reason : [call.caller ?? strings.unknownCaller, call.skill].filter(Boolean).join(" · ");
  return (
    <li class={`agent ${agent.state}`} data-testid={`agent-${agent.agentId}`} data-state={agent.state}>
      <span class="name" title={agent.agentId}>
        {agent.name ?? agent.agentId}
      </span>
      <Since since={agent.since} clock={clock} />
      <span class="state">
        <StateIcon state={agent.state} />
        {strings.agentState[agent.state] ?? agent.state}
      </span>
      <span class="about">{about}</span>
    </li>
  );
}

export function Agents({ agents, calls, clock }: { agents: Agent[]; calls: Call[]; clock: BoardClock }) {
  const [shown, setShown] = useState<AgentState | null>(null);
  const callOf = new Map(calls.map((call) => [call.callId, call]));
  const counts = AGENT_STATES.map((state) => [state, agents.filter((agent) => agent.state === state).length] as const);
  const listed = inOrder(agents.filter((agent) => shown === null || agent.state === shown));
  return (
    <section class="panel agents" aria-labelledby="agents-title">
      <h2 id="agents-title">
        {strings.agents} <span class="count">{agents.length}</span>
      </h2>
      <div class="chips" role="group" aria-label={strings.filter}>
        <button class="chip" aria-pressed={shown === null} onClick={() => setShown(null)}>
          {strings.all}
        </button>
        {counts
          .filter(([state, count]) => state !== "unknown" || count > 0 || state === shown)
          .map(([state, count]) => (
            <button
              key={state}
              class={count === 0 ? "chip zero" : `chip ${state}`}
              data-testid={`filter-${state}`}
              aria-pressed={shown === state}
              onClick={() => setShown(shown === state ? null : state)}
            >
              <StateIcon state={state} />
              {strings.agentState[state]} <b>{count}</b>
            </button>
          ))}
      </div>
      {listed.length === 0 ? (
        <p class="none">{agents.length === 0 ? strings.noAgents : strings.noAgentsInState}</p>
      ) : (
        <ul class="tiles" data-testid="agents">
          {listed.map((agent) => (
            <Tile
              key={agent.agentId}
              agent={agent}
              call={agent.callId === null ? undefined : callOf.get(agent.callId)}
              clock={clock}
            />
          ))}
        </ul>
      )}
    </section>
  );
}
