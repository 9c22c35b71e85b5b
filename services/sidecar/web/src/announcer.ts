// What is said to those who hear the page. What is outside an open dialog is not heard, so there is more than one place to say it.

export interface Said {
  text: string;
  /** Counts up: the same words said again are said again. */
  times: number;
}

let said: Said = { text: "", times: 0 };
const hearers = new Set<(said: Said) => void>();

export function announce(text: string): void {
  said = { text, times: said.times + 1 };
  for (const hear of hearers) hear(said);
}

/** Tells `hear` from now on; what is given back ends it. */
export function onAnnounced(hear: (said: Said) => void): () => void {
  hearers.add(hear);
  return () => void hearers.delete(hear);
}
