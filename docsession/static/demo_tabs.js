/** Who else is here: the other tabs of this browser, which tell each other over a BroadcastChannel. */

const EVERY = 20_000; // ms
const GONE_AFTER = 150_000; // ms; a hidden tab's timers may run but once a minute

export class Tabs {
  #id = crypto.randomUUID?.() ?? String(Math.random());
  #others = new Map(); // id -> { fileId, heardAt }
  #fileId = null;
  #channel = null;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    if (!("BroadcastChannel" in globalThis)) return;
    this.#channel = new BroadcastChannel("docsession-demo");
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    addEventListener("pagehide", () => this.#say("bye"));
    addEventListener("pageshow", () => this.#say("hello"));
    setInterval(() => this.#say("here"), EVERY);
    this.#say("hello");
  }

  /** The document that this tab looks at, or null. */
  look(fileId) {
    if (fileId === this.#fileId) return;
    this.#fileId = fileId;
    this.#say("here");
    this.#onChange();
  }

  /** "This tab and 2 others in this browser, one of them at this document". */
  get text() {
    const others = [...this.#others.values()].filter(({ heardAt }) => Date.now() - heardAt < GONE_AFTER);
    if (!others.length) return "Only this tab is open";
    const count = (number) => (number === 1 ? "one" : String(number));
    const here = others.filter(({ fileId }) => fileId !== null && fileId === this.#fileId).length;
    const where = here ? `, ${others.length === 1 ? "also" : `${count(here)} of them`} at this document` : "";
    return `This tab and ${count(others.length)} other${others.length === 1 ? "" : "s"}${where}`;
  }

  #say(what) {
    this.#channel?.postMessage({ what, from: this.#id, fileId: this.#fileId });
  }

  #hear({ what, from, fileId }) {
    if (what === "bye") this.#others.delete(from);
    else this.#others.set(from, { fileId, heardAt: Date.now() });
    if (what === "hello") this.#say("here");
    this.#onChange();
  }
}
