#!/usr/bin/env node
// An agent for Node, with the package @nats-io/transport-node (`npm install`
// in this directory). A runner sets the environment; by hand:
//
//   SMITH_AGENT=node-1 SMITH_TYPE=echo node agent.mjs
//
// It works on tasks by sending their payloads back. What each message means is
// in docs/protocol.md.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect, credsAuthenticator, headers } from "@nats-io/transport-node";

const env = process.env;
const agent = env.SMITH_AGENT;
if (!agent) {
  console.error("SMITH_AGENT is not set: it is the agent's name");
  process.exit(2);
}
const incarnation = Number(env.SMITH_INCARNATION ?? 0);
const capacity = Number(env.SMITH_CAPACITY ?? 1);
const interval = env.SMITH_HEARTBEAT_INTERVAL ?? "5s";
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// milliseconds reads a Go duration such as "1m30s" or "250ms".
function milliseconds(duration) {
  const units = { ns: 1e-6, us: 1e-3, "µs": 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };
  let total = 0;
  for (const [, n, unit] of duration.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) total += n * units[unit];
  return total;
}

const nc = await connect({
  servers: (env.SMITH_NATS_URL ?? "nats://127.0.0.1:4222").split(","),
  name: `agent ${agent}`,
  maxReconnectAttempts: -1,
  ...(env.SMITH_NATS_CREDS && { authenticator: credsAuthenticator(await readFile(env.SMITH_NATS_CREDS)) }),
  ...(env.SMITH_NATS_CA && { tls: { caFile: env.SMITH_NATS_CA } }),
});

let status = "running";
let seq = 0;
let progress = 0;
let connected = true;
const inFlight = new Set(); // attempts being worked on
const seen = new Set(); // the latest attempts accepted
const reports = new Set(); // results not yet acknowledged

// beat says that the agent lives. While the connection is down nothing is
// sent, because the client would keep it and send it late.
function beat() {
  if (!connected) return;
  const busy = status === "running" && inFlight.size >= capacity;
  nc.publish(`smith.heartbeat.${agent}`, JSON.stringify({
    incarnation, seq: ++seq, interval, type: env.SMITH_TYPE || undefined,
    capabilities: env.SMITH_CAPABILITIES ? env.SMITH_CAPABILITIES.split(",") : undefined,
    status: busy ? "busy" : status, in_flight: inFlight.size, capacity, progress,
  }));
}

// work does the task; here, its payload is the result.
async function work(task) {
  return task.payload;
}

// admit decides on a task: why it is rejected, or "".
function admit(task) {
  if (task.incarnation !== incarnation) return "stale_incarnation";
  if (seen.has(`${task.task} ${task.attempt}`)) return "";
  if (status !== "running") return "stopping";
  if (inFlight.size >= capacity) return "full";
  return "";
}

async function perform(task, key) {
  const data = { task: task.task, type: task.type, agent, incarnation, attempt: task.attempt };
  try {
    data.result = await work(task);
  } catch (err) {
    Object.assign(data, { error: String(err?.message ?? err).slice(0, 4096) || "failed", retry: true });
  }
  inFlight.delete(key);
  progress++;
  await report(task, data);
}

// report publishes a result until the log acknowledges it. Its id is derived
// from what it reports: sent twice, it is stored once.
async function report(task, data) {
  const hash = createHash("sha1").update([data.task, data.attempt, agent, incarnation].join(" ")).digest("hex");
  const id = [hash.slice(0, 8), hash.slice(8, 12), `5${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`, hash.slice(20, 32)].join("-");
  const name = data.error === undefined ? "completed" : "failed";
  const body = JSON.stringify({
    specversion: "1.0", id, source: `agent/${agent}`, type: `smith.task.${name}`, subject: data.type,
    time: new Date().toISOString(), datacontenttype: "application/json",
    correlationid: data.task, causationid: task.causationid, data,
  });
  const h = headers();
  h.set("Nats-Msg-Id", id);
  h.set("Content-Type", "application/cloudevents+json");
  for (;;) {
    try { // a publish to a stream is a request; the answer is {stream, seq} or {error}
      const ack = (await nc.request(`smith.event.task.${name}.${data.type}`, body, { timeout: 5000, headers: h })).json();
      if (ack.seq) return;
      console.error("not stored:", ack.error);
    } catch (err) {
      if (nc.isClosed()) return;
      console.error("not acknowledged yet:", err.message);
    }
    await pause(1000);
  }
}

nc.subscribe(`smith.agent.${agent}.ping`, {
  callback: (_, msg) => msg.respond(JSON.stringify({ incarnation, status, in_flight: inFlight.size })),
});
nc.subscribe(`smith.agent.${agent}.task`, {
  callback: (_, msg) => {
    let task;
    try {
      task = msg.json();
    } catch {
      return msg.respond(JSON.stringify({ accepted: false, reason: "invalid" }));
    }
    const reason = admit(task);
    msg.respond(JSON.stringify(reason ? { accepted: false, reason } : { accepted: true }));
    const key = `${task.task} ${task.attempt}`;
    if (reason || seen.has(key)) return;
    seen.add(key);
    if (seen.size > 4096) seen.delete(seen.values().next().value); // the oldest
    inFlight.add(key);
    const done = perform(task, key).finally(() => reports.delete(done));
    reports.add(done);
  },
});
nc.subscribe(`smith.agent.${agent}.stop`, {
  callback: (_, msg) => {
    msg.respond(JSON.stringify({ ok: true }));
    stop();
  },
});
// A newer incarnation of this agent lives: this one must not go on.
nc.subscribe(`smith.heartbeat.${agent}`, {
  callback: (_, msg) => {
    try {
      if (msg.data.length && msg.json().incarnation > incarnation) process.exit(1);
    } catch { /* not a heartbeat */ }
  },
});
(async () => {
  for await (const s of nc.status()) {
    if (s.type === "disconnect") connected = false;
    if (s.type === "reconnect") {
      connected = true;
      beat();
    }
  }
})();

await nc.flush(); // the server knows the subscriptions: now it may be told
beat();
const beats = setInterval(beat, milliseconds(interval));

// stop lets tasks in flight end, if they do in good time, and then ends the
// process.
async function stop() {
  if (status !== "running") return;
  status = "stopping";
  beat();
  await Promise.race([Promise.allSettled([...reports]), pause(milliseconds(env.SMITH_SHUTDOWN_TIMEOUT ?? "5s") * 0.75)]);
  clearInterval(beats);
  status = "stopped";
  beat();
  await nc.drain();
  process.exit(0);
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
