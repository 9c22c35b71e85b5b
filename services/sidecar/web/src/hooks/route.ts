import { useEffect, useState } from "preact/hooks";

import { type Choice, chooses, formatRoute, parseRoute, type Route } from "../route.ts";

export interface Navigation {
  go: (change: Partial<Route>) => void;
  /** Closes what was opened last. */
  close: (change: Partial<Route>) => void;
  choose: (name: Choice, value: string | null) => void;
}

/** What an entry of the history was made for: to show something over what was there before. */
const OPENED = { helix: "opened" } as const;
const isOpened = (): boolean => (history.state as typeof OPENED | null)?.helix === OPENED.helix;

/** Where the page is, from its address. What is opened can be left by the browser's own Back, and is then not behind it. */
export function useRoute(): [Route, Navigation] {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  const [navigation] = useState<Navigation>(() => {
    const changed = (change: Partial<Route>): Route => ({ ...parseRoute(location.hash), ...change });
    const replace = (next: Route) => {
      history.replaceState(history.state, "", formatRoute(next));
      setRoute(next);
    };
    return {
      go: (change) => {
        const next = changed(change);
        if (formatRoute(next) === location.hash) return;
        history.pushState(next.agent !== null || next.call !== null ? OPENED : null, "", formatRoute(next));
        setRoute(next);
      },
      close: (change) => {
        const next = changed(change);
        if (!isOpened()) return replace(next);
        // Shown at once; the browser goes back when it gets to it.
        setRoute(next);
        history.back();
      },
      choose: (name, value) => {
        const now = parseRoute(location.hash);
        replace({ ...now, choices: chooses(now.choices, name, value) });
      },
    };
  });
  useEffect(() => {
    const moved = () => setRoute(parseRoute(location.hash));
    addEventListener("popstate", moved);
    addEventListener("hashchange", moved);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener("hashchange", moved);
    };
  }, []);
  return [route, navigation];
}
