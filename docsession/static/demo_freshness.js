/** One plain line that says how fresh everything is. */

const ASK_EVERY = 4000; // ms; asks our own server, never Google

const span = (ms) => (ms < 90_000 ? `${Math.max(1, Math.round(ms / 1000))} s` : `${Math.round(ms / 60_000)} min`);

const LATE = {
  store_unavailable: "nothing can be saved just now",
  google_unavailable: "Google does not answer just now",
  google_forbids: "your domain does not allow apps, so nothing is looked at",
  google_rate_limited: "Google asked for patience, looking less often",
};

export class Freshness {
  #session;
  #files;
  #panel;
  #asOf = new Map(); // file id -> when Google was last asked
  #roundTrip = null;
  #asking = false;

  constructor(session, files, panel) {
    this.#session = session;
    this.#files = files;
    this.#panel = panel;
    setInterval(() => this.#ask(), ASK_EVERY);
  }

  get text() {
    const parts = [];
    const isLive = this.#session.status === "live";
    const looked = this.#looked();
    const late = this.#session.detail.degraded;
    if (!isLive) parts.push("What you see is what was last known");
    if (looked === null) parts.push("Google has not answered yet");
    else parts.push(`Looked at Google ${span(Date.now() - looked)} ago`);
    if (late) parts.push(LATE[late.reason] ?? "everything is later than usual");
    else if (looked !== null && isLive) parts.push(this.#next());
    if (this.#panel.latency !== null) parts.push(`last change here after ${this.#panel.latency} ms`);
    if (this.#roundTrip !== null && isLive) parts.push(`server answers in ${this.#roundTrip} ms`);
    return parts.join(" · ");
  }

  #next() {
    if (this.#panel.fileId !== null) return "next look in a few seconds";
    return "looks again when Drive's change log moves";
  }

  /** The last look at what is on the screen: the document where one is open, else the list. */
  #looked() {
    const { fileId } = this.#panel;
    const moments = (fileId === null ? [this.#files.asOf] : [this.#panel.asOf, this.#asOf.get(fileId)])
      .map((moment) => Date.parse(moment))
      .filter(Number.isFinite);
    return moments.length ? Math.min(Date.now(), Math.max(...moments)) : null;
  }

  async #ask() {
    if (this.#asking || document.hidden || this.#session.status !== "live") return;
    this.#asking = true;
    const began = performance.now();
    try {
      const { documents } = await this.#session.call("documents.watching");
      this.#roundTrip = Math.max(1, Math.round(performance.now() - began));
      this.#asOf = new Map(documents.map((watched) => [watched.fileId, watched.as_of]));
    } catch {
      this.#roundTrip = null; // the status tells why
    }
    this.#asking = false;
  }
}
