#!/usr/bin/env node
// The least that an agent can do, from Node with the package
// @nats-io/transport-node (`npm install` in this directory): beat, with nothing
// in it. From the first beat on it is watched.
//
//   node heartbeat.mjs reader-1 5
import { connect } from "@nats-io/transport-node";

const [agent, seconds = "5"] = process.argv.slice(2);
if (!agent) {
  console.error("usage: node heartbeat.mjs AGENT [SECONDS]");
  process.exit(2);
}
const nc = await connect({ servers: process.env.SMITH_NATS_URL ?? "nats://127.0.0.1:4222", name: agent, maxReconnectAttempts: -1 });
const beat = () => nc.publish(`smith.heartbeat.${agent}`);
beat();
setInterval(beat, Number(seconds) * 1000);
