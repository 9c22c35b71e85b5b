import { addDays, FIRST_DATE, isDate } from "../day.ts";
import { strings } from "../strings/index.ts";

/** A day, and its neighbours. */
export function DayChoice({ date, last, choose }: { date: string; last: string; choose: (date: string) => void }) {
  return (
    <div class="day-choice" role="group" aria-label={strings.date}>
      <button
        class="quiet"
        aria-label={strings.dayBefore}
        data-testid="day-before"
        onClick={() => choose(addDays(date, -1))}
      >
        ‹
      </button>
      <input
        type="date"
        aria-label={strings.date}
        data-testid="date"
        value={date}
        min={FIRST_DATE}
        max={last}
        onChange={({ currentTarget: { value } }) => isDate(value) && value <= last && choose(value)}
      />
      <button
        class="quiet"
        aria-label={strings.dayAfter}
        data-testid="day-after"
        disabled={date >= last}
        onClick={() => choose(addDays(date, 1))}
      >
        ›
      </button>
    </div>
  );
}
