"""The ports: what the logic may know of wires, stores and Google. Checked by mypy.

An implementation never inherits from these; it just fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from docsession.model import (
    ChannelRecord,
    CommentsRecord,
    DocumentRecord,
    Grant,
    JournalEntry,
    JournalKey,
    SessionRecord,
    SignInState,
    User,
)

__all__ = [
    "Backend",
    "Bus",
    "Hear",
    "HubObserver",
    "Leases",
    "Sending",
    "Shares",
    "Store",
    "Unobserved",
    "Wire",
]


class Wire(Protocol):
    """All that a connection knows of its socket. ``ready``: it takes more; else what it is given is
    kept, however much it is."""

    ready: bool

    def send(self, payload: bytes) -> None:
        """Send one UTF-8 text message, at the latest in the next turn of the reactor."""

    def send_all(self, wires: Sequence[Any], payload: bytes) -> None:
        """The same over each of these, of which this is one and the others are of its kind."""

    def flush(self) -> None:
        """Send now what was not sent yet."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake. Harmless when repeated."""


class Sending(Protocol):
    """Who must know when a write leaves, so that it is done once."""

    async def about_to_send(self) -> None:
        """Awaited right before each try. May raise Unavailable: then it must not be sent."""

    async def not_done(self) -> None:
        """Google said that it did not do it, or it never left; it will be tried again."""


class HubObserver(Protocol):
    """Who counts what the hub does."""

    def looked(self, why: str, comments: bool) -> None:
        """A look is made, for this reason; at the comments, or at the file."""

    def told(self, via: str, receivers: int) -> None:
        """So many tabs were told of a change that was seen this way."""

    def settled(self, seconds: float) -> None:
        """The last tab was told of a change that was seen so long ago."""

    def lagged(self, seconds: float) -> None:
        """A change was seen so long after Google says that it was made."""

    def believed(self) -> None:
        """An older number of Google's stayed, and is taken for the truth now."""

    def hinted(self, outcome: str) -> None:
        """What became of a push notification."""


class Unobserved:
    """Counts nothing."""

    def looked(self, why: str, comments: bool) -> None: ...
    def told(self, via: str, receivers: int) -> None: ...
    def settled(self, seconds: float) -> None: ...
    def lagged(self, seconds: float) -> None: ...
    def believed(self) -> None: ...
    def hinted(self, outcome: str) -> None: ...


class Store(Protocol):
    """What must survive. Every method may raise :class:`docsession.errors.Unavailable`.

    Once a method's awaitable has fired, what it wrote is on disk, or with a Redis: as safe as that
    is configured to keep it.
    """

    async def open(self, stamp: Mapping[str, str]) -> None:
        """Open or create, upgrade the schema, and compare ``stamp`` (issuer, client_id).

        Raises :class:`docsession.errors.ConfigError` where the store belongs to another
        issuer or client, is newer than this program, is damaged, or cannot be written.
        """

    async def close(self) -> None: ...

    def listen(self, on_away: Callable[[bool], None], on_set_back: Callable[[], None] = lambda: None) -> None:
        """Be told when it goes away (True) and when it is back (False); and when it has lost what it
        had, so that what lives here is to be written again."""

    @property
    def epoch(self) -> str:
        """Another one whenever it has lost what it had."""

    async def ping(self) -> None:
        """A small write and a read, for /readyz and --check."""

    # -- browser sessions
    async def load_session(self, session_id: str) -> SessionRecord | None: ...
    async def save_session(self, record: SessionRecord) -> None: ...
    async def touch_sessions(self, seen: Mapping[str, float]) -> None:
        """Move ``last_seen`` of these forward; ids without a row are passed over."""

    async def retire_sessions(self, session_ids: Iterable[str], until: float) -> None:
        """Delete their rows and sign-in states and remember the ids as dead until ``until``."""

    async def is_retired(self, session_id: str) -> bool: ...
    async def retired_among(self, session_ids: Iterable[str]) -> set[str]:
        """Which of these are retired."""

    async def sessions_of_user(self, user_id: str) -> list[SessionRecord]: ...
    async def replace_session(self, old_id: str, new: SessionRecord, until: float) -> None:
        """Retire ``old_id`` and save ``new`` in one transaction (a sign-in)."""

    # -- sign-ins under way
    async def put_state(self, state: SignInState) -> None: ...
    async def take_state(self, state: str) -> SignInState | None:
        """Remove it and return it; None when missing. Expiry is the caller's to judge."""

    # -- users and grants
    async def load_user(self, user_id: str) -> User | None: ...
    async def save_user(self, user: User) -> None: ...
    async def load_grant(self, user_id: str) -> Grant | None: ...
    async def save_grant(self, user_id: str, grant: Grant, *, replaces: int | None) -> bool:
        """Compare-and-set on ``generation``; ``replaces=None`` means there is none yet.

        Returns False, and writes nothing, when another generation is stored.
        """

    async def delete_user(self, user_id: str) -> None:
        """The user, the grant, the user's proofs and push channels."""

    async def mark_orphaned(self, user_id: str, since: float | None) -> None:
        """The user's last browser signed out at ``since`` (None: somebody is back)."""

    async def orphaned_users(self, before: float) -> list[str]:
        """Users whose last browser signed out before that time."""

    # -- the write journal
    async def journal_begin(self, entry: JournalEntry) -> bool:
        """Write it, replacing an entry of the same key and socket.

        Returns False, and writes nothing, where another socket's entry of that key is stored.
        """

    async def journal_finish(self, key: JournalKey, socket: str, outcome: bytes) -> None:
        """The outcome of what this socket began; nothing where that is not stored."""

    async def journal_forget(self, key: JournalKey, socket: str) -> None:
        """Remove what this socket began and was provably never sent."""

    async def journal_find(self, key: JournalKey) -> JournalEntry | None: ...

    # -- documents
    async def load_document(self, file_id: str) -> DocumentRecord | None: ...
    async def save_document(self, record: DocumentRecord, *, replaces: str | None) -> DocumentRecord | None:
        """Compare-and-set: save its state where the stored one has the mark ``replaces`` (None: there is
        none). Returns None when saved, else what is stored instead.

        Proofs are added either way: of each user's times the later one stays, and those before
        ``doubted``, the later of both, are dropped.
        """

    async def delete_document(self, file_id: str) -> None:
        """The state, its proofs and its comments."""

    async def load_comments(self, file_id: str) -> CommentsRecord | None: ...
    async def save_comments(self, file_id: str, record: CommentsRecord) -> None:
        """Add these to what is stored: of each comment this one stays, of the times the later."""

    async def drop_proofs(self, user_id: str) -> None: ...

    # -- push channels
    async def add_channel(self, record: ChannelRecord, *, replaces: str | None) -> bool:
        """Compare-and-set: a new one, where the user's newest has the id ``replaces`` (None: has none).

        Returns False, and writes nothing, when another is the newest. The replaced one stays.
        """

    async def save_channel(self, record: ChannelRecord) -> None:
        """Save what became of one that is stored; one without a row is passed over."""

    async def load_channels(self, user_id: str) -> list[ChannelRecord]:
        """All of the user's, the newest first."""

    async def load_channel(self, channel_id: str) -> ChannelRecord | None: ...
    async def delete_channel(self, channel_id: str) -> None: ...

    # -- what was spent of the day's quota
    async def load_spent(self, day: str) -> Mapping[str, int]:
        """What each node spent on this day (``2026-11-25``, as it is in California), by its name."""

    async def save_spent(self, day: str, node: str, units: int) -> None:
        """So much this node has spent on this day, in all; earlier days may be forgotten."""

    async def prune(
        self,
        *,
        now: float,
        sessions_idle_before: float,
        sessions_issued_before: float,
        journal_before: float,
        documents_before: float,
    ) -> None:
        """Delete what has expired: idle and too old sessions, retirements, states and channels past
        their time, journal entries and documents from before the given times."""


Hear = Callable[[Mapping[str, Any]], None]
"""Takes a message of the bus; ``message["node"]`` is who sent it."""


class Bus(Protocol):
    """Hints between nodes, by channel. One may be lost; what is true is in the store.

    Channels are ``document:<file id>``, ``user:<user id>`` and ``all``.
    """

    @property
    def node(self) -> str:
        """This process among the others: another name after each start."""

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Tell the other nodes that hear this channel, if they can be reached. Nobody waits for it,
        and it is not heard here."""

    def subscribe(self, channel: str, hear: Hear) -> None:
        """Hear a channel from now on: one listener for each."""

    def unsubscribe(self, channel: str) -> None: ...

    async def listeners(self, channel: str) -> int:
        """How many other nodes hear it. May raise Unavailable."""

    async def is_alive(self, node: str) -> bool:
        """Whether that process still runs, as far as anybody knows. May raise Unavailable."""

    def on_gap(self, call: Callable[[], None]) -> None:
        """Call this whenever messages may have been missed."""


class Leases(Protocol):
    """Who does what all nodes could do. A lease saves work twice done; truth never rests on it."""

    @property
    def alone(self) -> bool:
        """The shared server is away: each node goes on by itself, and holds all it wants."""

    def want(self, name: str, on_change: Callable[[bool], None] = lambda held: None) -> None:
        """Hold it from now on, as soon as nobody else does. ``on_change`` hears when that begins
        and ends, but for what is held by the time this returns."""

    def drop(self, name: str) -> None:
        """Not wanted any more; the next node has it at once."""

    def holds(self, name: str) -> bool:
        """Whether it is held here, now."""

    def seize(self, name: str) -> None:
        """Take a wanted one from whoever holds it, who will hear of that."""

    async def take(self, name: str, seconds: float) -> bool:
        """Take it once, for so long at most; False where another node has it. May raise Unavailable."""

    async def free(self, name: str) -> None:
        """Give back what was taken."""


class Shares(Protocol):
    """How much of Google's quota is this node's, while others spend of it too.

    All figures are in what the quota counts. A share is as large as it was when last heard of:
    while the shared server is away it stays.
    """

    def project(self) -> float | None:
        """So much may be spent here in any minute; None: all that the ceiling allows."""

    def user(self, user_id: str) -> float | None:
        """The same for one user's quota."""

    def part_of_polls(self) -> float:
        """Which part of what all polls may spend a second is this node's: 1 where it is alone."""

    def spent_today_elsewhere(self) -> int:
        """What the other nodes have spent today."""

    def hurry(self) -> None:
        """What a person asked for waits, and only for a larger share. Harmless when repeated."""

    def source(
        self,
        spending: Callable[[], tuple[int, Mapping[str, int]]],
        demand: Callable[[], float],
        today: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None:
        """Where to ask what was spent here in the last minute (in all, and by user), what all polls
        here would cost a second, if nothing were stretched, and which day it is in California, with
        what was spent of it here."""


@dataclass(frozen=True)
class Backend:
    """What nodes share. ``several``: there may be others; else it is all in this process. ``rest``: for
    so many seconds a document that was stored is not stored again."""

    store: Store
    bus: Bus
    leases: Leases
    shares: Shares
    several: bool = False
    rest: float = 0.0
