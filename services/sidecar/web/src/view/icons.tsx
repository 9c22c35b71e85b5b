// One shape a state, so that colour never carries a meaning alone. Drawn on 16 x 16.

import type { AgentState } from "../contract.ts";

const shapes: Record<AgentState, string> = {
  ready: "M3 8.5l3.2 3.2L13 4.8",
  ringing: "M8 2.5a4 4 0 0 0-4 4V10l-1.2 2h10.4L12 10V6.5a4 4 0 0 0-4-4zM6.7 14h2.6",
  on_call: "M3.5 2.5h2.6l1.2 3-1.6 1.2a8 8 0 0 0 3.6 3.6l1.2-1.6 3 1.2v2.6c0 .6-.5 1-1 1A10.5 10.5 0 0 1 2.5 3.5c0-.5.4-1 1-1z",
  wrap_up: "M3 13l.6-3L10.8 2.8l2.4 2.4L6 12.4z",
  paused: "M5.5 3.5v9M10.5 3.5v9",
  unknown: "M5.6 5.8A2.5 2.5 0 1 1 8 8.6v1.2M8 12.6v.2",
  offline: "M8 2.5v5M4.8 4.3a5 5 0 1 0 6.4 0",
};

export function StateIcon({ state }: { state: AgentState }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={shapes[state] ?? shapes.unknown} />
    </svg>
  );
}
