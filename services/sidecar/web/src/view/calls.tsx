import type { BoardClock } from "../clock.ts";
import type { Agent, Call, Waiting } from "../contract.ts";
import { strings } from "../strings/index.ts";
import { StateIcon } from "./icons.tsx";
import { Since, Wait } from "./ticking.tsx";

export function WaitingCallers(props: { waiting: Waiting[]; clock: BoardClock; threshold: number }) {
  return (
    <section class="panel waiting" aria-labelledby="waiting-title">
      <h2 id="waiting-title">
        {strings.waiting} <span class="count">{props.waiting.length}</span>
      </h2>
      {props.waiting.length === 0 ? (
        <p class="none">{strings.nobodyWaits}</p>
      ) : (
        <ol data-testid="waiting">
          {props.waiting.map((caller) => (
            <li key={caller.callId} data-testid={`waiting-${caller.callId}`}>
              <Wait since={caller.since} clock={props.clock} threshold={props.threshold} />
              <span class="caller">{caller.caller ?? strings.unknownCaller}</span>
              <span class="skill">{caller.skill ?? caller.did}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Row({ call, agent, clock }: { call: Call; agent: Agent | undefined; clock: BoardClock }) {
  const direction = call.direction ?? "unknown";
  return (
    <tr data-testid={`call-${call.callId}`} data-state={call.state}>
      <td>
        <abbr class={`direction ${direction}`} title={strings.directionTitle[direction]}>
          {strings.direction[direction]}
        </abbr>
      </td>
      <th scope="row">{call.caller ?? strings.unknownCaller}</th>
      <td>
        <span class={`state ${call.state}`}>
          <StateIcon state={call.state} />
          {strings.callState[call.state]}
          {call.presumed && <em> ({strings.presumed})</em>}
        </span>
      </td>
      <td>{agent?.name ?? call.agentId ?? "–"}</td>
      <td class="queue">{call.skill ?? call.did ?? "–"}</td>
      <td class="number">
        <Since since={call.since} clock={clock} />
      </td>
    </tr>
  );
}

export function Calls({ calls, agents, clock }: { calls: Call[]; agents: Agent[]; clock: BoardClock }) {
  const agentOf = new Map(agents.map((agent) => [agent.agentId, agent]));
  const listed = [...calls].sort((one, other) => one.startedAt.localeCompare(other.startedAt));
  return (
    <section class="panel calls" aria-labelledby="calls-title">
      <h2 id="calls-title">
        {strings.calls} <span class="count">{calls.length}</span>
      </h2>
      {listed.length === 0 ? (
        <p class="none">{strings.noCalls}</p>
      ) : (
        <div class="scroll" role="region" aria-labelledby="calls-title" tabIndex={0}>
          <table data-testid="calls">
            <thead>
              <tr>
                <th scope="col">
                  <span class="unseen">{strings.directionColumn}</span>
                </th>
                <th scope="col">{strings.caller}</th>
                <th scope="col">{strings.state}</th>
                <th scope="col">{strings.agent}</th>
                <th scope="col" class="queue">
                  {strings.skill}
                </th>
                <th scope="col" class="number">
                  {strings.duration}
                </th>
              </tr>
            </thead>
            <tbody>
              {listed.map((call) => (
                <Row
                  key={call.callId}
                  call={call}
                  agent={call.agentId === null ? undefined : agentOf.get(call.agentId)}
                  clock={clock}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
