/**
 * Types of docsession's browser client. The contract behind them is the project's protocol
 * document; Drive's own objects are typed as far as docsession itself speaks of them.
 */

/** Close code -> name. 4000-4499: the client comes back. 4500-4999: not by itself. */
export const CLOSE_CODES: Readonly<Record<string, string>>;

export type ErrorName =
  | "parse_error" | "invalid_request" | "method_not_found" | "invalid_params" | "internal_error"
  | "session_not_open" | "session_unknown" | "not_signed_in" | "scope_missing" | "forbidden" | "not_found"
  | "rate_limited" | "google_unavailable" | "google_rejected" | "outcome_unknown" | "too_many" | "unavailable"
  | "too_large"
  /** Made by the client: the session is closed; an answer was not what the protocol says; its like. */
  | "closed" | "bad_answer" | "cookie_refused" | "timeout" | "lost" | "error"
  | (string & {});

/** A failure with its name. Only errors of this class come from docsession or Google. */
export class DocsessionError extends Error {
  constructor(code: number, message: string, data?: { name?: string; [key: string]: unknown });
  /** JSON-RPC's code; 0 where the client itself gave up. */
  readonly code: number;
  readonly name: ErrorName;
  /** `scopes` (scope_missing), `status` and `reason` (google_rejected), `limit` (too_many), `path` (invalid_params). */
  readonly data: { name?: string; [key: string]: unknown };
  /** Seconds after which another try makes sense. The client never tries a call again by itself. */
  readonly retryAfter: number | null;
}

export interface Clock {
  /** Milliseconds since 1970; without it `Date.now`. */
  now?(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: any): void;
}

export interface ConnectOptions {
  /** The server's origin; without it the page's own. */
  url?: string;
  /** The wait before coming back: random between nothing and a ceiling that doubles. Milliseconds. */
  reconnect?: { /** default 500 */ min?: number; /** default 20000 */ max?: number };
  /** The rest is for tests and for pages in unusual places. */
  fetch?: typeof globalThis.fetch;
  WebSocket?: new (url: string, protocols?: string[]) => WebSocket;
  clock?: Clock;
  random?: () => number;
  locks?: Pick<LockManager, "request">;
  window?: EventTarget;
  document?: EventTarget & { readonly visibilityState: DocumentVisibilityState };
  location?: { readonly href: string; assign(url: string): void };
}

/** Begins to connect and returns at once; calls and watches made meanwhile wait. */
export function connect(options?: ConnectOptions): Session;

export interface User {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly picture: string;
  readonly scopes: readonly string[];
}

/**
 * - `connecting`: never open so far
 * - `live`: open, somebody is signed in
 * - `reconnecting`: the socket went; the client comes back
 * - `signed_out`: nobody is signed in; `signIn()` works
 * - `closed`: not coming back by itself; `reconnect()` does
 */
export type Status = "connecting" | "live" | "reconnecting" | "signed_out" | "closed";

export interface StatusDetail {
  readonly status: Status;
  /**
   * Why: the name of a close code or of an error; for `signed_out`: `signed_out`, `revoked`, `expired`, or null
   * where nobody had been signed in.
   */
  readonly reason: string | null;
  /** Milliseconds until the next try to connect, where one is pending. */
  readonly retryIn: number | null;
  /** Set while the server says that what it tells is late. */
  readonly degraded: Degraded | null;
}

export interface Degraded {
  readonly reason:
    | "google_rate_limited" | "google_unavailable" | "google_forbids" | "store_unavailable" | (string & {});
  /** Seconds. */
  readonly retryAfter: number | null;
}

export interface SessionEvents {
  status: CustomEvent<StatusDetail>;
  /** Somebody signed in, out, or as another account. */
  user: CustomEvent<User | null>;
  degraded: CustomEvent<Degraded>;
  recovered: CustomEvent<null>;
  /** The server is about to stop; the client comes back after `reconnectIn` milliseconds. */
  draining: CustomEvent<{ readonly reconnectIn: number }>;
}

export interface CallOptions {
  /** Ends the wait. A write that was already sent may happen all the same. */
  signal?: AbortSignal;
}

export class Session extends EventTarget {
  constructor(options?: ConnectOptions);

  /** Fulfilled when the session is first open, signed in or not; rejected if it is closed before. */
  readonly ready: Promise<Session>;
  readonly status: Status;
  readonly detail: StatusDetail;
  readonly user: User | null;
  /** Drive v3 under Google's names: `session.drive.files.list({ pageSize: 10 })`. */
  readonly drive: Drive;

  /**
   * Any method of the server. A call without an answer when the socket goes is sent again under its id; a write
   * whose outcome was never learnt fails with `outcome_unknown` and is never done twice.
   */
  call<Result = unknown>(method: string, params?: object, options?: CallOptions): Promise<Result>;

  /**
   * Tells `callback` the document's state, then of every change, also after coming back. `fileId` may be an alias
   * such as `root`; events carry Google's id. The callback is never called before this returns.
   */
  watch(fileId: string, callback: (event: DocumentEvent) => void, options?: { comments?: boolean }): DocumentWatch;

  /** Tells `callback` what `drive.files.list(params)` answers, then every other answer. */
  watchListing<Data = FileList>(params: object, callback: (event: ListingEvent<Data>) => void): ListingWatch<Data>;

  /** Leaves the page for Google; `returnTo` is a path of this origin, without it the page's own. */
  signIn(options?: { returnTo?: string }): Promise<void>;

  /** `everywhere`: all browsers of this user. `disconnect`: Google's grant is revoked too. */
  signOut(options?: { everywhere?: boolean; disconnect?: boolean }): Promise<void>;

  /** At once, also out of `closed`. */
  reconnect(): void;

  /** For good, or until reconnect(). What waits for an answer fails. */
  close(): void;

  addEventListener<Type extends keyof SessionEvents>(
    type: Type,
    listener: (event: SessionEvents[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof SessionEvents>(
    type: Type,
    listener: (event: SessionEvents[Type]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

// --- Drive -----------------------------------------------------------------------------------

export interface Answer<Data = any> {
  /** Google's answer. */
  readonly data: Data;
  /** When Google said so, RFC 3339. */
  readonly as_of: string;
  readonly source: "google" | "cache";
}

export interface DriveParams {
  fileId?: string;
  /** Which fields Google should answer with. */
  fields?: string;
  /** The body of a create, an update and their like. */
  requestBody?: object;
  /** Seconds; 0 asks Google whatever is cached. */
  maxAge?: number;
  [param: string]: unknown;
}

export type DriveMethod = <Data = any>(params?: DriveParams, options?: CallOptions) => Promise<Answer<Data>>;

type Methods<Names extends string> = { readonly [Name in Names]: DriveMethod };

/** What the server's configuration forbids fails with `forbidden` or `method_not_found`. */
export interface Drive {
  readonly about: Methods<"get">;
  readonly accessproposals: Methods<"get" | "list" | "resolve">;
  readonly approvals: Methods<
    "approve" | "cancel" | "comment" | "decline" | "get" | "list" | "reassign" | "start"
  >;
  readonly apps: Methods<"get" | "list">;
  readonly comments: Methods<"create" | "delete" | "get" | "list" | "update">;
  readonly drives: Methods<"create" | "delete" | "get" | "hide" | "list" | "unhide" | "update">;
  readonly files: Methods<
    | "copy" | "create" | "delete" | "download" | "emptyTrash" | "export" | "generateIds" | "get" | "list"
    | "listLabels" | "modifyLabels" | "update"
  >;
  readonly operations: Methods<"get">;
  readonly permissions: Methods<"create" | "delete" | "get" | "list" | "update">;
  readonly replies: Methods<"create" | "delete" | "get" | "list" | "update">;
  readonly revisions: Methods<"delete" | "get" | "list" | "update">;
}

// --- what is watched -------------------------------------------------------------------------

export interface Person {
  readonly displayName?: string;
  readonly photoLink?: string;
}

/** The part of a file that does not depend on who looks. */
export interface SharedFile {
  readonly id: string;
  readonly name?: string;
  readonly mimeType?: string;
  readonly version?: string;
  readonly modifiedTime?: string;
  readonly lastModifyingUser?: Person;
  readonly headRevisionId?: string;
  readonly md5Checksum?: string;
  readonly size?: string;
  readonly trashed?: boolean;
  readonly webViewLink?: string;
  readonly iconLink?: string;
}

export interface FileList {
  readonly files?: ReadonlyArray<{ readonly id?: string; readonly [field: string]: any }>;
  readonly nextPageToken?: string;
  readonly incompleteSearch?: boolean;
}

export interface Reply {
  readonly id: string;
  readonly createdTime?: string;
  readonly modifiedTime?: string;
  readonly author?: Person;
  readonly content?: string;
  readonly htmlContent?: string;
  readonly deleted?: boolean;
  readonly action?: "resolve" | "reopen" | (string & {});
}

export interface Comment {
  readonly id: string;
  readonly createdTime?: string;
  readonly modifiedTime?: string;
  readonly author?: Person;
  readonly content?: string;
  readonly htmlContent?: string;
  readonly quotedFileContent?: { readonly mimeType?: string; readonly value?: string };
  readonly anchor?: string;
  readonly resolved?: boolean;
  /** Only in an event of type `comment`; `comments` never holds a deleted one. */
  readonly deleted?: boolean;
  readonly replies?: readonly Reply[];
}

/**
 * How a change came to be known: the server looked, Google called, somebody else wrote through docsession; and two
 * of the client's own: found when it came back, and written by this very page.
 */
export type Via = "poll" | "push" | "peer" | "return" | "self";

interface DocumentState {
  readonly fileId: string;
  readonly file: SharedFile | null;
  readonly version: string;
  /** When this was true at Google, RFC 3339; null where the server did not say. */
  readonly as_of: string | null;
  /** All that are there, oldest first; only with `{ comments: true }`. */
  readonly comments?: readonly Comment[];
}

export type DocumentEvent =
  /** The first thing told, and again after another account has signed in. */
  | (DocumentState & { readonly type: "state" })
  /** `changed` names what differs from the event before. */
  | (DocumentState & {
      readonly type: "changed";
      readonly changed: readonly string[];
      readonly via: Via;
      readonly seen_at: string | null;
    })
  /** Something that only this user's own look shows: place, permissions, capabilities. */
  | (DocumentState & { readonly type: "touched" })
  | (DocumentState & {
      readonly type: "comment";
      readonly comment: Comment;
      readonly via: Via;
      readonly seen_at: string | null;
    })
  /** Several comments may differ: found when coming back, or asked for anew. */
  | (DocumentState & { readonly type: "comments" })
  /** The watch has ended. */
  | {
      readonly type: "lost";
      readonly fileId: string;
      readonly file?: SharedFile | null;
      readonly reason: "deleted" | "no_access" | (string & {});
      readonly error?: DocsessionError;
    }
  /**
   * The watch could not be made. With a `retry_after`, and for what passes by itself, the client tries again;
   * otherwise (`active` is false) the watch has ended.
   */
  | { readonly type: "error"; readonly fileId: string; readonly error: DocsessionError };

interface Watch {
  /** False once it has ended, by unwatch() or by the server. */
  readonly active: boolean;
  /** Fulfilled with the first state; rejected if the watch cannot be made. */
  readonly ready: Promise<this>;
  /** When what it holds was true at Google. */
  readonly asOf: string | null;
  unwatch(): void;
}

export interface DocumentWatch extends Watch {
  /** Google's id; until that is known, the id asked for. */
  readonly fileId: string;
  readonly file: SharedFile | null;
  readonly version: string | null;
  readonly comments: readonly Comment[];
}

export type ListingEvent<Data = FileList> =
  | { readonly type: "state" | "changed"; readonly data: Data; readonly as_of: string | null }
  | { readonly type: "error"; readonly error: DocsessionError };

export interface ListingWatch<Data = FileList> extends Watch {
  readonly data: Data | null;
}
