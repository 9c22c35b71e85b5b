// For how long somebody is signed in, and when to ask for longer. Moments are the server's, in milliseconds.

const HOUR_MS = 3_600_000;
/** How long a sign-in lasts where the token does not say when it began. */
const USUAL_MS = 12 * HOUR_MS;
/** From so long before the end the page says that it comes. */
const WARN_MS = HOUR_MS / 6;

export interface Term {
  from: number;
  to: number;
}

/** `expiresAt` in seconds of Unix time, as /api/session says. */
export function termOf(token: string, expiresAt: number): Term {
  const to = expiresAt * 1000;
  const from = issuedAt(token);
  return { from: from !== null && from < to ? from : to - USUAL_MS, to };
}

/** When the token was given, if it is one of the usual kind (RFC 7519, `iat`). */
function issuedAt(token: string): number | null {
  try {
    const claims = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const { iat } = JSON.parse(atob(claims)) as { iat?: unknown };
    return typeof iat === "number" ? iat * 1000 : null;
  } catch {
    return null;
  }
}

export const isRenewalDue = (term: Term, now: number): boolean => now >= (term.from + term.to) / 2;

export const isEnding = (term: Term, now: number): boolean => now >= term.to - WARN_MS;
