// Who sees what: a table of files and people.

import { drive } from "./api.js";
import { byId, el, onDifference, portrait, refill, when } from "./dom.js";

const MOST_ROWS = 150;
const MOST_PEOPLE = 6;
const MOST_DEPTH = 4;

const KINDS = {
  "application/vnd.google-apps.document": "Document",
  "application/vnd.google-apps.spreadsheet": "Spreadsheet",
  "application/vnd.google-apps.presentation": "Presentation",
  "application/vnd.google-apps.folder": "Folder",
  "application/vnd.google-apps.shortcut": "Shortcut",
};

/** A file type in a word. */
export function kind(file) {
  return KINDS[file.mimeType] ?? file.mimeType;
}

/** Files in the order of their folders, each with its depth. */
function asTree(files) {
  const known = new Set(files.map((file) => file.id));
  const inside = Map.groupBy(files, (file) => (known.has(file.parent) ? file.parent : ""));
  const ordered = [];
  const walk = (folder, depth) => {
    const here = inside.get(folder) ?? [];
    here.sort((one, other) => one.name.localeCompare(other.name));
    for (const file of here) {
      ordered.push({ ...file, depth: Math.min(depth, MOST_DEPTH) });
      walk(file.id, depth + 1);
    }
  };
  walk("", 0);
  return ordered;
}

export function fileList({ act, actor, open }) {
  let latest = null;

  const showHead = onDifference((people) => {
    byId("matrix-head").replaceChildren(
      el("th", { scope: "col", class: "name" }, "File"),
      ...people.map((person) =>
        el("th", { scope: "col", class: person.acting ? "acting" : "" }, portrait(person), " ", person.name.split(" ")[0]),
      ),
      el("th", { scope: "col", class: "extra" }, "Comments"),
      el("th", { scope: "col", class: "extra" }, "Changed"),
    );
  });

  const showRows = onDifference(({ rows, people }) => {
    refill(byId("matrix"), rows.map((file) => row(file, people)));
  });

  function row(file, people) {
    const notes = [
      file.drive && el("span", { class: "tag" }, `in ${file.drive}`),
      file.anyone && el("span", { class: "tag" }, "by link"),
      file.trashed && el("span", { class: "tag warn" }, "in the trash"),
    ];
    const button = el(
      "button",
      { type: "button", class: "link", "data-key": file.id, "aria-pressed": String(file.open), click: () => opened(file.id) },
      file.name,
    );
    return el(
      "tr",
      { class: `${file.open ? "open" : ""} ${file.trashed ? "trashed" : ""}` },
      el("th", { scope: "row", class: `name depth-${file.depth}` }, button, " ", el("span", { class: "kind" }, kind(file)), ...notes),
      ...people.map((person) => {
        const role = file.roles[person.email] ?? (file.anyone ? `${file.anyone} by link` : "");
        const mark = role ? el("span", { class: `role ${role.split(" ")[0]}` }, role) : el("span", { class: "none" }, "–");
        return el("td", { class: person.acting ? "acting" : "" }, mark);
      }),
      el("td", { class: "extra number" }, String(file.comments || "")),
      el("td", { class: "extra" }, file.ago),
    );
  }

  function opened(fileId) {
    open(fileId);
    byId("file").focus({ preventScroll: true });
    byId("file").scrollIntoView({ block: "nearest" });
  }

  function show(state) {
    latest = state;
    const { overview, fileId } = state;
    const others = overview.people.filter((person) => person.email !== state.actor);
    const chosen = new Set([state.actor, ...others.slice(0, MOST_PEOPLE - 1).map((person) => person.email)]);
    const people = overview.people
      .filter((person) => chosen.has(person.email))
      .map((person) => ({ ...person, acting: person.email === state.actor }));
    const drives = new Map(overview.drives.map((each) => [each.id, each.name]));
    const wanted = byId("find").value.trim().toLowerCase();
    const found = asTree(overview.files).filter((file) => file.name.toLowerCase().includes(wanted));
    const rows = found.slice(0, MOST_ROWS).map(({ text, ...file }) => ({
      ...file,
      depth: wanted ? 0 : file.depth,
      drive: drives.get(file.driveId),
      open: file.id === fileId,
      ago: when(file.modifiedTime, overview.time),
    }));
    showHead(people);
    showRows({ rows, people });
    const hidden = [
      found.length > rows.length && `${found.length - rows.length} more files: narrow the search`,
      found.length === 0 && "No file has such a name",
      overview.people.length > people.length && `${overview.people.length - people.length} more people are not shown`,
    ].filter(Boolean);
    byId("matrix-more").hidden = hidden.length === 0;
    byId("matrix-more").textContent = hidden.join(" · ");
  }

  byId("find").addEventListener("input", () => latest && show(latest));
  byId("create").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const body = Object.fromEntries(new FormData(form));
    const done = await act(`${actor().name} made “${body.name}”.`, async () => {
      const made = await drive(actor().email, "POST", "files", { body, query: { fields: "id" } });
      open(made.id);
    });
    if (done) form.reset();
  });

  return { show };
}
