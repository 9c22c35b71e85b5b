import { useEffect, useState } from "preact/hooks";

import { formatRoute, parseRoute, type Route } from "../route.ts";

/** Where the page is, from its address. What is opened can be left by the browser's own Back. */
export function useRoute(): [Route, (change: Partial<Route>) => void] {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const moved = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const go = (change: Partial<Route>) => {
    location.hash = formatRoute({ ...parseRoute(location.hash), ...change });
  };
  return [route, go];
}
