import type { BoardClock } from "../clock.ts";
import type { Call, Waiting } from "../contract.ts";
import { useHelix } from "../context.ts";
import { fill, strings } from "../strings/index.ts";
import { StateIcon } from "./icons.tsx";
import { dayAndTime } from "../when.ts";
import { Panel } from "./panel.tsx";
import { Presumed } from "./presumed.tsx";
import { useShortened } from "./shorten.tsx";
import { Since, Wait } from "./ticking.tsx";

const FIRST_WAITING = 8;
const FIRST_CALLS = 12;

export function WaitingCallers(props: { waiting: readonly Waiting[]; clock: BoardClock; threshold: number }) {
  const [listed, more] = useShortened(props.waiting, FIRST_WAITING, strings.waiting);
  return (
    <Panel id="waiting" title={strings.waiting} count={props.waiting.length}>
      {listed.length === 0 ? (
        <p class="none">{strings.nobodyWaits}</p>
      ) : (
        <ol data-testid="waiting">
          {listed.map((caller) => (
            <li key={caller.callId} data-testid={`waiting-${caller.callId}`}>
              <Wait since={caller.since} clock={props.clock} threshold={props.threshold} />
              <span class="caller">{caller.caller ?? strings.unknownCaller}</span>
              <span class="skill">{caller.skill ?? caller.did}</span>
            </li>
          ))}
        </ol>
      )}
      {more}
    </Panel>
  );
}

export function Direction({ direction }: { direction: Call["direction"] }) {
  const word = direction ?? "unknown";
  return (
    <abbr class={`direction ${word}`} title={strings.directionTitle[word]}>
      {strings.direction[word]}
    </abbr>
  );
}

/** A caller's number that opens the call. */
export function CallLink({ callId, caller, at }: { callId: string; caller: string | null; at: string }) {
  const { go, day, session } = useHelix();
  const number = caller ?? strings.unknownCaller;
  // One number may have called twice, and many are not known.
  const time = dayAndTime(Date.parse(at), day, session.zone);
  const name = fill(strings.openCall, { caller: number, time });
  return (
    <button class="link" aria-label={name} onClick={() => go({ call: callId })}>
      {number}
    </button>
  );
}

function Row({ call }: { call: Call }) {
  const { nameOf, clock } = useHelix();
  return (
    <tr class={call.presumed ? "presumed" : ""} data-testid={`call-${call.callId}`} data-state={call.presumed ? "over" : call.state}>
      <td>
        <Direction direction={call.direction} />
      </td>
      <th scope="row">
        <CallLink callId={call.callId} caller={call.caller} at={call.startedAt} />
      </th>
      <td>
        {call.presumed ? (
          <span class="state">
            {strings.callOver} <Presumed />
          </span>
        ) : (
          <span class={`state ${call.state}`}>
            <StateIcon state={call.state} />
            {strings.callState[call.state]}
          </span>
        )}
      </td>
      <td class="clip" dir="auto">{call.agentId === null ? "–" : nameOf(call.agentId)}</td>
      <td class="queue clip">{call.skill ?? call.did ?? "–"}</td>
      <td class="number">{call.presumed ? "–" : <Since since={call.since} clock={clock} />}</td>
    </tr>
  );
}

/** In progress; below them those whose end nobody told and which are presumed to have ended lately. */
export function Calls({ calls }: { calls: readonly Call[] }) {
  const [listed, more] = useShortened(calls, FIRST_CALLS, strings.calls);
  return (
    <Panel id="calls" title={strings.calls} count={calls.filter((call) => !call.presumed).length}>
      {listed.length === 0 ? (
        <p class="none">{strings.noCalls}</p>
      ) : (
        <div class="scroll" role="group" aria-labelledby="calls-title" tabIndex={0}>
          <table data-testid="calls">
            <caption class="unseen">{strings.calls}</caption>
            <thead>
              <tr>
                <th scope="col">
                  <span class="unseen">{strings.directionColumn}</span>
                </th>
                <th scope="col">{strings.caller}</th>
                <th scope="col">{strings.state}</th>
                <th scope="col">{strings.agent}</th>
                <th scope="col" class="queue">
                  {strings.queue}
                </th>
                <th scope="col" class="number">
                  {strings.duration}
                </th>
              </tr>
            </thead>
            <tbody>
              {listed.map((call) => (
                <Row key={call.callId} call={call} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {more}
    </Panel>
  );
}
