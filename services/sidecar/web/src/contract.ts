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

/** The last event of one of the provider's streams. */
export interface Producer {
  producer: string;
  receivedAt: string;
  occurredAt: string;
}

export interface Freshness {
  asOf: string;
  version: number;
  stale: boolean;
  staleSince: string | null;
  staleReasons: string[];
  /** Since when what is read from the records (lists, plots, days) may be behind. An older server says nothing of it. */
  recordsStaleSince?: string | null;
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
  /** An older server has none. */
  producers?: Producer[];
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
  /** Who it is, as claims and waives name the person. An older server leaves it to the workspace's answer. */
  subject?: string;
  /** Seconds of Unix time. */
  expiresAt: number;
}
