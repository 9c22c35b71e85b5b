// A hospital's day that never was: agents, calls and missed calls, moving on. For looking at the page only; not shipped.

const MINUTE = 60_000;
const DAY_START = Date.parse("2026-03-02T00:00:00+05:30");
const QUEUES = ["OPD", "Emergency", "Billing", "Lab reports", "Cardiology"];
const NAMES = [
  "Asha Rao",
  "Bhavna Shetty",
  "Chetan Kumar",
  "Deepa Nair",
  "Farhan Ali",
  "Gauri Hegde",
  "Harish Gowda",
  "Ila Menon",
  "Jyothi Prasad",
  "Kiran D’Souza",
  "Lakshmi Narayanan",
  "Mohan Iyer",
];
const DISPOSITIONS = ["Appointment booked", "Report sent", "Call later", "Wrong number", null];

export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const iso = (at) => new Date(at).toISOString();
const seconds = (from, to) => (from === null || to === null ? null : Math.max(0, Math.floor((to - from) / 1000)));

/** So many waits, the longest first, most of them short. */
const spread = (count, longest) => Array.from({ length: count }, (_, at) => longest * (1 - at / count) ** 3 + 1000);

export class Hospital {
  /**
   * `missed`: how many inbound calls nobody answered; `calls`, `waiting`: how many there are at a time, where not as many as come
   * about; `longestWait`: milliseconds; `names`: who works here; `isMorning`: nothing has happened since last night; `isNight`:
   * two agents, and nothing to do.
   */
  constructor(agents, { seed = 7, missed, isMorning = false, isNight = false, calls, waiting, longestWait, names = NAMES } = {}) {
    this.random = random(seed);
    this.wanted = isNight ? 0 : missed;
    this.isMorning = isMorning;
    this.isNight = isNight;
    this.mostCalls = calls ?? Infinity;
    this.mostWaiting = waiting ?? 6;
    this.waits = waiting === undefined ? [95_000, 41_000, 8_000] : spread(waiting, longestWait ?? 90_000);
    this.names = names;
    /** Of how many calls the day's sums are known already, and those sums. */
    this.summed = { calls: 0, counts: null };
    /** How far the last event lies back. */
    this.silence = 0;
    /** It is twenty to noon when the day is opened. */
    this.ahead = DAY_START + 11 * 60 * MINUTE + 42 * MINUTE - Date.now();
    this.changes = [];
    this.calls = [];
    this.live = new Map();
    this.missed = [];
    this.agents = Array.from({ length: agents }, (_, at) => this.newAgent(at));
    this.past();
    this.present();
    this.changes = [];
    // The same day, looked at when the next one begins.
    if (isMorning) this.sleep();
  }

  /** From twenty to noon to seven in the morning of the next day. */
  sleep() {
    for (const call of [...this.live.values()]) this.end(call);
    this.silence = 19 * 60 * MINUTE + 18 * MINUTE;
    this.ahead += this.silence;
    this.changes = [];
  }

  lastEventAt() {
    return this.now() - this.silence;
  }

  heardAt() {
    return Date.now() - this.silence;
  }

  now() {
    return Date.now() + this.ahead;
  }

  pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  newAgent(at) {
    const { names } = this;
    const name = names[at % names.length] + (at < names.length ? "" : ` ${Math.floor(at / names.length) + 1}`);
    return {
      agentId: `agent.${String(at + 1).padStart(3, "0")}`,
      name,
      state: "offline",
      since: iso(DAY_START),
      reason: null,
      callId: null,
      mode: "INBOUND",
      presumed: false,
      intervals: [],
    };
  }

  set(agent, state, { at = this.now(), reason = null, callId = null, presumed = false } = {}) {
    const open = agent.intervals.at(-1);
    if (open) open.endedAt = iso(at);
    agent.intervals.push({ state, reason, startedAt: iso(at), endedAt: null, callId, presumed });
    Object.assign(agent, { state, since: iso(at), reason, callId, presumed });
    this.changes.push({ op: "set", path: `agents/${agent.agentId}`, value: this.card(agent) });
  }

  card({ agentId, name, state, since, reason, callId, mode, presumed }) {
    return { agentId, name, state, since, reason, callId, mode, presumed };
  }

  number() {
    return `9198${String(Math.floor(this.random() * 1e8)).padStart(8, "0")}`;
  }

  newCall(at, more = {}) {
    const direction = this.random() < 0.85 ? "inbound" : "outbound";
    return {
      callId: `9062174${String(this.calls.length + this.live.size + 1000).padStart(9, "0")}`,
      direction,
      caller: this.random() < 0.04 ? null : this.number(),
      did: "918041763400",
      campaign: null,
      skill: this.pick(QUEUES),
      agent: null,
      startedAt: at,
      answeredAt: null,
      endedAt: null,
      disposition: null,
      presumed: false,
      ...more,
    };
  }

  past() {
    const until = this.now();
    for (const agent of this.agents) {
      let at = DAY_START + (7 + this.random() * 2) * 60 * MINUTE;
      this.set(agent, "paused", { at, reason: "signed_in" });
      at += 20_000;
      while (at < until - 6 * MINUTE) {
        this.set(agent, "ready", {
          at,
          ...(this.random() < 0.05 ? { reason: "wrap_up_expired", presumed: true } : {}),
        });
        at += (1 + this.random() * 9) * MINUTE;
        if (this.random() < 0.1) {
          this.set(agent, "paused", { at, reason: this.pick(["tea", "lunch", "training"]) });
          at += (5 + this.random() * 20) * MINUTE;
          continue;
        }
        const call = this.newCall(at, { direction: "inbound", agent });
        this.set(agent, "ringing", { at, callId: call.callId });
        at += (4 + this.random() * 26) * 1000;
        call.answeredAt = at;
        this.set(agent, "on_call", { at, callId: call.callId });
        at += (1 + this.random() * 5) * MINUTE;
        call.endedAt = at;
        call.disposition = this.pick(DISPOSITIONS);
        this.set(agent, "wrap_up", { at, callId: call.callId });
        at += (10 + this.random() * 40) * 1000;
        this.calls.push(call);
      }
      this.set(agent, "ready", { at: Math.min(at, until - 2000) });
    }
    const missed = this.wanted ?? Math.round(30 + this.agents.length / 2);
    for (let i = 0; i < missed; i++) {
      const at = DAY_START + 7.2 * 60 * MINUTE + this.random() ** 0.6 * 4.3 * 60 * MINUTE;
      const short = this.random() < 0.25;
      const call = this.newCall(at, { direction: "inbound", endedAt: at + (short ? 6_000 : 45_000) });
      this.calls.push(call);
      if (this.random() < 0.55 || at > until - 25 * MINUTE) this.miss(call, short);
    }
    this.calls.sort((one, other) => one.startedAt - other.startedAt);
    const [, first, second] = this.missed;
    if (first) Object.assign(first, { claimedBy: "meera@hospital.example", claimedAt: iso(until - 4 * MINUTE) });
    if (second) Object.assign(second, { claimedBy: "supervisor@hospital.example", claimedAt: iso(until - MINUTE) });
  }

  miss(call, short) {
    const repeat = this.random() < 0.3 ? Math.ceil(this.random() * 3) * 10 : 0;
    this.missed.push({
      callId: call.callId,
      caller: call.caller,
      did: call.did,
      skill: call.skill,
      missedAt: iso(call.endedAt),
      status: "open",
      attempts: this.random() < 0.2 ? 1 : 0,
      priority: (short ? 50 : 100) + repeat,
      dueAt: iso(call.endedAt + 10 * MINUTE),
      claimedBy: null,
      claimedAt: null,
      closedAt: null,
      closedBy: null,
      closedReason: null,
    });
    this.changes.push({ op: "set", path: "openMissedCalls", value: this.open().length });
  }

  /** Something of everything, so that every state can be seen. */
  present() {
    const now = this.now();
    if (this.isNight) {
      this.agents.forEach((agent, at) => at > 1 && this.set(agent, "offline", { at: now - 3 * 60 * MINUTE, reason: "day_end" }));
      return;
    }
    this.agents.forEach((agent, at) => {
      const back = this.random() * 4 * MINUTE;
      if (at % 12 === 3)
        this.set(agent, "offline", {
          at: now - back * 9,
          ...(at % 24 === 3 ? { presumed: true, reason: "presumed" } : {}),
        });
      else if (at % 12 === 5) this.set(agent, "paused", { at: now - back * 3, reason: "lunch" });
      else if (at % 12 === 7) this.set(agent, "wrap_up", { at: now - 20_000 });
      else if (at % 12 === 8) this.set(agent, "ready", { at: now - back, reason: "wrap_up_expired", presumed: true });
      else if (at === 10) this.set(agent, "unknown", { at: now - back, reason: "INPUT" });
      else if (at % 3 !== 1 && this.live.size < this.mostCalls) this.ring(agent, now - back - 30_000, now - back);
    });
    for (const back of this.agents.length === 0 ? [] : this.waits) this.wait(now - back);
    const ghost = [...this.live.values()].find((call) => call.answeredAt !== null);
    if (ghost) {
      ghost.presumed = true;
      this.changes.push({ op: "set", path: `calls/${ghost.callId}`, value: this.callCard(ghost) });
    }
  }

  wait(at = this.now()) {
    const call = this.newCall(at, { direction: "inbound" });
    this.live.set(call.callId, call);
    this.tell(call);
  }

  ring(agent, at, answeredAt = null) {
    const call = this.newCall(at, { agent });
    this.live.set(call.callId, call);
    this.set(agent, "ringing", { at, callId: call.callId });
    if (answeredAt !== null) this.answer(call, answeredAt);
    else this.tell(call);
  }

  answer(call, at = this.now()) {
    call.answeredAt = at;
    this.set(call.agent, "on_call", { at, callId: call.callId });
    this.tell(call);
  }

  tell(call) {
    this.changes.push({ op: "set", path: `calls/${call.callId}`, value: this.callCard(call) });
    const path = `waiting/${call.callId}`;
    const waits = call.answeredAt === null && call.direction !== "outbound";
    this.changes.push(waits ? { op: "set", path, value: this.waitingCard(call) } : { op: "remove", path });
    this.changes.push({ op: "set", path: "today", value: this.today() });
  }

  end(call, at = this.now()) {
    call.endedAt = at;
    this.live.delete(call.callId);
    this.calls.push(call);
    this.changes.push({ op: "remove", path: `calls/${call.callId}` }, { op: "remove", path: `waiting/${call.callId}` });
    if (call.answeredAt === null && call.direction === "inbound") this.miss(call, at - call.startedAt < 10_000);
    if (call.agent?.callId === call.callId)
      this.set(call.agent, call.answeredAt === null ? "ready" : "wrap_up", {
        at,
        callId: call.answeredAt === null ? null : call.callId,
      });
    this.changes.push({ op: "set", path: "today", value: this.today() });
  }

  /** One thing happens. */
  step() {
    if (this.isNight || this.agents.length === 0) return;
    const agent = this.pick(this.agents);
    const call = agent.callId === null ? undefined : this.live.get(agent.callId);
    if (agent.state === "ready") {
      // In a storm who waits longest is somebody nobody can help: the wait stays in sight.
      const stood = [...this.live.values()].filter((one) => one.agent === null);
      const waiting = this.mostWaiting > 6 ? stood[12] : stood[0];
      if (waiting && this.random() < 0.5) {
        waiting.agent = agent;
        this.answer(waiting);
      } else if (this.random() < 0.6 && this.live.size < this.mostCalls) this.ring(agent, this.now());
      else this.set(agent, "paused", { reason: "tea" });
    } else if (agent.state === "ringing" && call) this.answer(call);
    else if (agent.state === "on_call" && call) this.end(call);
    else if (agent.state !== "offline" || this.random() < 0.2) this.set(agent, "ready");
    const stood = [...this.live.values()].filter((one) => one.agent === null);
    if (this.random() < 0.06 && stood.length < this.mostWaiting) this.wait();
    if (this.random() < 0.03 && stood.length > 2 && this.mostWaiting <= 6) this.end(stood[0]);
  }

  take() {
    const changes = this.changes;
    this.changes = [];
    return changes;
  }

  open() {
    return this.missed.filter((row) => row.status === "open");
  }

  callCard(call) {
    const answered = call.answeredAt !== null;
    return {
      callId: call.callId,
      direction: call.direction,
      caller: call.caller,
      did: call.did,
      skill: call.skill,
      agentId: call.agent?.agentId ?? null,
      state: answered ? "on_call" : "ringing",
      since: iso(answered ? call.answeredAt : call.startedAt),
      startedAt: iso(call.startedAt),
      presumed: call.presumed,
    };
  }

  waitingCard({ callId, caller, did, skill, startedAt }) {
    return { callId, caller, did, skill, since: iso(startedAt) };
  }

  outcome(call) {
    if (call.endedAt === null) return "in_progress";
    if (call.direction === "outbound") return call.answeredAt === null ? "no_answer" : "answered";
    return call.answeredAt !== null ? "answered" : call.endedAt - call.startedAt <= 10_000 ? "short_abandon" : "missed";
  }

  count(calls) {
    const inbound = calls.filter((call) => call.direction === "inbound");
    const of = (outcome) => inbound.filter((call) => this.outcome(call) === outcome);
    const answered = of("answered");
    const within = answered.filter((call) => call.answeredAt - call.startedAt <= 20_000);
    return {
      offered: inbound.length,
      answered: answered.length,
      missed: of("missed").length,
      shortAbandoned: of("short_abandon").length,
      inProgress: of("in_progress").length,
      within: within.length,
    };
  }

  /** The day's sums: an ended call is counted once, so that a storm of events costs no more than a few. */
  sums() {
    const { summed, calls } = this;
    const fresh = this.count(calls.slice(summed.calls));
    const plus = (one, other) => Object.fromEntries(Object.keys(one).map((name) => [name, one[name] + other[name]]));
    summed.counts = summed.counts === null ? fresh : plus(summed.counts, fresh);
    summed.calls = calls.length;
    return plus(summed.counts, this.count([...this.live.values()]));
  }

  today() {
    const { within, ...counts } = this.sums();
    return {
      ...counts,
      serviceLevel: { answeredWithin: within, denominator: counts.answered + counts.missed, thresholdSeconds: 20 },
    };
  }

  metrics({ from, to, by, queue, length }) {
    const all = [...this.calls, ...this.live.values()].filter((call) => !queue || call.skill === queue);
    const rows = [];
    for (const name of by === "queue" ? QUEUES : [null]) {
      const mine = name === null ? all : all.filter((call) => call.skill === name);
      for (let at = from; at < to; at += length) {
        const { within, ...counts } = this.count(
          mine.filter((call) => call.startedAt >= at && call.startedAt < at + length),
        );
        const ended = counts.answered + counts.missed;
        rows.push({
          from: iso(at),
          to: iso(at + length),
          by: name,
          ...counts,
          serviceLevel: { answeredWithin: within, denominator: ended },
          asa: { totalWaitSeconds: 0, answered: counts.answered },
          aht: { totalSeconds: 0, handled: counts.answered },
          abandonment: { numerator: counts.missed, denominator: ended },
        });
      }
    }
    return rows;
  }

  row(call) {
    return {
      callId: call.callId,
      direction: call.direction,
      outcome: this.outcome(call),
      caller: call.caller,
      did: call.did,
      campaign: call.campaign,
      skill: call.skill,
      agentId: call.agent?.agentId ?? null,
      agentIds: call.agent ? [call.agent.agentId] : [],
      startedAt: iso(call.startedAt),
      answeredAt: call.answeredAt && iso(call.answeredAt),
      endedAt: call.endedAt && iso(call.endedAt),
      waitSeconds: seconds(call.startedAt, call.answeredAt ?? call.endedAt),
      talkSeconds: seconds(call.answeredAt, call.endedAt),
      holdSeconds: call.answeredAt ? 12 : null,
      wrapUpSeconds: call.endedAt && call.answeredAt ? 25 : null,
      disposition: call.disposition,
      hangupBy: call.endedAt ? "customer" : null,
      recordingUrl: call.answeredAt && call.endedAt ? "https://recordings.example/1.mp3" : null,
      presumed: call.presumed,
      conflicts: [],
    };
  }

  performance(agent, date) {
    const calls = this.calls.filter((call) => call.agent === agent && call.answeredAt !== null);
    const states = { ready: 0, ringing: 0, onCall: 0, wrapUp: 0, paused: 0, unknown: 0, offline: 0 };
    const total = {};
    for (const one of agent.intervals)
      total[one.state] =
        (total[one.state] ?? 0) +
        seconds(Date.parse(one.startedAt), one.endedAt ? Date.parse(one.endedAt) : this.now());
    for (const [name, value] of Object.entries(total))
      states[name.replace(/_(\w)/, (_, letter) => letter.toUpperCase())] = value;
    const talkSeconds = calls.reduce((sum, call) => sum + seconds(call.answeredAt, call.endedAt), 0);
    const busy = states.onCall + states.wrapUp;
    const signedInSeconds = Object.entries(states).reduce(
      (sum, [name, value]) => sum + (name === "offline" ? 0 : value),
      0,
    );
    const dispositions = [...new Set(calls.map((call) => call.disposition))].map((disposition) => ({
      disposition,
      calls: calls.filter((call) => call.disposition === disposition).length,
    }));
    return {
      agentId: agent.agentId,
      date,
      handled: calls.length,
      offered: calls.length + 2,
      missed: 2,
      talkSeconds,
      holdSeconds: calls.length * 12,
      wrapUpSeconds: states.wrapUp,
      states,
      signedInSeconds,
      aht: { totalSeconds: talkSeconds + states.wrapUp, handled: calls.length },
      occupancy: { numerator: busy, denominator: busy + states.ready + states.ringing },
      utilisation: { numerator: busy, denominator: signedInSeconds },
      dispositions,
    };
  }
}
