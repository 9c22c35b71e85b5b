import type { CallRow } from "../api-contract.ts";
import { duration, timeOfDay } from "../clock.ts";
import { useHelix } from "../context.ts";
import { strings } from "../strings/index.ts";
import { CallLink, Direction } from "./calls.tsx";
import { Presumed } from "./presumed.tsx";

const time = (seconds: number | null): string => (seconds === null ? "–" : duration(seconds * 1000));

/** Calls of the past, newest first. */
export function CallTable({
  calls,
  withAgent,
  label,
}: {
  calls: readonly CallRow[];
  withAgent: boolean;
  label: string;
}) {
  const { session, nameOf } = useHelix();
  return (
    <div class="scroll" role="group" aria-label={label} tabIndex={0}>
      <table data-testid="call-list">
        <caption class="unseen">{label}</caption>
        <thead>
          <tr>
            <th scope="col">{strings.started}</th>
            <th scope="col">
              <span class="unseen">{strings.directionColumn}</span>
            </th>
            <th scope="col">{strings.caller}</th>
            <th scope="col">{strings.outcomeColumn}</th>
            {withAgent && <th scope="col">{strings.agent}</th>}
            <th scope="col">{strings.queue}</th>
            <th scope="col" class="number">
              {strings.waited}
            </th>
            <th scope="col" class="number">
              {strings.talked}
            </th>
            <th scope="col">{strings.disposition}</th>
          </tr>
        </thead>
        <tbody>
          {calls.map((call) => (
            <tr key={call.callId} class={call.presumed ? "presumed" : ""} data-testid={`row-${call.callId}`}>
              <td>{timeOfDay(Date.parse(call.startedAt), session.zone)}</td>
              <td>
                <Direction direction={call.direction} />
              </td>
              <th scope="row">
                <CallLink callId={call.callId} caller={call.caller} at={call.startedAt} />
              </th>
              <td>
                <span class={`outcome ${call.outcome}`}>{strings.outcome[call.outcome] ?? call.outcome}</span>
                {call.presumed && <Presumed />}
              </td>
              {withAgent && <td class="clip" dir="auto">{call.agentId === null ? "–" : nameOf(call.agentId)}</td>}
              <td>{call.skill ?? call.did ?? "–"}</td>
              <td class="number">{time(call.waitSeconds)}</td>
              <td class="number">{time(call.talkSeconds)}</td>
              <td>{call.disposition ?? "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
