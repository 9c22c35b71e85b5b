import type { FactPlace, Leg } from "../api-contract.ts";
import { duration } from "../clock.ts";
import { useHelix } from "../context.ts";
import { strings } from "../strings/index.ts";
import { dayAndTime } from "../when.ts";

/** What came of a leg; the provider's own word where it is none of ours. */
function outcomeOf({ outcome, status }: Leg): string | null {
  const known: Record<string, string> = { ...strings.outcome, unanswered: strings.unanswered };
  return outcome === null ? status : (known[outcome] ?? outcome);
}

const time = (seconds: number | null): string => (seconds === null ? "–" : duration(seconds * 1000));

export function LegTable({ legs }: { legs: readonly Leg[] }) {
  const { session, nameOf, day } = useHelix();
  if (legs.length === 0) return null;
  const at = (moment: string | null): string =>
    moment === null ? "–" : dayAndTime(Date.parse(moment), day, session.zone);
  return (
    <section>
      <h3>{strings.legs}</h3>
      <div class="scroll" role="group" aria-label={strings.legs} tabIndex={0}>
        <table data-testid="legs">
          <caption class="unseen">{strings.legs}</caption>
          <thead>
            <tr>
              <th scope="col">{strings.leg}</th>
              <th scope="col">{strings.agent}</th>
              <th scope="col">{strings.outcomeColumn}</th>
              <th scope="col">{strings.started}</th>
              <th scope="col">{strings.answeredAt}</th>
              <th scope="col">{strings.endedAt}</th>
              <th scope="col" class="number">
                {strings.waited}
              </th>
              <th scope="col" class="number">
                {strings.talked}
              </th>
            </tr>
          </thead>
          <tbody>
            {legs.map((leg) => (
              <tr key={leg.position}>
                <th scope="row" title={leg.legId ?? ""}>
                  {leg.position}
                </th>
                <td dir="auto">{leg.agentId === null ? "–" : nameOf(leg.agentId)}</td>
                <td>
                  {[outcomeOf(leg), leg.transferred === true ? strings.transferred : null]
                    .filter(Boolean)
                    .join(", ") || "–"}
                </td>
                <td>{at(leg.startedAt)}</td>
                <td>{at(leg.answeredAt)}</td>
                <td>{at(leg.endedAt)}</td>
                <td class="number">{time(leg.waitSeconds)}</td>
                <td class="number">{time(leg.talkSeconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** Where in the log what is shown comes from. */
export function FactTable({ facts }: { facts: readonly FactPlace[] }) {
  const { session, day } = useHelix();
  const at = (moment: string): string => dayAndTime(Date.parse(moment), day, session.zone);
  return (
    <section>
      <h3>{strings.facts}</h3>
      <p class="none">{strings.factsAbout}</p>
      <div class="scroll" role="group" aria-label={strings.facts} tabIndex={0}>
        <table data-testid="facts">
          <caption class="unseen">{strings.facts}</caption>
          <thead>
            <tr>
              <th scope="col">{strings.kind}</th>
              <th scope="col">{strings.occurred}</th>
              <th scope="col">{strings.received}</th>
              <th scope="col">{strings.place}</th>
            </tr>
          </thead>
          <tbody>
            {facts.map((fact) => (
              <tr key={fact.id}>
                <th scope="row" title={fact.id}>
                  {fact.kind}
                </th>
                <td>{at(fact.occurredAt)}</td>
                <td>{at(fact.receivedAt)}</td>
                <td>
                  <code>
                    {fact.topic} / {fact.partition} / {fact.offset}
                  </code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
