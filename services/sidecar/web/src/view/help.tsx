import { useState } from "preact/hooks";

import { storedShortcuts, storeShortcuts } from "../settings.ts";
import { strings } from "../strings/index.ts";
import { Dialog } from "./dialog.tsx";

/** Which key does what; the monitor gives them their actions. */
export const KEYS = {
  help: "?",
  live: "1",
  calls: "2",
  wall: "w",
  find: "/",
  missed: "m",
  agents: "a",
  theme: "t",
} as const;

export function HelpDialog({ close }: { close: () => void }) {
  const [on, setOn] = useState(storedShortcuts);
  const names = Object.keys(KEYS) as (keyof typeof KEYS)[];
  return (
    <Dialog title={strings.helpTitle} testid="help-dialog" timeless close={close}>
      <label class="switch">
        <input
          type="checkbox"
          data-testid="shortcuts"
          checked={on}
          onChange={(event) => {
            storeShortcuts(event.currentTarget.checked);
            setOn(event.currentTarget.checked);
          }}
        />
        {strings.shortcutsOn}
      </label>
      <dl class="keys">
        {names.map((name) => (
          <div key={name}>
            <dt>
              <kbd>{KEYS[name]}</kbd>
            </dt>
            <dd>{strings.shortcut[name]}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>← ↑ ↓ →</kbd>
          </dt>
          <dd>{strings.arrows}</dd>
        </div>
        <div>
          <dt>
            <kbd>Esc</kbd>
          </dt>
          <dd>{strings.escape}</dd>
        </div>
      </dl>
      <h3>{strings.legend}</h3>
      <ul class="notes">
        <li>{strings.legendPriority}</li>
        <li>{strings.legendPresumed}</li>
        <li>{strings.legendAhead}</li>
        <li>{strings.legendStale}</li>
        <li>{strings.legendQuiet}</li>
      </ul>
    </Dialog>
  );
}
