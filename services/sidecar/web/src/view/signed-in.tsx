import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Workspace } from "../api-contract.ts";
import { Api } from "../api.ts";
import { type Helix, HelixContext } from "../context.ts";
import type { Session } from "../contract.ts";
import { localDate } from "../day.ts";
import { focusOn } from "../focus.ts";
import { useLive } from "../hooks/live.ts";
import { usePolled } from "../hooks/polled.ts";
import { useRenewal } from "../hooks/renewal.ts";
import { type Navigation, useRoute } from "../hooks/route.ts";
import { useShortcuts } from "../hooks/shortcuts.ts";
import type { Page, Route } from "../route.ts";
import { storedToken } from "../session.ts";
import { applyTheme, storedTheme } from "../settings.ts";
import { strings } from "../strings/index.ts";
import { tellTitle } from "../title.ts";
import { lastTruth, type LiveState, recordsTruth, trustOf } from "../trust.ts";
import { AgentDialog } from "./agent-dialog.tsx";
import { Announcer } from "./announcer.tsx";
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
  session: Session;
  refused: (status: number) => void;
  signOut: () => void;
  /** The sign-in was given here, a moment ago. */
  isFresh: boolean;
}

/** An agent has the own day; everybody else the board. */
function pagesOf(session: Session): readonly Page[] {
  if (session.role === "agent") return ["performance"];
  return session.agentId === null ? ["live", "calls", "wall"] : ["live", "calls", "performance", "wall"];
}

/** The token as it is now: it is renewed while the page is open. */
const bearer = (): string => storedToken() ?? "";

interface SharedProps {
  session: Session;
  state: LiveState;
  route: Route;
  navigation: Navigation;
  refused: (status: number) => void;
}

/** The same value while what it is made of is the same: what is drawn from it is not drawn for nothing. */
function useShared({ session, state, route, navigation, refused }: SharedProps): Helix {
  const told = useRef(refused);
  told.current = refused;
  const api = useMemo(() => new Api(bearer, (status) => told.current(status)), []);
  const load = (signal: AbortSignal) => api.get<Workspace>("/api/workspace", {}, signal);
  const workspace = usePolled("workspace", load, WORKSPACE_EVERY_MS).data;
  const names = useRef(state.board);
  names.current = state.board;
  const { clock } = state;
  const trust = trustOf(state);
  const [truth, records] = [lastTruth(state), recordsTruth(state)];
  const day = localDate(clock.provider(), session.zone);
  const me = session.subject ?? workspace?.me.subject ?? null;
  const { choices } = route;
  return useMemo(() => {
    const nameOf = (agentId: string): string =>
      names.current?.agents().find((agent) => agent.agentId === agentId)?.name ?? agentId;
    const trusted = { trust, truth, recordsTruth: records };
    return { ...navigation, ...trusted, api, session, workspace, me, clock, day, choices, nameOf };
  }, [session, workspace, me, trust, truth, records, day, JSON.stringify(choices)]);
}

function useKeys(page: Page, route: Route, open: (page: Page) => void, help: () => void): void {
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

/**
 * What had the focus may not be on the next page: it then begins there, and not at the top of the window. So too for who has
 * just signed in.
 */
function useFocusOnPage(place: string, isFresh: boolean): void {
  const shown = useRef(isFresh ? null : place);
  useEffect(() => {
    if (shown.current === place) return;
    shown.current = place;
    if (document.activeElement === document.body) document.getElementById("board")?.focus({ preventScroll: true });
  }, [place]);
}

export function SignedIn({ session, refused, signOut, isFresh }: SignedInProps) {
  const [route, navigation] = useRoute();
  const pages = pagesOf(session);
  const page = pages.includes(route.page) ? route.page : (pages[0] ?? "live");
  const isOnWall = page === "wall";
  // Nobody stands before a wall to sign in: it keeps what it last showed, and says so.
  const told = (status: number) => {
    if (status === 401 && isOnWall && live.state.board !== null) live.end();
    else refused(status);
  };
  const live = useLive(bearer, told);
  const { state } = live;
  const endsAt = useRenewal(session.expiresAt, state.clock, state.freshness !== null);
  const [isHelpOpen, setHelpOpen] = useState(false);
  const shared = useShared({ session, state, route, navigation, refused: told });
  const open = (next: Page) => navigation.go({ page: next, agent: null, call: null });
  useKeys(page, route, open, () => setHelpOpen(true));
  // What the page no longer knows it stops counting in the same moment.
  useLayoutEffect(tick, [shared.truth]);
  useEffect(() => tellTitle({ trust: shared.trust }), [shared.trust]);
  useEffect(() => () => tellTitle({ trust: "connecting" }), []);
  const { board } = state;
  const isWallShown = isOnWall && board !== null;
  useFocusOnPage(isWallShown ? "wall" : `board ${page}`, isFresh);
  const isTrusted = shared.trust !== "connecting" && shared.truth === null;
  return (
    <HelixContext.Provider value={shared}>
      <Announcer testid="announcer" />
      {isWallShown ? (
        <Wall board={board} state={state} endsAt={endsAt} signOut={signOut} leave={() => open("live")} />
      ) : (
        <>
          <a class="skip" href="#board" onClick={(event) => (event.preventDefault(), focusOn("#board"))}>
            {strings.skip}
          </a>
          <Header
            state={state}
            page={page}
            pages={pages}
            endsAt={endsAt}
            signOut={signOut}
            help={() => setHelpOpen(true)}
          />
          <main
            id="board"
            tabIndex={-1}
            aria-label={strings.page[page]}
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
        <AgentDialog key={route.agent} agentId={route.agent} close={() => navigation.close({ agent: null })} />
      )}
      {route.call !== null && (
        <CallDialog key={route.call} callId={route.call} close={() => navigation.close({ call: null })} />
      )}
      {isHelpOpen && <HelpDialog close={() => setHelpOpen(false)} />}
    </HelixContext.Provider>
  );
}
