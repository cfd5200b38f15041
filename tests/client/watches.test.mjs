// Documents, comments and listings: what a callback is told, and that coming back tells only what differs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BOB, World, live, named, settle } from "./fakes.mjs";

const file = (version, name = "Plan") => ({ id: "f", name, version, modifiedTime: `t${version}` });
const comment = (id, content, rest = {}) => ({ id, content, createdTime: `2026-01-0${id}`, ...rest });

/** A live world with one watch of document "f" that has its first answer. */
const watching = async (options, answer = {}) => {
  const world = await live();
  const events = [];
  const watch = world.client.watch("f", (event) => events.push(event), options);
  world.socket.answer("documents.watch", {
    fileId: "f",
    version: "1",
    changed: true,
    file: file("1"),
    as_of: "a1",
    ...(options?.comments && { comments: [comment("1", "first"), comment("2", "second")], commentsMark: "m1" }),
    ...answer,
  });
  await settle();
  return { world, events, watch };
};

const contents = (comments) => comments.map(({ content }) => content);

test("a watch is told the state, then what changed", async () => {
  const { world, events, watch } = await watching();
  assert.deepEqual(world.socket.asked("documents.watch").params, { fileId: "f" });
  assert.deepEqual(events, [{ type: "state", fileId: "f", file: file("1"), version: "1", as_of: "a1" }]);
  assert.equal(await watch.ready, watch);
  assert.deepEqual([watch.fileId, watch.version, watch.file, watch.asOf], ["f", "1", file("1"), "a1"]);
  const change = { fileId: "f", version: "2", file: file("2", "New"), changed: ["name"], via: "peer", seen_at: "a2" };
  world.socket.notify("document.changed", change);
  assert.deepEqual(events[1], { type: "changed", as_of: "a2", ...change });
  world.socket.notify("document.changed", change);
  assert.equal(events.length, 2, "the same version is no news");
  world.socket.notify("document.touched", { fileId: "f", version: "2" });
  assert.equal(events[2].type, "touched");
  world.socket.notify("document.changed", { ...change, fileId: "other", version: "9" });
  assert.equal(events.length, 3);
});

test("a watch made before the session is open begins when it is, and nothing is watched while nobody is signed in", async () => {
  const world = new World();
  const events = [];
  world.client.watch("f", (event) => events.push(event));
  await world.open({ user: null });
  assert.deepEqual(world.socket.all("documents.watch"), []);
  world.session = "s2";
  await world.lose(4004);
  await world.open();
  world.socket.answer("documents.watch", { fileId: "f", version: "1", file: file("1") });
  assert.equal(events[0].type, "state");
});

test("several watches of a document share one at the server, which ends with the last of them", async () => {
  const { world, watch } = await watching();
  const late = [];
  const second = world.client.watch("f", (event) => late.push(event));
  assert.deepEqual(late, [], "never before watch() has returned");
  await settle();
  assert.deepEqual(late.map(({ type, version }) => [type, version]), [["state", "1"]]);
  assert.equal(world.socket.all("documents.watch").length, 1);
  watch.unwatch();
  watch.unwatch();
  assert.deepEqual(world.socket.all("documents.unwatch"), []);
  world.socket.notify("document.changed", { fileId: "f", version: "2", file: file("2"), changed: [] });
  assert.equal(late.length, 2);
  second.unwatch();
  assert.deepEqual(world.socket.asked("documents.unwatch").params, { fileId: "f" });
  world.socket.notify("document.changed", { fileId: "f", version: "3", file: file("3"), changed: [] });
  assert.equal(late.length, 2);
});

test("a callback that fails harms nobody else", async () => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  try {
    const world = await live();
    const events = [];
    world.client.watch("f", () => {
      throw new Error("mine");
    });
    world.client.watch("f", (event) => events.push(event.type));
    world.socket.answer("documents.watch", { fileId: "f", version: "1", file: file("1") });
    assert.deepEqual([reported, events], [["mine"], ["state"]]);
  } finally {
    delete globalThis.reportError;
  }
});

test("given up before the answer: the answer unwatches, unless somebody came in between", async () => {
  const world = await live();
  world.client.watch("f", assert.fail).unwatch();
  assert.deepEqual(world.socket.all("documents.unwatch"), []);
  world.socket.answer("documents.watch", { fileId: "f", version: "1", file: file("1") });
  assert.deepEqual(world.socket.asked("documents.unwatch").params, { fileId: "f" });

  const events = [];
  world.client.watch("g", assert.fail).unwatch();
  world.client.watch("g", (event) => events.push(event.type));
  world.socket.answer("documents.watch", { fileId: "g", version: "1", file: file("1") });
  assert.deepEqual(events, ["state"]);
  assert.equal(world.socket.all("documents.unwatch").length, 1);
});

test("given up while away: not watched again", async () => {
  const { world, watch } = await watching();
  const unanswered = world.client.watch("g", () => {});
  world.client.watch("h", assert.fail).unwatch();
  await world.lose();
  watch.unwatch();
  unanswered.unwatch();
  await world.open({ resumed: true });
  assert.deepEqual(world.socket.sent.map(({ method }) => method), ["session.open"]);
});

test("an alias: answers and events carry the real id", async () => {
  const world = await live();
  const events = [];
  const watch = world.client.watch("root", (event) => events.push(event));
  world.socket.answer("documents.watch", { fileId: "real", version: "1", file: file("1") });
  assert.deepEqual([events[0].fileId, watch.fileId], ["real", "real"]);
  world.socket.notify("document.changed", { fileId: "real", version: "2", file: file("2"), changed: ["name"] });
  assert.deepEqual([events[1].type, events[1].fileId], ["changed", "real"]);
  const again = world.client.watch("root", () => {});
  assert.equal(again.fileId, "real");
  assert.equal(world.socket.all("documents.watch").length, 1);
  await world.lose();
  await world.open({ resumed: true });
  assert.deepEqual(world.socket.asked("documents.watch").params, { fileId: "real", version: "2" });
  world.socket.answer("documents.watch", { fileId: "real", version: "2", changed: false });
  watch.unwatch();
  again.unwatch();
  assert.deepEqual(world.socket.asked("documents.unwatch").params, { fileId: "real" });
});

test("an alias joins the watch that is already there under the real id", async () => {
  const { world, events, watch } = await watching();
  const late = [];
  const alias = world.client.watch("root", (event) => late.push(event), { comments: true });
  const answer = { fileId: "f", version: "2", file: file("2"), comments: [comment("1", "c")], commentsMark: "m" };
  world.socket.answer("documents.watch", answer);
  assert.deepEqual(late.map(({ type, version }) => [type, version]), [["state", "2"]]);
  assert.deepEqual(contents(late[0].comments), ["c"]);
  assert.deepEqual(events.map(({ type, version }) => [type, version]), [["state", "1"], ["changed", "2"]]);
  assert.deepEqual(world.socket.asked("documents.watch").params, {
    fileId: "f", version: "2", comments: true, commentsMark: "m",
  });
  world.socket.answer("documents.watch", { ...answer, changed: false, comments: [] });
  watch.unwatch();
  world.socket.notify("document.changed", { fileId: "f", version: "3", file: file("3"), changed: [] });
  assert.equal(late.at(-1).version, "3");
  assert.deepEqual(world.socket.all("documents.unwatch"), []);
  alias.unwatch();
  assert.deepEqual(world.socket.asked("documents.unwatch").params, { fileId: "f" });
});

test("coming back: watched again with the version there is; only what differs is told", async () => {
  const { world, events, watch } = await watching({ comments: true });
  await world.lose();
  await world.open({ resumed: true });
  const { params } = world.socket.asked("documents.watch");
  assert.deepEqual(params, { fileId: "f", version: "1", comments: true, commentsMark: "m1" });
  world.socket.answer("documents.watch", {
    fileId: "f", version: "1", changed: false, comments: [], commentsMark: "m2", as_of: "a2",
  });
  assert.equal(events.length, 1);
  assert.equal(watch.asOf, "a2");

  await world.lose();
  await world.open({ how: "stored", resumed: true });
  assert.equal(world.socket.asked("documents.watch").params.commentsMark, "m2");
  world.socket.answer("documents.watch", {
    fileId: "f",
    version: "5",
    changed: true,
    file: { ...file("5", "New"), trashed: true },
    comments: [comment("1", "", { deleted: true }), comment("3", "third")],
    commentsMark: "m3",
    as_of: "a3",
  });
  const [, changed, comments] = events;
  assert.deepEqual([changed.type, changed.via, changed.version, changed.seen_at], ["changed", "return", "5", "a3"]);
  assert.deepEqual(changed.changed.sort(), ["modifiedTime", "name", "trashed", "version"]);
  assert.equal(comments.type, "comments");
  assert.deepEqual(contents(comments.comments), ["second", "third"]);
  assert.equal(events.length, 3);
});

test("comments: merged by id, kept in order, dropped when deleted", async () => {
  const { world, events, watch } = await watching({ comments: true });
  assert.deepEqual(contents(events[0].comments), ["first", "second"]);
  const say = (one, mark) =>
    world.socket.notify("document.comment", { fileId: "f", comment: one, commentsMark: mark, via: "poll", seen_at: "s" });
  say(comment("3", "third"), "m2");
  assert.deepEqual([events[1].type, events[1].comment.content, events[1].via], ["comment", "third", "poll"]);
  say(comment("1", "first, edited", { resolved: true }), "m3");
  assert.deepEqual(contents(watch.comments), ["first, edited", "second", "third"]);
  say(comment("1", "first, edited", { resolved: true }), "m4");
  assert.equal(events.length, 3, "the same comment is no news");
  say({ id: "2", deleted: true }, "m5");
  assert.equal(events[3].comment.deleted, true);
  assert.deepEqual(contents(events[3].comments), ["first, edited", "third"]);
  say({ id: "2", deleted: true }, "m6");
  assert.equal(events.length, 4);
  await world.lose();
  await world.open({ resumed: true });
  assert.equal(world.socket.asked("documents.watch").params.commentsMark, "m6");
});

test("without a mark the answer is the whole truth, and what is not in it is gone", async () => {
  const { world, events, watch } = await watching({ comments: true }, { commentsMark: undefined });
  await world.lose();
  await world.open();
  assert.deepEqual(world.socket.asked("documents.watch").params, { fileId: "f", version: "1", comments: true });
  world.socket.answer("documents.watch", { fileId: "f", version: "1", changed: false, comments: [comment("2", "second")] });
  assert.deepEqual(contents(watch.comments), ["second"]);
  assert.deepEqual(events.map(({ type }) => type), ["state", "comments"]);
});

test("comments go to the watches that want them, and are asked for when the first such comes", async () => {
  const { world, events } = await watching();
  const late = [];
  world.client.watch("f", (event) => late.push(event), { comments: true });
  assert.deepEqual(world.socket.asked("documents.watch").params, { fileId: "f", version: "1", comments: true });
  world.socket.answer("documents.watch", {
    fileId: "f", version: "1", changed: false, comments: [comment("1", "first")], commentsMark: "m1",
  });
  await settle();
  world.socket.notify("document.comment", { fileId: "f", comment: comment("2", "second"), commentsMark: "m2" });
  assert.deepEqual(contents(late.at(-1).comments), ["first", "second"]);
  assert.deepEqual(events.map(({ type }) => type), ["state"]);
  assert.equal("comments" in events[0], false);
});

test("lost ends the watch", async () => {
  const { world, events, watch } = await watching();
  world.socket.notify("document.lost", { fileId: "f", reason: "no_access" });
  assert.deepEqual([events[1].type, events[1].reason, events[1].fileId], ["lost", "no_access", "f"]);
  watch.unwatch();
  assert.deepEqual(world.socket.all("documents.unwatch"), []);
  await world.lose();
  await world.open({ resumed: true });
  assert.equal(world.socket.all("documents.watch").length, 0);
});

test("access lost while away is told when the watch is made again", async () => {
  const { world, events } = await watching();
  await world.lose();
  await world.open({ resumed: true });
  world.socket.refuse("documents.watch", 1006, "not_found");
  assert.deepEqual([events[1].type, events[1].reason], ["lost", "no_access"]);
});

test("a watch that cannot be made says so", async () => {
  const world = await live();
  const events = [];
  const watch = world.client.watch("f", (event) => events.push(event));
  world.socket.refuse("documents.watch", -32602, "invalid_params", { path: "$.fileId" });
  await assert.rejects(watch.ready, named("invalid_params"));
  assert.deepEqual([events[0].type, events[0].error.name], ["error", "invalid_params"]);
  await world.clock.advance(30_000);
  assert.equal(world.socket.all("documents.watch").length, 1);
});

test("a watch outlives a hiccup: it is tried again when the server said", async () => {
  const world = await live();
  const events = [];
  world.client.watch("f", (event) => events.push(event.type));
  world.socket.refuse("documents.watch", 1008, "google_unavailable", { retry_after: 20 });
  assert.deepEqual(events, ["error"]);
  await world.clock.advance(19_999);
  assert.equal(world.socket.all("documents.watch").length, 1);
  await world.clock.advance(20_001);
  assert.equal(world.socket.all("documents.watch").length, 2);
  world.socket.answer("documents.watch", { fileId: "f", version: "1", file: file("1") });
  assert.deepEqual(events, ["error", "state"]);
});

test("the other watches live on after one hiccup during coming back", async () => {
  const { world, events } = await watching();
  await world.lose();
  await world.open({ resumed: true });
  world.socket.refuse("documents.watch", 1012, "unavailable", { retry_after: 1 });
  await world.clock.advance(2000);
  world.socket.answer("documents.watch", { fileId: "f", version: "2", changed: true, file: file("2") });
  assert.deepEqual(events.map(({ type }) => type), ["state", "error", "changed"]);
});

test("who writes asks afterwards: the server counts the writer as told", async () => {
  const { world, events } = await watching({ comments: true });
  const write = world.client.drive.files.update({ fileId: "f", requestBody: { name: "Mine" } });
  world.socket.answer("drive.files.update", { data: { id: "f" } });
  await write;
  assert.deepEqual(world.socket.asked("documents.watch").params, {
    fileId: "f", version: "1", comments: true, commentsMark: "m1",
  });
  world.socket.answer("documents.watch", {
    fileId: "f", version: "2", changed: true, file: file("2", "Mine"), comments: [], commentsMark: "m1",
  });
  assert.deepEqual([events[1].type, events[1].via, events[1].file.name], ["changed", "self", "Mine"]);
  const read = world.client.drive.files.get({ fileId: "f" });
  world.socket.answer("drive.files.get", {});
  await read;
  assert.equal(world.socket.all("documents.watch").length, 2);
});

test("two writes while the first question is out lead to one more question, not none", async () => {
  const { world } = await watching();
  for (let turn = 0; turn < 3; turn++) {
    world.client.drive.files.update({ fileId: "f" });
    world.socket.answer("drive.files.update", {});
  }
  assert.equal(world.socket.all("documents.watch").length, 2);
  world.socket.answer("documents.watch", { fileId: "f", version: "1", changed: false });
  assert.equal(world.socket.all("documents.watch").length, 3);
  world.socket.answer("documents.watch", { fileId: "f", version: "1", changed: false });
  assert.equal(world.socket.all("documents.watch").length, 3);
});

test("another account sees nothing of what the one before it saw, and an alias is another file", async () => {
  const world = await live();
  const events = [];
  const watch = world.client.watch("root", (event) => events.push(event), { comments: true });
  const answer = { version: "1", file: file("1"), comments: [comment("1", "Ann's")], commentsMark: "m1" };
  world.socket.answer("documents.watch", { fileId: "anns", ...answer });
  world.session = "s2";
  await world.lose(4004);
  await world.open({ user: BOB });
  assert.deepEqual([watch.file, watch.comments], [null, []]);
  assert.deepEqual(world.socket.asked("documents.watch").params, { fileId: "root", comments: true });
  assert.equal(world.socket.all("documents.watch").length, 1);
  world.socket.answer("documents.watch", { fileId: "bobs", version: "1", file: file("1"), comments: [], commentsMark: "n1" });
  assert.deepEqual(events.map(({ type, fileId }) => [type, fileId]), [["state", "anns"], ["state", "bobs"]]);
  assert.deepEqual(events[1].comments, []);
});

test("two hundred watches come back without flooding the server", async () => {
  const world = await live();
  for (let n = 0; n < 200; n++) world.client.watch(`f${n}`, () => {});
  await world.lose();
  await world.open({ resumed: true });
  const asked = () => world.socket.all("documents.watch");
  for (let n = 0; n < 200; n++) {
    assert.ok(asked().length - n <= 24);
    world.socket.say({ id: asked()[n].id, result: { fileId: `f${n}`, version: "1", file: file("1") } });
  }
  assert.equal(asked().length, 200);
});

test("a listing is told when it changes, is made again after coming back, and ends", async () => {
  const world = await live();
  const events = [];
  const params = { orderBy: "name", q: "trashed = false" };
  const watch = world.client.watchListing(params, (event) => events.push(event));
  assert.deepEqual(world.socket.asked("listings.watch").params, params);
  world.socket.answer("listings.watch", { listing: "l1", data: { files: [1] }, as_of: "a1" });
  assert.deepEqual(events, [{ type: "state", data: { files: [1] }, as_of: "a1" }]);
  await watch.ready;
  world.socket.notify("listing.changed", { listing: "l1", data: { files: [2] }, as_of: "a2" });
  world.socket.notify("listing.changed", { listing: "other", data: { files: [9] }, as_of: "a9" });
  assert.deepEqual(events[1], { type: "changed", data: { files: [2] }, as_of: "a2" });
  await world.lose();
  await world.open({ resumed: true });
  world.socket.answer("listings.watch", { listing: "l2", data: { files: [2] }, as_of: "a3" });
  assert.equal(events.length, 2, "the same list is no news");
  assert.equal(watch.asOf, "a3");
  world.socket.notify("listing.changed", { listing: "l2", data: { files: [3] }, as_of: "a4" });
  assert.deepEqual(watch.data, { files: [3] });
  watch.unwatch();
  assert.deepEqual(world.socket.asked("listings.unwatch").params, { listing: "l2" });
  world.socket.notify("listing.changed", { listing: "l2", data: { files: [4] }, as_of: "a5" });
  assert.equal(events.length, 3);
});

test("a listing given up before its answer, or during a hiccup", async () => {
  const world = await live();
  world.client.watchListing({}, assert.fail).unwatch();
  world.socket.answer("listings.watch", { listing: "l1", data: { files: [] } });
  assert.deepEqual(world.socket.asked("listings.unwatch").params, { listing: "l1" });
  world.client.watchListing({}, assert.fail).unwatch();
  world.socket.refuse("listings.watch", 1008, "google_unavailable");
  await world.clock.advance(30_000);
  assert.equal(world.socket.all("listings.watch").length, 2);
});

test("a listing that Google rejects says so and is not tried again", async () => {
  const world = await live();
  const events = [];
  const watch = world.client.watchListing({ q: "(" }, (event) => events.push(event));
  world.socket.refuse("listings.watch", 1009, "google_rejected", { status: 400, reason: "invalid" });
  assert.deepEqual([events[0].type, events[0].error.data.reason], ["error", "invalid"]);
  await assert.rejects(watch.ready, named("google_rejected"));
  await world.lose();
  await world.open({ resumed: true });
  assert.deepEqual(world.socket.all("listings.watch"), []);
});

test("to the server equal listings are one, and it ends with the last of them", async () => {
  const world = await live();
  const events = [];
  const one = world.client.watchListing({ q: "a" }, () => {});
  world.socket.answer("listings.watch", { listing: "l1", data: { files: [] } });
  const two = world.client.watchListing({ q: "a" }, (event) => events.push(event.type));
  one.unwatch();
  assert.deepEqual(world.socket.all("listings.unwatch"), [], "what is asked for may turn out to be the same");
  world.socket.answer("listings.watch", { listing: "l1", data: { files: [] } });
  world.socket.notify("listing.changed", { listing: "l1", data: { files: [1] } });
  assert.deepEqual(events, ["state", "changed"]);
  const three = world.client.watchListing({ q: "b" }, () => {});
  two.unwatch();
  assert.deepEqual(world.socket.all("listings.unwatch"), []);
  world.socket.answer("listings.watch", { listing: "l2", data: { files: [] } });
  assert.deepEqual(world.socket.asked("listings.unwatch").params, { listing: "l1" });
  three.unwatch();
  assert.deepEqual(world.socket.asked("listings.unwatch").params, { listing: "l2" });
});
