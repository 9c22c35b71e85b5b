import type { ComponentChildren } from "preact";

import type { CallDetail } from "../api-contract.ts";
import { duration } from "../clock.ts";
import { useHelix } from "../context.ts";
import { usePolled } from "../hooks/polled.ts";
import { strings, wordFor } from "../strings/index.ts";
import { Direction } from "./calls.tsx";
import { Dialog } from "./dialog.tsx";
import { FactTable, LegTable } from "./call-parts.tsx";
import { PolledNote } from "./panel.tsx";
import { dayAndTime } from "../when.ts";
import { Presumed } from "./presumed.tsx";

const EVERY_MS = 10_000;

function Entry({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children ?? "–"}</dd>
    </div>
  );
}

/** Only what a browser opens safely is a link: the address is the provider's. */
function Recording({ address }: { address: string | null }) {
  if (address === null) return <>–</>;
  if (!/^https?:\/\//i.test(address)) return <>{address}</>;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer">
      {strings.listen}
    </a>
  );
}

function About({ call }: { call: CallDetail }) {
  const { session, nameOf, day } = useHelix();
  const at = (moment: string | null): string =>
    moment === null ? "–" : dayAndTime(Date.parse(moment), day, session.zone);
  const time = (seconds: number | null): string => (seconds === null ? "–" : duration(seconds * 1000));
  return (
    <dl class="entries">
      <Entry name={strings.outcomeColumn}>
        <Direction direction={call.direction} /> {strings.outcome[call.outcome] ?? call.outcome}{" "}
        {call.presumed && <Presumed />}
      </Entry>
      <Entry name={strings.caller}>{call.caller ?? strings.unknownCaller}</Entry>
      <Entry name={strings.agent}>{call.agentIds.length === 0 ? "–" : call.agentIds.map(nameOf).join(" → ")}</Entry>
      <Entry name={strings.queue}>{call.skill}</Entry>
      <Entry name={strings.did}>{call.did}</Entry>
      <Entry name={strings.started}>{at(call.startedAt)}</Entry>
      <Entry name={strings.answeredAt}>{at(call.answeredAt)}</Entry>
      <Entry name={strings.endedAt}>{at(call.endedAt)}</Entry>
      <Entry name={strings.waited}>{time(call.waitSeconds)}</Entry>
      <Entry name={strings.talkTime}>{time(call.talkSeconds)}</Entry>
      <Entry name={strings.holdTime}>{time(call.holdSeconds)}</Entry>
      <Entry name={strings.wrapUpTime}>{time(call.wrapUpSeconds)}</Entry>
      <Entry name={strings.disposition}>{call.disposition}</Entry>
      <Entry name={strings.hangupBy}>{call.hangupBy && wordFor(strings.hangup, call.hangupBy)}</Entry>
      <Entry name={strings.campaign}>{call.campaign}</Entry>
      <Entry name={strings.recording}>
        <Recording address={call.recordingUrl} />
      </Entry>
      {call.conflicts.length > 0 && (
        <Entry name={strings.conflicts}>
          {call.conflicts.map((word) => wordFor(strings.conflict, word)).join(", ")}
        </Entry>
      )}
      <Entry name={strings.callId}>
        <code>{call.callId}</code>
      </Entry>
    </dl>
  );
}

/** One call with its legs, and the facts it is made of. */
export function CallDialog({ callId, close }: { callId: string; close: () => void }) {
  const { api } = useHelix();
  const load = (signal: AbortSignal) => api.get<CallDetail>(`/api/calls/${encodeURIComponent(callId)}`, {}, signal);
  const polled = usePolled(`call ${callId}`, load, EVERY_MS);
  return (
    <Dialog title={strings.call} testid="call-dialog" wide close={close}>
      <PolledNote polled={polled} />
      {polled.data !== null && (
        <>
          <About call={polled.data} />
          <LegTable legs={polled.data.legs} />
          <FactTable facts={polled.data.facts} />
        </>
      )}
    </Dialog>
  );
}
