// Where the page is: `#calls?call=9062…`. A page, and what is open over it.

export const PAGES = ["live", "calls", "performance", "wall"] as const;
export type Page = (typeof PAGES)[number];

export interface Route {
  page: Page;
  /** The agent whose day is open. */
  agent: string | null;
  /** The call that is open. */
  call: string | null;
}

export function parseRoute(hash: string): Route {
  const [name = "", query = ""] = hash.replace(/^#/, "").split("?");
  const params = new URLSearchParams(query);
  return { page: PAGES.find((page) => page === name) ?? "live", agent: params.get("agent"), call: params.get("call") };
}

export function formatRoute(route: Route): string {
  const params = new URLSearchParams();
  if (route.agent !== null) params.set("agent", route.agent);
  if (route.call !== null) params.set("call", route.call);
  const query = params.toString();
  return query === "" ? `#${route.page}` : `#${route.page}?${query}`;
}
