"""Whole runs, checked afterwards: what every connection was told, against what was true at Google.

A :class:`History` is all that one tab sent and was sent, with the times; a :class:`Truth` is what
Google knew over the same time. :func:`complaints` holds one against the other. Nothing here
runs a server: it is told what happened, and says what was wrong with it.

:class:`Page` is what a page knows from what it heard, by the protocol alone. The player of
histories uses it too, to come back with the versions and marks that a page would have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "COMMENT_FIELDS",
    "FILE_FIELDS",
    "PROOF",
    "Complaint",
    "Entry",
    "History",
    "Known",
    "Page",
    "State",
    "Truth",
    "bare",
    "complaints",
    "listing_key",
    "own_eyes",
    "shown_comments",
    "told_once",
    "told_to_watchers",
    "untrue_comments",
    "well_formed",
]

# The protocol's section 3, and nothing else of a file or a comment may be shown.
FILE_FIELDS = frozenset(
    [
        "id",
        "name",
        "mimeType",
        "version",
        "modifiedTime",
        "lastModifyingUser",
        "headRevisionId",
        "md5Checksum",
        "size",
        "trashed",
        "webViewLink",
        "iconLink",
    ]
)
COMMENT_FIELDS = frozenset(
    [
        "id",
        "createdTime",
        "modifiedTime",
        "author",
        "content",
        "htmlContent",
        "quotedFileContent",
        "anchor",
        "resolved",
        "deleted",
        "action",
        "replies",
    ]
)
_PERSON = frozenset({"displayName", "photoLink"})

# How long a look of one's own lets one be told, in seconds; and what may be under way meanwhile.
PROOF = 600.0
IN_FLIGHT = 1.0
# A look that is refused may have been under way as long as a request to Google may take.
LOOK = 35.0


@dataclass(frozen=True)
class Entry:
    """Something that happened on a connection. ``what``: open, call, answer, event or close."""

    at: float
    what: str
    message: Mapping[str, Any]


@dataclass
class History:
    """All that happened on one connection, over all its sockets, in order."""

    connection: str
    user: str
    entries: list[Entry] = field(default_factory=list)

    def add(self, at: float, what: str, message: Mapping[str, Any]) -> Entry:
        entry = Entry(at, what, message)
        self.entries.append(entry)
        return entry


@dataclass(frozen=True)
class State:
    """A document as Google had it from a number on; ``shared`` is None when it was gone for good."""

    at: float
    number: int
    shared: Mapping[str, Any] | None


@dataclass
class Truth:
    """What was so at Google."""

    ended_at: float
    states: dict[str, list[State]] = field(default_factory=dict)
    # By document and user, oldest first: from when on they could see it or not.
    access: dict[tuple[str, str], list[tuple[float, bool]]] = field(default_factory=dict)
    # At the end: by document; by user and listing_key.
    comments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    listings: dict[tuple[str, str], Any] = field(default_factory=dict)

    def may_see(self, file_id: str, user: str) -> bool:
        """At the end."""
        known = self.access.get((file_id, user), [])
        return bool(known) and known[-1][1]

    def without_access(self, file_id: str, user: str, since: float, until: float) -> bool:
        """Whether there was a moment in that time at which they could not see it."""
        return any(not sees and end >= since for sees, end in self._spans(file_id, user, until))

    def lost_for(self, file_id: str, user: str, at: float) -> float:
        """For how long, at that time, they had not been able to see it; 0 if they could."""
        spans = [begin for begin, sees in self.access.get((file_id, user), [(0.0, False)]) if begin <= at]
        last = [sees for begin, sees in self.access.get((file_id, user), [(0.0, False)]) if begin <= at]
        return 0.0 if not last or last[-1] else at - spans[-1]

    def _spans(self, file_id: str, user: str, until: float) -> Iterator[tuple[bool, float]]:
        """(could see it, until when), for the spans begun by ``until``."""
        known = [(at, sees) for at, sees in self.access.get((file_id, user), []) if at <= until]
        for (_, sees), (end, _) in zip(known, [*known[1:], (until, True)], strict=True):
            yield sees, end

    def state_at(self, file_id: str, version: str) -> State | None:
        """The state that Google's number stood for; None for a number that never was."""
        states = self.states.get(file_id, [])
        if not version.isdecimal() or not states or int(version) > states[-1].number:
            return None
        return next((state for state in reversed(states) if state.number <= int(version)), None)


@dataclass(frozen=True)
class Complaint:
    """What was wrong, by which rule, where and when."""

    rule: str
    connection: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.connection} at {self.at:.1f}: {self.text}"


# -- what a page knows


@dataclass
class Known:
    """One document as a page knows it. ``watched``: on the socket it has now."""

    watched: bool = False
    version: str = ""
    file: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, Mapping[str, Any]] | None = None
    mark: str | None = None
    # Comments known from the answers to writes: no mark says so, when it comes back.
    written: set[str] = field(default_factory=set)
    written_before: set[str] = field(default_factory=set)


class Page:
    """What a page knows from what it sent and heard."""

    def __init__(self) -> None:
        self.up = False
        self.documents: dict[str, Known] = {}
        self.listings: dict[str, tuple[str, Any]] = {}  # by id: its key, and the data
        self.calls: dict[Any, tuple[str, Mapping[str, Any]]] = {}

    def take(self, entry: Entry) -> None:
        """Something happened."""
        message = entry.message
        if entry.what == "open":
            self.up = True
        elif entry.what == "close":
            self.up = False
            self.listings.clear()
            # A write is sent again with its id; everything else is asked anew.
            self.calls = {key: call for key, call in self.calls.items() if _is_write(call[0])}
            for known in self.documents.values():
                known.watched = False
                known.written_before |= known.written
                known.written.clear()
        elif entry.what == "call":
            self.calls[message["id"]] = (message["method"], message.get("params", {}))
        elif entry.what == "answer":
            method, params = self.calls.pop(message.get("id"), ("", {}))
            if "result" in message:
                self._answered(method, params, message["result"])
        elif entry.what == "event":
            self._told(str(message.get("method")), message.get("params") or {})

    def watched(self) -> list[str]:
        """The documents that it watches now."""
        return [file_id for file_id, known in self.documents.items() if known.watched]

    def _answered(self, method: str, params: Mapping[str, Any], result: Any) -> None:
        if method == "documents.watch":
            known = self.documents.setdefault(result["fileId"], Known())
            known.watched = True
            known.version, known.file = result["version"], dict(result["file"])
            if "comments" not in result:
                known.comments = known.mark = None
                return
            if params.get("commentsMark") is None or known.comments is None:
                known.comments = {}
            known.comments |= {comment["id"]: comment for comment in result["comments"]}
            known.mark = result["commentsMark"]
        elif method == "documents.unwatch":
            self.documents.pop(str(params.get("fileId")), None)
        elif method == "listings.watch":
            self.listings[result["listing"]] = (listing_key(params), result["data"])
        elif method == "listings.unwatch":
            self.listings.pop(str(params.get("listing")), None)
        elif _is_write(method):
            self._wrote(method, params, result.get("data") or {})

    def _wrote(self, method: str, params: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Who writes counts as told of what they wrote."""
        known = self.documents.get(str(params.get("fileId")))
        if known is None or not known.watched:
            return
        if method == "drive.files.update" and "version" in data:
            if int(data["version"]) >= int(known.version or 0):
                known.version = data["version"]
                known.file |= {name: data[name] for name in FILE_FIELDS if name in data}
                person = known.file.get("lastModifyingUser")
                if isinstance(person, dict):
                    known.file["lastModifyingUser"] = {n: person[n] for n in _PERSON if n in person}
        elif known.comments is None:
            return
        else:
            known.written.add(str(params.get("commentId") or data.get("id")))
        if known.comments is None:
            return
        if method in ("drive.comments.create", "drive.comments.update"):
            known.comments[data["id"]] = _only_shared(data)
        elif method == "drive.comments.delete":
            known.comments[params["commentId"]] = {"id": params["commentId"], "deleted": True}
        elif method.startswith("drive.replies."):
            comment = known.comments.get(params["commentId"])
            if comment is not None and not comment.get("deleted"):
                deleted = {"id": params.get("replyId"), "deleted": True}
                reply = deleted if method.endswith(".delete") else _only_shared(data)
                known.comments[params["commentId"]] = _with_reply(comment, reply)

    def _told(self, method: str, params: Mapping[str, Any]) -> None:
        known = self.documents.get(str(params.get("fileId")))
        if method == "document.changed" and known is not None:
            known.version, known.file = params["version"], dict(params["file"])
        elif method == "document.comment" and known is not None:
            if known.comments is not None:
                known.comments[params["comment"]["id"]] = params["comment"]
            known.mark = params["commentsMark"]
        elif method == "document.lost":
            self.documents.pop(str(params.get("fileId")), None)
        elif method == "listing.changed" and params.get("listing") in self.listings:
            key, _ = self.listings[params["listing"]]
            self.listings[params["listing"]] = (key, params["data"])


def _is_write(method: str) -> bool:
    return method.startswith("drive.") and method.rpartition(".")[2] in ("create", "update", "delete")


def _with_reply(comment: Mapping[str, Any], reply: Mapping[str, Any]) -> dict[str, Any]:
    others = [old for old in comment.get("replies", ()) if old.get("id") != reply.get("id")]
    there = others if reply.get("deleted") else [*others, reply]
    changed: dict[str, Any] = {"replies": there}
    if reply.get("modifiedTime"):
        changed["modifiedTime"] = max(str(comment.get("modifiedTime", "")), str(reply["modifiedTime"]))
    if reply.get("action") in ("resolve", "reopen"):
        changed["resolved"] = reply["action"] == "resolve"
    return {**comment, **changed}


def _only_shared(comment: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: comment[name] for name in COMMENT_FIELDS if name in comment}
    if isinstance(shared.get("author"), dict):
        shared["author"] = {name: shared["author"][name] for name in _PERSON if name in shared["author"]}
    if "replies" in shared:
        shared["replies"] = [_only_shared(reply) for reply in shared["replies"]]
    return shared


def listing_key(params: Mapping[str, Any]) -> str:
    """One text for one listing's params."""
    return json.dumps(params, sort_keys=True)


def bare(value: Any) -> Any:
    """Without what is false or empty, which Google may write or leave out."""
    if isinstance(value, Mapping):
        return {name: bare(part) for name, part in value.items() if part}
    if isinstance(value, list):
        return [bare(part) for part in value]
    return value


def shown_comments(comments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The comments there are, without deleted replies, and replies in one order."""
    shown = {}
    for comment_id, comment in comments.items():
        if not comment.get("deleted"):
            replies = [reply for reply in comment.get("replies", ()) if not reply.get("deleted")]
            ordered = sorted(replies, key=lambda reply: (str(reply.get("createdTime")), str(reply["id"])))
            shown[comment_id] = bare({**comment, "replies": ordered})
    return shown


# -- the rules


def complaints(histories: list[History], truth: Truth) -> list[Complaint]:
    """All that is wrong, in the order of time."""
    found = [complaint for history in histories for rule in RULES for complaint in rule(history, truth)]
    return sorted(found, key=lambda complaint: complaint.at)


def _replay(history: History) -> Iterator[tuple[Entry, Page]]:
    """Each entry with what the page knew before it."""
    page = Page()
    for entry in history.entries:
        yield entry, page
        page.take(entry)


def _events(history: History) -> Iterator[tuple[Entry, Page, str, Mapping[str, Any]]]:
    for entry, page in _replay(history):
        if entry.what == "event":
            yield entry, page, str(entry.message.get("method")), entry.message.get("params") or {}


_EVENTS: dict[str, dict[str, type]] = {
    "document.changed": {
        "fileId": str,
        "version": str,
        "file": dict,
        "changed": list,
        "via": str,
        "seen_at": str,
    },
    "document.touched": {"fileId": str, "version": str},
    "document.lost": {"fileId": str, "reason": str},
    "document.comment": {"fileId": str, "comment": dict, "commentsMark": str, "via": str, "seen_at": str},
    "listing.changed": {"listing": str, "data": dict, "as_of": str},
    "session.signed_in": {},
    "session.signed_out": {"reason": str},
    "session.degraded": {"reason": str, "retry_after": object},
    "session.recovered": {},
    "server.draining": {"reconnect_after": object},
}
_ONE_OF = {
    ("document.lost", "reason"): ("deleted", "no_access"),
    ("document.changed", "via"): ("poll", "push", "peer"),
    ("document.comment", "via"): ("poll", "push", "peer"),
    ("session.signed_out", "reason"): ("signed_out", "revoked", "expired"),
    ("session.degraded", "reason"): (
        "google_rate_limited",
        "google_unavailable",
        "google_forbids",
        "store_unavailable",
    ),
}


def well_formed(history: History, truth: Truth) -> Iterator[Complaint]:
    """Every event is as the protocol's section 3 says, and says nothing twice or by halves."""

    def wrong(entry: Entry, text: str) -> Complaint:
        return Complaint("well_formed", history.connection, entry.at, text)

    for entry, page, method, params in _events(history):
        shape = _EVENTS.get(method)
        if shape is None:
            yield wrong(entry, f"there is no event {method}")
            continue
        if entry.message.get("jsonrpc") != "2.0" or "id" in entry.message:
            yield wrong(entry, f"{method} is no JSON-RPC notification")
        for name, kind in shape.items():
            if not isinstance(params.get(name), kind):
                yield wrong(entry, f"{method} has {name}={params.get(name)!r}")
        if not method.startswith(("session.", "server.")) and set(params) - set(shape):
            yield wrong(entry, f"{method} has {sorted(set(params) - set(shape))}, too")
        for (of, name), values in _ONE_OF.items():
            if of == method and params.get(name) not in values:
                yield wrong(entry, f"{method} has {name}={params.get(name)!r}")
        for name in ("seen_at", "as_of"):
            if name in shape and not _is_past(params.get(name), entry.at):
                yield wrong(entry, f"{method} has {name}={params.get(name)!r}")
        if method == "document.changed":
            yield from (wrong(entry, text) for text in _wrong_change(page, params))


def _wrong_change(page: Page, params: Mapping[str, Any]) -> Iterator[str]:
    file, changed = params.get("file") or {}, set(params.get("changed") or ())
    if file.get("id") != params.get("fileId") or file.get("version") != params.get("version"):
        yield "file has another id or version than its event"
    if not changed or changed - FILE_FIELDS or "version" in changed:
        yield f"changed is {sorted(changed)}"
    known = page.documents.get(str(params.get("fileId")))
    # Who writes counts as told before the answer is there; what differs from that is named.
    writes = any(
        method == "drive.files.update" and asked.get("fileId") == params.get("fileId")
        for method, asked in page.calls.values()
    )
    if known is not None and known.watched and not writes:
        differs = {name for name in FILE_FIELDS if file.get(name) != known.file.get(name)} - {"version"}
        if differs - changed:
            yield f"changed does not name {sorted(differs - changed)}"


def _is_past(text: Any, at: float) -> bool:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return False
    return moment.tzinfo is not None and moment.timestamp() <= at + 1


def own_eyes(history: History, truth: Truth) -> Iterator[Complaint]:
    """Documents and comments are told without anything that depends on who looks."""
    for entry, page in _replay(history):
        file: Any = None
        comments: list[Any] = []
        if entry.what == "event":
            params = entry.message.get("params") or {}
            if str(entry.message.get("method")).startswith("document."):
                file = params.get("file")
                comments = [params["comment"]] if "comment" in params else []
        elif entry.what == "answer" and "result" in entry.message:
            watched = page.calls.get(entry.message.get("id"), ("",))[0] == "documents.watch"
            file = entry.message["result"].get("file") if watched else None
            comments = entry.message["result"].get("comments", []) if watched else []
        strange = [*_strange_file(file), *(name for each in comments for name in _strange_comment(each))]
        if strange:
            text = f"was shown {', '.join(strange)}"
            yield Complaint("own_eyes", history.connection, entry.at, text)


def _strange_file(file: Any) -> Iterator[str]:
    if isinstance(file, Mapping):
        yield from (f"file.{name}" for name in sorted(set(file) - FILE_FIELDS))
        person = file.get("lastModifyingUser") or {}
        yield from (f"file.lastModifyingUser.{name}" for name in sorted(set(person) - _PERSON))


def _strange_comment(comment: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"comment.{name}" for name in sorted(set(comment) - COMMENT_FIELDS))
    yield from (f"comment.author.{name}" for name in sorted(set(comment.get("author") or {}) - _PERSON))
    for reply in comment.get("replies", ()):
        yield from _strange_comment(reply)


def told_once(history: History, truth: Truth) -> Iterator[Complaint]:
    """No event tells a connection what it was told last."""

    def twice(entry: Entry, what: str) -> Complaint:
        return Complaint("told_once", history.connection, entry.at, f"told again: {what}")

    for entry, page, method, params in _events(history):
        known = page.documents.get(str(params.get("fileId")))
        if method == "document.changed":
            if known is not None and known.watched and known.version == params.get("version"):
                yield twice(entry, f"{params['fileId']} version {known.version}")
        elif method == "document.comment":
            comment = params["comment"]
            before = {} if known is None else (known.comments or {}).get(comment["id"], {})
            again = known is not None and comment["id"] in known.written_before
            if bare(before) == bare(comment) and not again:
                yield twice(entry, f"comment {comment['id']} of {params['fileId']}")
        elif method == "listing.changed":
            before = page.listings.get(params["listing"], ("", None))[1]
            if _listed(before) == _listed(params["data"]):
                yield twice(entry, f"listing {params['listing']}")


def told_to_watchers(history: History, truth: Truth) -> Iterator[Complaint]:
    """Events come of what is watched: a loss is told once, and nothing after it."""
    for entry, page, method, params in _events(history):
        if method.startswith("document."):
            known = page.documents.get(str(params.get("fileId")))
            if known is None or not known.watched:
                text = f"{method} of {params.get('fileId')}, which it does not watch"
                yield Complaint("told_to_watchers", history.connection, entry.at, text)
        elif method == "listing.changed" and params.get("listing") not in page.listings:
            text = f"{method} of {params.get('listing')}, which it does not watch"
            yield Complaint("told_to_watchers", history.connection, entry.at, text)


def losses_are_true(history: History, truth: Truth) -> Iterator[Complaint]:
    """Who is told of a loss could not see the document a moment ago."""
    for entry, _, method, params in _events(history):
        if method == "document.lost":
            file_id = str(params.get("fileId"))
            if not truth.without_access(file_id, history.user, entry.at - LOOK, entry.at):
                text = f"{file_id} is not lost to {history.user}"
                yield Complaint("losses_are_true", history.connection, entry.at, text)


def nothing_after_a_proof(history: History, truth: Truth) -> Iterator[Complaint]:
    """Nothing is told of a document to who lost it longer ago than a proof lives."""
    for entry, page in _replay(history):
        file_id = _told_of(entry, page)
        if file_id:
            gone = truth.lost_for(file_id, history.user, entry.at)
            if gone > PROOF + IN_FLIGHT:
                text = f"told of {file_id} {gone:.0f} s after {history.user} lost it"
                yield Complaint("nothing_after_a_proof", history.connection, entry.at, text)


def _told_of(entry: Entry, page: Page) -> str:
    """The document whose state this tells; empty for none."""
    if entry.what == "event" and entry.message.get("method") in (
        "document.changed",
        "document.comment",
        "document.touched",
    ):
        return str((entry.message.get("params") or {}).get("fileId"))
    watch = page.calls.get(entry.message.get("id"), ("",))[0] == "documents.watch"
    if entry.what == "answer" and watch and "result" in entry.message:
        return str(entry.message["result"]["fileId"])
    return ""


def true_at_the_end(history: History, truth: Truth) -> Iterator[Complaint]:
    """When all has settled, what a connection was told last is what is so."""
    page = Page()
    for entry in history.entries:
        page.take(entry)
    if not page.up:
        return

    def untrue(text: str) -> Complaint:
        return Complaint("true_at_the_end", history.connection, truth.ended_at, text)

    for file_id in page.watched():
        known = page.documents[file_id]
        if not truth.may_see(file_id, history.user):
            yield untrue(f"{file_id} is lost, and it was not told")
            continue
        state = truth.states[file_id][-1]
        differs = [
            f"{name} is {(state.shared or {}).get(name)!r} and not {known.file.get(name)!r}"
            for name in sorted(FILE_FIELDS - {"version"})
            if (state.shared or {}).get(name) != known.file.get(name)
        ]
        if differs:
            yield untrue(f"{file_id}: {'; '.join(differs)}")
        then = truth.state_at(file_id, known.version)
        if then is None or then.shared != state.shared:
            yield untrue(f"{file_id}: what shows now is not what showed at version {known.version}")
        if known.comments is not None:
            there = truth.comments.get(file_id, {})
            yield from map(untrue, untrue_comments(file_id, known.comments, there))
    for listing_id, (key, data) in page.listings.items():
        if _listed(data) != _listed(truth.listings.get((history.user, key))):
            yield untrue(f"listing {listing_id} of {key}")


def untrue_comments(file_id: str, known: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    """What of these comments is not as it is at Google."""
    told, there = shown_comments(known), shown_comments(there)
    for comment_id in sorted(told.keys() | there.keys()):
        if told.get(comment_id) != there.get(comment_id):
            yield (
                f"{file_id}: comment {comment_id} is {there.get(comment_id)!r}"
                f" and not {told.get(comment_id)!r}"
            )


def _listed(data: Any) -> Any:
    """Google writes a page token anew each time."""
    if isinstance(data, Mapping):
        return {name: value for name, value in data.items() if name != "nextPageToken"}
    return data


Rule = Callable[[History, Truth], Iterator[Complaint]]
RULES: tuple[Rule, ...] = (
    well_formed,
    own_eyes,
    told_once,
    told_to_watchers,
    losses_are_true,
    nothing_after_a_proof,
    true_at_the_end,
)
