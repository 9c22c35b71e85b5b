import { useState } from "preact/hooks";

import type { MissedCall } from "../api-contract.ts";
import { strings } from "../strings/index.ts";
import { Dialog } from "./dialog.tsx";

const LONGEST_REASON = 200;

/**
 * Asks why a missed call is given up. Without a reason there is no waiving. It stays until that is saved: a reason is not
 * typed twice.
 */
export function WaiveDialog(props: {
  row: MissedCall;
  /** Null where it was done, else what to say. */
  waive: (reason: string) => Promise<string | null>;
  close: () => void;
}) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const given = reason.trim();
  const submit = async (event: Event) => {
    event.preventDefault();
    if (given === "" || busy) return;
    setBusy(true);
    setProblem("");
    const why = await props.waive(given);
    if (why === null) return props.close();
    setProblem(why);
    setBusy(false);
  };
  return (
    <Dialog title={strings.waiveTitle} testid="waive-dialog" timeless close={props.close}>
      <form class="waive" onSubmit={(event) => void submit(event)}>
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
        <p class="problem" role="alert" data-testid="waive-problem">
          {problem}
        </p>
        <div class="actions">
          <button type="button" class="quiet" onClick={props.close}>
            {strings.cancel}
          </button>
          <button type="submit" class="main" data-testid="waive-submit" disabled={given === "" || busy}>
            {busy ? strings.waiving : strings.waiveDo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
