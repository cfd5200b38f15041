// The demo page's own small sums; the page as a whole is looked at in a real browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { inWords } from "../../docsession/static/demo_document.js";
import { ago, bytes, explain, kindOf } from "../../docsession/static/demo_dom.js";
import { quoted } from "../../docsession/static/demo_files.js";

test("what is searched for cannot leave its quotes", () => {
  assert.equal(quoted("plan"), "'plan'");
  assert.equal(quoted("it's"), "'it\\'s'");
  assert.equal(quoted("a\\"), "'a\\\\'");
  assert.equal(quoted("\\' or name contains '"), "'\\\\\\' or name contains \\''");
});

test("what changed, in words", () => {
  assert.equal(inWords(["name", "modifiedTime", "version"]), "name");
  assert.equal(inWords(["md5Checksum", "size", "headRevisionId", "name"]), "content and name");
  assert.equal(inWords(["modifiedTime", "version"]), "last change");
  assert.equal(inWords(["constructor"]), "constructor");
});

test("how long ago", () => {
  const now = Date.parse("2026-06-15T12:00:00Z");
  assert.equal(ago("2026-06-15T11:59:55Z", now), "just now");
  assert.equal(ago("2026-06-15T12:00:05Z", now), "just now", "two clocks never agree");
  assert.equal(ago("2026-06-15T11:59:20Z", now), "40 seconds ago");
  assert.equal(ago("2026-06-15T09:00:00Z", now), "3 hours ago");
  assert.equal(ago("2026-06-14T12:00:00Z", now), "yesterday");
  assert.equal(ago("2020-06-15T12:00:00Z", now), "6 years ago");
  for (const moment of ["what?", undefined, null, {}]) assert.equal(typeof ago(moment, now), "string");
});

test("sizes and kinds", () => {
  assert.deepEqual(["0", "999", "1600", "15000000"].map(bytes), ["0 bytes", "999 bytes", "1.6 kB", "15 MB"]);
  assert.equal(bytes(undefined), "");
  assert.equal(kindOf("application/vnd.google-apps.folder").icon, "folder");
  assert.equal(kindOf("application/octet-stream").label, "File");
  assert.equal(kindOf(undefined).label, "File");
});

test("an error is a sentence for a person", () => {
  assert.equal(explain({ name: "rate_limited", retryAfter: 2.2 }), "Google asks us to slow down. Try again in 3 s.");
  assert.match(explain({ name: "google_unavailable", retryAfter: 5 }, true), /tries again by itself/);
  assert.match(explain(new Error("odd")), /odd/);
  assert.match(explain(undefined), /did not work/);
});
