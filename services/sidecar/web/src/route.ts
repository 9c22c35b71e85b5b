// Where the page is: `#calls?call=9062…`. A page, what is open over it, and what was chosen of what it shows.

export const PAGES = ["live", "calls", "performance", "wall"] as const;
export type Page = (typeof PAGES)[number];

export interface Route {
  page: Page;
  /** The agent whose day is open. */
  agent: string | null;
  /** The call that is open. */
  call: string | null;
  /** Kept in the address, so that they outlive a visit to another page, and a link shows what its sender saw. */
  choices: Choices;
}

const CHOICES = ["queue", "missed", "missedSort", "state", "sort", "date", "direction", "outcome", "handler"] as const;
export type Choice = (typeof CHOICES)[number];
export type Choices = { readonly [name in Choice]?: string };

/** The choices with one of them made; null, or nothing, takes it back. */
export function chooses(choices: Choices, name: Choice, value: string | null): Choices {
  const { [name]: _before, ...rest } = choices;
  return value === null || value === "" ? rest : { ...rest, [name]: value };
}

export function parseRoute(hash: string): Route {
  const [name = "", query = ""] = hash.replace(/^#/, "").split("?");
  const params = new URLSearchParams(query);
  let choices: Choices = {};
  for (const choice of CHOICES) choices = chooses(choices, choice, params.get(choice));
  const page = PAGES.find((page) => page === name) ?? "live";
  return { page, agent: params.get("agent"), call: params.get("call"), choices };
}

export function formatRoute(route: Route): string {
  const params = new URLSearchParams();
  if (route.agent !== null) params.set("agent", route.agent);
  if (route.call !== null) params.set("call", route.call);
  for (const choice of CHOICES) {
    const value = route.choices[choice];
    if (value !== undefined) params.set(choice, value);
  }
  const query = params.toString();
  return query === "" ? `#${route.page}` : `#${route.page}?${query}`;
}
