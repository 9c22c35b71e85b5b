import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { useHelix } from "../context.ts";
import { strings } from "../strings/index.ts";
import { troubleOf } from "../title.ts";
import { Announcer } from "./announcer.tsx";
import { AsOf } from "./panel.tsx";

/** Whether a press was beside the dialog. Its scrollbar is part of it, though the press has no other target. */
function isBeside(event: MouseEvent, dialog: HTMLDialogElement | null): boolean {
  if (dialog === null || event.target !== dialog) return false;
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return event.clientX < left || event.clientX > right || event.clientY < top || event.clientY > bottom;
}

/**
 * A modal dialog: the browser's own, which keeps the focus inside and closes on Escape. The focus goes to the heading and
 * back to where it came from. What is not known to be true now looks so here too.
 */
export function Dialog(props: {
  title: string;
  testid: string;
  wide?: boolean;
  /** Of a help text nothing can be out of date. */
  timeless?: boolean;
  close: () => void;
  children: ComponentChildren;
}) {
  const { recordsTruth, trust } = useHelix();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    heading.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  const isOld = recordsTruth !== null && props.timeless !== true;
  return (
    <dialog
      ref={dialog}
      class={`${props.wide === true ? "wide" : ""} ${isOld ? "untrusted" : ""}`}
      aria-labelledby={`${props.testid}-title`}
      data-testid={props.testid}
      onCancel={(event) => {
        event.preventDefault();
        props.close();
      }}
      onMouseDown={(event) => {
        if (isBeside(event, dialog.current)) props.close();
      }}
    >
      <div class="dialog">
        <div class="dialog-head">
          <h2 id={`${props.testid}-title`} ref={heading} tabIndex={-1}>
            {props.title}
          </h2>
          <span role="status">
            {isOld && (
              <>
                <span class="unseen">{troubleOf(trust)}</span>
                <AsOf records />
              </>
            )}
          </span>
          <button class="quiet" data-testid="dialog-close" onClick={props.close}>
            {strings.close}
          </button>
        </div>
        {props.children}
        <Announcer />
      </div>
    </dialog>
  );
}
