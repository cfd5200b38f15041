// A browser and a server for the client's tests: time, sockets, cookies and the page, all by hand.

import assert from "node:assert/strict";

import { connect } from "../../docsession/static/docsession.js";

export const ANN = { id: "1", email: "ann@example.com", name: "Ann", picture: null, scopes: ["drive"] };
export const BOB = { id: "2", email: "bob@example.com", name: "Bob", picture: null, scopes: ["drive"] };

/** Lets every promise that can go on do so. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class Clock {
  time = 1_000_000;
  timers = new Map();
  last = 0;

  now = () => this.time;

  setTimeout(run, ms) {
    this.timers.set(++this.last, { run, due: this.time + ms });
    return this.last;
  }

  clearTimeout(timer) {
    this.timers.delete(timer);
  }

  /** Runs the earliest timer, if it is due by `end`. */
  async step(end = Infinity) {
    await settle();
    const [next] = [...this.timers].filter(([, { due }]) => due <= end).sort(([, a], [, b]) => a.due - b.due);
    if (!next) return false;
    this.timers.delete(next[0]);
    this.time = Math.max(this.time, next[1].due);
    next[1].run();
    return true;
  }

  /** Runs what falls due, in its order, up to `ms` from now. */
  async advance(ms) {
    const end = this.time + ms;
    for (let steps = 0; await this.step(end); steps++) assert.ok(steps < 1000, "timers beget timers");
    this.time = end;
    await settle();
  }
}

class FakeSocket {
  sent = [];
  closed = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }

  send(text) {
    assert.equal(this.closed, false, "the client sent on a socket that is closed");
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  // what the server does

  say(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  notify(method, params) {
    this.say({ jsonrpc: "2.0", method, params });
  }

  drop(code = 1006) {
    this.closed = true;
    this.onclose?.({ code });
  }

  /** The latest message with this method. */
  asked(method) {
    return this.sent.findLast((message) => message.method === method);
  }

  all(method) {
    return this.sent.filter((message) => message.method === method);
  }

  answer(method, result) {
    const message = this.asked(method);
    assert.ok(message, `the client did not ask for ${method}`);
    this.say({ jsonrpc: "2.0", id: message.id, result });
  }

  refuse(method, code, name, data = {}) {
    const message = this.asked(method);
    assert.ok(message, `the client did not ask for ${method}`);
    this.say({ jsonrpc: "2.0", id: message.id, error: { code, message: name, data: { name, ...data } } });
  }
}

class Page extends EventTarget {
  visibilityState = "visible";
}

/** A page with a client in it, and the server's end of each of its sockets. */
export class World {
  clock = new Clock();
  window = new EventTarget();
  document = new Page();
  sockets = [];
  cookies = []; // the requests for one
  session = "s1"; // what the next cookie says
  cookieAnswer; // an Error or a response to give instead
  random;
  statuses = [];
  users = [];
  gone = [];

  constructor(options = {}, { cookieAnswer, random = 0.5 } = {}) {
    const world = this;
    Object.assign(this, { cookieAnswer, random });
    this.client = connect({
      url: "https://docs.example.com",
      clock: this.clock,
      random: () => this.random,
      window: this.window,
      document: this.document,
      location: { href: "https://docs.example.com/page?docsession_error=expired&a=1#x", assign: (url) => this.gone.push(url) },
      locks: undefined,
      fetch: async (url, request) => {
        this.cookies.push({ url, ...request });
        if (this.cookieAnswer instanceof Error) throw this.cookieAnswer;
        return this.cookieAnswer ?? { ok: true, status: 200, json: async () => ({ session: this.session }) };
      },
      WebSocket: class extends FakeSocket {
        constructor(...args) {
          super(...args);
          world.sockets.push(this);
        }
      },
      ...options,
    });
    this.client.addEventListener("status", ({ detail }) => this.statuses.push(detail));
    this.client.addEventListener("user", ({ detail }) => this.users.push(detail));
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** The cookie is there, the socket accepted, the session opened. */
  async open(answer = {}) {
    await settle();
    this.socket.onopen();
    this.socket.answer("session.open", {
      session: this.session,
      how: "new",
      connection: "c1",
      resumed: false,
      user: ANN,
      heartbeat: 40,
      server: { name: "docsession", version: "0" },
      ...answer,
    });
    await settle();
    return this.socket;
  }

  /** The socket goes; the retry comes due; the next socket is there, not yet opened. */
  async lose(code = 1006) {
    const before = this.sockets.length;
    this.socket.drop(code);
    await this.clock.advance(0);
    await this.clock.advance(this.client.detail.retryIn ?? 0);
    assert.equal(this.sockets.length, before + 1, "the client did not come back");
    return this.socket;
  }

  async show(visible) {
    this.document.visibilityState = visible ? "visible" : "hidden";
    this.document.dispatchEvent(new Event("visibilitychange"));
    await settle();
  }

  async fire(type, target = this.window) {
    target.dispatchEvent(new Event(type));
    await settle();
  }
}

/** A world that is live. */
export const live = async (answer, options) => {
  const world = new World(options);
  await world.open(answer);
  return world;
};

export const named = (name) => (error) => {
  assert.equal(error.name, name);
  return true;
};
