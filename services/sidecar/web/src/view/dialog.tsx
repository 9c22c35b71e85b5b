import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { strings } from "../strings/index.ts";

/**
 * A modal dialog: the browser's own, which keeps the focus inside and closes on Escape. The focus goes to the heading and
 * back to where it came from.
 */
export function Dialog(props: {
  title: string;
  testid: string;
  wide?: boolean;
  close: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    heading.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.wide === true ? "wide" : ""}
      aria-labelledby={`${props.testid}-title`}
      data-testid={props.testid}
      onCancel={(event) => {
        event.preventDefault();
        props.close();
      }}
      onMouseDown={(event) => {
        if (event.target === dialog.current) props.close();
      }}
    >
      <div class="dialog">
        <div class="dialog-head">
          <h2 id={`${props.testid}-title`} ref={heading} tabIndex={-1}>
            {props.title}
          </h2>
          <button class="quiet" data-testid="dialog-close" onClick={props.close}>
            {strings.close}
          </button>
        </div>
        {props.children}
      </div>
    </dialog>
  );
}
