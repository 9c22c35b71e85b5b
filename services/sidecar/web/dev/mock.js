// A sidecar that is none: serves the built page, the API and the event stream of an invented hospital.
//
//   node dev/mock.js [--agents 12] [--port 4190] [--rate 2 | --deltas 100]      then http://127.0.0.1:4190/#token=supervisor
//
// The token is the role: supervisor, admin, analyst, auditor, agent. What goes wrong is made by POST:
// /dev/stale?seconds=, /dev/quiet, /dev/records-behind, /dev/fresh, /dev/silent?seconds=, /dev/hang?seconds=, /dev/steal/{call},
// /dev/close/{call}, /dev/log-down, /dev/log-up, /dev/sign-out (every token ends), /dev/sign-in, /dev/expires?seconds=,
// /dev/cannot-renew, /dev/can-renew.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { Hospital } from "./hospital.js";

/** Another build may be looked at, to compare. */
const DIST = process.env.HELIX_DIST ?? join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const ROLES = ["admin", "supervisor", "analyst", "auditor", "agent"];
const OWN = "agent.001";
const PRODUCERS = ["agent-event", "call-event", "missed-call"];
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};
const iso = (at) => new Date(at).toISOString();

/** `deltas`: so many a second, each by itself, as a sidecar sends them; else everything of half a second at once. */
export function start({ agents = 12, port = 4190, rate = 2, deltas = 0, ...day } = {}) {
  const hospital = new Hospital(agents, day);
  const mock = {
    hospital,
    version: 1,
    generation: Date.now().toString(36),
    stale: null,
    quiet: null,
    recordsBehind: null,
    silentUntil: 0,
    hangUntil: 0,
    logDown: false,
    signedOut: false,
    cannotRenew: false,
    lastsSeconds: 43_200,
    renewals: 0,
    asked: [],
    clients: new Set(),
    watermark: now(),
    producers: new Map(),
    sent: 0,
    hashes: new Hashes(),
  };
  for (const name of PRODUCERS) hear(mock, name);
  const steps = deltas === 0 ? setInterval(() => tick(mock, rate), 500) : setInterval(() => catchUp(mock, deltas), 5);
  const beats = setInterval(() => send(mock, "heartbeat", () => freshness(mock)), 2000);
  const server = createServer((request, response) => {
    handle(mock, request, response).catch((error) =>
      answer(response, 500, { code: "broken", detail: String(error.stack) }),
    );
  });
  server.listen(port, "127.0.0.1");
  const stop = () => {
    clearInterval(steps);
    clearInterval(beats);
    server.closeAllConnections();
    server.close();
  };
  return { server, stop, mock };

  function now() {
    return { occurredAt: iso(hospital.lastEventAt()), receivedAt: iso(hospital.heardAt()) };
  }
}

/** One of the provider's streams has told something. */
function hear(mock, producer) {
  const { hospital } = mock;
  mock.producers.set(producer, {
    producer,
    receivedAt: iso(hospital.heardAt()),
    occurredAt: iso(hospital.lastEventAt()),
  });
}

/** As many deltas as are due by now: a timer that comes late loses none. */
function catchUp(mock, deltas) {
  mock.begun ??= Date.now();
  const due = Math.floor(((Date.now() - mock.begun) / 1000) * deltas);
  for (; mock.sent < due; mock.sent += 1) tick(mock, 2);
}

/** Lets something happen and tells everybody. */
function tick(mock, rate) {
  const { hospital } = mock;
  if (mock.stale !== null || mock.quiet !== null || hospital.isMorning) return;
  for (let i = 0; i < rate / 2; i += 1) if (i + 1 <= rate / 2 || hospital.random() < rate / 2 - i) hospital.step();
  const last = new Map(hospital.take().map((change) => [change.path, change]));
  if (last.size === 0) return;
  mock.watermark = { occurredAt: iso(hospital.now()), receivedAt: iso(Date.now()) };
  for (const [name, value] of Object.entries(mock.watermark))
    last.set(`watermark/${name}`, { op: "set", path: `watermark/${name}`, value });
  for (const name of PRODUCERS.slice(0, 2)) {
    hear(mock, name);
    last.set(`producers/${name}`, { op: "set", path: `producers/${name}`, value: mock.producers.get(name) });
  }
  mock.version += 1;
  const changes = [...last.values()];
  const whole = mock.hashes.apply(mock, changes);
  send(mock, "delta", (own) => {
    const mine = own ? changes.filter((change) => isOwn(change)) : changes;
    return { version: mock.version, changes: mine, hash: own ? root(board(mock, own)) : whole, asOf: iso(Date.now()) };
  });
}

const isOwn = (change) =>
  change.path === `agents/${OWN}` ||
  change.path.startsWith("watermark") ||
  change.path.startsWith("producers") ||
  (change.path.startsWith("calls/") && (change.op === "remove" || change.value.agentId === OWN));

function send(mock, name, make) {
  if (Date.now() < mock.silentUntil) return;
  const made = new Map();
  for (const client of mock.clients) {
    if (!made.has(client.own)) made.set(client.own, JSON.stringify(make(client.own)));
    client.response.write(`id: ${mock.generation}-${mock.version}\nevent: ${name}\ndata: ${made.get(client.own)}\n\n`);
  }
}

function freshness(mock) {
  const lagSeconds = mock.stale === null ? 0 : Math.floor((Date.now() - mock.stale) / 1000);
  return {
    asOf: iso(Date.now()),
    version: mock.version,
    stale: mock.stale !== null || mock.quiet !== null,
    staleSince: (mock.stale ?? mock.quiet) && iso(mock.stale ?? mock.quiet),
    staleReasons: mock.stale === null ? (mock.quiet === null ? [] : ["quiet"]) : ["projector", "lag"],
    recordsStaleSince: mock.recordsBehind && iso(mock.recordsBehind),
    watermark: { ...mock.watermark, lagFacts: lagSeconds * 3, lagSeconds },
  };
}

function board(mock, own) {
  const { hospital } = mock;
  const calls = [...hospital.live.values()].map((call) => hospital.callCard(call));
  const all = {
    agents: hospital.agents.map((agent) => hospital.card(agent)),
    calls,
    waiting: [...hospital.live.values()]
      .filter((call) => call.answeredAt === null && call.direction !== "outbound")
      .map((call) => hospital.waitingCard(call)),
    today: hospital.today(),
    openMissedCalls: hospital.open().length,
  };
  const seen = own
    ? {
        agents: all.agents.filter((agent) => agent.agentId === OWN),
        calls: calls.filter((call) => call.agentId === OWN),
        waiting: [],
        today: null,
        openMissedCalls: null,
      }
    : all;
  return { workspace: "ramaiah", ...freshness(mock), ...seen, producers: [...mock.producers.values()] };
}

function valuesOf({ agents, calls, waiting, today, openMissedCalls, producers, watermark }) {
  const values = [
    ...agents.map((agent) => [`agents/${agent.agentId}`, agent]),
    ...calls.map((call) => [`calls/${call.callId}`, call]),
    ...waiting.map((one) => [`waiting/${one.callId}`, one]),
    ...producers.map((one) => [`producers/${one.producer}`, one]),
  ];
  if (today !== null) values.push(["today", today]);
  if (openMissedCalls !== null) values.push(["openMissedCalls", openMissedCalls]);
  values.push(["watermark/occurredAt", watermark.occurredAt], ["watermark/receivedAt", watermark.receivedAt]);
  return values;
}

function digestOf(path, value) {
  const digest = createHash("sha256")
    .update(`${path}\n${JSON.stringify(value)}`)
    .digest();
  return Uint32Array.from({ length: 8 }, (_, word) => digest.readUInt32BE(word * 4));
}

const hex = (sum) => Array.from(sum, (word) => word.toString(16).padStart(8, "0")).join("");

function root(board) {
  const sum = new Uint32Array(8);
  for (const [path, value] of valuesOf(board)) digestOf(path, value).forEach((word, at) => (sum[at] += word));
  return hex(sum);
}

/** The whole board's root, kept from delta to delta. */
class Hashes {
  words = null;
  sum = new Uint32Array(8);

  apply(mock, changes) {
    if (this.words === null) {
      this.words = new Map();
      for (const [path, value] of valuesOf(board(mock, false))) this.put(path, digestOf(path, value));
    }
    for (const { op, path, value } of changes) this.put(path, op === "set" ? digestOf(path, value) : null);
    return hex(this.sum);
  }

  put(path, words) {
    this.words.get(path)?.forEach((word, at) => (this.sum[at] -= word));
    if (words === null) this.words.delete(path);
    else this.words.set(path, words);
    words?.forEach((word, at) => (this.sum[at] += word));
  }
}

function answer(response, status, body, headers = {}) {
  response.writeHead(status, {
    "content-type": status < 400 ? "application/json" : "application/problem+json",
    ...headers,
  });
  response.end(JSON.stringify(body));
}

async function handle(mock, request, response) {
  const url = new URL(request.url, "http://mock");
  const path = decodeURIComponent(url.pathname);
  if (path.startsWith("/dev/")) return control(mock, path, url.searchParams, response);
  if (!path.startsWith("/api/")) return file(path, response);
  if (Date.now() < mock.silentUntil) return request.socket.destroy();
  const body = await read(request);
  mock.asked.push({ at: Date.now(), method: request.method, url: request.url, body });
  if (path === "/api/auth/login")
    return answer(response, body.password === "wrong" ? 401 : 200, { token: body.email?.split("@")[0] ?? "" });
  const role = (request.headers.authorization ?? "").split(" ")[1] ?? "";
  if (!ROLES.includes(role) || mock.signedOut) return answer(response, 401, { code: "token_invalid" });
  if (path === "/api/supervisor/events") return follow(mock, role, request, response);
  if (Date.now() < mock.hangUntil) return;
  if (path === "/api/auth/renew" && mock.cannotRenew) return answer(response, 403, { code: "role_not_allowed" });
  if (path === "/api/auth/renew") {
    mock.renewals += 1;
    mock.lastsSeconds = 43_200;
    return answer(response, 200, { token: role, role, expiresInSeconds: mock.lastsSeconds });
  }
  const found = api(mock, { method: request.method, path, query: url.searchParams, role, body });
  return answer(response, found.status ?? 200, found.body ?? found, found.headers);
}

async function read(request) {
  let text = "";
  for await (const piece of request) text += piece;
  return text === "" ? {} : JSON.parse(text);
}

async function file(path, response) {
  try {
    const name = path === "/" ? "/index.html" : path;
    const bytes = await readFile(join(DIST, name));
    response.writeHead(200, {
      "content-type": TYPES[extname(name)] ?? "application/octet-stream",
      "content-encoding": "gzip",
      "content-security-policy": CSP,
      "cache-control": "no-cache",
    });
    response.end(gzipSync(bytes));
  } catch {
    answer(response, 404, { code: "no_such_path" });
  }
}

function follow(mock, role, request, response) {
  const client = { own: role === "agent", response };
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" });
  const snapshot = board(mock, client.own);
  response.write(
    `retry: 1000\nid: ${mock.generation}-${mock.version}\nevent: snapshot\ndata: ${JSON.stringify({ ...snapshot, root: root(snapshot) })}\n\n`,
  );
  mock.clients.add(client);
  request.on("close", () => mock.clients.delete(client));
}

function control(mock, path, query, response) {
  const [, , verb, id] = path.split("/");
  if (verb === "stale") mock.stale = Date.now() - Number(query.get("seconds") ?? 3.5) * 1000;
  if (verb === "quiet") mock.quiet = Date.parse(mock.producers.get("agent-event").receivedAt);
  if (verb === "records-behind") mock.recordsBehind = Date.now() - 48_000;
  if (verb === "fresh") mock.stale = mock.quiet = mock.recordsBehind = null;
  if (verb === "hang") mock.hangUntil = Date.now() + Number(query.get("seconds") ?? 10) * 1000;
  if (verb === "sign-out" || verb === "sign-in") mock.signedOut = verb === "sign-out";
  if (verb === "sign-out") for (const client of mock.clients) client.response.destroy();
  if (verb === "cannot-renew" || verb === "can-renew") mock.cannotRenew = verb === "cannot-renew";
  if (verb === "can-renew") mock.lastsSeconds = 43_200;
  if (verb === "expires") mock.lastsSeconds = Number(query.get("seconds"));
  if (verb === "close")
    Object.assign(
      mock.hospital.missed.find((row) => row.callId === id),
      { status: "closed", closedReason: "reached" },
    );
  if (verb === "silent") mock.silentUntil = Date.now() + Number(query.get("seconds") ?? 10) * 1000;
  if (verb === "log-down") mock.logDown = true;
  if (verb === "log-up") mock.logDown = false;
  if (verb === "steal")
    Object.assign(
      mock.hospital.missed.find((row) => row.callId === id),
      { claimedBy: "meera@hospital.example", claimedAt: iso(mock.hospital.now()) },
    );
  if (["stale", "fresh", "quiet", "records-behind"].includes(verb)) send(mock, "heartbeat", () => freshness(mock));
  return answer(response, 200, {});
}

function api(mock, { method, path, query, role, body }) {
  const { hospital } = mock;
  const me = `${role}@hospital.example`;
  const own = role === "agent" ? OWN : null;
  const [, , name, id, part] = path.split("/");
  if (path === "/api/session")
    return {
      workspace: "ramaiah",
      workspaceName: "Ramaiah Memorial Hospital",
      zone: "Asia/Kolkata",
      role,
      agentId: own,
      seesCallers: ["admin", "supervisor"].includes(role),
      subject: me,
      expiresAt: Math.floor(Date.now() / 1000) + mock.lastsSeconds,
    };
  if (path === "/api/workspace")
    return {
      workspace: "ramaiah",
      name: "Ramaiah Memorial Hospital",
      zone: "Asia/Kolkata",
      thresholds: { serviceLevelSeconds: 20, shortAbandonSeconds: 10, wrapUpSeconds: 30 },
      alerts: [{ metric: "longestWait", above: 60 }],
      me: { subject: me, role, agentId: own },
    };
  if (name === "metrics")
    return {
      from: query.get("from"),
      to: query.get("to"),
      interval: query.get("interval"),
      zone: "Asia/Kolkata",
      thresholdSeconds: 20,
      rows: hospital.metrics({
        from: Date.parse(query.get("from")),
        to: Date.parse(query.get("to")),
        by: query.get("by"),
        queue: query.get("queue"),
        length: query.get("interval") === "1d" ? 24 * 3_600_000 : 900_000,
      }),
    };
  if (name === "agents") return agents(hospital, id, part, query);
  if (name === "calls") return id ? call(hospital, id) : calls(hospital, query);
  if (path === "/api/missed-calls/summary") return summary(hospital, query);
  if (name === "missed-calls" && method === "GET") return missedCalls(hospital, query);
  if (name === "missed-calls") return act(mock, { id, action: part, me, role, body });
  return { status: 404, body: { code: "no_such_path" } };
}

function agents(hospital, id, part, query) {
  const agent = hospital.agents.find((one) => one.agentId === id);
  if (agent === undefined) return { status: 404, body: { code: "no_such_agent" } };
  const date = query.get("date");
  const isToday = date === "2026-03-02";
  if (part === "timeline")
    return { agentId: id, date, zone: "Asia/Kolkata", intervals: isToday ? agent.intervals : [], sessions: [] };
  return isToday
    ? hospital.performance(agent, date)
    : { ...hospital.performance({ ...agent, intervals: [] }, date), dispositions: [] };
}

function calls(hospital, query) {
  const wanted = (field, value) => !query.get(field) || query.get(field) === value;
  const all = [...hospital.calls, ...hospital.live.values()].map((one) => hospital.row(one));
  const found = all.filter(
    (row) =>
      wanted("agentId", row.agentId) &&
      wanted("direction", row.direction) &&
      wanted("outcome", row.outcome) &&
      row.startedAt >= query.get("from") &&
      row.startedAt < query.get("to"),
  );
  found.sort((one, other) => other.startedAt.localeCompare(one.startedAt));
  const [from, limit] = [Number(query.get("cursor") ?? 0), Number(query.get("limit") ?? 20)];
  return {
    calls: found.slice(from, from + limit),
    nextCursor: found.length > from + limit ? String(from + limit) : null,
  };
}

function call(hospital, id) {
  const found = [...hospital.calls, ...hospital.live.values()].find((one) => one.callId === id);
  if (found === undefined) return { status: 404, body: { code: "no_such_call" } };
  const row = hospital.row(found);
  const legs = found.agent
    ? [
        {
          position: 1,
          legId: `${id}01`,
          agentId: row.agentId,
          status: "Answered",
          outcome: "answered",
          startedAt: row.startedAt,
          answeredAt: row.answeredAt,
          endedAt: row.endedAt,
          waitSeconds: row.waitSeconds,
          talkSeconds: row.talkSeconds,
          transferred: false,
        },
      ]
    : [];
  const facts = [
    ["CallRang", row.startedAt],
    ["CallAnswered", row.answeredAt],
    ["CallEnded", row.endedAt],
  ]
    .filter(([, at]) => at)
    .map(([kind, at], offset) => ({
      topic: "telephony.facts",
      partition: 4,
      offset: 18_230 + offset,
      id: `0b5e7e9c-0000-5000-8000-00000000000${offset}`,
      kind,
      occurredAt: at,
      receivedAt: at,
    }));
  return { ...row, legs, facts };
}

function missedCalls(hospital, query) {
  const order = {
    priority: (one, other) => other.priority - one.priority || one.dueAt.localeCompare(other.dueAt),
    due: (one, other) => one.dueAt.localeCompare(other.dueAt),
    missedAt: (one, other) => other.missedAt.localeCompare(one.missedAt),
  };
  const open = ofQueue(hospital, query).sort(order[query.get("sort") ?? "priority"]);
  const [from, limit] = [Number(query.get("cursor") ?? 0), Number(query.get("limit") ?? 20)];
  return {
    missedCalls: open.slice(from, from + limit),
    total: open.length,
    nextCursor: open.length > from + limit ? String(from + limit) : null,
  };
}

const ofQueue = (hospital, query) =>
  hospital.open().filter((row) => !query.get("queue") || row.skill === query.get("queue"));

function summary(hospital, query) {
  const open = ofQueue(hospital, query);
  return {
    open: open.length,
    overdue: open.filter((row) => Date.parse(row.dueAt) < hospital.now()).length,
    claimed: open.filter((row) => row.claimedBy !== null).length,
    oldestMissedAt: open.map((row) => row.missedAt).sort()[0] ?? null,
  };
}

function act(mock, { id, action, me, role, body }) {
  const row = mock.hospital.missed.find((one) => one.callId === id);
  if (!["admin", "supervisor"].includes(role)) return { status: 403, body: { code: "role_not_allowed" } };
  if (mock.logDown) return { status: 503, body: { code: "log_unavailable" }, headers: { "retry-after": "2" } };
  if (row === undefined) return { status: 404, body: { code: "no_such_missed_call" } };
  if (row.status === "closed") return { status: 409, body: { code: "missed_call_closed" } };
  if (action !== "release" && row.claimedBy !== null && row.claimedBy !== me)
    return { status: 409, body: { code: "missed_call_claimed", claimedBy: row.claimedBy, claimedAt: row.claimedAt } };
  if (action === "claim") Object.assign(row, { claimedBy: me, claimedAt: iso(mock.hospital.now()) });
  if (action === "release" && body.claimedAt && row.claimedAt !== body.claimedAt)
    return { status: 409, body: { code: "missed_call_claimed", claimedBy: row.claimedBy, claimedAt: row.claimedAt } };
  if (action === "release") Object.assign(row, { claimedBy: null, claimedAt: null });
  if (action === "waive") {
    if (!body.reason) return { status: 400, body: { code: "reason_missing" } };
    Object.assign(row, { status: "closed", closedAt: iso(Date.now()), closedBy: me, closedReason: "waived" });
    mock.hospital.changes.push({ op: "set", path: "openMissedCalls", value: mock.hospital.open().length });
  }
  return { body: row };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      agents: { type: "string" },
      port: { type: "string" },
      rate: { type: "string" },
      deltas: { type: "string" },
    },
  });
  const [agents, port, rate] = [Number(values.agents ?? 12), Number(values.port ?? 4190), Number(values.rate ?? 2)];
  start({ agents, port, rate, deltas: Number(values.deltas ?? 0) });
  console.log(`http://127.0.0.1:${port}/#token=supervisor`);
}
