import { useEffect, useRef } from "preact/hooks";

/**
 * A button that was pressed goes when its row moves on: the focus then goes to the row's next button, or to a heading. Once,
 * and only where nobody has moved it meanwhile: a page that takes the focus when it likes cannot be used.
 */
export function useKeptFocus(rowPrefix: string, headingId: string): (id: string) => void {
  const acted = useRef<string | null>(null);
  const rowOf = (id: string) => document.querySelector(`[data-testid="${CSS.escape(rowPrefix + id)}"]`);
  useEffect(() => {
    const pressed = () => (acted.current = null);
    const moved = ({ target }: FocusEvent) => {
      if (acted.current === null || !(target instanceof Element)) return;
      const stays = rowOf(acted.current)?.contains(target) === true || target.closest("dialog") !== null;
      if (!stays) acted.current = null;
    };
    addEventListener("pointerdown", pressed, true);
    addEventListener("focusin", moved);
    return () => {
      removeEventListener("pointerdown", pressed, true);
      removeEventListener("focusin", moved);
    };
  }, []);
  useEffect(() => {
    if (acted.current === null || document.activeElement !== document.body) return;
    const next =
      rowOf(acted.current)?.querySelector<HTMLElement>(".actions a, .actions button") ??
      document.getElementById(headingId);
    acted.current = null;
    next?.focus({ preventScroll: true });
  });
  return (id) => {
    acted.current = id;
  };
}
