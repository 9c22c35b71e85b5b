import { timeOfDay } from "../clock.ts";
import type { Session } from "../contract.ts";
import type { LiveState } from "../live.ts";
import { fill, strings } from "../strings/index.ts";
import { Clock } from "./ticking.tsx";

/** What is told of the connection: one word for machines, a line for people, and more where something is wrong. */
function told(state: LiveState, zone: string): { word: string; line: string; note: string } {
  const { freshness } = state;
  if (state.line === "disconnected") {
    const line = fill(strings.disconnected, { time: timeOfDay(state.brokenSince ?? state.clock.server(), zone) });
    return { word: "disconnected", line, note: strings.disconnectedNote };
  }
  if (freshness === null) return { word: "connecting", line: strings.connecting, note: "" };
  if (!freshness.stale) return { word: "live", line: strings.live, note: "" };
  const since = freshness.staleSince === null ? state.clock.server() : Date.parse(freshness.staleSince);
  const reasons = freshness.staleReasons.map((reason) => strings.staleReason[reason] ?? reason).join("; ");
  const { lagFacts, lagSeconds } = freshness.watermark;
  const lag = lagFacts > 0 ? ` ${fill(strings.lag, { facts: lagFacts, seconds: lagSeconds })}.` : "";
  return {
    word: "stale",
    line: fill(strings.stale, { time: timeOfDay(since, zone) }),
    note: fill(strings.staleNote, { reasons }) + lag,
  };
}

export function Header({ session, state, signOut }: { session: Session; state: LiveState; signOut: () => void }) {
  const connection = told(state, session.zone);
  return (
    <div class="sticky">
      <header class="top">
        <img src="/favicon.svg" alt="" width="28" height="28" />
        <h1 data-testid="hospital">{session.workspaceName}</h1>
        <p
          class={`connection ${connection.word}`}
          role="status"
          data-testid="connection"
          data-state={connection.word}
          data-mismatches={state.mismatches}
        >
          <span class="dot" aria-hidden="true" />
          {connection.line}
        </p>
        <Clock clock={state.clock} zone={session.zone} title={strings.boardTime} />
        <span class="who">{strings.role[session.role]}</span>
        <button class="quiet" data-testid="signout" onClick={signOut}>
          {strings.signOut}
        </button>
      </header>
      {connection.note !== "" && (
        <p class={`banner ${connection.word}`} role="alert" data-testid="banner">
          <strong>{connection.line}.</strong> {connection.note}
        </p>
      )}
    </div>
  );
}
