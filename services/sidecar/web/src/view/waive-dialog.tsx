import { useState } from "preact/hooks";

import type { MissedCall } from "../api-contract.ts";
import { strings } from "../strings/index.ts";
import { Dialog } from "./dialog.tsx";

const LONGEST_REASON = 200;

/** Asks why a missed call is given up. Without a reason there is no waiving. */
export function WaiveDialog(props: { row: MissedCall; waive: (reason: string) => void; close: () => void }) {
  const [reason, setReason] = useState("");
  const given = reason.trim();
  const submit = (event: Event) => {
    event.preventDefault();
    if (given !== "") props.waive(given);
  };
  return (
    <Dialog title={strings.waiveTitle} testid="waive-dialog" close={props.close}>
      <form class="waive" onSubmit={submit}>
        <p>
          <strong>{props.row.caller ?? strings.unknownCaller}</strong> · {props.row.skill ?? props.row.did}
        </p>
        <label>
          {strings.waiveWhy}
          <input
            data-testid="waive-reason"
            value={reason}
            required
            maxLength={LONGEST_REASON}
            autocomplete="off"
            aria-describedby="waive-hint"
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        <div class="chips">
          {strings.waiveReasons.map((text) => (
            <button type="button" class="chip" key={text} onClick={() => setReason(text)}>
              {text}
            </button>
          ))}
        </div>
        <p id="waive-hint" class="none">
          {strings.waiveHint}
        </p>
        <div class="actions">
          <button type="button" class="quiet" onClick={props.close}>
            {strings.cancel}
          </button>
          <button type="submit" class="main" data-testid="waive-submit" disabled={given === ""}>
            {strings.waiveDo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
