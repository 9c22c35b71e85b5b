import { useEffect, useRef, useState } from "preact/hooks";

import type { Session } from "../contract.ts";
import { LiveBoard } from "../live.ts";
import { strings } from "../strings/index.ts";
import { Agents } from "./agents.tsx";
import { Calls, WaitingCallers } from "./calls.tsx";
import { Counters } from "./counters.tsx";
import { Header } from "./header.tsx";

const DEFAULT_THRESHOLD_SECONDS = 20;

interface MonitorProps {
  token: string;
  session: Session;
  refused: (status: number) => void;
  signOut: () => void;
}

/** Redraws at most once a frame, however many deltas come. */
function useLive(token: string, refused: (status: number) => void): LiveBoard {
  const [, redraw] = useState(0);
  const live = useRef<LiveBoard | null>(null);
  const pending = useRef(false);
  if (live.current === null) {
    const changed = () => {
      if (pending.current) return;
      pending.current = true;
      // A hidden tab draws no frames; the connection's state must still be told.
      const soon = document.hidden ? (draw: () => void) => setTimeout(draw, 250) : requestAnimationFrame;
      soon(() => {
        pending.current = false;
        redraw((count) => count + 1);
      });
    };
    live.current = new LiveBoard(token, changed, refused);
  }
  useEffect(() => {
    live.current?.start();
    return () => live.current?.stop();
  }, []);
  return live.current;
}

export function Monitor({ token, session, refused, signOut }: MonitorProps) {
  const { state } = useLive(token, refused);
  const { board, clock } = state;
  const trusted = state.line === "live" && state.freshness?.stale === false;
  const today = board?.today() ?? null;
  const waiting = (board?.waiting() ?? []).sort((one, other) => one.since.localeCompare(other.since));
  const threshold = today?.serviceLevel.thresholdSeconds ?? DEFAULT_THRESHOLD_SECONDS;
  return (
    <>
      <a class="skip" href="#board">
        {strings.skip}
      </a>
      <Header session={session} state={state} signOut={signOut} />
      <main id="board" class={trusted ? "board" : "board untrusted"} data-testid="board" aria-busy={board === null}>
        {board === null ? (
          <p class="loading">{strings.loading}</p>
        ) : (
          <>
            {today !== null && (
              <Counters today={today} open={board.openMissedCalls()} waiting={waiting} state={state} />
            )}
            <div class="columns">
              <div class="side">
                {today !== null && <WaitingCallers waiting={waiting} clock={clock} threshold={threshold} />}
                <Calls calls={board.calls()} agents={board.agents()} clock={clock} />
              </div>
              <Agents agents={board.agents()} calls={board.calls()} clock={clock} />
            </div>
          </>
        )}
      </main>
    </>
  );
}
