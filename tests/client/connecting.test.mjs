// Coming, staying, coming back: the cookie, the socket, the back-off, the page's own events.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CLOSE_CODES } from "../../docsession/static/docsession.js";
import { ANN, BOB, World, live, named, settle } from "./fakes.mjs";

test("a cookie comes before the socket, and the session that it names is opened", async () => {
  const world = new World();
  assert.equal(world.client.status, "connecting");
  assert.equal(world.sockets.length, 0);
  await settle();
  assert.deepEqual(
    world.cookies.map(({ url, method, credentials }) => [url, method, credentials]),
    [["https://docs.example.com/api/generate_cookie", "POST", "include"]],
  );
  assert.equal(world.socket.url, "wss://docs.example.com/api/socket");
  assert.deepEqual(world.socket.protocols, ["docsession.v1"]);
  assert.deepEqual(world.socket.sent, []);
  await world.open();
  assert.deepEqual(world.socket.sent[0].params, { session: "s1", visible: true });
  assert.equal(world.client.status, "live");
  assert.deepEqual(world.client.user, ANN);
  assert.equal(await world.client.ready, world.client);
});

test("every connect asks for a cookie first", async () => {
  const world = await live();
  for (const count of [2, 3, 4]) {
    await world.lose();
    assert.equal(world.cookies.length, count);
    await world.open({ how: "live", resumed: true });
  }
});

test("the cookie is asked for under a lock, and without it when the lock stays away", async () => {
  const held = [];
  const locks = { request: (name, { signal }, run) => (held.push([name, signal]), run()) };
  await live({}, { locks });
  assert.equal(held[0][0], "docsession-cookie");

  const stuck = {
    request: (name, { signal }) =>
      new Promise((resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  };
  const world = new World({ locks: stuck });
  await settle();
  assert.equal(world.cookies.length, 0);
  await world.clock.advance(5000);
  assert.equal(world.cookies.length, 1);
  await world.open();
  assert.equal(world.client.status, "live");
});

test("the name of the connection comes along, unless the cookie names another session", async () => {
  const world = await live();
  let socket = await world.lose();
  socket.onopen();
  assert.deepEqual(socket.asked("session.open").params, { session: "s1", connection: "c1", visible: true });
  world.session = "s2";
  socket = await world.lose();
  socket.onopen();
  assert.deepEqual(socket.asked("session.open").params, { session: "s2", visible: true });
});

test("a socket that answers for another session is not used", async () => {
  const world = new World();
  await world.open({ session: "another" });
  assert.equal(world.client.status, "connecting");
  assert.equal(world.client.user, null);
  assert.equal(world.socket.closed, true);
  assert.equal(world.client.detail.reason, "session_unknown");
  await world.clock.advance(1000);
  assert.equal(world.cookies.length, 2);
});

test("session_unknown starts again, without the old name", async () => {
  const world = await live();
  await world.lose();
  world.socket.onopen();
  world.socket.refuse("session.open", 1002, "session_unknown");
  await world.clock.advance(world.client.detail.retryIn);
  world.socket.onopen();
  assert.equal(world.socket.asked("session.open").params.connection, undefined);
});

test("what is no network and what is no server are waited out, and told", async () => {
  const world = new World({}, { cookieAnswer: new TypeError("fetch failed") });
  await settle();
  assert.equal(world.client.status, "connecting");
  assert.equal(world.client.detail.reason, "TypeError");
  world.cookieAnswer = { ok: false, status: 503, headers: new Headers() };
  await world.clock.advance(20_000);
  assert.equal(world.client.detail.reason, "cookie_refused");
  world.cookieAnswer = { ok: true, status: 200, json: async () => ["what?"] };
  await world.clock.advance(20_000);
  assert.equal(world.client.detail.reason, "bad_answer");
  world.cookieAnswer = null;
  await world.clock.advance(20_000);
  await world.open();
  assert.equal(world.client.status, "live");
});

test("Retry-After of generate_cookie is obeyed, also when the page is looked at", async () => {
  const flooded = { ok: false, status: 429, headers: new Headers({ "retry-after": "60" }) };
  const world = new World({}, { cookieAnswer: flooded });
  await settle();
  assert.ok(world.client.detail.retryIn >= 60_000);
  await world.show(true);
  await world.clock.advance(59_000);
  assert.equal(world.cookies.length, 1);
  await world.clock.advance(2000);
  assert.equal(world.cookies.length, 2);
});

test("a server that says nothing is given up", async () => {
  const world = new World();
  await settle();
  await world.clock.advance(20_000);
  assert.equal(world.client.detail.reason, "timeout");
  assert.equal(world.sockets[0].closed, true);
  await world.clock.advance(1000);
  assert.equal(world.sockets.length, 2);
});

test("the wait is full jitter between nothing and a doubling ceiling", async () => {
  for (const random of [0, 0.25, 0.999]) {
    const world = new World({}, { cookieAnswer: new TypeError("fetch failed"), random });
    for (const ceiling of [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000]) {
      await settle();
      assert.equal(world.client.detail.retryIn, ceiling * random);
      await world.clock.step();
    }
  }
});

test("minimum and maximum of the wait are the page's choice", async () => {
  const cookieAnswer = new TypeError("fetch failed");
  const world = new World({ reconnect: { min: 100, max: 300 } }, { cookieAnswer });
  for (const ceiling of [100, 200, 300, 300]) {
    await settle();
    assert.equal(world.client.detail.retryIn, ceiling / 2);
    await world.clock.advance(world.client.detail.retryIn);
  }
});

test("a hidden tab comes back too, after the visible ones", async () => {
  const world = await live();
  await world.show(false);
  for (const random of [0, 0.5, 0.999]) {
    world.random = random;
    await world.clock.advance(6000);
    world.socket.drop();
    assert.equal(world.client.detail.retryIn, 500 + 500 * random);
    await world.clock.advance(1000);
    await world.open({ resumed: true });
    assert.equal(world.client.status, "live");
  }
});

test("the back-off starts over only after a connection has held for a while", async () => {
  const world = await live();
  const waits = [];
  for (const held of [0, 0, 0, 4999, 5000, 0]) {
    await world.clock.advance(held);
    world.socket.drop();
    waits.push(world.client.detail.retryIn);
    await world.clock.advance(world.client.detail.retryIn);
    await world.open({ resumed: true });
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 250, 500]);
});

for (const [what, target] of [["online", "window"], ["pageshow", "window"], ["resume", "document"]]) {
  test(`a pending retry happens at once on ${what}`, async () => {
    const world = await live();
    world.socket.drop();
    await world.fire(what, world[target]);
    assert.equal(world.sockets.length, 2);
    await world.clock.advance(10_000);
    assert.equal(world.sockets.length, 2, "the wait that was pending must not connect a second time");
  });
}

test("a pending retry happens at once when the page is looked at", async () => {
  const world = await live();
  await world.show(false);
  world.socket.drop();
  await world.show(true);
  assert.equal(world.sockets.length, 2);
});

test("a page that comes back does not trust its socket: it asks", async () => {
  const world = await live();
  await world.fire("online");
  assert.equal(world.socket.all("session.ping").length, 1);
  await world.clock.advance(10_000);
  assert.equal(world.sockets[0].closed, true);
  assert.equal(world.client.status, "reconnecting");
});

test("a page that goes into the back/forward cache gives its socket up and comes back with its calls", async () => {
  const world = await live();
  const answer = world.client.drive.files.update({ fileId: "f", requestBody: { name: "n" } });
  const { id } = world.socket.asked("drive.files.update");
  await world.fire("pagehide");
  assert.equal(world.socket.closed, true);
  await world.fire("pageshow");
  await world.open({ how: "live", resumed: true });
  assert.equal(world.socket.asked("drive.files.update").id, id);
  world.socket.answer("drive.files.update", { data: { id: "f" } });
  assert.deepEqual(await answer, { data: { id: "f" } });
});

test("server.draining says when to come back, and neither library nor page shortens that", async () => {
  const world = await live();
  const told = [];
  world.client.addEventListener("draining", ({ detail }) => told.push(detail));
  world.socket.notify("server.draining", { reconnect_after: 7.5 });
  await world.clock.advance(500);
  world.socket.drop(4000);
  assert.deepEqual(told, [{ reconnectIn: 7500 }]);
  assert.equal(world.client.detail.reason, "draining");
  assert.equal(world.client.detail.retryIn, 7000 + 250);
  await world.fire("online");
  await world.show(true);
  await world.clock.advance(6900);
  assert.equal(world.sockets.length, 1);
  await world.clock.advance(350);
  await world.open({ how: "stored", resumed: true });
  assert.equal(world.client.status, "live");
  await world.clock.advance(6000);
  world.socket.drop();
  assert.equal(world.client.detail.retryIn, 250, "the drain is over");
});

for (const value of [-5, null, "soon", 1e12, { a: 1 }, undefined]) {
  test(`server.draining with reconnect_after ${JSON.stringify(value)} does no harm`, async () => {
    const world = await live();
    world.socket.notify("server.draining", { reconnect_after: value });
    world.socket.drop(4000);
    assert.ok(world.client.detail.retryIn >= 0 && world.client.detail.retryIn <= 301_000);
  });
}

test("codes below 4500 and the usual ones come back; those above do not by themselves", async () => {
  for (const code of [1000, 1001, 1006, 1009, 1011, 1012, 4000, 4001, 4002, 4003, 4004, 4499]) {
    const world = await live();
    await world.lose(code);
    await world.open();
    assert.equal(world.client.status, "live", `${code}`);
  }
  for (const code of [4501, 4502, 4503, 4999]) {
    const world = await live();
    world.socket.drop(code);
    assert.equal(world.client.status, "closed");
    assert.equal(world.client.detail.reason, CLOSE_CODES[code] ?? "close_4999");
    await world.fire("online");
    await world.show(true);
    await world.clock.advance(600_000);
    assert.equal(world.sockets.length, 1, `${code}`);
    world.client.reconnect();
    await world.open();
    assert.equal(world.client.status, "live");
  }
});

test("a session that may not have one connection more stays away", async () => {
  const world = new World();
  await settle();
  world.socket.onopen();
  world.socket.refuse("session.open", 1011, "too_many", { limit: 32 });
  await settle();
  assert.equal(world.client.status, "closed");
  assert.equal(world.client.detail.reason, "too_many_connections");
  await world.clock.advance(600_000);
  assert.equal(world.sockets.length, 1);
});

test("a session that never opened and may not come back fails `ready`", async () => {
  const world = new World();
  await settle();
  world.socket.drop(4502);
  await assert.rejects(world.client.ready, named("closed"));
  await assert.rejects(world.client.drive.files.list({}), named("closed"));
});

test("4004: a new identity; what was written is unknown, what was read is read again, the name is dropped", async () => {
  const world = await live({ user: null });
  const write = assert.rejects(world.client.drive.files.update({ fileId: "f" }), named("outcome_unknown"));
  const read = world.client.drive.files.list({});
  world.socket.notify("session.signed_in");
  world.session = "s2";
  await world.lose(4004);
  world.socket.onopen();
  assert.deepEqual(world.socket.asked("session.open").params, { session: "s2", visible: true });
  await world.open({ connection: "c2" });
  await write;
  assert.deepEqual(world.socket.all("drive.files.update"), []);
  world.socket.answer("drive.files.list", { data: 1 });
  assert.deepEqual(await read, { data: 1 });
  assert.deepEqual(world.users, [ANN]);
});

test("session.signed_in is believed even if the close code is lost on the way", async () => {
  const world = await live({ user: null });
  world.socket.notify("session.signed_in");
  await world.lose(1006);
  world.socket.onopen();
  assert.equal(world.socket.asked("session.open").params.connection, undefined);
});

test("4500: signed out; a new cookie and an unsigned session, so that signing in works", async () => {
  const world = await live();
  const read = assert.rejects(world.client.drive.files.list({}), named("not_signed_in"));
  const write = assert.rejects(world.client.drive.files.create({}), named("outcome_unknown"));
  world.socket.notify("session.signed_out", { reason: "revoked" });
  world.socket.drop(4500);
  await read;
  await write;
  assert.equal(world.client.status, "signed_out");
  assert.equal(world.client.detail.reason, "revoked");
  assert.equal(world.client.user, null);
  world.session = "s2";
  const going = world.client.signIn();
  await world.clock.advance(500);
  await world.open({ user: null, connection: "c2" });
  assert.equal(world.client.status, "signed_out");
  assert.equal(world.client.detail.reason, "revoked");
  assert.deepEqual(world.socket.asked("session.sign_in").params, { return_to: "/page?a=1" });
  world.socket.answer("session.sign_in", { url: "https://accounts.example.com/auth?x=1" });
  await going;
  assert.deepEqual(world.gone, ["https://accounts.example.com/auth?x=1"]);
  assert.deepEqual(new Set(world.statuses.map(({ status }) => status)), new Set(["live", "signed_out"]));
});

test("a server that signs out at once again and again is not run after", async () => {
  const world = await live();
  const waits = [];
  for (let turn = 0; turn < 4; turn++) {
    world.socket.drop(4500);
    waits.push(world.client.detail.retryIn);
    await world.clock.advance(world.client.detail.retryIn);
    await world.open();
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000]);
});

test("signing out: the close may overtake the answer", async () => {
  const world = await live();
  const out = world.client.signOut({ everywhere: true });
  assert.deepEqual(world.socket.asked("session.sign_out").params, { everywhere: true, disconnect: false });
  world.socket.drop(4500);
  await out;
  assert.equal(world.client.status, "signed_out");
  assert.deepEqual(world.users, [ANN, null]);
});

test("a sign-out whose answer is lost does not sign out whoever has signed in since", async () => {
  const world = await live();
  const out = assert.rejects(world.client.signOut(), named("outcome_unknown"));
  world.session = "s2";
  await world.lose(4004);
  await world.open({ user: BOB });
  await out;
  assert.deepEqual(world.socket.all("session.sign_out"), []);
});

test("a place to go that is no web address is not gone to", async () => {
  for (const url of ["javascript:alert(1)", "data:text/html,x", "what?", 5, null]) {
    const world = await live({ user: null });
    const going = assert.rejects(world.client.signIn({ returnTo: "/here" }));
    assert.equal(world.socket.asked("session.sign_in").params.return_to, "/here");
    world.socket.answer("session.sign_in", { url });
    await going;
    assert.deepEqual(world.gone, []);
  }
});

test("nothing heard for a heartbeat: ask; no answer in ten seconds: another socket", async () => {
  const world = await live({ heartbeat: 30 });
  await world.clock.advance(29_999);
  assert.equal(world.socket.all("session.ping").length, 0);
  await world.clock.advance(1);
  assert.equal(world.socket.all("session.ping").length, 1);
  await world.clock.advance(9_999);
  assert.equal(world.client.status, "live");
  await world.clock.advance(1);
  assert.equal(world.client.status, "reconnecting");
  assert.equal(world.client.detail.reason, "heartbeat_lost");
});

test("whatever is heard is a sign of life", async () => {
  const world = await live({ heartbeat: 30 });
  await world.clock.advance(25_000);
  world.socket.notify("session.recovered");
  await world.clock.advance(29_999);
  assert.equal(world.socket.all("session.ping").length, 0);
  await world.clock.advance(1);
  world.socket.answer("session.ping", {});
  await world.clock.advance(29_999);
  assert.equal(world.socket.all("session.ping").length, 1);
  assert.equal(world.client.status, "live");
});

test("a heartbeat that makes no sense becomes one that does", async () => {
  for (const [heartbeat, ms] of [[0.001, 5000], [-1, 40_000], ["x", 40_000], [1e9, 300_000], [null, 40_000]]) {
    const world = await live({ heartbeat });
    await world.clock.advance(ms - 1);
    assert.equal(world.socket.all("session.ping").length, 0);
    await world.clock.advance(1);
    assert.equal(world.socket.all("session.ping").length, 1);
  }
});

test("the server is told when the tab is hidden and shown", async () => {
  const world = await live();
  await world.show(false);
  assert.deepEqual(world.socket.asked("session.attention").params, { visible: false });
  await world.show(false);
  assert.equal(world.socket.all("session.attention").length, 1);
  await world.show(true);
  assert.deepEqual(world.socket.asked("session.attention").params, { visible: true });
});

test("a tab hidden while it connects says so as soon as it can", async () => {
  const world = new World();
  await settle();
  world.socket.onopen();
  await world.show(false);
  world.socket.answer("session.open", { session: "s1", user: ANN });
  assert.deepEqual(world.socket.asked("session.attention").params, { visible: false });
});

test("what a socket says after its successor has begun counts for nothing", async () => {
  const world = await live();
  const [first] = world.sockets;
  const { onmessage, onclose } = first;
  const answer = world.client.drive.files.list({});
  const { id } = first.asked("drive.files.list");
  await world.lose();
  onmessage({ data: JSON.stringify({ id, result: "stale" }) });
  onclose({ code: 4500 });
  await world.open({ resumed: true });
  assert.equal(world.client.status, "live");
  world.socket.answer("drive.files.list", "fresh");
  assert.equal(await answer, "fresh");
});

test("degraded and recovered are told, and part of the status", async () => {
  const world = await live();
  const told = [];
  world.client.addEventListener("degraded", ({ detail }) => told.push(detail));
  world.client.addEventListener("recovered", ({ detail }) => told.push(detail));
  world.socket.notify("session.degraded", { reason: "google_rate_limited", retry_after: 12 });
  assert.deepEqual(world.client.detail.degraded, { reason: "google_rate_limited", retryAfter: 12 });
  assert.equal(world.client.status, "live");
  world.socket.notify("session.recovered");
  assert.equal(world.client.detail.degraded, null);
  assert.deepEqual(told, [{ reason: "google_rate_limited", retryAfter: 12 }, null]);
});

test("a drain that is over has no say in the next loss", async () => {
  const world = await live();
  world.socket.notify("server.draining", { reconnect_after: 60 });
  world.client.reconnect();
  await world.open({ resumed: true });
  await world.clock.advance(6000);
  world.socket.drop();
  assert.equal(world.client.detail.retryIn, 250);
});

test("close() also ends the coming back that was under way", async () => {
  const world = await live();
  world.socket.drop();
  world.client.close();
  await world.clock.advance(60_000);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.clock.timers.size, 0);
});

test("close() is for good", async () => {
  const world = await live();
  const read = assert.rejects(world.client.drive.files.list({}), named("closed"));
  const write = assert.rejects(world.client.drive.files.create({}), named("outcome_unknown"));
  world.client.close();
  await read;
  await write;
  assert.equal(world.socket.closed, true);
  await world.fire("pageshow");
  await world.clock.advance(600_000);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.clock.timers.size, 0);
});
