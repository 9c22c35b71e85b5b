import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Room } from "../wall-layout.ts";

/** Where a page may be longer than the window, everything fits. */
const NARROW_PX = 900;

/** The room that an element has, whatever is in it; null where the page can be scrolled. */
export function useRoom<T extends HTMLElement>(): [{ current: T | null }, Room | null] {
  const ref = useRef<T>(null);
  const [room, setRoom] = useState<Room | null>(null);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const measure = () => {
      if (innerWidth <= NARROW_PX) return setRoom(null);
      const em = Number.parseFloat(getComputedStyle(element).fontSize);
      const next = { width: element.clientWidth, height: element.clientHeight, em };
      setRoom((known) =>
        known?.width === next.width && known.height === next.height && known.em === em ? known : next,
      );
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, room];
}
