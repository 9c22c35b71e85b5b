import type { TargetedFocusEvent, TargetedKeyboardEvent } from "preact";
import { useState } from "preact/hooks";

import { placeAfter } from "../roving.ts";

interface Stop {
  /** Of whom. */
  id: string | null;
  /** Reached by an arrow from another: how to move has been said. */
  isMoved: boolean;
}

export interface Roving {
  /** Whose button the Tab key reaches; the first where that one is gone. */
  stop: string | null;
  /** Whether it is to be said there how to go on: not again at every step. */
  explains: boolean;
  handlers: {
    onFocusIn: (event: TargetedFocusEvent<HTMLUListElement>) => void;
    onFocusOut: (event: TargetedFocusEvent<HTMLUListElement>) => void;
    onKeyDown: (event: TargetedKeyboardEvent<HTMLUListElement>) => void;
  };
}

const idOf = (target: EventTarget | null): string | null =>
  target instanceof Element ? (target.closest<HTMLElement>("li[data-id]")?.dataset.id ?? null) : null;

/** As many as the browser has made of the width. */
const columnsOf = (list: Element): number => getComputedStyle(list).gridTemplateColumns.split(" ").length;

function move(event: TargetedKeyboardEvent<HTMLUListElement>): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const list = event.currentTarget;
  const buttons = [...list.querySelectorAll<HTMLElement>("button")];
  const place = buttons.findIndex((button) => button === event.target);
  if (place < 0) return;
  const next = placeAfter(event.key, place, buttons.length, columnsOf(list));
  if (next === null) return;
  event.preventDefault();
  buttons[next]?.focus();
}

/**
 * Hundreds of buttons in a list are one stop of the Tab key: it goes to the one that had the focus last, and arrow keys, Home
 * and End go on from there. Each item of the list names itself by `data-id`.
 */
export function useRoving(ids: readonly string[]): Roving {
  const [last, setLast] = useState<Stop>({ id: null, isMoved: false });
  const isThere = last.id !== null && ids.includes(last.id);
  return {
    stop: isThere ? last.id : (ids[0] ?? null),
    explains: ids.length > 1 && !(isThere && last.isMoved),
    handlers: {
      onFocusIn: (event) => {
        const isMoved = event.currentTarget.contains(event.relatedTarget as Node | null);
        setLast({ id: idOf(event.target), isMoved });
      },
      onFocusOut: (event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setLast(({ id }) => ({ id, isMoved: false }));
      },
      onKeyDown: move,
    },
  };
}
