import type { FactPlace, Leg } from "../api-contract.ts";
import { duration, timeOfDay } from "../clock.ts";
import { useHelix } from "../context.ts";
import { strings } from "../strings/index.ts";

const time = (seconds: number | null): string => (seconds === null ? "–" : duration(seconds * 1000));

export function LegTable({ legs }: { legs: readonly Leg[] }) {
  const { session, nameOf } = useHelix();
  if (legs.length === 0) return null;
  const at = (moment: string | null): string => (moment === null ? "–" : timeOfDay(Date.parse(moment), session.zone));
  return (
    <section>
      <h3>{strings.legs}</h3>
      <div class="scroll" role="group" aria-label={strings.legs} tabIndex={0}>
        <table data-testid="legs">
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
                <td>{leg.agentId === null ? "–" : nameOf(leg.agentId)}</td>
                <td>
                  {[leg.outcome ?? leg.status, leg.transferred === true ? strings.transferred : null]
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
  const { session } = useHelix();
  return (
    <section>
      <h3>{strings.facts}</h3>
      <p class="none">{strings.factsAbout}</p>
      <div class="scroll" role="group" aria-label={strings.facts} tabIndex={0}>
        <table data-testid="facts">
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
                <td>{timeOfDay(Date.parse(fact.occurredAt), session.zone)}</td>
                <td>{timeOfDay(Date.parse(fact.receivedAt), session.zone)}</td>
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
