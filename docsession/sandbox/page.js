// The page where a person plays the other people: what it knows, and the beat it follows.

import { sandbox } from "./api.js";
import { byId, el, onDifference, portrait } from "./dom.js";
import { channels } from "./page_channels.js";
import { controls } from "./page_controls.js";
import { openFile } from "./page_file.js";
import { fileList } from "./page_files.js";

const BEAT = 1000;

const state = { overview: null, actor: "", fileId: "" };
let looking = null;
let away = false;

/** Say how something went, until the next thing does. The same words are announced once. */
function say(text, { trouble = false } = {}) {
  for (const [id, words] of [["said", trouble ? "" : text], ["trouble", trouble ? text : ""]]) {
    if (byId(id).textContent !== words) byId(id).textContent = words;
  }
}

/** Do something on a person's behalf, say how it went, and look at once at what it changed. */
async function act(done, doing) {
  try {
    await doing();
    say(done);
    return true;
  } catch (error) {
    say(error.message, { trouble: true });
    return false;
  } finally {
    await look();
  }
}

const tools = {
  act,
  say,
  actor: () => state.overview.people.find((person) => person.email === state.actor),
  personWith: (email) => state.overview.people.find((person) => person.email === email),
  become: (email) => go({ actor: email }),
  open: (fileId) => go({ fileId }),
};

const parts = [actors(), fileList(tools), openFile(tools), controls(tools), channels(tools)];

function actors() {
  const showAll = onDifference(({ people, actor }) => {
    byId("actors").replaceChildren(
      ...people.map((person) => {
        const radio = el("input", { type: "radio", name: "actor", value: person.email, change: () => tools.become(person.email) });
        radio.checked = person.email === actor;
        return el("label", { class: "actor", title: person.email }, radio, portrait(person), el("span", {}, person.name));
      }),
    );
  });
  // Choosing another person leaves the radios as they are, so that the focus stays.
  let shown = "";
  return {
    show({ overview, actor }) {
      showAll({ people: overview.people, actor: shown || actor });
      if (shown === actor) return;
      shown = actor;
      for (const radio of byId("actors").querySelectorAll("input")) radio.checked = radio.value === actor;
    },
  };
}

function show() {
  const { overview } = state;
  if (!overview.people.some((person) => person.email === state.actor)) state.actor = overview.people[0]?.email ?? "";
  if (!state.actor) return;
  for (const part of parts) part.show(state);
}

/** Ask how things are. One question at a time; who asks meanwhile gets the answer to a later one. */
function look() {
  const next = (looking?.then(ask) ?? ask()).finally(() => {
    if (looking === next) looking = null;
  });
  looking = next;
  return next;
}

async function ask() {
  try {
    state.overview = await sandbox("GET", "overview");
    if (away) say("");
    away = false;
    show();
  } catch (error) {
    away = true;
    say(error.message, { trouble: true });
  }
}

function go(changes) {
  Object.assign(state, changes);
  const place = new URLSearchParams({ as: state.actor, ...(state.fileId && { file: state.fileId }) });
  history.replaceState(null, "", `#${place}`);
  show();
}

function readPlace() {
  const place = new URLSearchParams(location.hash.slice(1));
  state.actor = place.get("as") ?? state.actor;
  state.fileId = place.get("file") ?? state.fileId;
  if (state.overview) show();
}

async function beat() {
  if (document.visibilityState === "visible") await (looking ?? look());
  setTimeout(beat, BEAT);
}

addEventListener("hashchange", readPlace);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && look());
readPlace();
beat();
