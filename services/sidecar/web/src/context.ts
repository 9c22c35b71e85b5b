// What every part of the page needs: who looks, whom to ask, and how far what is shown can be trusted.

import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Workspace } from "./api-contract.ts";
import type { Api } from "./api.ts";
import type { BoardClock } from "./clock.ts";
import type { Session } from "./contract.ts";
import type { Navigation } from "./hooks/route.ts";
import type { Choices } from "./route.ts";
import type { Trust } from "./trust.ts";

export interface Helix extends Navigation {
  api: Api;
  session: Session;
  /** Null until the sidecar has told it. */
  workspace: Workspace | null;
  /** Who looks, as decisions name the person; null until it is known. */
  me: string | null;
  clock: BoardClock;
  trust: Trust;
  /** Until when the board is true, where that is past. */
  truth: number | null;
  /** The same of what is read from the records. */
  recordsTruth: number | null;
  /** The local day of the board. */
  day: string;
  choices: Choices;
  nameOf: (agentId: string) => string;
}

export const HelixContext = createContext<Helix | null>(null);

export function useHelix(): Helix {
  return useContext(HelixContext)!;
}

/** Who may claim, release and waive. */
export function mayAct(session: Session): boolean {
  return session.role === "admin" || session.role === "supervisor";
}
