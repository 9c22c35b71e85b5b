import { duration, timeOfDay } from "../clock.ts";
import type { Stretch } from "../plot/stretches.ts";
import { strings, wordFor } from "../strings/index.ts";
import { StateIcon } from "./icons.tsx";
import { Presumed } from "./presumed.tsx";

/** The timeline in words, newest first. */
export function StretchTable({ stretches, zone }: { stretches: readonly Stretch[]; zone: string }) {
  return (
    <div class="scroll tall" role="group" aria-label={strings.timeline} tabIndex={0}>
      <table>
        <caption class="unseen">{strings.timeline}</caption>
        <thead>
          <tr>
            <th scope="col">{strings.from}</th>
            <th scope="col">{strings.until}</th>
            <th scope="col">{strings.state}</th>
            <th scope="col">{strings.reasonColumn}</th>
            <th scope="col" class="number">
              {strings.duration}
            </th>
          </tr>
        </thead>
        <tbody>
          {[...stretches].reverse().map((stretch) => (
            <tr key={stretch.from} class={stretch.presumed ? "presumed" : ""}>
              <td>{timeOfDay(stretch.from, zone)}</td>
              <td>{stretch.open ? strings.now : timeOfDay(stretch.to, zone)}</td>
              <th scope="row">
                <span class={`state ${stretch.state}`}>
                  <StateIcon state={stretch.state} />
                  {strings.agentState[stretch.state]}
                  {stretch.presumed && <Presumed />}
                </span>
              </th>
              <td>{stretch.reason === null ? "" : wordFor(strings.reason, stretch.reason)}</td>
              <td class="number">{duration(stretch.to - stretch.from)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
