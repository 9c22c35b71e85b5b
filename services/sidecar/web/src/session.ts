// Who is signed in. The token lives in this tab only, and never in a URL for longer than it takes to read it.

import type { Session } from "./contract.ts";

const KEY = "helix.token";

/** Takes a token from `#token=…`, if there is one, and removes it from the address at once; `&view=wall` opens that page. */
export function takeTokenFromFragment(): void {
  const params = new URLSearchParams(location.hash.slice(1));
  const given = params.get("token");
  if (given === null) return;
  const view = params.get("view");
  history.replaceState(null, "", location.pathname + location.search + (view === null ? "" : `#${view}`));
  sessionStorage.setItem(KEY, given);
}

export function storedToken(): string | null {
  return sessionStorage.getItem(KEY);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

export type SignInFailure = "refused" | "held_off" | "unreachable";

/** Signs in; the token, or why not. */
export async function signIn(email: string, password: string): Promise<{ token: string } | { failure: SignInFailure }> {
  try {
    const response = await fetch("/api/auth/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    if (response.status === 429) return { failure: "held_off" };
    if (response.status >= 500) return { failure: "unreachable" };
    if (!response.ok) return { failure: "refused" };
    const { token } = (await response.json()) as { token: string };
    sessionStorage.setItem(KEY, token);
    return { token };
  } catch {
    return { failure: "unreachable" };
  }
}

/** What the token says; null where it is refused. Throws where the sidecar cannot be reached. */
export async function readSession(token: string): Promise<Session | null> {
  const response = await fetch("/api/session", { headers: { authorization: `Bearer ${token}` } });
  if (response.status === 401 || response.status === 403) return null;
  if (!response.ok) throw new Error(`session: ${response.status}`);
  return (await response.json()) as Session;
}
