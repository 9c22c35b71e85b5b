import assert from "node:assert/strict";
import { test } from "node:test";

import { countStates, listAgents, queues } from "../src/agent-list.ts";
import { AGENT_STATES, type Agent, type AgentState, type Call } from "../src/contract.ts";

const agent = (
  agentId: string,
  name: string | null,
  state: AgentState,
  since: string,
  callId: string | null = null,
): Agent => ({
  agentId,
  name,
  state,
  since: `2026-03-02T0${since}:00.000Z`,
  reason: null,
  callId,
  mode: null,
  presumed: false,
});

const call = (callId: string, skill: string | null): Call => ({
  callId,
  direction: "inbound",
  caller: null,
  did: null,
  skill,
  agentId: null,
  state: "on_call",
  since: "",
  startedAt: "",
  presumed: false,
});

const team = [
  agent("a.3", "Zoya", "ready", "9:01"),
  agent("a.2", "asha", "offline", "3:00"),
  agent("a.1", "Bhavna", "on_call", "9:03", "c1"),
  agent("a.10", null, "ready", "9:02"),
  agent("a.9", null, "ringing", "9:00", "c2"),
];
const callOf = new Map([
  ["c1", call("c1", "OPD")],
  ["c2", call("c2", null)],
]);
const all = { state: null, text: "", queue: null };
const ids = (agents: Agent[]): string[] => agents.map((one) => one.agentId);

test("agents keep their places by name, numbers in order, whoever is offline last", () => {
  assert.deepEqual(ids(listAgents(team, callOf, all, "name")), ["a.9", "a.10", "a.1", "a.3", "a.2"]);
});

test("agents sort by state, and by how long they are in it", () => {
  assert.deepEqual(ids(listAgents(team, callOf, all, "state")), ["a.9", "a.1", "a.10", "a.3", "a.2"]);
  assert.deepEqual(ids(listAgents(team, callOf, all, "time")), ["a.9", "a.3", "a.10", "a.1", "a.2"]);
});

test("agents are found by state and by part of name or id; a queue leaves out who talks in another", () => {
  assert.deepEqual(ids(listAgents(team, callOf, { ...all, state: "ready" }, "name")), ["a.10", "a.3"]);
  assert.deepEqual(ids(listAgents(team, callOf, { ...all, text: " ASH " }, "name")), ["a.2"]);
  assert.deepEqual(ids(listAgents(team, callOf, { ...all, text: "a.1" }, "name")), ["a.10", "a.1"]);
  assert.deepEqual(ids(listAgents(team, callOf, { ...all, queue: "OPD" }, "name")), ["a.10", "a.1", "a.3", "a.2"]);
  const ready = listAgents(team, callOf, { state: "ready", text: "", queue: "OPD" }, "name");
  assert.deepEqual(ids(ready), ["a.10", "a.3"], "who is free is free for every queue");
});

test("listing leaves the board's own list as it is", () => {
  const before = ids(team);
  listAgents(team, callOf, all, "state");
  assert.deepEqual(ids(team), before);
});

test("every agent is counted in one state", () => {
  const counts = countStates(team);
  assert.equal(counts.ready, 2);
  assert.equal(
    AGENT_STATES.reduce((sum, state) => sum + counts[state], 0),
    team.length,
  );
});

test("queues are named once, in order, and only where there is a name", () => {
  assert.deepEqual(
    queues([{ skill: "OPD" }, { skill: null }, { skill: "" }], [{ skill: "Billing" }, { skill: "OPD" }]),
    ["Billing", "OPD"],
  );
});
