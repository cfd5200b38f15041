/** The demo page: one session, a list of files, a document, and a line on how fresh it all is. */

import { connect } from "/client/docsession.js";

import { DocumentPanel } from "./demo_document.js";
import { $, announce, avatar, explain, keepTimes } from "./demo_dom.js";
import { Files } from "./demo_files.js";
import { Freshness } from "./demo_freshness.js";
import { Tabs } from "./demo_tabs.js";

const session = connect();
const files = new Files(session);
const panel = new DocumentPanel(session, $("panel"));
const freshness = new Freshness(session, files, panel);
const tabs = new Tabs(() => showFreshness());

const STATUS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  signed_out: "Signed out",
  closed: "Disconnected: connect again",
};
const OUT = {
  __proto__: null, // names that every object has are no names here
  signed_out: "You are signed out.",
  revoked: "Google says that the permission was taken back. Sign in to give it again.",
  expired: "Your session has expired. Please sign in again.",
};
const SIGN_IN_ERRORS = {
  __proto__: null,
  access_denied: "You did not allow it, so nobody is signed in.",
  state_mismatch: "That sign-in was not begun in this browser. Please try again.",
  expired: "That sign-in took too long. Please try again.",
  exchange_failed: "Google did not complete the sign-in. Please try again.",
};
const BANNER_AFTER = 1500; // ms; a short cut needs no words

// --- where we are: the address says it, so that back, reload and sharing a link work ----------------

const HASH_KEPT = "docsession-demo-hash";
let shownFile = null;

function route() {
  if (!session.user) return;
  const where = new URLSearchParams(location.hash.slice(1));
  const fileId = where.get("file") || null;
  files.show(where.get("folder") || null, fileId);
  if (fileId !== shownFile) {
    shownFile = fileId;
    if (fileId === null) panel.close();
    else panel.open(fileId);
  }
  $("app").classList.toggle("has-file", fileId !== null);
  const folder = where.get("folder");
  const back = $("panel").querySelector(".back");
  if (back && folder) back.href = `#${new URLSearchParams({ folder })}`;
  tabs.look(fileId);
  showFreshness();
}

addEventListener("hashchange", () => {
  route();
  if (shownFile === null) $("main").focus({ preventScroll: true });
});

// --- status ------------------------------------------------------------------------------------------

let bannerTimer = null;
let wasAway = false;

function showStatus({ status, degraded }) {
  const pill = $("status");
  const isLate = status === "live" && degraded !== null;
  pill.dataset.status = isLate ? "degraded" : status;
  pill.disabled = !["closed", "reconnecting"].includes(status);
  pill.title = status === "reconnecting" ? "Try now" : "";
  $("status-text").textContent = isLate ? "Live, but late" : STATUS[status];
  showBanner(status);
  $("sign-in").disabled = status !== "signed_out";
  if (status === "live") {
    if (wasAway) announce("Connected again, and up to date");
    wasAway = false;
  } else if (status === "reconnecting") {
    wasAway = true;
  }
  showViews(status);
  showFreshness();
}

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = text === "";
}

function showBanner(status) {
  if (status === "reconnecting") {
    const say = () => banner("The line is down. Nothing is lost: this page catches up as soon as it is back.");
    bannerTimer ??= setTimeout(say, BANNER_AFTER);
    return;
  }
  clearTimeout(bannerTimer);
  bannerTimer = null;
  const closed = "This page is disconnected and will not come back by itself. Press the button above to connect again.";
  banner(status === "closed" ? closed : "");
}

/** The hero for those who are out, the files for those who are in, neither before we know. */
function showViews(status) {
  const isIn = session.user !== null;
  const isOut = !isIn && status !== "connecting";
  $("app").hidden = !isIn;
  $("account").hidden = !isIn;
  $("fresh").hidden = !isIn;
  $("hero").hidden = !isOut;
  if (isOut && OUT[session.detail.reason]) note(OUT[session.detail.reason]);
}

function note(text) {
  $("hero-note").textContent = text;
  $("hero-note").hidden = false;
}

function showFreshness() {
  $("fresh-text").textContent = freshness.text;
  $("tabs-text").textContent = tabs.text;
}

function showUser(user) {
  files.clear();
  panel.close();
  shownFile = null;
  tabs.look(null);
  if (user === null) {
    $("account").open = false;
    document.title = "docsession";
    return;
  }
  $("account-avatar").replaceChildren(avatar(user.name || user.email, user.picture));
  $("account-name").textContent = user.name || user.email;
  $("account-full").textContent = user.name;
  $("account-email").textContent = user.email;
  const kept = sessionStorage.getItem(HASH_KEPT);
  sessionStorage.removeItem(HASH_KEPT);
  if (kept && !location.hash) history.replaceState(null, "", kept);
  route();
}

session.addEventListener("status", ({ detail }) => showStatus(detail));
session.addEventListener("user", ({ detail }) => showUser(detail));
setInterval(showFreshness, 1000);

// --- signing in and out --------------------------------------------------------------------------

$("sign-in").addEventListener("click", async () => {
  $("sign-in").disabled = true;
  sessionStorage.setItem(HASH_KEPT, location.hash);
  try {
    await session.signIn();
  } catch (error) {
    note(explain(error));
    $("sign-in").disabled = false;
  }
});

async function signOut(options) {
  try {
    await session.signOut(options);
  } catch (error) {
    banner(explain(error));
  }
}

$("sign-out").addEventListener("click", () => signOut({}));
$("sign-out-everywhere").addEventListener("click", () => signOut({ everywhere: true }));
$("status").addEventListener("click", () => session.reconnect());

const account = $("account");
addEventListener("click", (event) => {
  if (!account.contains(event.target)) account.open = false;
});
account.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  account.open = false;
  account.querySelector("summary").focus();
});

const failed = new URLSearchParams(location.search).get("docsession_error");
if (failed !== null) {
  note(SIGN_IN_ERRORS[failed] ?? "The sign-in did not work. Please try again.");
  history.replaceState(null, "", location.pathname + location.hash);
}

const sandbox = document.querySelector('meta[name="docsession-sandbox"]')?.content;
if (sandbox && /^https?:/.test(sandbox)) {
  $("sandbox-link").href = sandbox;
  $("sandbox-link").hidden = false;
  $("hero-sandbox").hidden = false;
}

showStatus(session.detail);
setInterval(keepTimes, 10_000);
