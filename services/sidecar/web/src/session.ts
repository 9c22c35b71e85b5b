// Who is signed in. The token lives in this tab only, and never in a URL for longer than it takes to read it.

import { limited } from "./api.ts";
import type { Session } from "./contract.ts";

const KEY = "helix.token";
/** The token itself; storage, which a browser may forbid, only keeps it for when the page is loaded anew. */
let held: string | null = null;

export function storedToken(): string | null {
  try {
    held ??= sessionStorage.getItem(KEY);
  } catch {
    // Then whoever loads the page anew signs in anew.
  }
  return held;
}

export function keepToken(token: string | null): void {
  held = token;
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
}

/** Takes a token from `#token=…`, if there is one, and removes it from the address at once; `&view=wall` opens that page. */
export function takeTokenFromFragment(): string | null {
  const params = new URLSearchParams(location.hash.slice(1));
  const given = params.get("token");
  if (given === null) return null;
  const view = params.get("view");
  history.replaceState(null, "", location.pathname + location.search + (view === null ? "" : `#${view}`));
  keepToken(given);
  return given;
}

export type SignInFailure = "refused" | "held_off" | "unreachable";

/** Signs in; the token, or why not. */
export async function signIn(email: string, password: string): Promise<{ token: string } | { failure: SignInFailure }> {
  try {
    const response = await fetch("/api/auth/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email, password }),
      signal: limited(),
    });
    if (response.status === 429) return { failure: "held_off" };
    if (response.status >= 500) return { failure: "unreachable" };
    if (!response.ok) return { failure: "refused" };
    const { token } = (await response.json()) as { token: string };
    keepToken(token);
    return { token };
  } catch {
    return { failure: "unreachable" };
  }
}

/** What the token says, or the status it is refused with. Throws where the sidecar cannot be reached. */
export async function readSession(token: string): Promise<Session | { refused: number }> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch("/api/session", { headers, signal: limited() });
  if (response.status === 401 || response.status === 403) return { refused: response.status };
  if (!response.ok) throw new Error(`session: ${response.status}`);
  return (await response.json()) as Session;
}

/** A new token in place of the old; `never` where this one cannot be renewed, `later` where nobody answered. */
export async function renewToken(token: string): Promise<{ token: string; lastsSeconds: number } | "never" | "later"> {
  try {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch("/api/auth/renew", { method: "POST", headers, signal: limited() });
    if (response.status === 429 || response.status >= 500) return "later";
    if (!response.ok) return "never";
    const given = (await response.json()) as { token: string; expiresInSeconds: number };
    return { token: given.token, lastsSeconds: given.expiresInSeconds };
  } catch {
    return "later";
  }
}
