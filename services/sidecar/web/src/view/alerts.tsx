import { useEffect, useRef, useState } from "preact/hooks";

import { type Alert, type AlertMetric, alertName, type Bound, firing, type Readings } from "../alerts.ts";
import { useHelix } from "../context.ts";
import { count } from "../format.ts";
import { pageNow } from "../hooks/polled.ts";
import { fill, fillFor, strings } from "../strings/index.ts";
import { announce } from "../announcer.ts";
import { tellTitle } from "../title.ts";
import { lasted } from "../when.ts";
import { useTicking } from "./ticking.tsx";

/** The reading as people read it: a wait as a time, a ratio cut to whole percent. */
function worded(alert: Alert, value: number): string {
  return alert.metric === "longestWait" ? lasted(value * 1000) : count(Math.floor(value));
}

function boundOf(alert: Alert): string {
  const unit = alert.metric === "serviceLevel" ? "%" : "";
  return fill(strings.bound[alert.side], { value: worded(alert, alert.value) + unit });
}

function textOf(alert: Alert): string {
  return fillFor(Math.floor(alert.reading), strings.alert[alert.metric], { value: worded(alert, alert.reading) });
}

const keyOf = (alert: Alert): string => `${alert.metric} ${alert.side}`;
/** What comes and goes is not said again within this time. */
const QUIET_MS = 60_000;

export interface AlertsProps {
  bounds: readonly Bound[];
  read: () => Readings;
  /** What else is shown is of one queue; alerts never are. */
  ofAll?: boolean;
  /** Leads to what an alert is about; on a wall nothing can be pressed. */
  lead?: (metric: AlertMetric) => void;
}

function Told({ alert }: { alert: Alert }) {
  return (
    <>
      <span aria-hidden="true">▲</span>
      <b>{textOf(alert)}</b>
      {alert.metric !== "noneReady" && alert.value > 0 && <small>{boundOf(alert)}</small>}
    </>
  );
}

/** What passes its bound now. Read twice a second; announced only when an alert comes. */
export function Alerts({ bounds, read, ofAll = false, lead }: AlertsProps) {
  const { truth } = useHelix();
  const [alerts, setAlerts] = useState<Alert[]>([]);
  const key = alerts.map(keyOf).join(" ");
  const saidAt = useRef(new Map<string, number>());
  useTicking(() => {
    const now = firing(bounds, read());
    const same =
      now.length === alerts.length &&
      now.every((alert, at) => {
        const known = alerts[at];
        return (
          known !== undefined &&
          keyOf(known) === keyOf(alert) &&
          Math.floor(known.reading) === Math.floor(alert.reading)
        );
      });
    if (!same) setAlerts(now);
  });
  useEffect(() => {
    const now = pageNow();
    const fresh = alerts.filter((alert) => now - (saidAt.current.get(keyOf(alert)) ?? -Infinity) > QUIET_MS);
    for (const alert of alerts) saidAt.current.set(keyOf(alert), now);
    if (fresh.length > 0 && truth === null) {
      announce(fresh.map(textOf).join(". "));
    }
    tellTitle({ alerts: alerts.length });
  }, [key]);
  useEffect(() => () => tellTitle({ alerts: 0 }), []);
  if (alerts.length === 0) return null;
  return (
    <section class="alerts" aria-label={strings.alerts} data-testid="alerts">
      <ul>
        {alerts.map((alert) => (
          <li key={keyOf(alert)} data-testid={`alert-${alertName(alert.metric)}`}>
            {lead === undefined ? (
              <Told alert={alert} />
            ) : (
              <button title={strings.alertLeads[alert.metric]} onClick={() => lead(alert.metric)}>
                <Told alert={alert} /> <span class="unseen">. {strings.alertLeads[alert.metric]}</span>
              </button>
            )}
          </li>
        ))}
        {ofAll && <li class="of-all">{strings.alertsOfAll}</li>}
      </ul>
    </section>
  );
}
