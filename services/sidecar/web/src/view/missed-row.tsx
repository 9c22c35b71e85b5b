import { useEffect, useState } from "preact/hooks";

import type { MissedCall } from "../api-contract.ts";
import { announce } from "../announcer.ts";
import { mayAct, useHelix } from "../context.ts";
import { dialable } from "../format.ts";
import { fill, strings } from "../strings/index.ts";
import { dayAndTime } from "../when.ts";
import type { Action } from "../worklist.ts";
import type { ShownRow } from "../worklist-shown.ts";
import { CallLink } from "./calls.tsx";
import { Due } from "./ticking.tsx";

/** For so long the button says what came of it. */
const COPIED_MS = 3000;

/** Which call a button is for, told to who hears it: one number may have been missed twice. */
type About = { caller: string; time: string };

type Act = (action: Action, row: MissedCall) => void;

function Button(props: {
  name: string;
  about: string;
  testid: string;
  busy: boolean;
  main?: boolean;
  press: () => void;
}) {
  return (
    <button
      type="button"
      class={props.main === true ? "main" : "quiet"}
      aria-label={props.about}
      aria-disabled={props.busy}
      data-testid={props.testid}
      onClick={() => !props.busy && props.press()}
    >
      {props.name}
    </button>
  );
}

/** Only who has claimed a missed call calls back: two people never ring the same patient. */
function CallBack({ row, about }: { row: MissedCall; about: About }) {
  const { session } = useHelix();
  const [copied, setCopied] = useState<boolean | null>(null);
  useEffect(() => {
    if (copied === null) return;
    const timer = setTimeout(() => setCopied(null), COPIED_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const number = row.caller === null || !session.seesCallers ? null : dialable(row.caller);
  if (number === null) return null;
  const copy = () => {
    // There is no clipboard on plain http; then saying so is all that can be done.
    const written = navigator.clipboard?.writeText(number) ?? Promise.reject(new Error("no clipboard"));
    const tell = (done: boolean) => {
      setCopied(done);
      announce(done ? strings.copied : strings.copyFailed);
    };
    written.then(
      () => tell(true),
      () => tell(false),
    );
  };
  return (
    <>
      <a
        class="main"
        href={`tel:${number}`}
        data-testid={`call-back-${row.callId}`}
        aria-label={fill(strings.callBackFor, about)}
      >
        {strings.callBack}
      </a>
      {navigator.clipboard !== undefined && (
        <button
          class={`quiet ${copied === false ? "bad" : ""}`}
          aria-label={copied === null ? fill(strings.copyFor, about) : undefined}
          data-testid={`copy-${row.callId}`}
          onClick={copy}
        >
          {copied === null ? strings.copy : copied ? strings.copied : strings.copyFailed}
        </button>
      )}
    </>
  );
}

function Actions({ shown, isMine, act }: { shown: ShownRow; isMine: boolean; act: Act }) {
  const { row, pending } = shown;
  const { session, day } = useHelix();
  const about: About = {
    caller: row.caller ?? strings.unknownCaller,
    time: dayAndTime(Date.parse(row.missedAt), day, session.zone, false),
  };
  const busy = pending !== null;
  const isFree = row.claimedBy === null || pending === "claim";
  return (
    <div class="actions">
      {isFree && (
        <Button
          name={strings.claim}
          about={fill(strings.claimFor, about)}
          testid={`claim-${row.callId}`}
          busy={busy}
          main
          press={() => act("claim", row)}
        />
      )}
      {isMine && !isFree && <CallBack row={row} about={about} />}
      {!isFree && (
        <Button
          name={strings.release}
          about={fill(strings.releaseFor, about)}
          testid={`release-${row.callId}`}
          busy={busy}
          press={() => act("release", row)}
        />
      )}
      {(isMine || isFree) && (
        <Button
          name={strings.waive}
          about={fill(strings.waiveFor, about)}
          testid={`waive-${row.callId}`}
          busy={busy}
          press={() => act("waive", row)}
        />
      )}
    </div>
  );
}

/** Who has it, or why what was asked for was not done. */
function Standing({ shown, isMine }: { shown: ShownRow; isMine: boolean }) {
  const { session, day } = useHelix();
  const { row, refusal } = shown;
  const at = (moment: string | null): string =>
    moment === null ? "–" : dayAndTime(Date.parse(moment), day, session.zone);
  if (refusal?.kind === "claimed") {
    const name = refusal.by ?? row.claimedBy;
    const text =
      name === null
        ? strings.claimedByNobody
        : fill(strings.refused.claimed, { name, time: at(refusal.at ?? row.claimedAt) });
    return <p class="standing bad">{text}</p>;
  }
  if (refusal !== null) return <p class="standing bad">{strings.refused[refusal.kind]}</p>;
  if (row.claimedBy === null) return null;
  const text = isMine
    ? fill(strings.mine, { time: at(row.claimedAt) })
    : fill(strings.claimedBy, { name: row.claimedBy, time: at(row.claimedAt) });
  return <p class="standing">{text}</p>;
}

export function MissedRow({ shown, act }: { shown: ShownRow; act: Act }) {
  const { session, me, clock, day } = useHelix();
  const { row, pending } = shown;
  const isMine = me !== null && row.claimedBy === me;
  const standing = pending !== null ? "pending" : row.claimedBy === null ? "free" : isMine ? "mine" : "claimed";
  const missedAt = fill(strings.missedAt, { time: dayAndTime(Date.parse(row.missedAt), day, session.zone, false) });
  const attempts = row.attempts > 0 ? fill(strings.attempts, { count: row.attempts }) : null;
  const about = [row.skill ?? row.did, missedAt, attempts].filter((part) => part !== null);
  return (
    <li
      class={`missed ${standing}${shown.isGone ? " gone" : ""}`}
      data-testid={`missed-${row.callId}`}
      data-state={standing}
    >
      <span class="priority" title={fill(strings.priority, { value: row.priority })}>
        <span class="unseen">{fill(strings.priority, { value: row.priority })}</span>
        <span aria-hidden="true">{row.priority}</span>
      </span>
      <div class="who-missed">
        <CallLink callId={row.callId} caller={row.caller} at={row.missedAt} />
        <p class="about">
          {about.map((part, at) => (
            <span key={at}>
              {part}
              {at < about.length - 1 && " ·"}{" "}
            </span>
          ))}
        </p>
        <Standing shown={shown} isMine={isMine} />
      </div>
      <Due
        at={row.dueAt}
        clock={clock}
        due={(time) => fill(strings.dueIn, { time })}
        overdue={(time) => fill(strings.overdueBy, { time })}
      />
      {mayAct(session) && me !== null && !shown.isGone && <Actions shown={shown} isMine={isMine} act={act} />}
    </li>
  );
}
