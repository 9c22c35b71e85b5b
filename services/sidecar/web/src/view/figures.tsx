import type { Performance } from "../api-contract.ts";
import { duration } from "../clock.ts";
import { NONE, percent } from "../format.ts";
import { fillFor, strings } from "../strings/index.ts";

function Figure({ name, value, note }: { name: string; value: string | number; note?: string }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        <b>{value}</b>
        {note !== undefined && <small>{note}</small>}
      </dd>
    </div>
  );
}

const time = (seconds: number): string => duration(seconds * 1000);

/** What came of an agent's day, each ratio with what it is of. */
export function Figures({ day }: { day: Performance }) {
  const { aht, occupancy, utilisation } = day;
  const average = aht.handled === 0 ? NONE : time(Math.round(aht.totalSeconds / aht.handled));
  return (
    <dl class="figures" data-testid="figures">
      <Figure name={strings.handled} value={day.handled} />
      <Figure name={strings.offeredCalls} value={day.offered} />
      <Figure name={strings.missedCalls} value={day.missed} />
      <Figure name={strings.aht} value={average} note={fillFor(aht.handled, strings.ahtOf, { handled: aht.handled })} />
      <Figure
        name={strings.occupancy}
        value={percent(occupancy.numerator, occupancy.denominator)}
        note={strings.occupancyOf}
      />
      <Figure
        name={strings.utilisation}
        value={percent(utilisation.numerator, utilisation.denominator)}
        note={strings.utilisationOf}
      />
      <Figure name={strings.signedIn} value={time(day.signedInSeconds)} />
      <Figure name={strings.talkTime} value={time(day.talkSeconds)} />
      <Figure name={strings.holdTime} value={time(day.holdSeconds)} />
      <Figure name={strings.wrapUpTime} value={time(day.wrapUpSeconds)} />
    </dl>
  );
}

export function Dispositions({ day }: { day: Performance }) {
  if (day.dispositions.length === 0) return null;
  return (
    <section>
      <h3>{strings.dispositions}</h3>
      <ul class="dispositions">
        {day.dispositions.map(({ disposition, calls }) => (
          <li key={disposition}>
            {disposition === null || disposition === "" ? strings.noDisposition : disposition} <b>{calls}</b>
          </li>
        ))}
      </ul>
    </section>
  );
}
