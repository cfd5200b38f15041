/** What can be shown of a file's content, kept as fresh as the file. */

import { h } from "./demo_dom.js";

const TEXT = /^(text\/(plain|markdown|csv|x-[a-z]+)|application\/(json|toml|yaml))$/;
const PICTURE = /^image\/(png|jpeg|gif|webp)$/; // what the server hands out to be looked at
const EXPORTS = {
  "application/vnd.google-apps.document": "text/plain",
  "application/vnd.google-apps.presentation": "text/plain",
  "application/vnd.google-apps.spreadsheet": "text/csv",
};
const SETTLE = 400; // ms; several changes in a row are one look
const LARGEST_TEXT = 200_000; // bytes
const LARGEST_PICTURE = 20_000_000;

export class Preview {
  #body = h("div.preview-body");
  #abort = null;
  #timer = null;
  #shown = null;

  constructor(fileId) {
    this.address = `/api/files/${encodeURIComponent(fileId)}/content`;
    this.element = h("section.preview", { hidden: true, "aria-label": "Preview" }, this.#body);
  }

  /** Called with every state of the file; fetches only when its content may be another. */
  show(file) {
    const content = JSON.stringify([file?.mimeType, file?.md5Checksum ?? [file?.modifiedTime, file?.headRevisionId]]);
    if (content === this.#shown) return;
    const isFirst = this.#shown === null;
    this.#shown = content;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(file ?? {}), isFirst ? 0 : SETTLE);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }

  #load({ mimeType, size = 0, version }) {
    const format = EXPORTS[mimeType];
    if (format) return this.#text(`${this.address}?format=${encodeURIComponent(format)}`);
    if (TEXT.test(mimeType) && size <= LARGEST_TEXT) return this.#text(this.address);
    if (PICTURE.test(mimeType) && size <= LARGEST_PICTURE) return this.#picture(version);
    this.element.hidden = true;
  }

  async #text(address) {
    this.#abort?.abort();
    const { signal } = (this.#abort = new AbortController());
    this.element.hidden = false;
    this.element.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(address, { signal, cache: "no-store" });
      if (!response.ok) throw new Error(`${response.status}`);
      const text = await response.text();
      if (signal.aborted) return;
      const cut = text.length > LARGEST_TEXT ? `${text.slice(0, LARGEST_TEXT)}\n…` : text;
      const props = { tabIndex: 0, "aria-label": "Text of the file" };
      if (text) this.#body.replaceChildren(h("pre", props, cut.replace(/^\ufeff/, "")));
      else this.#say("There is no text in it yet.");
    } catch {
      if (signal.aborted) return;
      this.#say("The preview could not be loaded.");
    }
    this.element.removeAttribute("aria-busy");
  }

  #picture(version) {
    const image = h("img", { alt: "The picture", src: `${this.address}?v=${encodeURIComponent(version ?? "")}` });
    image.addEventListener("load", () => this.#body.replaceChildren(image));
    image.addEventListener("error", () => this.#say("The picture could not be loaded."));
    this.element.hidden = false;
  }

  #say(sentence) {
    this.#body.replaceChildren(h("p.quiet-text", sentence));
  }
}
