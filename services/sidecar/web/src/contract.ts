// The board and its events, as the sidecar sends them (contract.md, "Sidecar").

export const AGENT_STATES = ["ringing", "on_call", "wrap_up", "ready", "paused", "unknown", "offline"] as const;
export type AgentState = (typeof AGENT_STATES)[number];

export interface Agent {
  agentId: string;
  name: string | null;
  state: AgentState;
  since: string;
  reason: string | null;
  callId: string | null;
  mode: string | null;
  /** The state rests on a decision of Helix, not on the provider's word. */
  presumed: boolean;
}

export interface Call {
  callId: string;
  direction: "inbound" | "outbound" | null;
  caller: string | null;
  did: string | null;
  skill: string | null;
  agentId: string | null;
  state: "ringing" | "on_call";
  since: string;
  startedAt: string;
  presumed: boolean;
}

export interface Waiting {
  callId: string;
  caller: string | null;
  did: string | null;
  skill: string | null;
  since: string;
}

export interface Today {
  offered: number;
  answered: number;
  missed: number;
  shortAbandoned: number;
  inProgress: number;
  serviceLevel: { answeredWithin: number; denominator: number; thresholdSeconds: number };
}

export interface Freshness {
  asOf: string;
  version: number;
  stale: boolean;
  staleSince: string | null;
  staleReasons: string[];
  watermark: { occurredAt: string | null; lagFacts: number; lagSeconds: number; receivedAt: string | null };
}

export interface Board extends Freshness {
  workspace: string;
  root: string;
  agents: Agent[];
  calls: Call[];
  waiting: Waiting[];
  today: Today | null;
  openMissedCalls: number | null;
}

export interface Change {
  op: "set" | "remove";
  path: string;
  value?: unknown;
}

export interface Delta {
  version: number;
  changes: Change[];
  hash: string;
  asOf: string;
}

export interface Session {
  workspace: string;
  workspaceName: string;
  zone: string;
  role: "admin" | "supervisor" | "analyst" | "auditor" | "agent";
  agentId: string | null;
  seesCallers: boolean;
  expiresAt: number;
}
