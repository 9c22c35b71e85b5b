// What the sidecar's API answers (contract.md, "Sidecar"), as far as the page uses it.

import type { AgentState, Session } from "./contract.ts";

export interface Ratio {
  numerator: number;
  denominator: number;
}

/** A bound of the workspace's own: something needs a person while the metric is above, or below, the value. */
export interface AlertRule {
  metric: string;
  above?: number | null;
  below?: number | null;
}

export interface Workspace {
  workspace: string;
  name: string;
  zone: string;
  thresholds: { serviceLevelSeconds: number; shortAbandonSeconds: number; wrapUpSeconds: number };
  alerts: AlertRule[];
  me: { subject: string; role: Session["role"]; agentId: string | null };
}

export interface Interval {
  state: AgentState;
  reason: string | null;
  startedAt: string;
  endedAt: string | null;
  callId: string | null;
  presumed: boolean;
}

export interface AgentSession {
  startedAt: string;
  endedAt: string | null;
  endedBy: string | null;
  signedInSeconds: number | null;
}

export interface Timeline {
  agentId: string;
  date: string;
  zone: string;
  intervals: Interval[];
  sessions: AgentSession[];
}

export interface Performance {
  agentId: string;
  date: string;
  handled: number;
  offered: number;
  missed: number;
  talkSeconds: number;
  holdSeconds: number;
  wrapUpSeconds: number;
  states: Partial<Record<string, number>>;
  signedInSeconds: number;
  aht: { totalSeconds: number; handled: number };
  occupancy: Ratio;
  utilisation: Ratio;
  dispositions: { disposition: string | null; calls: number }[];
}

export const OUTCOMES = ["answered", "missed", "short_abandon", "no_answer", "in_progress"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface CallRow {
  callId: string;
  direction: "inbound" | "outbound" | null;
  outcome: Outcome;
  caller: string | null;
  did: string | null;
  campaign: string | null;
  skill: string | null;
  agentId: string | null;
  agentIds: string[];
  startedAt: string;
  answeredAt: string | null;
  endedAt: string | null;
  waitSeconds: number | null;
  talkSeconds: number | null;
  holdSeconds: number | null;
  wrapUpSeconds: number | null;
  disposition: string | null;
  hangupBy: string | null;
  recordingUrl: string | null;
  presumed: boolean;
  /** Fields on which the events and the summary differ. */
  conflicts: string[];
}

export interface Leg {
  position: number;
  legId: string | null;
  agentId: string | null;
  status: string | null;
  outcome: string | null;
  startedAt: string | null;
  answeredAt: string | null;
  endedAt: string | null;
  waitSeconds: number | null;
  talkSeconds: number | null;
  transferred: boolean | null;
}

export interface FactPlace {
  topic: string;
  partition: number;
  offset: number;
  id: string;
  kind: string;
  occurredAt: string;
  receivedAt: string;
}

export interface CallDetail extends CallRow {
  legs: Leg[];
  facts: FactPlace[];
}

export interface MissedCall {
  callId: string;
  caller: string | null;
  did: string | null;
  skill: string | null;
  missedAt: string;
  status: "open" | "closed";
  attempts: number;
  priority: number;
  dueAt: string;
  claimedBy: string | null;
  claimedAt: string | null;
  closedAt: string | null;
  closedBy: string | null;
  closedReason: string | null;
}

export interface MissedCalls {
  missedCalls: MissedCall[];
  total: number;
  nextCursor: string | null;
}

/** Of all that are open, without a number of anybody's. */
export interface MissedSummary {
  open: number;
  overdue: number;
  claimed: number;
  oldestMissedAt: string | null;
}

export interface MetricsRow {
  from: string;
  to: string;
  by: string | null;
  offered: number;
  answered: number;
  missed: number;
  shortAbandoned: number;
  inProgress: number;
  serviceLevel: { answeredWithin: number; denominator: number };
  asa: { totalWaitSeconds: number; answered: number };
  aht: { totalSeconds: number; handled: number };
  abandonment: Ratio;
}

export interface Metrics {
  from: string;
  to: string;
  interval: string;
  zone: string;
  thresholdSeconds: number;
  rows: MetricsRow[];
}
