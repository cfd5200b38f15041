/** The panel on the right: one document as it is now, what has just changed, and what can be done to it. */

import { announce, bytes, explain, flash, h, icon, kindOf, time } from "./demo_dom.js";
import { Discussion } from "./demo_discussion.js";
import { Preview } from "./demo_preview.js";

const VIAS = {
  __proto__: null, // names that every object has are no names here
  poll: ["found by looking", "The server asked Google and found it."],
  push: ["Google called", "Google told the server that something changed."],
  peer: ["another person here", "Somebody wrote it through this server; Google was not asked."],
  return: ["while you were away", "Found when this page came back."],
  self: ["you, just now", "Written by this page."],
};
const WORDS = {
  __proto__: null,
  name: "name",
  modifiedTime: null, // it goes with everything else
  version: null,
  headRevisionId: "content",
  md5Checksum: "content",
  size: "content",
  trashed: "trash",
  lastModifyingUser: null,
  mimeType: "type",
};
const DEEDS = { __proto__: null, resolve: "resolved a comment", reopen: "reopened a comment" };
const KEPT = 6; // lines of what has just happened

const list = (words) => new Intl.ListFormat("en").format(words);

/** "name and content", of the fields that differ. */
export function inWords(changed) {
  const words = new Set(changed.map((name) => (name in WORDS ? WORDS[name] : name)).filter(Boolean));
  return words.size ? list([...words]) : "last change";
}

export class DocumentPanel {
  #session;
  #panel;
  #watch = null;
  #parts = null;
  #latency = null;

  constructor(session, panel) {
    this.#session = session;
    this.#panel = panel;
    this.#welcome();
  }

  get fileId() {
    return this.#watch?.fileId ?? null;
  }

  get asOf() {
    return this.#watch?.asOf ?? null;
  }

  /** Milliseconds from the server's knowing of the last change to this page's; null before there is one. */
  get latency() {
    return this.#latency;
  }

  open(fileId) {
    this.close();
    this.#panel.replaceChildren(
      h("div.skeleton.tall", { "aria-hidden": "true" }, h("span.bone.wide"), h("span.bone"), h("span.bone.block")),
      h("p.unseen", "Loading the document"),
    );
    this.#watch = this.#session.watch(fileId, (event) => this.#told(event), { comments: true });
  }

  close() {
    this.#watch?.unwatch();
    this.#watch = null;
    this.#parts?.preview.stop();
    this.#parts = null;
    this.#latency = null;
    this.#welcome();
  }

  #welcome() {
    this.#panel.replaceChildren(
      h("div.nothing.big", icon("doc"), h("p", "Choose a file. Whatever happens to it shows here, as it happens.")),
    );
  }

  // --- what the session tells ------------------------------------------------------------------

  #told(event) {
    switch (event.type) {
      case "lost":
        return this.#lost(event);
      case "error":
        if (!this.#parts || !this.#watch?.active) this.#failed(event.error);
        return;
      case "state":
        this.#build(event);
        return;
      case "changed":
        this.#show(event);
        return this.#changed(event);
      case "comment":
        this.#parts.discussion.show(event.comments);
        return this.#commented(event);
      case "comments":
        this.#parts.discussion.show(event.comments);
        return;
      case "touched":
        return this.#note(["Its place or your rights to it changed"], "poll");
    }
  }

  #build(event) {
    const parts = (this.#parts = {
      badge: h("span.badge.badge-large"),
      title: h("h2.title", { tabIndex: -1 }),
      meta: h("p.meta"),
      trashed: h("p.inset.warn", { hidden: true }, "This file is in the trash."),
      actions: h("p.actions"),
      error: h("p.inset.warn", { role: "alert", hidden: true }),
      log: h("ol.log"),
      preview: new Preview(event.fileId),
      discussion: new Discussion(this.#session, event.fileId),
    });
    parts.rename = h(
      "button.quiet.round",
      { type: "button", title: "Rename", "aria-label": "Rename", onclick: () => this.#rename() },
      icon("pencil"),
    );
    parts.head = h("div.title-line", parts.title, parts.rename);
    parts.logBox = h("section.log-box", { hidden: true, "aria-label": "What has just happened" }, parts.log);
    this.#panel.replaceChildren(
      h("a.back", { href: "#" }, icon("back"), "Files"),
      h("header.panel-head", parts.badge, h("div.panel-head-text", parts.head, parts.meta)),
      parts.trashed,
      parts.error,
      parts.actions,
      parts.logBox,
      parts.preview.element,
      parts.discussion.element,
    );
    this.#show(event);
    parts.discussion.show(event.comments ?? []);
    parts.title.focus({ preventScroll: true });
    announce(`${event.file?.name ?? "Document"} is open and live`);
  }

  #show({ file, version }) {
    const parts = this.#parts;
    const kind = kindOf(file?.mimeType);
    const who = file?.lastModifyingUser?.displayName;
    const isGoogles = String(file?.mimeType).startsWith("application/vnd.google-apps.");
    parts.badge.className = `badge badge-large badge-${kind.icon}`;
    parts.badge.replaceChildren(icon(kind.icon));
    if (parts.title.textContent !== file?.name) parts.title.textContent = file?.name ?? "Untitled";
    parts.meta.replaceChildren(
      h("span", kind.label),
      ...(file?.size && !isGoogles ? [h("span", bytes(file.size))] : []),
      h("span", "changed ", time(file?.modifiedTime), who ? ` by ${who}` : ""),
      h("span", { title: "Google's number of this version" }, `version ${version}`),
    );
    parts.trashed.hidden = file?.trashed !== true;
    parts.actions.replaceChildren(...this.#links(file, isGoogles));
    parts.preview.show(file);
  }

  #links(file, isGoogles) {
    const links = [];
    if (/^https?:/.test(file?.webViewLink)) {
      const props = { href: file.webViewLink, target: "_blank", rel: "noopener noreferrer" };
      links.push(h("a.quiet", props, icon("open"), "Open in Google"));
    }
    if (!isGoogles) {
      const props = { href: this.#parts.preview.address, download: file?.name ?? "" };
      links.push(h("a.quiet", props, icon("load"), "Download"));
    }
    return links;
  }

  #changed(event) {
    const words = inWords(event.changed);
    const seen = Date.now() - Date.parse(event.seen_at);
    // Two clocks: what cannot be is not said.
    this.#latency = event.via !== "return" && seen >= 0 && seen < 60_000 ? seen : null;
    const who = event.via === "self" ? null : event.file?.lastModifyingUser?.displayName;
    if (event.changed.includes("name")) flash(this.#parts.title);
    flash(this.#parts.meta);
    this.#note([h("strong", words), " changed", who ? ` by ${who}` : ""], event.via, this.#latency);
    announce(`${event.file?.name}: ${words} changed`);
  }

  #commented({ comment, via }) {
    const reply = comment.replies?.findLast((one) => !one.deleted);
    const who = (reply ?? comment).author?.displayName ?? "Somebody";
    const deed = reply ? (DEEDS[reply.action] ?? "replied to a comment") : "commented";
    const what = comment.deleted ? ["A comment was deleted"] : [h("strong", who), ` ${deed}`];
    this.#note(what, via);
    this.#parts.discussion.flash(comment.id);
    announce(what.map((part) => part.textContent ?? part).join(""));
  }

  /** One line of what has just happened, and by which way it came. */
  #note(what, via, ms = null) {
    const [label, why] = VIAS[via] ?? [via ?? "told", ""];
    const line = h(
      "li",
      h("span.log-time", new Date().toLocaleTimeString()),
      h("span.log-what", ...what),
      h(`span.via.via-${via}`, { title: why }, label),
      ms === null ? "" : h("span.log-ms", `${ms} ms`),
    );
    this.#parts.log.prepend(line);
    while (this.#parts.log.children.length > KEPT) this.#parts.log.lastChild.remove();
    this.#parts.logBox.hidden = false;
    flash(line);
  }

  #lost({ reason, file }) {
    const name = file?.name ?? "This file";
    this.#parts?.preview.stop();
    this.#parts = null;
    const text = reason === "deleted" ? `${name} was deleted.` : `${name} is gone, or no longer shared with you.`;
    this.#panel.replaceChildren(
      h("div.nothing.big", icon("gone"), h("p", text), h("a.quiet", { href: "#" }, icon("back"), "Back to the files")),
    );
    announce(text);
  }

  #failed(error) {
    const again = () => this.open(this.#watch.fileId);
    this.#panel.replaceChildren(
      h(
        "div.nothing.big",
        icon("gone"),
        h("p", explain(error, this.#watch.active)),
        h("p.actions", h("a.quiet", { href: "#" }, icon("back"), "Back"),
          h("button.quiet", { type: "button", onclick: again }, icon("again"), "Try again")),
      ),
    );
  }

  // --- renaming ----------------------------------------------------------------------------------

  #rename() {
    const parts = this.#parts;
    const before = parts.title.textContent;
    const input = h("input", { value: before, maxLength: 255, "aria-label": "New name", required: true });
    const end = () => {
      form.replaceWith(parts.head);
      parts.rename.focus();
    };
    const save = async (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (!name || name === before) return end();
      form.inert = true;
      form.classList.add("busy");
      parts.error.hidden = true;
      try {
        await this.#session.drive.files.update({ fileId: this.#watch.fileId, requestBody: { name } });
      } catch (error) {
        parts.error.textContent = explain(error);
        parts.error.hidden = false;
      }
      end();
    };
    const form = h(
      "form.title-line",
      { onsubmit: save, onkeydown: (event) => event.key === "Escape" && end() },
      input,
      h("button.primary", { type: "submit" }, "Save"),
      h("button.quiet", { type: "button", onclick: end }, "Cancel"),
    );
    parts.head.replaceWith(form);
    input.select();
  }
}
