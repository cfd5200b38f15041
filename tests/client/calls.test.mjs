// Calls and their answers: names, errors, re-sending, once only, and what bounds them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DocsessionError } from "../../docsession/static/docsession.js";
import { World, live, named, settle } from "./fakes.mjs";

test("every method of Drive has its name, and the tree of names is no promise", async () => {
  const world = await live();
  const answer = world.client.drive.files.list({ pageSize: 3 });
  const sent = world.socket.asked("drive.files.list");
  assert.deepEqual([sent.jsonrpc, sent.params], ["2.0", { pageSize: 3 }]);
  world.socket.answer("drive.files.list", { data: { files: [] }, as_of: "now", source: "cache" });
  assert.deepEqual(await answer, { data: { files: [] }, as_of: "now", source: "cache" });
  assert.equal(world.client.drive.then, undefined);
  assert.equal(typeof (await world.client.drive).files.list, "function");
  world.client.call("session.status");
  assert.deepEqual(world.socket.asked("session.status").params, {});
});

test("an error has the server's code, name and data", async () => {
  const world = await live();
  const answer = world.client.drive.files.get({ fileId: "f" });
  world.socket.refuse("drive.files.get", 1007, "rate_limited", { retry_after: 4.5 });
  await assert.rejects(answer, (error) => {
    assert.ok(error instanceof DocsessionError);
    assert.deepEqual([error.code, error.name, error.retryAfter], [1007, "rate_limited", 4.5]);
    assert.deepEqual(error.data, { name: "rate_limited", retry_after: 4.5 });
    return true;
  });
  await world.clock.advance(30_000);
  assert.equal(world.socket.all("drive.files.get").length, 1, "nobody asked for another try");
});

test("calls made before the session is open wait for it, in their order", async () => {
  const world = new World();
  const list = world.client.drive.files.list({});
  const get = world.client.drive.files.get({ fileId: "f" });
  await settle();
  assert.deepEqual(world.socket.sent, []);
  await world.open();
  const order = ["session.open", "drive.files.list", "drive.files.get"];
  assert.deepEqual(world.socket.sent.map(({ method }) => method), order);
  world.socket.answer("drive.files.list", 1);
  world.socket.answer("drive.files.get", 2);
  assert.deepEqual([await list, await get], [1, 2]);
});

test("coming back: what is unanswered is sent again with the same ids, in the same order", async () => {
  const world = await live();
  const waiting = [
    world.client.drive.files.update({ fileId: "f", requestBody: { name: "one" } }),
    world.client.drive.files.get({ fileId: "g" }),
    world.client.drive.files.update({ fileId: "f", requestBody: { name: "two" } }),
    world.client.drive.files.list({}),
  ];
  const before = world.socket.sent.slice(-4);
  world.socket.say({ jsonrpc: "2.0", id: before[1].id, result: "answered" });
  await world.lose();
  const offline = world.client.drive.comments.create({ fileId: "f" });
  await world.open({ how: "stored", resumed: true });
  const again = world.socket.sent.slice(-4);
  assert.deepEqual(again.slice(0, 3), [before[0], before[2], before[3]]);
  assert.equal(again[3].method, "drive.comments.create");
  for (const { id } of again) world.socket.say({ jsonrpc: "2.0", id, result: id });
  assert.deepEqual(await Promise.all(waiting), [before[0].id, "answered", before[2].id, before[3].id]);
  await offline;
});

test("not resumed: reads are done again; a write that went out is unknown; one that did not goes now", async () => {
  const world = await live();
  const write = assert.rejects(world.client.drive.files.create({ requestBody: {} }), (error) => {
    assert.deepEqual([error.code, error.name], [1010, "outcome_unknown"]);
    return true;
  });
  const reads = ["drive.files.get", "drive.files.list", "drive.files.export", "drive.files.generateIds", "drive.about.get"];
  const answers = reads.map((method) => world.client.call(method, { fileId: "f" }));
  await world.lose();
  const unsent = world.client.drive.replies.create({ fileId: "f", commentId: "c" });
  await world.open({ how: "new", resumed: false });
  await write;
  assert.deepEqual(world.socket.all("drive.files.create"), []);
  for (const method of [...reads, "drive.replies.create"]) world.socket.answer(method, method);
  assert.deepEqual(await Promise.all(answers), reads);
  assert.equal(await unsent, "drive.replies.create");
});

test("everything of Drive that is not known to be a read is taken for a write", async () => {
  const writes = ["files.update", "files.copy", "files.delete", "files.download", "permissions.create", "files.modifyLabels",
    "approvals.approve", "files.getOrMake"];
  for (const method of writes) {
    const world = await live();
    const answer = assert.rejects(world.client.call(`drive.${method}`, {}), named("outcome_unknown"));
    await world.lose();
    await world.open({ resumed: false });
    await answer;
  }
});

test("an id is never used twice", async () => {
  const world = await live();
  const ids = [];
  for (let turn = 0; turn < 3; turn++) {
    world.client.drive.files.list({}).catch(() => {});
    world.client.watch(`f${turn}`, () => {});
    ids.push(...world.socket.sent.map(({ id }) => id));
    world.socket.answer("drive.files.list", 1);
    await world.lose();
    await world.open({ resumed: true });
  }
  assert.equal(new Set(ids).size, ids.length);
  const other = await live({}, { random: () => 0.25 });
  assert.ok(!ids.includes(other.socket.sent[0].id), "two page loads do not share ids");
});

test("no more calls are under way than the server takes, and the rest follow", async () => {
  const world = await live();
  const answers = Array.from({ length: 60 }, (_, n) => world.client.drive.files.get({ fileId: `f${n}` }));
  const sent = () => world.socket.all("drive.files.get");
  assert.equal(sent().length, 24);
  for (let n = 0; n < 60; n++) {
    world.socket.say({ jsonrpc: "2.0", id: sent()[n].id, result: n });
    assert.equal(sent().length, Math.min(60, 25 + n));
  }
  assert.deepEqual(await Promise.all(answers), [...Array(60).keys()]);
});

test("calls do not pile up without end", async () => {
  const world = await live();
  for (let n = 0; n < 1000; n++) world.client.drive.files.get({ fileId: "f" }).catch(() => {});
  await assert.rejects(world.client.drive.files.get({ fileId: "f" }), named("too_many"));
  world.client.close();
});

test("a signal ends the wait; what was not sent is not sent, what was sent is not sent again", async () => {
  const world = await live();
  const sent = new AbortController();
  const unsent = new AbortController();
  const first = assert.rejects(world.client.drive.files.list({}, { signal: sent.signal }), { name: "AbortError" });
  sent.abort();
  await first;
  world.socket.answer("drive.files.list", "nobody wants it");
  const second = assert.rejects(world.client.drive.files.list({}, { signal: sent.signal }), { name: "AbortError" });
  await second;
  const unanswered = new AbortController();
  const lost = assert.rejects(world.client.drive.files.get({}, { signal: unanswered.signal }), { name: "AbortError" });
  unanswered.abort();
  await lost;
  await world.lose();
  const third = assert.rejects(world.client.call("drive.files.create", {}, { signal: unsent.signal }), { name: "AbortError" });
  unsent.abort();
  await third;
  await world.open({ resumed: true });
  assert.deepEqual(world.socket.sent.map(({ method }) => method), ["session.open"]);
});

test("a message too big for the server fails by itself and does not close the next socket", async () => {
  const world = await live();
  const small = world.client.drive.files.get({ fileId: "f" });
  const big = assert.rejects(world.client.drive.files.create({ requestBody: { name: "x".repeat(70_000) } }), named("too_large"));
  await world.lose(1009);
  await world.open({ resumed: true });
  await big;
  assert.deepEqual(world.socket.all("drive.files.create"), []);
  world.socket.answer("drive.files.get", 1);
  assert.equal(await small, 1);
});

test("params that are no JSON fail at once", async () => {
  const world = await live();
  await assert.rejects(world.client.drive.files.list({ pageSize: 1n }), TypeError);
});
