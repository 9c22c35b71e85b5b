import type { Query } from "../api.ts";
import { useCallPages } from "../hooks/pages.ts";
import { strings } from "../strings/index.ts";
import { CallTable } from "./call-table.tsx";

/** The calls of a query, page by page. */
export function PagedCalls({ query, withAgent, label }: { query: Query; withAgent: boolean; label: string }) {
  const [pages, more] = useCallPages(query);
  const { calls, failed, busy, nextCursor } = pages;
  return (
    <>
      {calls.length > 0 && <CallTable calls={calls} withAgent={withAgent} label={label} />}
      {failed === null && !busy && calls.length === 0 && <p class="none">{strings.noCallsFound}</p>}
      {failed !== null && <p class="note bad">{failed === 403 ? strings.notAllowed : strings.notLoaded}</p>}
      {busy && calls.length === 0 && <p class="none">{strings.loadingPart}</p>}
      {(nextCursor !== null || (failed !== null && failed !== 403)) && (
        <button class="quiet more" data-testid="more-calls" aria-disabled={busy} onClick={more}>
          {strings.more}
        </button>
      )}
    </>
  );
}
