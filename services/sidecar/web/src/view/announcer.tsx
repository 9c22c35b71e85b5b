import { useEffect, useState } from "preact/hooks";

import { onAnnounced, type Said } from "../announcer.ts";

/** Where what is announced is heard: one place on the page, and one in each dialog, which hides the page from hearing. */
export function Announcer({ testid }: { testid?: string }) {
  const [said, setSaid] = useState<Said>({ text: "", times: 0 });
  useEffect(() => onAnnounced(setSaid), []);
  return (
    <p class="unseen" role="status" data-testid={testid}>
      <span key={said.times}>{said.text}</span>
    </p>
  );
}
