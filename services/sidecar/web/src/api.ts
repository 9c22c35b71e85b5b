// The sidecar's API over HTTP: the token on every request, answers as types, problems as errors.

/** An answer that is no success: its status, its stable code, and what else the problem's body says. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly body: Record<string, unknown>,
  ) {
    super(`${status} ${code}`);
  }

  /** A member of the body that is text. */
  text(name: string): string | null {
    const value = this.body[name];
    return typeof value === "string" ? value : null;
  }
}

export type Query = Record<string, string | number | null | undefined>;

/** A path with its query; what is null or empty is left out. */
export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

/** Nobody waits longer than this for an answer: a request that hangs would look like one that is well. */
const LONGEST_MS = 15_000;

/** A signal that also ends what takes too long. */
export function limited(signal?: AbortSignal): AbortSignal {
  const limit = AbortSignal.timeout(LONGEST_MS);
  return signal === undefined ? limit : AbortSignal.any([signal, limit]);
}

export class Api {
  /** The sign-in has ended: nothing that is asked with it will ever be answered. */
  private isOver = false;

  constructor(
    private readonly bearer: () => string,
    private readonly refused: (status: number) => void,
  ) {}

  get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
    return this.ask<T>(address(path, query), {}, signal);
  }

  post<T>(path: string, body?: unknown): Promise<T> {
    if (body === undefined) return this.ask<T>(path, { method: "POST" });
    const headers = { "content-type": "application/json" };
    return this.ask<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  private async ask<T>(path: string, init: RequestInit, signal?: AbortSignal): Promise<T> {
    if (this.isOver) throw new ApiError(401, "signed_out", {});
    const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${this.bearer()}` };
    const response = await fetch(path, { ...init, headers, cache: "no-store", signal: limited(signal) });
    if (response.ok) return (await response.json()) as T;
    const body = await readProblem(response);
    const code = typeof body["code"] === "string" ? body["code"] : "";
    if ((response.status === 401 || code === "wrong_workspace") && !this.isOver) {
      this.isOver = true;
      this.refused(response.status);
    }
    throw new ApiError(response.status, code, body);
  }
}

/** A proxy's error page is no JSON: then the status alone speaks. */
async function readProblem(response: Response): Promise<Record<string, unknown>> {
  try {
    return (await response.json()) as Record<string, unknown>;
  } catch {
    return {};
  }
}
