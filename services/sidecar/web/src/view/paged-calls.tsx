import type { Query } from "../api.ts";
import { useCallPages } from "../hooks/pages.ts";
import { strings } from "../strings/index.ts";
import { CallTable } from "./call-table.tsx";
import { PolledNote } from "./panel.tsx";

/** Today's calls go on; those of a day that is over change only when something comes late. */
const EVERY_MS = 15_000;
const OLD_EVERY_MS = 300_000;

interface PagedCallsProps {
  query: Query;
  isToday: boolean;
  withAgent: boolean;
  label: string;
}

/** The calls of a query, page by page. */
export function PagedCalls({ query, isToday, withAgent, label }: PagedCallsProps) {
  const { polled, page, failed, busy, more } = useCallPages(query, isToday ? EVERY_MS : OLD_EVERY_MS);
  return (
    <>
      <PolledNote polled={polled} />
      {page !== null && page.calls.length > 0 && <CallTable calls={page.calls} withAgent={withAgent} label={label} />}
      {page !== null && page.calls.length === 0 && <p class="none">{strings.noCallsFound}</p>}
      {failed !== null && <p class="note bad">{failed === 403 ? strings.notAllowed : strings.notRead}</p>}
      {page !== null && page.nextCursor !== null && (
        <button class="quiet more" data-testid="more-calls" aria-disabled={busy} onClick={more}>
          {failed === null ? strings.more : strings.retry}
        </button>
      )}
    </>
  );
}
