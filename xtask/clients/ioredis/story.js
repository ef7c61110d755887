// Uses a cluster through ioredis: see ../README.md for what it prints.
//
//     node story.js HOST:PORT...
"use strict";

const assert = require("node:assert");
const { setTimeout: sleep } = require("node:timers/promises");
const Redis = require("ioredis");

const TAG = "{ioredis}";
const SCRIPT = "return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}";
const PATIENCE_MS = 30_000;

const nodes = process.argv.slice(2).map((address) => {
  const [host, port] = address.split(":");
  return { host, port: Number(port) };
});

async function waitFor(holds) {
  const until = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert(Date.now() < until, "it took too long");
    await sleep(10);
  }
}

async function keys(client) {
  for (let n = 0; n < 200; n++) assert.strictEqual(await client.set(`ioredis:${n}`, n), "OK");
  for (let n = 0; n < 200; n++) assert.strictEqual(await client.get(`ioredis:${n}`), `${n}`);
  assert.strictEqual(await client.mset(`${TAG}a`, 1, `${TAG}b`, 2), "OK");
  assert.deepStrictEqual(await client.mget(`${TAG}a`, `${TAG}b`, `${TAG}none`), ["1", "2", null]);
}

async function pipeline(client) {
  const pipe = client.pipeline();
  for (let n = 0; n < 100; n++) pipe.incr(`${TAG}p${n}`);
  assert.deepStrictEqual(await pipe.exec(), new Array(100).fill([null, 1]));
}

async function transaction(client) {
  const key = `${TAG}t`;
  const done = await client.multi().set(key, 1).incr(key).get(key).exec();
  assert.deepStrictEqual(done, [[null, "OK"], [null, 2], [null, "2"]]);
  const wrong = await client.multi().lpush(key, "x").get(key).exec();
  assert.match(wrong[0][0].message, /^WRONGTYPE/);
  assert.deepStrictEqual(wrong[1], [null, "2"]);
}

async function messages(client) {
  const listener = client.duplicate();
  let heard = false;
  listener.on("message", (channel, text) => (heard ||= channel === "ioredis:news" && text === "hello"));
  await listener.subscribe("ioredis:news");
  await waitFor(async () => (await client.publish("ioredis:news", "hello"), heard));
  listener.disconnect();
}

async function shardedMessages(client) {
  const listener = client.duplicate([], { shardedSubscribers: true });
  let heard = false;
  listener.on("smessage", (_, text) => (heard ||= text.toString() === "hello"));
  await listener.ssubscribe(`${TAG}news`);
  await waitFor(async () => (await client.spublish(`${TAG}news`, "hello"), heard));
  listener.disconnect();
}

async function script(client) {
  const key = `${TAG}counter`;
  assert.deepStrictEqual(await client.eval(SCRIPT, 1, key, 5), [key, 5]);
  // A command made of a script is sent by its hash, and whole where a node does not know it.
  client.defineCommand("addTo", { numberOfKeys: 1, lua: SCRIPT });
  assert.deepStrictEqual(await client.addTo(key, 5), [key, 10]);
  await Promise.all(client.nodes("master").map((node) => node.script("FLUSH")));
  assert.deepStrictEqual(await client.addTo(key, 5), [key, 15]);
}

async function replicas() {
  const readers = new Redis.Cluster(nodes, { scaleReads: "slave" });
  for (let n = 0; n < 100; n++) await waitFor(async () => (await readers.get(`ioredis:${n}`)) === `${n}`);
  readers.disconnect();
}

async function takeover(client) {
  let over = false;
  process.stdin.once("data", () => (over = true));
  console.log(`takeover ${TAG}`);
  const acked = [];
  const until = Date.now() + PATIENCE_MS;
  let n = 0;
  for (let left = 200; left > 0; n++) {
    assert(Date.now() < until, "no write is acknowledged any more");
    try {
      assert.strictEqual(await client.set(`${TAG}${n}`, n), "OK");
      acked.push(n);
      if (over) left--;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      await sleep(10);
    }
  }
  for (const n of acked) {
    assert.strictEqual(await client.get(`${TAG}${n}`), `${n}`, `write ${n} was lost`);
  }
  console.log(`acked ${acked.length} of ${n}`);
}

async function main() {
  const client = new Redis.Cluster(nodes, { clusterRetryStrategy: () => 50 });
  client.on("error", (error) => console.error(`${error}`));
  assert.strictEqual(await client.ping(), "PONG");
  console.log("did connect");
  for (const step of [keys, pipeline, transaction, messages, shardedMessages, script, replicas, takeover]) {
    await step(client);
    console.log(`did ${step.name}`);
  }
  console.log("story: ok");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
