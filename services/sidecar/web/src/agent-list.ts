// Which agents are listed, and in which order.

import { AGENT_STATES, type Agent, type AgentState, type Call } from "./contract.ts";

export const AGENT_SORTS = ["name", "state", "time"] as const;
export type AgentSort = (typeof AGENT_SORTS)[number];

export interface AgentFilter {
  state: AgentState | null;
  /** Part of a name or id. */
  text: string;
  /** Nobody who has a call of another queue; who is free, is so for all. */
  queue: string | null;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const nameOf = (agent: Agent): string => agent.name ?? agent.agentId;
const byName = (one: Agent, other: Agent): number =>
  collator.compare(nameOf(one), nameOf(other)) || collator.compare(one.agentId, other.agentId);
const isOffline = (agent: Agent): number => (agent.state === "offline" ? 1 : 0);
const rank = (agent: Agent): number => AGENT_STATES.indexOf(agent.state);

/** Whoever is offline comes last, whatever the order: nobody looks for them first. */
const orders: Record<AgentSort, (one: Agent, other: Agent) => number> = {
  name: (one, other) => isOffline(one) - isOffline(other) || byName(one, other),
  state: (one, other) => rank(one) - rank(other) || byName(one, other),
  time: (one, other) => isOffline(one) - isOffline(other) || one.since.localeCompare(other.since) || byName(one, other),
};

export function listAgents(
  agents: readonly Agent[],
  callOf: ReadonlyMap<string, Call>,
  filter: AgentFilter,
  sort: AgentSort,
): Agent[] {
  const wanted = filter.text.trim().toLocaleLowerCase();
  const listed = agents.filter((agent) => {
    if (filter.state !== null && agent.state !== filter.state) return false;
    if (filter.queue !== null && isElsewhere(agent, filter.queue, callOf)) return false;
    return wanted === "" || `${agent.name ?? ""}\n${agent.agentId}`.toLocaleLowerCase().includes(wanted);
  });
  return listed.sort(orders[sort]);
}

function isElsewhere(agent: Agent, queue: string, callOf: ReadonlyMap<string, Call>): boolean {
  const call = agent.callId === null ? undefined : callOf.get(agent.callId);
  return call !== undefined && call.skill !== queue;
}

export function countStates(agents: readonly Agent[]): Record<AgentState, number> {
  const counts = Object.fromEntries(AGENT_STATES.map((state) => [state, 0])) as Record<AgentState, number>;
  for (const agent of agents) counts[agent.state] = (counts[agent.state] ?? 0) + 1;
  return counts;
}

/** Every queue that is named, each once, in order. */
export function queues(...named: readonly (readonly { skill: string | null }[])[]): string[] {
  const found = new Set<string>();
  for (const list of named) for (const { skill } of list) if (skill !== null && skill !== "") found.add(skill);
  return [...found].sort(collator.compare);
}
