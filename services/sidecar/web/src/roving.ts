// One tab stop for many things of a kind: which of them it is, and where keys lead from there.

/** Where a key leads from a place among `count` things that stand in rows of `columns`; null where it is none of these keys, or leads nowhere. */
export function placeAfter(key: string, place: number, count: number, columns: number): number | null {
  const next = aimedAt(key, place, count, columns);
  return next === null || next < 0 || next >= count || next === place ? null : next;
}

function aimedAt(key: string, place: number, count: number, columns: number): number | null {
  switch (key) {
    case "ArrowRight":
      return place + 1;
    case "ArrowLeft":
      return place - 1;
    case "ArrowDown": {
      // The last row may be shorter: below its gap is its end.
      const isLastRow = Math.floor(place / columns) === Math.floor((count - 1) / columns);
      return isLastRow ? null : Math.min(place + columns, count - 1);
    }
    case "ArrowUp":
      return place - columns;
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return null;
  }
}
