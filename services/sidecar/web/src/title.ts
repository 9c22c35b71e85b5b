// The title of the tab, which is read where the page itself is not seen.

import { strings } from "./strings/index.ts";
import type { Trust } from "./trust.ts";

let [trust, alerts]: [Trust, number] = ["connecting", 0];

/** Alerts of a board that is not to be trusted are not counted: that it is not is what has to be seen. */
export function titleOf(trust: Trust, alerts: number): string {
  const name = `Helix · ${strings.monitor}`;
  const trouble = troubleOf(trust);
  if (trouble !== null) return `✕ ${trouble} · ${name}`;
  return alerts > 0 ? `▲ ${alerts} · ${name}` : name;
}

/** What is wrong with what is shown, in a word; null where nothing need be. */
export function troubleOf(trust: Trust): string | null {
  return trust === "disconnected" || trust === "stale" || trust === "ended" ? strings.trust[trust] : null;
}

export function tellTitle(told: { trust?: Trust; alerts?: number }): void {
  trust = told.trust ?? trust;
  alerts = told.alerts ?? alerts;
  document.title = titleOf(trust, alerts);
}
