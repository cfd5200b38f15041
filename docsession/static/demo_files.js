/** The list of files on the left: live, searchable, one folder at a time. */

import { $, announce, explain, flash, h, icon, isFolder, kindOf, time } from "./demo_dom.js";

const FIELDS = "files(id,name,mimeType,modifiedTime,iconLink,lastModifyingUser(displayName,photoLink)),nextPageToken";
const SEARCH_AFTER = 250; // ms without another key

/** Inside Google's query language a quote or a backslash would end the string. */
export const quoted = (text) => `'${text.replace(/[\\']/g, "\\$&")}'`;

export class Files {
  #session;
  #watch = null;
  #rows = new Map(); // file id -> { item, shown }
  #list = null;
  #folder = null;
  #selected = null;
  #folderNames = new Map();
  #typing = null;

  constructor(session) {
    this.#session = session;
    $("search").addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#again(), SEARCH_AFTER);
    });
    $("search").addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.#list?.querySelector("a")?.focus();
    });
    $("files-body").addEventListener("keydown", (event) => this.#step(event));
  }

  get asOf() {
    return this.#watch?.asOf ?? null;
  }

  /** What the address says: which folder is open, which file is shown. */
  show(folder, selected) {
    this.#selected = selected;
    for (const [id, { item }] of this.#rows) this.#mark(item, id === selected);
    $("crumb").hidden = folder === null;
    if (this.#watch && folder === this.#folder) return;
    this.#folder = folder;
    $("files-title").textContent = folder === null ? "Files" : (this.#folderNames.get(folder) ?? "Folder");
    this.#again();
  }

  clear() {
    clearTimeout(this.#typing);
    this.#watch?.unwatch();
    this.#watch = null;
    this.#rows.clear();
    this.#folderNames.clear();
    $("files-body").replaceChildren();
    $("files-count").textContent = "";
    $("search").value = "";
  }

  #again() {
    this.#watch?.unwatch();
    this.#rows.clear();
    this.#list = null;
    $("files-count").textContent = "";
    $("files-body").replaceChildren(
      h("div.skeleton", { "aria-hidden": "true" }, Array.from({ length: 6 }, () => h("span.bone"))),
      h("p.unseen", "Loading the files"),
    );
    const text = $("search").value.trim();
    const parts = ["trashed = false"];
    if (text) parts.push(`name contains ${quoted(text)}`);
    else if (this.#folder !== null) parts.push(`${quoted(this.#folder)} in parents`);
    const params = { q: parts.join(" and "), orderBy: "folder,modifiedTime desc", pageSize: 100, fields: FIELDS };
    this.#watch = this.#session.watchListing(params, (event) => this.#told(event));
  }

  #told(event) {
    if (event.type === "error") {
      if (!this.#list) this.#complain(event.error);
      return;
    }
    const files = (Array.isArray(event.data.files) ? event.data.files : []).filter((file) => file?.id);
    const more = typeof event.data.nextPageToken === "string";
    $("files-count").textContent = more ? `the newest ${files.length}` : String(files.length);
    if (!files.length) return this.#empty();
    if (!this.#list) {
      this.#list = h("ul.rows");
      $("files-body").replaceChildren(this.#list);
    }
    this.#arrange(files, event.type === "changed");
  }

  /** Rows are kept, moved and filled anew, so that focus and scroll stay where they are. */
  #arrange(files, isChange) {
    const news = [];
    const there = new Set(files.map(({ id }) => id));
    for (const [id, { item }] of this.#rows) {
      if (there.has(id)) continue;
      item.remove();
      this.#rows.delete(id);
    }
    let place = this.#list.firstElementChild;
    for (const file of files) {
      if (isFolder(file)) this.#folderNames.set(file.id, file.name);
      const shown = JSON.stringify(file);
      let row = this.#rows.get(file.id);
      const isNew = !row;
      if (isNew) this.#rows.set(file.id, (row = { item: h("li"), shown: null }));
      if (row.shown !== shown) {
        this.#fill(row.item, file);
        if (isChange) {
          flash(row.item);
          news.push(isNew ? `${file.name} is new` : `${file.name} changed`);
        }
        row.shown = shown;
      }
      if (row.item === place) place = place.nextElementSibling;
      else this.#list.insertBefore(row.item, place);
    }
    if (this.#folder !== null) $("files-title").textContent = this.#folderNames.get(this.#folder) ?? "Folder";
    if (news.length) announce(news.length > 3 ? `${news.length} files changed` : news.join(", "));
  }

  #fill(item, file) {
    const kind = kindOf(file.mimeType);
    const who = file.lastModifyingUser?.displayName;
    const target = new URLSearchParams(isFolder(file) ? { folder: file.id } : { file: file.id });
    if (!isFolder(file) && this.#folder !== null) target.set("folder", this.#folder);
    const link = item.querySelector("a") ?? item.appendChild(h("a.row"));
    link.href = `#${target}`;
    link.replaceChildren(
      h(`span.badge.badge-${kind.icon}`, icon(kind.icon)),
      h(
        "span.row-text",
        h("span.row-name", h("span.unseen", `${kind.label}: `), file.name ?? "Untitled"),
        h("span.row-note", time(file.modifiedTime), who ? ` · ${who}` : ""),
      ),
    );
    this.#mark(item, file.id === this.#selected);
  }

  #mark(item, isCurrent) {
    const link = item.querySelector("a");
    if (isCurrent) link?.setAttribute("aria-current", "true");
    else link?.removeAttribute("aria-current");
  }

  #step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...event.currentTarget.querySelectorAll("a.row")];
    const at = links.indexOf(document.activeElement);
    if (!by || at < 0) return;
    event.preventDefault();
    (links[at + by] ?? (by < 0 ? $("search") : links[at])).focus();
  }

  #empty() {
    this.#list = null;
    this.#rows.clear();
    const searching = $("search").value.trim() !== "";
    const empty = "Nothing here yet. What you add in Drive appears by itself.";
    $("files-body").replaceChildren(
      h(
        "div.nothing",
        icon(searching ? "search" : "folder"),
        h("p", searching ? "No file has a name like this." : empty),
      ),
    );
  }

  #complain(error) {
    $("files-body").replaceChildren(
      h(
        "div.nothing",
        icon("gone"),
        h("p", explain(error, this.#watch.active)),
        h("button.quiet", { type: "button", onclick: () => this.#again() }, icon("again"), "Try again"),
      ),
    );
  }
}
