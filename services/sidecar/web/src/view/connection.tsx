import { useHelix } from "../context.ts";
import { count } from "../format.ts";
import { fill, fillFor, strings, wordFor } from "../strings/index.ts";
import { lastTruth, type LiveState, type Trust, trustOf } from "../trust.ts";
import { boardMoment, lasted } from "../when.ts";
import { Lasts } from "./ticking.tsx";

/** What is told of the connection: one word for machines, a line for people, and more where something is wrong. */
interface Told {
  word: Trust;
  line: string;
  note: string;
  lag: string;
  /** Since when it is so, where something is wrong. */
  since: number | null;
}

function told(state: LiveState, zone: string): Told {
  const { freshness, clock } = state;
  const word = trustOf(state);
  const moment = (at: number | null): string => (at === null ? "" : boardMoment(clock, at, zone));
  const truth = lastTruth(state);
  const time = moment(truth);
  switch (word) {
    case "connecting":
      return { word, line: strings.connecting, note: "", lag: "", since: null };
    case "live":
      return { word, line: strings.live, note: "", lag: "", since: null };
    case "disconnected":
      return { word, line: fill(strings.disconnected, { time }), note: strings.disconnectedNote, lag: "", since: truth };
    case "ended":
      return { word, line: strings.ended, note: fill(strings.endedNote, { time }), lag: "", since: truth };
    case "quiet": {
      const heard = freshness?.staleSince ?? state.board?.heardAt() ?? null;
      const since = heard === null ? null : Date.parse(heard);
      const calls = state.board?.callsUp() ?? 0;
      const line = fill(strings.quiet, { time: moment(since ?? clock.server()) });
      return { word, line, note: fillFor(calls, strings.quietNote, { count: calls }), lag: "", since };
    }
    case "stale": {
      const reasons = freshness?.staleReasons.map((reason) => wordFor(strings.staleReason, reason)).join("; ") ?? "";
      const { lagFacts: facts, lagSeconds: seconds } = freshness?.watermark ?? { lagFacts: 0, lagSeconds: 0 };
      const lag = facts > 0 ? fillFor(facts, strings.lag, { facts: count(facts), time: lasted(seconds * 1000) }) : "";
      return { word, line: fill(strings.stale, { time }), note: fill(strings.staleNote, { reasons }), lag, since: truth };
    }
  }
}

export function Connection({ state, zone }: { state: LiveState; zone: string }) {
  const { word, line } = told(state, zone);
  return (
    <p
      class={`connection ${word}`}
      role="status"
      data-testid="connection"
      data-state={word}
      data-mismatches={state.mismatches}
      data-root={state.board?.root()}
    >
      <span class="dot" aria-hidden="true" />
      {line}
    </p>
  );
}

/** Why the page cannot be trusted now. For how long, and the lag, which move all the time, are for eyes only. */
export function Banner({ state, zone, signOut }: { state: LiveState; zone: string; signOut: () => void }) {
  const { word, line, note, lag, since } = told(state, zone);
  if (note === "") return null;
  return (
    <p class={`banner ${word}`} data-testid="banner">
      <span role="alert">
        <strong>
          {line}
          {word === "quiet" ? ":" : "."}
        </strong>{" "}
        {note}
      </span>
      <span class="going-on" aria-hidden="true">
        {since !== null && <Lasts since={since} clock={state.clock} />}
        {lag !== "" && <span>{lag}</span>}
      </span>
      {word === "ended" && (
        <button class="main" data-testid="sign-in-again" onClick={signOut}>
          {strings.signInAgain}
        </button>
      )}
    </p>
  );
}

/** Says in time that the sign-in ends, where it could not be made to last. */
export function Ending({ endsAt, zone, signOut }: { endsAt: number | null; zone: string; signOut: () => void }) {
  const { clock, trust } = useHelix();
  if (endsAt === null || trust === "ended") return null;
  return (
    <p class="banner quiet" role="alert" data-testid="sign-in-ends">
      <span>{fill(strings.endsAt, { time: boardMoment(clock, endsAt, zone) })}</span>
      <button class="quiet" onClick={signOut}>
        {strings.signInAgain}
      </button>
    </p>
  );
}

/** When the provider last told anything, and in the title which of its streams told it. */
export function LastHeard({ state, zone }: { state: LiveState; zone: string }) {
  const { board, clock } = state;
  const heardAt = board?.heardAt() ?? null;
  if (board === null || heardAt === null) return null;
  const moment = (at: string): string => boardMoment(clock, Date.parse(at), zone);
  const streams = board
    .producers()
    .map(({ producer, receivedAt }) => `${wordFor(strings.producer, producer)} ${moment(receivedAt)}`);
  const title = [strings.lastHeardTitle, ...streams].join("\n");
  return (
    <p class="last-heard" data-testid="last-heard" title={title}>
      {fill(strings.lastHeard, { time: moment(heardAt) })}
    </p>
  );
}
