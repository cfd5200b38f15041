// A server, or whatever sits before it, that says the wrong thing: the client lives on.

import assert from "node:assert/strict";
import { test } from "node:test";

import { live } from "./fakes.mjs";

const NONSENSE = ["", "{", "null", "5", "[]", "[[]]", "[null, 5, [{}]]", '"text"', "{}", '{"id":null}', '{"id":"nobody","result":1}',
  '{"method":5}', '{"method":"no.such"}', '{"method":"constructor"}', '{"method":"__proto__","params":{}}',
  '{"jsonrpc":"2.0","error":{"code":-32700,"message":"?"},"id":null}', "\u0000", "[".repeat(10_000)];
const NOTIFICATIONS = ["document.changed", "document.touched", "document.lost", "document.comment", "listing.changed",
  "session.degraded", "session.recovered", "server.draining"];
const PARAMS = [undefined, null, 5, "x", [], {}, { fileId: null }, { fileId: {} }, { fileId: "f" }, { fileId: "f", version: {} },
  { fileId: "f", version: "2", file: null }, { fileId: "f", version: "2", file: "x", changed: 5 },
  { fileId: "f", comment: null }, { fileId: "f", comment: [] }, { fileId: "f", comment: { id: 5 } }, { listing: null, data: null },
  { listing: "l1", data: "x" }, { listing: "l1" }, { reason: {}, retry_after: "x" }, { reconnect_after: [] }];

test("nonsense on the wire changes nothing", async () => {
  const world = await live();
  const events = [];
  world.client.watch("f", (event) => events.push(event), { comments: true });
  world.socket.answer("documents.watch", { fileId: "f", version: "1", file: { id: "f" }, comments: [{ id: "c" }] });
  world.client.watchListing({}, (event) => events.push(event));
  world.socket.answer("listings.watch", { listing: "l1", data: { files: [] } });
  assert.equal(events.length, 2);
  for (const text of NONSENSE) world.socket.say(text);
  world.socket.onmessage({ data: new ArrayBuffer(8) });
  for (const method of NOTIFICATIONS.filter((name) => name !== "document.lost" && name !== "document.touched")) {
    for (const params of PARAMS) world.socket.notify(method, params);
  }
  assert.equal(events.length, 2, JSON.stringify(events.slice(2)));
  assert.equal(world.client.status, "live");
  const answer = world.client.drive.files.list({});
  world.socket.answer("drive.files.list", "still here");
  assert.equal(await answer, "still here");
});

for (const params of [{}, { version: 2 }, { version: null, file: {} }, { version: "2" }, { version: "2", file: [] }, { version: {}, file: {} }]) {
  test(`a change of the shape ${JSON.stringify(params)} is none, and the next one counts`, async () => {
    const world = await live();
    const versions = [];
    world.client.watch("f", (event) => versions.push(event.version));
    world.socket.answer("documents.watch", { fileId: "f", version: "1", file: { id: "f" } });
    world.socket.notify("document.changed", { fileId: "f", ...params });
    world.socket.notify("document.changed", { fileId: "f", version: "3", file: { id: "f" }, changed: 5 });
    assert.deepEqual(versions, ["1", "3"]);
  });
}

test("messages in one frame are taken one by one, the good beside the bad", async () => {
  const world = await live();
  const one = world.client.drive.files.get({ fileId: "a" });
  const two = world.client.drive.files.get({ fileId: "b" });
  const [first, second] = world.socket.all("drive.files.get");
  world.socket.say([{ id: second.id, result: 2 }, null, "x", { method: "document.changed" }, { id: first.id, result: 1 }]);
  assert.deepEqual([await one, await two], [1, 2]);
});

test("an answer to a call that has not been sent is no answer", async () => {
  const world = await live();
  const answers = Array.from({ length: 25 }, () => world.client.drive.files.list({}));
  const sent = world.socket.all("drive.files.list");
  const [prefix, count] = sent.at(-1).id.split("-");
  world.socket.say({ id: `${prefix}-${Number(count) + 1}`, result: "forged" });
  for (const { id } of sent) world.socket.say({ id, result: "true" });
  world.socket.answer("drive.files.list", "true");
  assert.deepEqual(new Set(await Promise.all(answers)), new Set(["true"]));
});

for (const error of [5, "no", [], {}, { code: "x" }, { data: "x" }, { code: 1007, message: {}, data: { name: 5, retry_after: "soon" } }]) {
  test(`an error of the shape ${JSON.stringify(error)} is still an error`, async () => {
    const world = await live();
    const answer = world.client.drive.files.list({});
    world.socket.say({ id: world.socket.asked("drive.files.list").id, error });
    await assert.rejects(answer, (raised) => {
      assert.deepEqual([raised.constructor.name, raised.name, raised.retryAfter], ["DocsessionError", "error", null]);
      return true;
    });
  });
}

for (const result of [null, 5, "x", [], {}, { fileId: 5 }, { fileId: "f", version: 5 }, { listing: {} }]) {
  test(`a watch answered with ${JSON.stringify(result)} is asked for again`, async () => {
    const world = await live();
    const events = [];
    world.client.watch("f", (event) => events.push(event.type));
    world.socket.answer("documents.watch", result);
    world.client.watchListing({}, (event) => events.push(event.type));
    world.socket.answer("listings.watch", result);
    assert.deepEqual(events, ["error", "error"]);
    await world.clock.advance(20_000);
    world.socket.answer("documents.watch", { fileId: "f", version: "1", file: {} });
    world.socket.answer("listings.watch", { listing: "l", data: { files: [] } });
    assert.deepEqual(events, ["error", "error", "state", "state"]);
  });
}

for (const result of [null, 5, "x", [], {}, { session: ["s1"] }]) {
  test(`session.open answered with ${JSON.stringify(result)} is not believed`, async () => {
    const world = await live();
    await world.lose();
    world.socket.onopen();
    world.socket.answer("session.open", result);
    assert.equal(world.client.status, "reconnecting");
    assert.equal(world.socket.closed, true);
  });
}

for (const key of ["__proto__", "\\u005f_proto__", "__pr\\u006fto__"]) {
  test(`the key ${key} reaches no prototype`, async () => {
    const world = await live();
    const events = [];
    const evil = `{"${key}":{"polluted":true,"name":"evil"},"id":"f"}`;
    world.client.watch("f", (event) => events.push(event), { comments: true });
    const { id } = world.socket.asked("documents.watch");
    world.socket.say(
      `{"id":"${id}","result":{"fileId":"f","version":"1","${key}":{"polluted":true},"file":${evil},"comments":[${evil}]}}`,
    );
    world.socket.say(`{"method":"document.changed","params":{"fileId":"f","version":"2","file":${evil},"${key}":{"polluted":true}}}`);
    world.socket.say(`{"method":"document.changed","${key}":{"method":"x"},"params":{"fileId":"${key}","version":"2","file":{}}}`);
    assert.equal({}.polluted, undefined);
    assert.equal(events.length, 2);
    for (const thing of [...events, events[1].file, events[0].comments[0]]) {
      assert.equal(Object.getPrototypeOf(thing), Object.prototype);
      assert.equal(Object.hasOwn(thing, "__proto__"), false);
      assert.equal(thing.polluted, undefined);
    }
    assert.deepEqual(Object.assign({}, events[1].file), { id: "f" });
  });
}

test("ids named like parts of every object are ids like others", async () => {
  const world = await live();
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    const events = [];
    const watch = world.client.watch(name, (event) => events.push(event.fileId));
    world.socket.answer("documents.watch", { fileId: name, version: "1", file: { id: name } });
    world.socket.notify("document.changed", { fileId: name, version: "2", file: { id: name }, changed: [] });
    assert.deepEqual(events, [name, name]);
    watch.unwatch();
  }
});
