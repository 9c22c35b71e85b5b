import { timeOfDay } from "../clock.ts";
import type { LiveState } from "../live.ts";
import { lastTruth } from "../live.ts";
import { fill, strings } from "../strings/index.ts";

/** What is told of the connection: one word for machines, a line for people, and more where something is wrong. */
interface Told {
  word: "connecting" | "live" | "stale" | "disconnected";
  line: string;
  note: string;
  lag: string;
}

function told(state: LiveState, zone: string): Told {
  const { freshness } = state;
  const truth = lastTruth(state);
  const time = truth === null ? "" : timeOfDay(state.clock.boardTime(truth), zone);
  if (state.line === "disconnected") {
    return {
      word: "disconnected",
      line: fill(strings.disconnected, { time }),
      note: strings.disconnectedNote,
      lag: "",
    };
  }
  if (freshness === null) return { word: "connecting", line: strings.connecting, note: "", lag: "" };
  if (truth === null) return { word: "live", line: strings.live, note: "", lag: "" };
  const reasons = freshness.staleReasons.map((reason) => strings.staleReason[reason] ?? reason).join("; ");
  const { lagFacts, lagSeconds } = freshness.watermark;
  const lag = lagFacts > 0 ? `${fill(strings.lag, { facts: lagFacts, seconds: lagSeconds })}.` : "";
  return { word: "stale", line: fill(strings.stale, { time }), note: fill(strings.staleNote, { reasons }), lag };
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

/** Why the page cannot be trusted now. The lag, which moves all the time, is for eyes only. */
export function Banner({ state, zone }: { state: LiveState; zone: string }) {
  const { word, line, note, lag } = told(state, zone);
  if (note === "") return null;
  return (
    <p class={`banner ${word}`} data-testid="banner">
      <span role="alert">
        <strong>{line}.</strong> {note}
      </span>{" "}
      <span aria-hidden="true">{lag}</span>
    </p>
  );
}
