import { useState } from "preact/hooks";

import { count } from "../format.ts";
import { fill, strings } from "../strings/index.ts";

/** The first of a list, and a button for the rest: on a phone nothing below a long list would ever be seen. */
export function useShortened<T>(
  list: readonly T[],
  first: number,
  title: string,
): [readonly T[], preact.JSX.Element | null] {
  const [all, setAll] = useState(false);
  if (list.length <= first) return [list, null];
  const text = all ? strings.showFewer : fill(strings.showAll, { count: count(list.length) });
  const button = (
    <button
      class="quiet more"
      data-testid="show-all"
      aria-label={fill(strings.ofList, { text, list: title })}
      aria-expanded={all}
      onClick={() => setAll(!all)}
    >
      {text}
    </button>
  );
  return [all ? list : list.slice(0, first), button];
}
