/**
 * docsession's browser client: a live session in front of Google Drive, without a dependency.
 *
 *     import { connect } from "/client/docsession.js";
 *     const session = connect();
 *     session.addEventListener("status", ({ detail }) => show(detail.status));
 *     const { data } = await session.drive.files.list({ pageSize: 10 });
 *     session.watch(data.files[0].id, (event) => render(event.file), { comments: true });
 *
 * The types, with a word on each, are in docsession.d.ts.
 */

/** Why a socket was closed. 4000-4499: come back. 4500-4999: not by yourself. */
export const CLOSE_CODES = /* close-codes:begin */ {
  "4000": "draining",
  "4001": "slow_consumer",
  "4002": "replaced",
  "4003": "heartbeat_lost",
  "4004": "session_replaced",
  "4500": "signed_out",
  "4501": "protocol_misuse",
  "4502": "too_many_connections",
  "4503": "not_opened_in_time"
} /* close-codes:end */;

const WINDOW = 24; // calls on the wire at once; the server refuses more than 32
const QUEUE = 1000; // calls without an answer, in all
const OPEN_WITHIN = 20_000; // ms from asking for the cookie to the answer of session.open
const PONG_WITHIN = 10_000; // ms for the answer of session.ping
const STABLE = 5_000; // ms a connection must hold before the back-off starts over
const LOCK_WAIT = 5_000; // ms; a frozen tab may sit on the lock, and it only saves a detour
const LONGEST_WAIT = 300; // s; more than this nobody may make us wait
const HICCUPS = new Set([1001, 1003, 1007, 1008, 1011, 1012, -32603]); // a watch outlives these
const GONE = new Set([1005, 1006]);
const READ = /\.(get|list|export|generateIds|getStartPageToken|listLabels)$/;

const isWrite = (method) => method.startsWith("drive.") && !READ.test(method);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const seconds = (value) => (value > 0 ? Math.min(value, LONGEST_WAIT) : 0); // what is no number is 0
const withoutProto = (key, value) => (key === "__proto__" ? undefined : value);
const parse = (text) => JSON.parse(text, /__proto__|\\u/.test(text) ? withoutProto : undefined);
const report = (error) => (globalThis.reportError ?? console.error)(error);

/** A failure with the server's code and name. `retryAfter` is in seconds, where that is known. */
export class DocsessionError extends Error {
  constructor(code, message, data) {
    super(String(message));
    this.code = code;
    this.data = isObject(data) ? data : {};
    this.name = typeof this.data.name === "string" ? this.data.name : "error";
  }

  get retryAfter() {
    return seconds(this.data.retry_after) || null;
  }
}

const failure = (code, name, message) => new DocsessionError(code, message, { name });
const outcomeUnknown = () =>
  failure(1010, "outcome_unknown", "this write may or may not have happened; look before doing it again");

/** Connects in the background and returns at once. Calls made meanwhile wait. */
export function connect(options = {}) {
  return new Session(options);
}

/** session.drive.files.list(params) -> call("drive.files.list", params) */
const methods = (call, path) =>
  new Proxy(() => {}, {
    get: (_, name) => (typeof name === "symbol" || name === "then" ? undefined : methods(call, `${path}.${name}`)),
    apply: (_, __, [params, options]) => call(path, params, options),
  });

/** What a page holds in its hand for one watch. */
class Watch {
  active = true;
  told = false;

  constructor(callback, stop) {
    this.callback = callback;
    this.stop = stop;
    this.ready = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.ready.catch(() => {});
  }

  emit(event) {
    if (this.active) this.tell(event);
  }

  tell(event) {
    try {
      this.callback?.(event);
    } catch (error) {
      report(error);
    }
  }

  /** The first thing a watch is told is the whole state; then what differs. */
  deliver(state, events) {
    if (this.told) return events.forEach((event) => this.emit({ ...state, ...event }));
    this.told = true;
    this.emit({ type: "state", ...state });
    this.resolve(this);
  }

  end(event) {
    if (!this.active) return;
    this.active = false;
    this.tell(event);
    this.reject(event.error ?? failure(1006, "lost", event.reason));
  }

  unwatch() {
    if (this.active) this.stop(this);
    this.active = false;
  }
}

class DocumentWatch extends Watch {
  get fileId() { return this.doc.id; }
  get file() { return this.doc.file; }
  get version() { return this.doc.version ?? null; }
  get comments() { return this.wantsComments ? this.doc.list() : []; }
  get asOf() { return this.doc.asOf; }
}

class ListingWatch extends Watch {
  get data() { return this.listing.data ?? null; }
  get asOf() { return this.listing.asOf; }
}

/** One document, however many watches of it this page holds. */
class Doc {
  method = "documents.watch";
  watches = new Set();
  comments = new Map();
  wantsComments = false;
  file = null;
  asOf = null;

  constructor(id) {
    this.id = id;
  }

  params() {
    const { id: fileId, version, wantsComments, mark: commentsMark } = this;
    return { fileId, version, ...(wantsComments && { comments: true, commentsMark }) };
  }

  list() {
    const born = (comment) => String(comment.createdTime ?? "");
    return [...this.comments.values()].sort((one, other) => (born(one) < born(other) ? -1 : 1));
  }

  takeComment(comment) {
    if (!isObject(comment) || typeof comment.id !== "string") return false;
    if (comment.deleted === true) return this.comments.delete(comment.id);
    if (same(comment, this.comments.get(comment.id))) return false;
    return Boolean(this.comments.set(comment.id, comment));
  }

  /** The server's answer to the watch; what it changes here becomes events. */
  take(answer, marked, via) {
    const events = [];
    const [file, comments] = [this.file, this.list()];
    if (answer.version !== this.version) {
      if (isObject(answer.file)) this.file = answer.file;
      const names = new Set([...Object.keys(file ?? {}), ...Object.keys(this.file ?? {})]);
      const changed = [...names].filter((name) => !same(file?.[name], this.file[name]));
      events.push({ type: "changed", changed, via, seen_at: answer.as_of });
      this.version = answer.version;
    }
    if (Array.isArray(answer.comments)) {
      if (!marked) this.comments.clear();
      answer.comments.forEach((comment) => this.takeComment(comment));
      if (!same(comments, this.list())) events.push({ type: "comments" });
    }
    if (typeof answer.commentsMark === "string") this.mark = answer.commentsMark;
    this.asOf = answer.as_of ?? this.asOf;
    return events;
  }

  deliver(events) {
    if (this.version === undefined) return;
    const state = { fileId: this.id, file: this.file, version: this.version, as_of: this.asOf };
    for (const watch of [...this.watches]) {
      const mine = watch.wantsComments ? events : events.filter(({ type }) => !type.startsWith("comment"));
      watch.deliver(watch.wantsComments ? { ...state, comments: this.list() } : state, mine);
    }
  }
}

/** One live session: the socket, what waits for an answer, and what is watched. */
export class Session extends EventTarget {
  #env;
  #link = null; // the socket in use and what belongs to it; replaced, never revived
  #calls = new Map(); // id -> a call without an answer, oldest first
  #docs = new Map(); // Google's id (before it is known: the id asked for) -> Doc
  #aliases = new Map(); // id asked for -> Google's id
  #listings = new Set();
  #spent = new Set(); // listings the server is still to be told that nobody watches
  #session; // the identifier in the cookie
  #connection; // the name under which the server knows this tab
  #user = null;
  #lastUser = null; // whose eyes saw what the watches hold
  #status = "connecting";
  #detail = {};
  #degraded = null;
  #outReason = null;
  #retry = null;
  #attempts = 0;
  #notBefore = 0; // the server asked us to stay away until then
  #opened = false;
  #count = 0;
  #prefix;
  #settleReady;

  constructor({ url = globalThis.location?.origin, reconnect = {}, clock = globalThis, ...given } = {}) {
    super();
    this.#env = {
      url,
      min: 500,
      max: 20_000,
      ...reconnect,
      now: clock.now ?? Date.now,
      setTimeout: (run, ms) => clock.setTimeout(run, ms),
      clearTimeout: (timer) => timer !== null && clock.clearTimeout(timer),
      random: Math.random,
      fetch: (...request) => globalThis.fetch(...request),
      WebSocket: globalThis.WebSocket,
      window: globalThis.window,
      document: globalThis.document,
      location: globalThis.location,
      locks: globalThis.navigator?.locks,
      ...given,
    };
    this.#prefix = Math.floor(this.#env.random() * 2 ** 48).toString(36);
    this.ready = new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    this.ready.catch(() => {});
    this.drive = methods((...call) => this.call(...call), "drive");
    this.#listen();
    this.#connect();
  }

  get user() { return this.#user; }
  get status() { return this.#status; }
  get detail() { return this.#detail; }

  /** Any method of the server. The promise fails with a DocsessionError, or as `signal` says. */
  call(method, params = {}, { signal } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#status === "closed") throw failure(0, "closed", `the session is closed: ${this.#detail.reason}`);
      if (this.#calls.size >= QUEUE) throw failure(1011, "too_many", "too many calls wait for an answer");
      const forget = () => {
        call.forgotten = true;
        if (!call.sentOn) this.#calls.delete(call.id);
        reject(signal.reason);
      };
      const done = (error, result) => {
        signal?.removeEventListener("abort", forget);
        if (error) reject(error);
        else resolve(result);
      };
      const call = this.#enqueue(method, params, done, { write: isWrite(method) });
      signal?.addEventListener("abort", forget, { once: true });
      this.#flush();
    });
  }

  /** Tells `callback` the document's state, then of every change, until unwatch(). */
  watch(fileId, callback, { comments = false } = {}) {
    const watch = new DocumentWatch(callback, (leaving) => this.#leave(leaving));
    Object.assign(watch, { asked: String(fileId), wantsComments: Boolean(comments) });
    this.#join(watch);
    return watch;
  }

  /** Tells `callback` what drive.files.list(params) answers, whenever that changes. */
  watchListing(params, callback) {
    const listing = { method: "listings.watch", params: () => params, asOf: null };
    const watch = new ListingWatch(callback, () => {
      this.#env.clearTimeout(listing.timer ?? null);
      this.#listings.delete(listing);
      this.#unwatchListing(listing.id);
    });
    listing.watch = watch;
    watch.listing = listing;
    this.#listings.add(listing);
    this.#keep(listing);
    return watch;
  }

  /** Sends the browser to Google, and back to `returnTo`, a path of this origin. */
  async signIn({ returnTo } = {}) {
    const { location } = this.#env;
    const here = new URL(location.href);
    here.searchParams.delete("docsession_error");
    const { url } = await this.call("session.sign_in", { return_to: returnTo ?? here.pathname + here.search });
    if (!/^https?:$/.test(new URL(url).protocol)) throw failure(-32603, "bad_answer", "not an address to go to");
    location.assign(url);
  }

  async signOut({ everywhere = false, disconnect = false } = {}) {
    await this.call("session.sign_out", { everywhere, disconnect });
  }

  /** At once, also out of `closed`. */
  reconnect() {
    this.#drop(this.#link);
    this.#attempts = 0;
    this.#connect();
  }

  /** For good, or until reconnect(). */
  close() {
    this.#close("closed");
  }

  // --- the socket ------------------------------------------------------------------------------

  async #connect() {
    const env = this.#env;
    env.clearTimeout(this.#retry);
    this.#retry = null;
    const link = (this.#link = { open: false, abort: new AbortController(), probe: null, visible: this.#visible });
    const tooSlow = () => this.#lost(link, 0, failure(0, "timeout", "the server does not answer"));
    link.timer = env.setTimeout(tooSlow, OPEN_WITHIN);
    if (this.#status !== "signed_out") this.#tell(this.#opened ? "reconnecting" : "connecting");
    try {
      const session = await this.#cookie(link.abort.signal);
      if (link !== this.#link) return;
      if (session !== this.#session) this.#connection = undefined; // somebody else, to the server
      this.#session = session;
      const address = new URL("/api/socket", env.url);
      address.protocol = address.protocol.replace("http", "ws");
      link.socket = new env.WebSocket(address.href, ["docsession.v1"]);
    } catch (error) {
      return this.#lost(link, 0, error);
    }
    link.socket.onopen = () => this.#open(link);
    link.socket.onmessage = ({ data }) => this.#hear(link, data);
    link.socket.onclose = ({ code }) => this.#lost(link, code); // an error is always followed by it
  }

  /** Before every connect, one tab at a time, so that tabs starting together agree on a session. */
  async #cookie(signal) {
    const { fetch, locks, url, setTimeout, clearTimeout } = this.#env;
    const ask = async () => {
      const request = { method: "POST", credentials: "include", cache: "no-store", signal };
      const response = await fetch(new URL("/api/generate_cookie", url).href, request);
      if (!response.ok) {
        const data = { name: "cookie_refused", retry_after: Number(response.headers?.get("retry-after")) };
        throw new DocsessionError(response.status, `generate_cookie answered ${response.status}`, data);
      }
      const { session } = await response.json();
      if (typeof session !== "string") throw failure(-32603, "bad_answer", "generate_cookie named no session");
      return session;
    };
    if (!locks) return ask();
    const waiting = new AbortController();
    const timer = setTimeout(() => waiting.abort(), LOCK_WAIT);
    const held = () => {
      clearTimeout(timer);
      return ask();
    };
    try {
      return await locks.request("docsession-cookie", { signal: waiting.signal }, held);
    } catch (error) {
      if (!waiting.signal.aborted) throw error;
      return ask();
    } finally {
      clearTimeout(timer);
    }
  }

  #open(link) {
    if (link !== this.#link) return;
    link.visible = this.#visible;
    const params = { session: this.#session, connection: this.#connection, visible: link.visible };
    this.#tellServer("session.open", params, (error, answer) => {
      if (!error && (!isObject(answer) || answer.session !== this.#session)) {
        error = failure(1002, "session_unknown", "the socket answered for another session");
      }
      if (error?.code === 1011) this.#close(CLOSE_CODES[4502]); // that close is on its way
      else if (error) this.#lost(link, 0, error);
      else this.#welcome(link, answer);
    });
  }

  #welcome(link, { connection, resumed, user, heartbeat }) {
    const { now, setTimeout, clearTimeout } = this.#env;
    clearTimeout(link.timer);
    Object.assign(link, { open: true, openedAt: now(), heartbeat: 1000 * Math.max(5, seconds(heartbeat) || 40) });
    link.timer = setTimeout(() => this.#watchSilence(link), link.heartbeat);
    if (typeof connection === "string") this.#connection = connection;
    for (const call of [...this.#calls.values()]) {
      const once = call.write || call.method === "session.sign_out";
      if (call.sent && once && resumed !== true) this.#settle(call, outcomeUnknown());
      else call.sentOn = null;
    }
    this.#opened = true;
    this.#degraded = null;
    this.#notBefore = 0;
    this.#setUser(isObject(user) ? user : null);
    if (this.#user) {
      this.#outReason = null;
      if (this.#lastUser !== null && this.#lastUser !== this.#user.id) this.#forgetWhatWasSeen();
      this.#lastUser = this.#user.id;
    }
    this.#tell(this.#user ? "live" : "signed_out", { reason: this.#outReason });
    this.#settleReady.resolve(this);
    this.#flush(); // what a person waits for goes before the watches
    for (const item of [...this.#docs.values(), ...this.#listings]) {
      item.via = "return";
      if (!item.asking) this.#keep(item);
    }
    this.#attend();
  }

  /** The end of a socket, by whatever cause: one place decides how it goes on. */
  #lost(link, code, error) {
    if (link !== this.#link) return;
    code = link.fate ?? code;
    if (link.openedAt !== undefined && this.#env.now() - link.openedAt >= STABLE) this.#attempts = 0;
    this.#drop(link);
    if (code === 1009) this.#giveUpLargest();
    if (code === 4004 || error?.code === 1002) this.#connection = undefined;
    const reason = error?.name ?? CLOSE_CODES[code] ?? `close_${code}`;
    if (code > 4500 && code < 5000) return this.#close(reason);
    if (code === 4500) this.#signedOut();
    this.#backOff(code, reason, error?.retryAfter);
  }

  #drop(link) {
    if (!link) return;
    this.#link = null;
    this.#env.clearTimeout(link.timer);
    this.#env.clearTimeout(link.probe);
    link.abort.abort();
    if (link.socket) {
      link.socket.onopen = link.socket.onmessage = link.socket.onclose = null;
      link.socket.close();
    }
    for (const call of [...this.#calls.values()]) {
      if (call.brief || call.forgotten) this.#calls.delete(call.id);
    }
    for (const item of [...this.#docs.values(), ...this.#listings]) {
      Object.assign(item, { asking: false, again: false });
      if (item instanceof Doc) this.#tidy(item);
    }
    this.#spent.clear();
  }

  /** Full jitter; hidden tabs let the visible ones go first; the server's word goes above both. */
  #backOff(code, reason, retryAfter) {
    const { min, max, now, random, setTimeout } = this.#env;
    const ceiling = Math.min(max, min * 2 ** this.#attempts++);
    const jitter = ceiling * random();
    if (retryAfter) this.#notBefore = Math.max(this.#notBefore, now() + 1000 * retryAfter);
    const asked = this.#notBefore - now();
    const retryIn = Math.max(jitter + (this.#visible ? 0 : ceiling), asked > 0 ? asked + jitter : 0);
    this.#retry = setTimeout(() => this.#connect(), Math.min(retryIn, 1000 * LONGEST_WAIT));
    if (code === 4500) this.#tell("signed_out", { reason: this.#outReason, retryIn });
    else this.#tell(this.#opened ? "reconnecting" : "connecting", { reason, retryIn });
  }

  #close(reason) {
    this.#drop(this.#link);
    this.#env.clearTimeout(this.#retry);
    this.#retry = null;
    this.#tell("closed", { reason });
    const error = failure(0, "closed", `the session is closed: ${reason}`);
    for (const call of [...this.#calls.values()]) {
      this.#settle(call, call.sent && call.write ? outcomeUnknown() : error);
    }
    this.#settleReady.reject(error);
  }

  #signedOut() {
    this.#connection = undefined;
    this.#outReason ??= "signed_out";
    this.#setUser(null);
    for (const call of [...this.#calls.values()]) {
      if (call.method === "session.sign_out") this.#settle(call, null, {});
      else if (call.sent && call.write) this.#settle(call, outcomeUnknown());
      else if (!call.method.startsWith("session.")) {
        this.#settle(call, failure(1003, "not_signed_in", "nobody is signed in any more"));
      }
    }
  }

  /** A message too big for the server must not close the next socket as well. */
  #giveUpLargest() {
    const sent = [...this.#calls.values()].filter((call) => call.sent);
    const [largest] = sent.sort((one, other) => other.text.length - one.text.length);
    if (largest) this.#settle(largest, failure(1013, "too_large", "the message is too large for the server"));
  }

  #watchSilence(link) {
    const { now, setTimeout } = this.#env;
    const left = link.heartbeat - (now() - link.heardAt);
    if (left <= 0) this.#probe(link);
    link.timer = setTimeout(() => this.#watchSilence(link), left > 0 ? Math.min(left, link.heartbeat) : link.heartbeat);
  }

  #probe(link) {
    if (link.probe !== null) return;
    link.probe = this.#env.setTimeout(() => this.#lost(link, 4003), PONG_WITHIN);
    this.#tellServer("session.ping", {});
  }

  // --- the page --------------------------------------------------------------------------------

  get #visible() {
    return this.#env.document?.visibilityState !== "hidden";
  }

  #listen() {
    const { window, document } = this.#env;
    const awake = () => this.#awake();
    window?.addEventListener("online", awake);
    window?.addEventListener("pageshow", awake);
    document?.addEventListener("resume", awake);
    document?.addEventListener("visibilitychange", () => {
      this.#attend();
      if (this.#visible) awake();
    });
    // An open socket keeps a page out of the back/forward cache; nothing is lost, the name brings it back.
    window?.addEventListener("pagehide", () => {
      if (this.#link === null) return;
      this.#drop(this.#link);
      this.#backOff(1001, "page_hidden");
    });
  }

  /** The page or the network came back: no use in waiting on, nor in trusting the old socket. */
  #awake() {
    if (this.#retry !== null && this.#env.now() >= this.#notBefore) this.#connect();
    else if (this.#link?.open) this.#probe(this.#link);
  }

  #attend() {
    const link = this.#link;
    if (!link?.open || link.visible === this.#visible) return;
    link.visible = this.#visible;
    this.#tellServer("session.attention", { visible: link.visible });
  }

  #tell(status, { reason = null, retryIn = null } = {}) {
    const detail = { status, reason, retryIn, degraded: this.#degraded };
    if (same(detail, this.#detail)) return;
    this.#status = status;
    this.#detail = detail;
    this.#dispatch("status", detail);
  }

  #setUser(user) {
    if (same(user, this.#user)) return;
    this.#user = user;
    this.#dispatch("user", user);
  }

  #dispatch(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // --- calls -----------------------------------------------------------------------------------

  #enqueue(method, params, done, kind) {
    const id = `${this.#prefix}-${++this.#count}`;
    const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
    const call = { id, method, text, fileId: params?.fileId, done, sentOn: null, sent: false, ...kind };
    this.#calls.set(id, call);
    return call;
  }

  #send(link, call) {
    call.sentOn = link;
    call.sent = true;
    link.socket.send(call.text);
  }

  /** Outside the window, and gone with the socket. */
  #tellServer(method, params, done = () => {}) {
    this.#send(this.#link, this.#enqueue(method, params, done, { brief: true }));
  }

  #flush() {
    const link = this.#link;
    if (!link?.open) return;
    const calls = [...this.#calls.values()];
    let room = WINDOW - calls.filter((call) => call.sentOn === link).length;
    for (const call of calls) {
      if (call.sentOn === null && room-- > 0) this.#send(link, call);
    }
  }

  #settle(call, error, result) {
    if (this.#calls.delete(call.id) && !call.forgotten) call.done(error, result);
  }

  // --- what the server says; it may say anything ------------------------------------------------

  #hear(link, data) {
    if (link !== this.#link) return;
    link.heardAt = this.#env.now();
    this.#env.clearTimeout(link.probe);
    link.probe = null;
    let messages;
    try {
      messages = [parse(data)].flat();
    } catch {
      return; // not JSON: nobody waits for it
    }
    for (const message of messages) {
      if (link !== this.#link || !isObject(message)) continue;
      try {
        if (typeof message.method === "string") this.#notified(link, message.method, message.params ?? {});
        else this.#answered(message);
      } catch (error) {
        report(error);
      }
    }
    this.#flush();
  }

  #answered({ id, error, result }) {
    const call = this.#calls.get(id);
    if (!call || call.sentOn === null) return;
    if (error !== undefined && error !== null) {
      return this.#settle(call, new DocsessionError(error.code, error.message, error.data));
    }
    this.#settle(call, null, result);
    // The server counts who wrote as told, so a watch of the same document must ask.
    const doc = call.write && this.#docs.get(this.#aliases.get(call.fileId) ?? call.fileId);
    if (doc) this.#keep(Object.assign(doc, { via: "self" }));
  }

  #notified(link, method, params) {
    const doc = this.#docs.get(params.fileId);
    switch (method) {
      case "document.changed":
        if (doc?.version === undefined || params.version === doc.version) return;
        if (typeof params.version !== "string" || !isObject(params.file)) return;
        doc.version = params.version;
        doc.file = params.file;
        doc.asOf = params.seen_at ?? doc.asOf;
        return doc.deliver([{ ...pick(params, "via", "seen_at"), type: "changed", changed: names(params.changed) }]);
      case "document.touched":
        return doc?.deliver([{ type: "touched" }]);
      case "document.comment":
        if (typeof params.commentsMark === "string" && doc) doc.mark = params.commentsMark;
        if (!doc?.takeComment(params.comment)) return;
        return doc.deliver([{ ...pick(params, "via", "seen_at", "comment"), type: "comment" }]);
      case "document.lost":
        return doc && this.#end(doc, { type: "lost", reason: String(params.reason) });
      case "listing.changed":
        for (const listing of this.#listings) {
          if (listing.id === params.listing) this.#takeListing(listing, params);
        }
        return;
      case "session.signed_in":
        link.fate = 4004; // the close follows
        return;
      case "session.signed_out":
        link.fate = 4500;
        this.#outReason = typeof params.reason === "string" ? params.reason : "signed_out";
        return;
      case "session.degraded":
      case "session.recovered": {
        const isBad = method === "session.degraded";
        const { reason, retry_after: retryAfter } = params;
        this.#degraded = isBad ? { reason: String(reason), retryAfter: seconds(retryAfter) || null } : null;
        this.#tell(this.#status, this.#detail);
        return this.#dispatch(isBad ? "degraded" : "recovered", this.#degraded);
      }
      case "server.draining": {
        const wait = 1000 * seconds(params.reconnect_after);
        this.#notBefore = this.#env.now() + wait;
        return this.#dispatch("draining", { reconnectIn: wait });
      }
    }
  }

  // --- watches ---------------------------------------------------------------------------------

  #join(watch) {
    const id = this.#aliases.get(watch.asked) ?? watch.asked;
    const doc = this.#docs.get(id) ?? new Doc(id);
    this.#docs.set(id, doc);
    doc.watches.add(watch);
    watch.doc = doc;
    const enough = doc.version !== undefined && (doc.wantsComments || !watch.wantsComments);
    doc.wantsComments ||= watch.wantsComments;
    if (doc.version !== undefined) queueMicrotask(() => doc.deliver([]));
    if (!enough) this.#keep(doc);
  }

  #leave(watch) {
    watch.doc.watches.delete(watch);
    this.#tidy(watch.doc);
  }

  /** Unwatches what nobody watches; while an answer is on its way, that answer does it. */
  #tidy(doc) {
    if (doc.watches.size || doc.asking || this.#docs.get(doc.id) !== doc) return;
    this.#env.clearTimeout(doc.timer ?? null);
    this.#docs.delete(doc.id);
    if (doc.version !== undefined && this.#link?.open) this.#tellServer("documents.unwatch", { fileId: doc.id });
  }

  /** Asks until the watch stands: on this socket, after a hiccup, on the next socket. */
  #keep(item) {
    const { random, setTimeout, clearTimeout } = this.#env;
    if (!this.#user || !this.#link?.open) return; // opening a socket keeps everything
    if (item.asking) return void (item.again = true);
    clearTimeout(item.timer ?? null);
    item.asking = true;
    const { via, mark } = item;
    const done = (error, answer) => {
      item.asking = false;
      const isDocument = item instanceof Doc;
      const marks = isDocument ? ["fileId", "version"] : ["listing"];
      if (!error && !marks.every((name) => typeof answer?.[name] === "string")) {
        error = failure(-32603, "bad_answer", "the server answered something else");
      }
      if (error && !isDocument && !item.watch.active) {
        // Nobody waits for it any more.
      } else if (error && HICCUPS.has(error.code)) {
        for (const watch of item.watches ?? [item.watch]) watch.emit({ type: "error", error, fileId: item.id });
        const wait = 1000 * (error.retryAfter ?? 10) * (1 + random());
        item.timer = setTimeout(() => this.#keep(item), wait);
      } else if (error) {
        const gone = isDocument && GONE.has(error.code);
        this.#end(item, gone ? { type: "lost", reason: "no_access", error } : { type: "error", error });
      } else if (isDocument) {
        item = this.#takeDocument(item, answer, mark !== undefined, via);
      } else {
        item.id = answer.listing;
        if (item.watch.active) this.#takeListing(item, answer);
      }
      if (isDocument) this.#tidy(item);
      else this.#unwatchListing(item.watch.active ? null : item.id);
      if (item.again && !item.asking) {
        item.again = false;
        this.#keep(item);
      }
    };
    this.#enqueue(item.method, item.params(), done, { brief: true });
    this.#flush();
  }

  #takeDocument(doc, answer, marked, via) {
    const id = answer.fileId;
    if (id !== doc.id) {
      // An alias: from here on it goes by Google's id, together with whoever watches that already.
      this.#docs.delete(doc.id);
      this.#aliases.set(doc.id, id);
      const known = this.#docs.get(id);
      if (known) {
        for (const watch of doc.watches) known.watches.add(Object.assign(watch, { doc: known }));
        known.wantsComments ||= doc.wantsComments;
        known.again = true; // with comments for both, whichever the server heard last
        doc = known;
      }
      doc.id = id;
      this.#docs.set(id, doc);
    }
    doc.deliver(doc.take(answer, marked, via));
    return doc;
  }

  /** To the server, equal listings are one; while an answer is on its way, it may name this one. */
  #unwatchListing(id) {
    if (id) this.#spent.add(id);
    const held = [...this.#listings];
    if (held.some(({ asking }) => asking)) return;
    for (const spent of this.#spent) {
      if (this.#link?.open && !held.some((listing) => listing.id === spent)) {
        this.#tellServer("listings.unwatch", { listing: spent });
      }
    }
    this.#spent.clear();
  }

  #takeListing(listing, { data, as_of: asOf }) {
    listing.asOf = asOf ?? listing.asOf;
    if (!isObject(data) || same(data, listing.data)) return;
    listing.data = data;
    listing.watch.deliver({ data, as_of: listing.asOf }, [{ type: "changed" }]);
  }

  #end(item, event) {
    this.#env.clearTimeout(item.timer ?? null);
    item.again = false;
    this.#docs.delete(item.id);
    this.#listings.delete(item);
    for (const watch of item.watches ?? [item.watch]) watch.end({ fileId: item.id, file: item.file, ...event });
  }

  /** Another account: the same ids may be other things, and nothing seen before may be shown. */
  #forgetWhatWasSeen() {
    const docs = [...this.#docs.values()];
    const watches = docs.flatMap((doc) => [...doc.watches]);
    docs.forEach((doc) => this.#env.clearTimeout(doc.timer ?? null));
    this.#docs.clear();
    this.#aliases.clear();
    for (const watch of watches) this.#join(Object.assign(watch, { told: false }));
    for (const listing of this.#listings) {
      listing.data = undefined;
      listing.watch.told = false;
    }
  }
}

const names = (list) => (Array.isArray(list) ? list.filter((name) => typeof name === "string") : []);
const pick = (from, ...keys) => Object.fromEntries(keys.map((key) => [key, from[key]]));
