import { useState } from "preact/hooks";

import { useHelix } from "../context.ts";
import { formatRoute, type Page } from "../route.ts";
import { strings } from "../strings/index.ts";
import type { LiveState } from "../trust.ts";
import { Banner, Connection, Ending, LastHeard } from "./connection.tsx";
import { LanguageChoice, ThemeChoice } from "./choices.tsx";
import { Clock } from "./ticking.tsx";

export interface HeaderProps {
  state: LiveState;
  page: Page;
  pages: readonly Page[];
  /** When the sign-in ends, where that is near. */
  endsAt: number | null;
  signOut: () => void;
  help: () => void;
}

export function Header({ state, page, pages, endsAt, signOut, help }: HeaderProps) {
  const { session, choices, truth } = useHelix();
  // On a phone only: elsewhere there is room for all of them.
  const [isOpen, setOpen] = useState(false);
  return (
    <header class="head">
      <div class="sticky">
        <div class="top">
          <img src="/favicon.svg" alt="" width="28" height="28" />
          <h1 data-testid="hospital" title={session.workspaceName}>
            {session.workspaceName}
          </h1>
          <LastHeard state={state} zone={session.zone} />
          <Connection state={state} zone={session.zone} />
          <Clock clock={state.clock} zone={session.zone} title={strings.boardTime} isStopped={truth !== null} />
        </div>
        <Banner state={state} zone={session.zone} signOut={signOut} />
        <Ending endsAt={endsAt} zone={session.zone} signOut={signOut} />
      </div>
      <div class="bar">
        <nav aria-label={strings.pages}>
          {pages.map((name) => (
            <a
              key={name}
              href={formatRoute({ page: name, agent: null, call: null, choices })}
              aria-current={name === page ? "page" : undefined}
              data-testid={`page-${name}`}
            >
              {strings.page[name]}
            </a>
          ))}
        </nav>
        <button
          class="quiet menu"
          aria-expanded={isOpen}
          aria-controls="settings"
          data-testid="menu"
          onClick={() => setOpen(!isOpen)}
        >
          {strings.settings}
        </button>
        <div class={isOpen ? "settings open" : "settings"} id="settings" role="group" aria-label={strings.settings}>
          <ThemeChoice />
          <LanguageChoice />
          <button class="quiet" data-testid="help" title={strings.help} aria-label={strings.help} onClick={help}>
            ?
          </button>
          <span class="who">{strings.role[session.role]}</span>
          <button class="quiet" data-testid="signout" onClick={signOut}>
            {strings.signOut}
          </button>
        </div>
      </div>
    </header>
  );
}
