import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Workspace } from "../api-contract.ts";
import { Api } from "../api.ts";
import { type Helix, HelixContext } from "../context.ts";
import type { Session } from "../contract.ts";
import { localDate } from "../day.ts";
import { useLive } from "../hooks/live.ts";
import { usePolled } from "../hooks/polled.ts";
import { useRoute } from "../hooks/route.ts";
import { useShortcuts } from "../hooks/shortcuts.ts";
import { lastTruth, type LiveState } from "../live.ts";
import type { Page, Route } from "../route.ts";
import { applyTheme, storedTheme } from "../settings.ts";
import { strings } from "../strings/index.ts";
import { AgentDialog } from "./agent-dialog.tsx";
import { CallDialog } from "./call-dialog.tsx";
import { Header } from "./header.tsx";
import { HelpDialog, KEYS } from "./help.tsx";
import { History } from "./history.tsx";
import { Monitor } from "./monitor.tsx";
import { PerformancePage } from "./performance.tsx";
import { tick } from "./ticking.tsx";
import { Wall } from "./wall.tsx";

const WORKSPACE_EVERY_MS = 300_000;

interface SignedInProps {
  token: string;
  session: Session;
  refused: (status: number) => void;
  signOut: () => void;
}

/** An agent has the own day; everybody else the board. */
function pagesOf(session: Session): readonly Page[] {
  if (session.role === "agent") return ["performance"];
  return session.agentId === null ? ["live", "calls", "wall"] : ["live", "calls", "performance", "wall"];
}

/** The same value while what it is made of is the same: what is drawn from it is not drawn for nothing. */
function useShared(props: SignedInProps, state: LiveState, go: Helix["go"], announce: Helix["announce"]): Helix {
  const { token, session } = props;
  const api = useMemo(() => new Api(token, props.refused), [token]);
  const workspace = usePolled(
    "workspace",
    (signal) => api.get<Workspace>("/api/workspace", {}, signal),
    WORKSPACE_EVERY_MS,
  ).data;
  const names = useRef(state.board);
  names.current = state.board;
  const { clock } = state;
  const truth = lastTruth(state);
  const day = localDate(clock.provider(), session.zone);
  return useMemo(() => {
    const nameOf = (agentId: string): string =>
      names.current?.agents().find((agent) => agent.agentId === agentId)?.name ?? agentId;
    return { api, session, workspace, clock, truth, day, go, announce, nameOf };
  }, [api, session, workspace, truth, day]);
}

function focusOn(selector: string): void {
  const element = document.querySelector<HTMLElement>(selector);
  element?.focus();
  element?.scrollIntoView({ block: "start" });
}

function useKeys(page: Page, route: Route, go: Helix["go"], help: () => void): void {
  const open = (next: Page) => go({ page: next, agent: null, call: null });
  useShortcuts({
    [KEYS.help]: help,
    [KEYS.live]: () => open("live"),
    [KEYS.calls]: () => open("calls"),
    [KEYS.wall]: () => open("wall"),
    [KEYS.find]: () => focusOn("[data-testid=find-agent]"),
    [KEYS.missed]: () => focusOn("#worklist-title"),
    [KEYS.agents]: () => focusOn("#agents-title"),
    [KEYS.theme]: () => {
      const order = { auto: "light", light: "dark", dark: "auto" } as const;
      applyTheme(order[storedTheme()]);
    },
    ...(page === "wall" && route.call === null ? { Escape: () => open("live") } : {}),
  });
}

export function SignedIn(props: SignedInProps) {
  const { session, token, refused, signOut } = props;
  const { state } = useLive(token, refused);
  const [route, go] = useRoute();
  const [isHelpOpen, setHelpOpen] = useState(false);
  const [said, announce] = useState("");
  const shared = useShared(props, state, go, announce);
  const pages = pagesOf(session);
  const page = pages.includes(route.page) ? route.page : (pages[0] ?? "live");
  useKeys(page, route, go, () => setHelpOpen(true));
  // What the page no longer knows it stops counting in the same moment.
  useLayoutEffect(tick, [shared.truth]);
  useEffect(() => {
    document.documentElement.classList.toggle("on-wall", page === "wall");
  }, [page]);
  const { board } = state;
  const isTrusted = state.line === "live" && state.freshness?.stale === false;
  return (
    <HelixContext.Provider value={shared}>
      <p class="unseen" role="status" data-testid="announcer">
        {said}
      </p>
      {page === "wall" && board !== null ? (
        <Wall board={board} state={state} />
      ) : (
        <>
          <a class="skip" href="#board" onClick={(event) => (event.preventDefault(), focusOn("#board"))}>
            {strings.skip}
          </a>
          <Header state={state} page={page} pages={pages} signOut={signOut} help={() => setHelpOpen(true)} />
          <main
            id="board"
            tabIndex={-1}
            class={isTrusted ? "board" : "board untrusted"}
            data-testid="board"
            aria-busy={board === null}
          >
            {board === null && <p class="loading">{strings.loading}</p>}
            {board !== null && page === "live" && <Monitor board={board} />}
            {board !== null && page === "calls" && <History agents={board.agents()} />}
            {board !== null && page === "performance" && <PerformancePage board={board} session={session} />}
          </main>
        </>
      )}
      {route.agent !== null && session.role !== "agent" && (
        <AgentDialog key={route.agent} agentId={route.agent} close={() => go({ agent: null })} />
      )}
      {route.call !== null && <CallDialog key={route.call} callId={route.call} close={() => go({ call: null })} />}
      {isHelpOpen && <HelpDialog close={() => setHelpOpen(false)} />}
    </HelixContext.Provider>
  );
}
