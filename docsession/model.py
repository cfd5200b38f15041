"""The values that pass between the parts. Frozen, and free of behaviour beyond reading them.

Times are seconds since the epoch (float) on the injected clock, unless a name says otherwise.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

__all__ = [
    "ChannelRecord",
    "CommentsRecord",
    "DocumentRecord",
    "Grant",
    "Identity",
    "JournalEntry",
    "JournalKey",
    "SessionRecord",
    "SignInState",
    "User",
    "shared_scopes",
    "state_mark",
]


class User(msgspec.Struct, frozen=True):
    """A Google account as the browser may know it. ``id`` is Google's ``sub``."""

    id: str
    email: str
    name: str
    picture: str
    scopes: tuple[str, ...] = ()


class Grant(msgspec.Struct, frozen=True):
    """What Google gave us for one user. Encrypted at rest, never shown.

    ``generation`` rises with every change; a shared write names the one it replaces.
    ``dead`` is set once when Google said ``invalid_grant`` for this generation.
    """

    generation: int
    scopes: tuple[str, ...]
    access_token: str
    access_expires: float
    refresh_token: str | None
    dead: bool = False

    def __repr__(self) -> str:  # a token must not reach a log by accident
        return f"<Grant generation={self.generation} dead={self.dead}>"


def shared_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The same, of strings that all users have in common: they are long, and few."""
    return tuple(map(sys.intern, scopes))


class Identity(msgspec.Struct, frozen=True):
    """What a genuine cookie says: the session's identifier and when it was issued."""

    session_id: str
    issued: float


class SessionRecord(msgspec.Struct, frozen=True):
    """One browser: a row, once it did something worth keeping."""

    id: str
    issued: float
    last_seen: float
    user_id: str | None = None


class SignInState(msgspec.Struct, frozen=True):
    """A sign-in on its way through Google. Taken out of the store once."""

    state: str
    session_id: str
    origin: str
    return_to: str
    verifier: str
    nonce: str
    expires: float
    consent_forced: bool = False


class DocumentRecord(msgspec.Struct, frozen=True):
    """The last known state of a watched document. What came from Google is encrypted at rest.

    ``version`` is the public one (Google's number as of the last change that shows in
    ``file``), ``google_version`` the highest number seen. ``proofs`` maps a user's id to the
    times of that user's own last successful looks: (at the document, at its comments); those
    before ``doubted`` prove nothing. ``mark`` names the state: who replaces it says which one.
    """

    file_id: str
    version: str
    google_version: int
    file: Mapping[str, Any]
    as_of: float
    proofs: Mapping[str, tuple[float, float]] = {}
    doubted: float = 0.0

    @property
    def mark(self) -> str:
        return state_mark(self.google_version, self.version, self.file)


def state_mark(google_version: int, version: str, file: Mapping[str, Any]) -> str:
    """A name for this state of a document, the same on every node."""
    shared = msgspec.json.encode({**file, "version": ""}, order="deterministic")
    return f"{google_version}.{version}.{hashlib.blake2b(shared, digest_size=8).hexdigest()}"


class CommentsRecord(msgspec.Struct, frozen=True):
    """The comments of a watched document by id, deleted ones included; encrypted at rest.

    ``mark`` is the latest ``modifiedTime`` that a look saw, ``looked_at`` when that look was begun.
    """

    comments: Mapping[str, Mapping[str, Any]]
    mark: str
    looked_at: float


class ChannelRecord(msgspec.Struct, frozen=True):
    """A push channel of one user's. What Google said of it is encrypted at rest.

    ``generation`` rises with each new channel of the user; the highest is the one that a new one
    replaces. ``state`` is a value of :class:`docsession.google.channel.State`. ``resource_id`` is
    None until Google has named it, ``heard`` whether anything ever came through the channel.
    """

    id: str
    user_id: str
    generation: int
    state: str
    opened_at: float
    expires: float
    resource_id: str | None = None
    heard: bool = False


class JournalKey(msgspec.Struct, frozen=True):
    """What makes two calls the same one. ``call_id`` is the JSON-RPC id as JSON text."""

    session_id: str
    connection: str
    call_id: str
    digest: str


class JournalEntry(msgspec.Struct, frozen=True):
    """A write that was about to be sent (``outcome`` is None) or whose answer is known.

    ``outcome`` is the encoded ``{"result": ...}`` or ``{"error": ...}`` part of the answer, ``node``
    the process that does it.
    """

    key: JournalKey
    socket: str
    begun: float
    outcome: bytes | None = None
    node: str = ""
