import { Component } from "preact";

import type { BoardClock } from "../clock.ts";
import type { Agent, Call } from "../contract.ts";
import { fill, language, strings, wordFor } from "../strings/index.ts";
import { StateIcon } from "./icons.tsx";
import { Presumed } from "./presumed.tsx";
import { Since } from "./ticking.tsx";

interface TileProps {
  agent: Agent;
  call: Call | undefined;
  clock: BoardClock;
  /** Opens the agent's day; null where the viewer may not. */
  open: ((agentId: string) => void) | null;
  /** Callers' numbers are for those who work with them, not for everybody in the room. */
  withoutCallers?: boolean;
  /** Of all tiles the one that the Tab key reaches. */
  isStop?: boolean;
  /** The id of a text that says how to go on from here. */
  explainedBy?: string | undefined;
}

/** What is known beside the state: the reason, or with whom. */
function about(agent: Agent, call: Call | undefined, withoutCallers: boolean): string {
  if (call !== undefined) {
    return [withoutCallers ? null : (call.caller ?? strings.unknownCaller), call.skill].filter(Boolean).join(" · ");
  }
  return agent.reason === null ? "" : wordFor(strings.reason, agent.reason);
}

/** An agent. Of five hundred on a board only those that changed are drawn anew. */
export class AgentTile extends Component<TileProps> {
  private readonly drawnIn = language;

  override shouldComponentUpdate(next: TileProps): boolean {
    const { props } = this;
    const isOther = next.isStop !== props.isStop || next.explainedBy !== props.explainedBy;
    return isOther || next.agent !== props.agent || next.call !== props.call || this.drawnIn !== language;
  }

  override render({ agent, call, clock, open, withoutCallers = false, isStop = false, explainedBy }: TileProps) {
    const name = agent.name ?? agent.agentId;
    const state = strings.agentState[agent.state] ?? agent.state;
    return (
      <li
        class={`agent ${agent.state}${agent.presumed ? " presumed" : ""}`}
        data-testid={`agent-${agent.agentId}`}
        data-id={agent.agentId}
        data-state={agent.state}
        data-presumed={agent.presumed}
      >
        <span class="name" dir="auto" title={`${name}\n${agent.agentId}`}>
          {open === null ? (
            name
          ) : (
            <button
              dir="auto"
              tabIndex={isStop ? 0 : -1}
              aria-label={fill(strings.openAgent, { name, state })}
              aria-describedby={explainedBy}
              onClick={() => open(agent.agentId)}
            >
              {name}
            </button>
          )}
        </span>
        <Since since={agent.since} clock={clock} />
        <span class="state">
          <StateIcon state={agent.state} />
          {state}
          {agent.presumed && <Presumed />}
        </span>
        <span class="about">{about(agent, call, withoutCallers)}</span>
      </li>
    );
  }
}
