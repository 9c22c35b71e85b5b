import { useState } from "preact/hooks";

import { fill, strings } from "../strings/index.ts";

/** The first of a list, and a button for the rest: on a phone nothing below a long list would ever be seen. */
export function useShortened<T>(list: readonly T[], first: number): [readonly T[], preact.JSX.Element | null] {
  const [all, setAll] = useState(false);
  if (list.length <= first) return [list, null];
  const button = (
    <button class="quiet more" data-testid="show-all" aria-expanded={all} onClick={() => setAll(!all)}>
      {all ? strings.showFewer : fill(strings.showAll, { count: list.length })}
    </button>
  );
  return [all ? list : list.slice(0, first), button];
}
