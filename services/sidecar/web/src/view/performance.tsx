import type { BoardCopy } from "../board.ts";
import type { Session } from "../contract.ts";
import { useHelix } from "../context.ts";
import { strings } from "../strings/index.ts";
import { AgentDay } from "./agent-day.tsx";
import { AgentTile } from "./agent-tile.tsx";
import { Calls } from "./calls.tsx";
import { AsOf } from "./panel.tsx";

/** What an agent sees: the own state now, and the own day. */
export function PerformancePage({ board, session }: { board: BoardCopy; session: Session }) {
  const { clock } = useHelix();
  const { agentId } = session;
  const own = board.agents().find((agent) => agent.agentId === agentId);
  const calls = board.calls().filter((call) => call.agentId === agentId);
  if (agentId === null) return <p class="loading">{strings.notAllowed}</p>;
  return (
    <div class="performance" data-testid="performance">
      <section class="panel now" aria-labelledby="now-title">
        <div class="panel-head">
          <h2 id="now-title">{strings.rightNow}</h2>
          <AsOf />
        </div>
        {own === undefined ? (
          <p class="none">{strings.notOnBoard}</p>
        ) : (
          <ul class="tiles">
            <AgentTile agent={own} call={calls.find((call) => call.callId === own.callId)} clock={clock} open={null} />
          </ul>
        )}
      </section>
      {calls.length > 0 && <Calls calls={calls} />}
      <section class="panel" aria-labelledby="day-title">
        <div class="panel-head">
          <h2 id="day-title" tabIndex={-1}>
            {strings.performance}
          </h2>
          <AsOf records />
        </div>
        <AgentDay agentId={agentId} />
      </section>
    </div>
  );
}
