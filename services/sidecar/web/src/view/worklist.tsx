import { useState } from "preact/hooks";

import type { MissedCall, MissedSummary } from "../api-contract.ts";
import { useHelix } from "../context.ts";
import { count as grouped } from "../format.ts";
import { MISSED_SORTS, type MissedSort, type WorklistHandle } from "../hooks/worklist.ts";
import { fill, strings } from "../strings/index.ts";
import type { Action } from "../worklist.ts";
import { chosen, counted, emptiness, MISSED_FILTERS, type MissedFilter, refusalText, shown } from "../worklist-shown.ts";
import { Chips } from "./chips.tsx";
import { MissedRow } from "./missed-row.tsx";
import { Panel, PolledNote } from "./panel.tsx";
import { Select } from "./select.tsx";
import { useShortened } from "./shorten.tsx";
import { WaiveDialog } from "./waive-dialog.tsx";

const FIRST = 10;

export interface WorklistProps {
  worklist: WorklistHandle;
  summary: MissedSummary | null;
  sort: MissedSort;
  queue: string | null;
  /** As the board counts them: open ones, and those missed today. */
  open: number | null;
  missedToday: number;
}

export function WorklistPanel({ worklist, summary, sort, queue, open, missedToday }: WorklistProps) {
  const { clock, me, choices, choose, truth, recordsTruth } = useHelix();
  const { list, polled, act } = worklist;
  const filter: MissedFilter = MISSED_FILTERS.find((name) => name === choices.missed) ?? "all";
  const [waiving, setWaiving] = useState<MissedCall | null>(null);
  const rows = shown(list);
  const by = { queue, me: me ?? "", now: clock.provider() };
  const found = chosen(rows, { ...by, filter });
  const counts = counted(list, by, summary);
  const [listed, more] = useShortened(found, FIRST, strings.worklist);
  const start = (action: Action, row: MissedCall) => {
    if (action === "waive") setWaiving(row);
    else void act(action, row);
  };
  const waive = async (row: MissedCall, reason: string): Promise<string | null> => {
    const refusal = await act("waive", row, reason);
    return refusal === null ? null : refusalText(refusal);
  };
  const tools = (
    <Select
      label={fill(strings.ofList, { text: strings.sortBy, list: strings.worklist })}
      testid="sort-missed"
      value={sort}
      options={MISSED_SORTS.map((name) => [name, strings.missedSort[name]] as const)}
      choose={(name) => choose("missedSort", name === "priority" ? null : name)}
    />
  );
  // Another queue's list, or another order, comes in a moment: what is known stays until then, and with it the focus.
  const isHere = polled.data !== null;
  const chips = MISSED_FILTERS.map((value) => ({
    value,
    testid: `missed-filter-${value}`,
    label: (
      <>
        {strings.missedFilter[value]} {isHere && <b>{counts[value]}</b>}
      </>
    ),
  }));
  const isEmpty = list.total === 0 && rows.length === 0;
  const count = isHere ? list.total : undefined;
  return (
    <Panel id="worklist" title={strings.worklist} count={count} tools={tools} records>
      <PolledNote polled={polled} />
      {recordsTruth !== null && truth === null && (
        <p class="note warned" data-testid="worklist-behind">
          {strings.worklistBehind}
        </p>
      )}
      {(isHere || rows.length > 0) && (
        <>
          <Chips
            title={strings.missedFilterTitle}
            chips={chips}
            value={filter}
            choose={(value) => choose("missed", value === "all" ? null : value)}
          />
          {isHere && found.length === 0 && (
            <p class="none" data-testid="worklist-empty">
              {isEmpty && queue === null ? strings.worklistEmpty[emptiness(open, missedToday)] : strings.worklistNone}
            </p>
          )}
          <ol class="missed-calls" data-testid="worklist" data-total={list.total}>
            {listed.map((entry) => (
              <MissedRow key={entry.row.callId} shown={entry} act={start} />
            ))}
          </ol>
          {more}
          {worklist.more !== null && (
            <p class="none">
              {fill(strings.worklistMore, { count: grouped(rows.length), total: grouped(list.total) })}{" "}
              <button class="quiet" data-testid="more-missed" onClick={worklist.more}>
                {strings.more}
              </button>
            </p>
          )}
        </>
      )}
      {waiving !== null && (
        <WaiveDialog row={waiving} close={() => setWaiving(null)} waive={(reason) => waive(waiving, reason)} />
      )}
    </Panel>
  );
}
