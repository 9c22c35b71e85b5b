import { strings } from "../strings/index.ts";

/** Says that something rests on a decision of Helix alone. */
export function Presumed() {
  return (
    <em class="presumed-word" title={strings.presumedNote}>
      {strings.presumed}
    </em>
  );
}
