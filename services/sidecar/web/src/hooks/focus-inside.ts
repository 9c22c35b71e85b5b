import { useEffect, useRef } from "preact/hooks";

interface Last {
  element: Element;
  /** What the element stood in: a row of a list or of a table, by its name for machines. */
  row: string | null;
}

/**
 * What has the focus may go, because a call ended, another took the missed call, or what was pressed is done: the focus then
 * goes to what can be done next in the same row, or to the panel's heading, and never back to the top of the page. Only where
 * nobody has moved it meanwhile: a page that takes the focus when it likes cannot be used.
 */
export function useFocusInside<T extends Element>(headingId: string): { current: T | null } {
  const part = useRef<T>(null);
  const last = useRef<Last | null>(null);
  useEffect(() => {
    const pressed = () => (last.current = null);
    const moved = ({ target }: FocusEvent) => {
      if (!(target instanceof Element) || target.closest("dialog") !== null) return;
      const isInside = part.current?.contains(target) === true;
      const row = target.closest<HTMLElement>("li[data-testid], tr[data-testid]")?.dataset.testid ?? null;
      last.current = isInside ? { element: target, row } : null;
    };
    addEventListener("pointerdown", pressed, true);
    addEventListener("focusin", moved);
    return () => {
      removeEventListener("pointerdown", pressed, true);
      removeEventListener("focusin", moved);
    };
  }, []);
  useEffect(() => {
    if (last.current === null || last.current.element.isConnected || document.activeElement !== document.body) return;
    const { row } = last.current;
    last.current = null;
    const stays = row === null ? null : part.current?.querySelector(`[data-testid="${CSS.escape(row)}"]`);
    const next =
      stays?.querySelector<HTMLElement>(".actions a, .actions button") ??
      stays?.querySelector<HTMLElement>("button, a") ??
      document.getElementById(headingId);
    next?.focus({ preventScroll: true });
  });
  return part;
}
