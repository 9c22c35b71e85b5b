import { useEffect, useRef, useState } from "preact/hooks";

import type { MissedCall } from "../api-contract.ts";
import { useHelix } from "../context.ts";
import { MISSED_SORTS, type MissedSort, type WorklistHandle } from "../hooks/worklist.ts";
import { fill, strings } from "../strings/index.ts";
import { type Action, chosen, MISSED_FILTERS, type MissedFilter, shown } from "../worklist.ts";
import { Chips } from "./chips.tsx";
import { MissedRow } from "./missed-row.tsx";
import { Panel, PolledNote } from "./panel.tsx";
import { Select } from "./select.tsx";
import { useShortened } from "./shorten.tsx";
import { WaiveDialog } from "./waive-dialog.tsx";

const FIRST = 10;

/** A button that was pressed goes when its row moves on: the focus then goes to the row's next button, or to the heading. */
function useKeptFocus(): (callId: string) => void {
  const acted = useRef<string | null>(null);
  useEffect(() => {
    if (acted.current === null || document.activeElement !== document.body) return;
    const row = document.querySelector(`[data-testid="missed-${CSS.escape(acted.current)}"]`);
    const next =
      row?.querySelector<HTMLElement>(".actions a, .actions button") ?? document.getElementById("worklist-title");
    next?.focus();
  });
  return (callId) => {
    acted.current = callId;
  };
}

export interface WorklistProps {
  worklist: WorklistHandle;
  sort: MissedSort;
  setSort: (sort: MissedSort) => void;
  queue: string | null;
}

export function WorklistPanel({ worklist, sort, setSort, queue }: WorklistProps) {
  const { clock, workspace } = useHelix();
  const { list, polled, act } = worklist;
  const [filter, setFilter] = useState<MissedFilter>("all");
  const [waiving, setWaiving] = useState<MissedCall | null>(null);
  const keepFocus = useKeptFocus();
  const me = workspace?.me.subject ?? "";
  const rows = shown(list);
  const of = (name: MissedFilter) => chosen(rows, { filter: name, queue, me, now: clock.provider() });
  const found = of(filter);
  const [listed, more] = useShortened(found, FIRST);
  const start = (action: Action, row: MissedCall) => {
    keepFocus(row.callId);
    if (action === "waive") setWaiving(row);
    else act(action, row);
  };
  const tools = (
    <Select
      label={strings.sortBy}
      testid="sort-missed"
      value={sort}
      options={MISSED_SORTS.map((name) => [name, strings.missedSort[name]] as const)}
      choose={(name) => setSort(name as MissedSort)}
    />
  );
  const chips = MISSED_FILTERS.map((value) => ({
    value,
    testid: `missed-filter-${value}`,
    label: (
      <>
        {strings.missedFilter[value]} <b>{of(value).length}</b>
      </>
    ),
  }));
  return (
    <Panel id="worklist" title={strings.worklist} count={polled.data === null ? undefined : list.total} tools={tools}>
      <PolledNote polled={polled} />
      {polled.data !== null && (
        <>
          <Chips title={strings.missedFilterTitle} chips={chips} value={filter} choose={setFilter} />
          {found.length === 0 && <p class="none">{rows.length === 0 ? strings.worklistEmpty : strings.worklistNone}</p>}
          <ol class="missed-calls" data-testid="worklist" data-total={list.total}>
            {listed.map((entry) => (
              <MissedRow key={entry.row.callId} shown={entry} act={start} />
            ))}
          </ol>
          {more}
          {list.total > rows.length && (
            <p class="none">{fill(strings.worklistMore, { count: rows.length, total: list.total })}</p>
          )}
        </>
      )}
      {waiving !== null && (
        <WaiveDialog
          row={waiving}
          close={() => setWaiving(null)}
          waive={(reason) => {
            setWaiving(null);
            act("waive", waiving, reason);
          }}
        />
      )}
    </Panel>
  );
}
