import { useMemo } from "preact/hooks";

import { countStates, listAgents } from "../agent-list.ts";
import type { BoardCopy } from "../board.ts";
import { AGENT_STATES, type Agent, type AgentState, type Call } from "../contract.ts";
import { useHelix } from "../context.ts";
import { count, NONE, percent } from "../format.ts";
import { useAwake } from "../hooks/awake.ts";
import { type Overview, useOverview } from "../hooks/overview.ts";
import { useRoom } from "../hooks/room.ts";
import { useWakeLock } from "../hooks/wake-lock.ts";
import { useMissedSummary } from "../hooks/worklist.ts";
import { PlotScale } from "../plot/frame.tsx";
import { strings } from "../strings/index.ts";
import type { LiveState } from "../trust.ts";
import { type WallLayout, wallLayout } from "../wall-layout.ts";
import { AgentTile } from "./agent-tile.tsx";
import { Alerts } from "./alerts.tsx";
import { Banner, Connection, Ending, LastHeard } from "./connection.tsx";
import { DayNote } from "./counters.tsx";
import { DayPlots } from "./day-plots.tsx";
import { StateIcon } from "./icons.tsx";
import { AsOf } from "./panel.tsx";
import { Clock, Wait } from "./ticking.tsx";

/** Before the room is measured, and where the page can be scrolled. */
const SCROLLED: WallLayout = { tiles: "medium", plots: 1 };

function Big(props: { name: string; testid: string; children: preact.ComponentChildren }) {
  return (
    <div class="big">
      <dt>{props.name}</dt>
      <dd data-testid={props.testid}>{props.children}</dd>
    </div>
  );
}

function Bigs({ overview, open }: { overview: Overview; open: number | null }) {
  const { clock } = useHelix();
  const { today, waiting, threshold } = overview;
  const longest = waiting[0];
  return (
    <dl class="bigs">
      <Big name={strings.longestWait} testid="longest-wait">
        {longest === undefined ? "–" : <Wait since={longest.since} clock={clock} threshold={threshold} />}
      </Big>
      <Big name={strings.waiting} testid="wall-waiting">
        {count(waiting.length)}
      </Big>
      <Big name={strings.serviceLevel} testid="service-level">
        {today === null ? NONE : percent(today.serviceLevel.answeredWithin, today.serviceLevel.denominator)}
      </Big>
      <Big name={strings.openMissedCalls} testid="open-missed-calls">
        {open === null ? NONE : count(open)}
      </Big>
      <Big name={strings.answered} testid="counter-answered">
        {today === null ? NONE : count(today.answered)}
      </Big>
    </dl>
  );
}

function States({ counts }: { counts: Record<AgentState, number> }) {
  return (
    <ul class="wall-states" aria-label={strings.agents}>
      {AGENT_STATES.filter((name) => name !== "unknown" || counts.unknown > 0).map((name) => (
        <li key={name} class={name}>
          <StateIcon state={name} />
          <b>{counts[name]}</b> {strings.agentState[name]}
        </li>
      ))}
    </ul>
  );
}

/** Whoever is there, and below them the day: as much of it as there is room for. */
function Rest({ agents, calls, overview }: { agents: readonly Agent[]; calls: readonly Call[]; overview: Overview }) {
  const { clock } = useHelix();
  const [ref, room] = useRoom<HTMLDivElement>();
  const callOf = useMemo(() => new Map(calls.map((call) => [call.callId, call])), [calls]);
  const present = useMemo(() => {
    const there = agents.filter((agent) => agent.state !== "offline");
    return listAgents(there, callOf, { state: null, text: "", queue: null }, "name");
  }, [agents]);
  const { tiles, plots } = room === null ? SCROLLED : wallLayout(present.length, room);
  return (
    <div class="wall-rest" ref={ref} data-testid="wall-rest" data-tiles={tiles ?? "none"}>
      {tiles !== null && (
        <ul class={`tiles ${tiles}`} data-testid="agents">
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
      {plots > 0 && (
        <PlotScale.Provider value={plots}>
          <DayPlots goal={overview.goal} queue={null} today={overview.today} />
        </PlotScale.Provider>
      )}
    </div>
  );
}

interface WallProps {
  board: BoardCopy;
  state: LiveState;
  /** When the sign-in ends, where that is near. */
  endsAt: number | null;
  signOut: () => void;
  leave: () => void;
}

/** The board for a wall: large, and nothing on it to press until somebody comes to the screen. Escape leaves it. */
export function Wall({ board, state, endsAt, signOut, leave }: WallProps) {
  const { session, workspace, clock, truth } = useHelix();
  useWakeLock();
  const isAwake = useAwake();
  const open = board.openMissedCalls();
  const summary = useMissedSummary(null, open);
  const overview = useOverview(board, clock, workspace, summary, null);
  const agents = board.agents();
  const counts = useMemo(() => countStates(agents), [agents]);
  const { zone } = session;
  return (
    <div class={isAwake ? "wall" : "wall idle"} data-testid="wall">
      <header class="top">
        <h1 data-testid="hospital">{session.workspaceName}</h1>
        {isAwake && (
          <button class="quiet" data-testid="leave-wall" onClick={leave}>
            {strings.leaveWall}
          </button>
        )}
        <LastHeard state={state} zone={zone} />
        <Connection state={state} zone={zone} />
        <Clock clock={clock} zone={zone} title={strings.boardTime} isStopped={truth !== null} />
      </header>
      <Banner state={state} zone={zone} signOut={signOut} />
      <Ending endsAt={endsAt} zone={zone} signOut={signOut} />
      <main id="board" tabIndex={-1} aria-label={strings.page.wall} class={truth === null ? "" : "untrusted"}>
        <div class="above">
          <Alerts bounds={overview.bounds} read={overview.read} />
          <AsOf />
        </div>
        <DayNote isNew={overview.isNew} isAhead={overview.isAhead} occurredAt={board.watermark().occurredAt} />
        <Bigs overview={overview} open={open} />
        <States counts={counts} />
        <Rest agents={agents} calls={board.calls()} overview={overview} />
      </main>
    </div>
  );
}
