import { useEffect, useRef } from "preact/hooks";

import { storedShortcuts } from "../settings.ts";

/** What each key does; keys are those of the keyboard's layout. */
export type Shortcuts = Record<string, () => void>;

/**
 * Single keys, unless somebody types, a dialog is open, or they are switched off (WCAG 2.1.4). Escape is no character: it
 * always works.
 */
export function useShortcuts(shortcuts: Shortcuts): void {
  const current = useRef(shortcuts);
  current.current = shortcuts;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.key !== "Escape" && !storedShortcuts()) return;
      const target = event.target as Element | null;
      if (target?.closest("input, textarea, select, dialog[open]") != null) return;
      const action = current.current[event.key];
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
