#!/usr/bin/env node
// The heartbeat of the Synadia Agent Protocol (version 0.3), from Node with the
// package @nats-io/transport-node (`npm install` in this directory). The
// detector watches such agents where its configuration has a section `synadia`.
//
//   node synadia.mjs claude-code acme main 30
import { randomUUID } from "node:crypto";
import { connect } from "@nats-io/transport-node";

const [agent, owner, name, seconds = "30"] = process.argv.slice(2);
if (!name) {
  console.error("usage: node synadia.mjs AGENT OWNER NAME [SECONDS]");
  process.exit(2);
}
const instance = randomUUID(); // every process is another instance
const nc = await connect({ servers: process.env.SMITH_NATS_URL ?? "nats://127.0.0.1:4222", name, maxReconnectAttempts: -1 });
const beat = () => nc.publish(`agents.hb.${agent}.${owner}.${name}`, JSON.stringify({
  agent, owner, session: name, instance_id: instance, ts: new Date().toISOString(), interval_s: Number(seconds),
}));
beat();
setInterval(beat, Number(seconds) * 1000);
