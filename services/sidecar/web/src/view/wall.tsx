import { useEffect, useMemo } from "preact/hooks";

import { countStates, listAgents } from "../agent-list.ts";
import type { BoardCopy } from "../board.ts";
import { AGENT_STATES } from "../contract.ts";
import { useHelix } from "../context.ts";
import { percent } from "../format.ts";
import { useOverview } from "../hooks/overview.ts";
import { useWorklist } from "../hooks/worklist.ts";
import type { LiveState } from "../live.ts";
import { strings } from "../strings/index.ts";
import { AgentTile } from "./agent-tile.tsx";
import { Alerts } from "./alerts.tsx";
import { Banner, Connection } from "./connection.tsx";
import { DayPlots } from "./day-plots.tsx";
import { StateIcon } from "./icons.tsx";
import { AsOf } from "./panel.tsx";
import { Clock, Wait } from "./ticking.tsx";

/** More than these cannot be read from the other end of a room; then the counts alone are shown. */
const MOST_AGENTS = 60;
/** With more than these there is no room for the day's plots, and the tiles are smaller. */
const FEW_AGENTS = 24;

/** A screen that hangs on a wall must not go dark; browsers that cannot promise it are left alone. */
function useWakeLock(): void {
  useEffect(() => {
    let lock: WakeLockSentinel | null = null;
    const hold = () => {
      if (document.hidden) return;
      navigator.wakeLock?.request("screen").then(
        (held) => (lock = held),
        () => {},
      );
    };
    hold();
    document.addEventListener("visibilitychange", hold);
    return () => {
      document.removeEventListener("visibilitychange", hold);
      void lock?.release();
    };
  }, []);
}

function Big(props: { name: string; testid: string; children: preact.ComponentChildren }) {
  return (
    <div class="big">
      <dt>{props.name}</dt>
      <dd data-testid={props.testid}>{props.children}</dd>
    </div>
  );
}

/** The board for a wall: large, without anything to press. Escape leaves it. */
export function Wall({ board, state }: { board: BoardCopy; state: LiveState }) {
  const { session, workspace, clock } = useHelix();
  useWakeLock();
  const { list, polled } = useWorklist("priority", board.openMissedCalls());
  const overview = useOverview(board, clock, workspace, polled.data === null ? null : list.rows);
  const { today, waiting, threshold } = overview;
  const agents = board.agents();
  const counts = useMemo(() => countStates(agents), [agents]);
  const calls = board.calls();
  const callOf = useMemo(() => new Map(calls.map((call) => [call.callId, call])), [calls]);
  const present = useMemo(
    () =>
      listAgents(
        agents.filter((agent) => agent.state !== "offline"),
        callOf,
        { state: null, text: "", queue: null },
        "name",
      ),
    [agents],
  );
  const longest = waiting[0];
  return (
    <div class="wall" data-testid="wall">
      <header class="top">
        <h1 data-testid="hospital">{session.workspaceName}</h1>
        <Connection state={state} zone={session.zone} />
        <Clock clock={clock} zone={session.zone} title={strings.boardTime} />
      </header>
      <Banner state={state} zone={session.zone} />
      <main id="board" class={state.line === "live" && state.freshness?.stale === false ? "" : "untrusted"}>
        <Alerts bounds={overview.bounds} read={overview.read} />
        <AsOf />
        <dl class="bigs">
          <Big name={strings.longestWait} testid="longest-wait">
            {longest === undefined ? "–" : <Wait since={longest.since} clock={clock} threshold={threshold} />}
          </Big>
          <Big name={strings.waiting} testid="wall-waiting">
            {waiting.length}
          </Big>
          <Big name={strings.serviceLevel} testid="service-level">
            {today === null ? "–" : percent(today.serviceLevel.answeredWithin, today.serviceLevel.denominator)}
          </Big>
          <Big name={strings.openMissedCalls} testid="open-missed-calls">
            {board.openMissedCalls() ?? "–"}
          </Big>
          <Big name={strings.answered} testid="counter-answered">
            {today?.answered ?? "–"}
          </Big>
        </dl>
        <ul class="wall-states" aria-label={strings.agents}>
          {AGENT_STATES.filter((name) => name !== "unknown" || counts.unknown > 0).map((name) => (
            <li key={name} class={name}>
              <StateIcon state={name} />
              <b>{counts[name]}</b> {strings.agentState[name]}
            </li>
          ))}
        </ul>
        {present.length <= MOST_AGENTS && (
          <ul class={present.length > FEW_AGENTS ? "tiles dense" : "tiles"} data-testid="agents">
            {present.map((agent) => (
              <AgentTile
                key={agent.agentId}
                agent={agent}
                call={agent.callId === null ? undefined : callOf.get(agent.callId)}
                clock={clock}
                open={null}
                withoutCallers
              />
            ))}
          </ul>
        )}
        {(present.length <= FEW_AGENTS || present.length > MOST_AGENTS) && (
          <DayPlots goal={overview.goal} queue={null} offered={today?.offered ?? 0} />
        )}
      </main>
    </div>
  );
}
