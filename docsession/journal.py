"""Writes done once, whatever sockets break and servers die around them.

A write is journalled in the store at the moment before it is sent, never earlier, and taken
out again while it waits for another try: what dies then was not done and is simply done when
it is sent again; what dies after it left is answered ``outcome_unknown``. While it runs here,
a later socket of the same connection joins it; while it runs on another node, it waits for the
outcome that one stores. An entry is written only where no other socket's is, so of two nodes that
were sent the same write one sends it. On one socket a repeated id is another call, as JSON-RPC
allows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from msgspec.structs import astuple
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession import rpc
from docsession.errors import DocsessionError, InternalError, OutcomeUnknown, TooMany, Unavailable
from docsession.interfaces import Bus, Sending, Store
from docsession.model import JournalEntry, JournalKey
from docsession.tasks import Flights, Whistle, sleep
from docsession.user_channel import UserChannel

__all__ = ["Journal", "Write", "connection_name", "digest", "is_of_epoch"]

# Writes outlive their sockets, so what a socket may have in flight does not bound them. This is
# what all sockets of one browser session may have together.
MOST_UNDER_WAY = 1024
# What runs on another node is waited for so long, and looked for so often.
LONGEST = 90.0
LOOK = 1.0
# While the journal cannot be read, a call that may have been sent before waits for it so long.
STORE_BACK = 10.0

Write = Callable[[Sending], Coroutine[Any, Any, bytes]]
"""Does the write, telling when it leaves, and returns the JSON of its result."""


def digest(method: str, params: bytes) -> str:
    """What a call asks for. A page that sends it again sends the same bytes."""
    return hashlib.blake2b(method.encode() + b"\0" + params, digest_size=16).hexdigest()


def connection_name(epoch: str, new_id: str) -> str:
    """A name for a new connection, which tells what the store must have seen of its writes."""
    return new_id[:16] if not epoch else f"{_mark(epoch)}{new_id[:16]}"


def is_of_epoch(name: str, epoch: str) -> bool:
    """Whether the store has lost nothing since that connection was named."""
    return not epoch or name.startswith(_mark(epoch))


def _mark(epoch: str) -> str:
    return hashlib.blake2b(epoch.encode(), digest_size=4).hexdigest() + "-"


class Journal:
    """Runs writes and remembers their outcomes in the store."""

    _log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, bus: Bus, users: UserChannel) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._users = users
        # Not abandoned when the socket goes: a write under way is finished and remembered.
        self._running: Flights[bytes] = Flights(abandon=False)
        self._under_way: dict[JournalKey, _Journalled] = {}
        self._of_session: Counter[str] = Counter()
        self._done: Whistle[JournalKey] = Whistle(clock)
        users.on("write_done", lambda user_id, message: self._done_elsewhere(message))

    def __len__(self) -> int:
        """Writes under way."""
        return self._of_session.total()

    async def run(
        self,
        key: JournalKey,
        *,
        user_id: str,
        socket: str,
        resumed: bool,
        write: Write,
        again: bool = False,
    ) -> bytes:
        """The outcome (result or error part of an answer) of this call, done at most once. ``again``:
        it may have been sent before; then it is never said that it was not done where nobody knows.

        Raises:
            OutcomeUnknown: it was sent by a server that did not live to hear the answer.
            Unavailable: the store is away, so it was not sent.
            TooMany: this browser session has too many under way.
        """
        if resumed and key not in self._under_way:
            outcome = await self._looked_up(key, socket, again)
            if outcome is not None:
                return outcome
            if key not in self._under_way and not is_of_epoch(key.connection, self._store.epoch):
                raise OutcomeUnknown  # it may have been in the journal that was lost
        running = self._under_way.get(key)
        if running is None or running.socket == socket:
            if self._of_session[key.session_id] >= MOST_UNDER_WAY:
                raise TooMany("writes under way", MOST_UNDER_WAY)
            # The same id twice on one socket is another call, so a flight of its own.
            self._running.forget(key)
        return await self._running.join(key, lambda: self._do(key, user_id, socket, write, again))

    async def write_back(self) -> None:
        """The store has lost what it had: what was begun here is begun there again."""
        for sending in list(self._under_way.values()):
            if sending.begun and self._under_way.get(sending.key) is sending:
                await sending.write_back()

    # -- inside

    async def _do(self, key: JournalKey, user_id: str, socket: str, write: Write, again: bool) -> bytes:
        sending = _Journalled(
            self._store, JournalEntry(key, socket, self._clock.seconds(), node=self._bus.node)
        )
        self._under_way[key] = sending
        self._of_session[key.session_id] += 1
        try:
            while True:
                try:
                    outcome = await self._tried(sending, write, again)
                    break
                except _BegunElsewhere:
                    known = await self._outcome(key, socket, but_here=False)
                    if known is not None:
                        return known
            if sending.begun:
                await self._remember(key, socket, outcome)
            if sending.told:
                self._users.say(user_id, "write_done", key=astuple(key))
            return outcome
        finally:
            if self._under_way.get(key) is sending:
                del self._under_way[key]
            self._of_session[key.session_id] -= 1
            if not self._of_session[key.session_id]:
                del self._of_session[key.session_id]

    async def _tried(self, sending: _Journalled, write: Write, again: bool) -> bytes:
        try:
            return rpc.result_outcome(await write(sending))
        except (CancelledError, _BegunElsewhere):
            raise  # stopping: the entry stays begun, which is the truth
        except Unavailable as error:
            # Another node may still be about to begin it.
            return rpc.error_outcome(OutcomeUnknown() if again else error)
        except DocsessionError as error:
            return rpc.error_outcome(error)
        except Exception:
            self._log.failure("a write failed on a bug of ours")
            return rpc.error_outcome(OutcomeUnknown() if sending.begun else InternalError())

    async def _looked_up(self, key: JournalKey, socket: str, again: bool) -> bytes | None:
        """As :meth:`_outcome`; for a store that is away some seconds are waited, if that may matter."""
        until = self._clock.seconds() + STORE_BACK
        while True:
            try:
                return await self._outcome(key, socket)
            except Unavailable:
                if not again:
                    raise
                if self._clock.seconds() >= until:
                    raise OutcomeUnknown from None
            await sleep(self._clock, LOOK)

    async def _outcome(self, key: JournalKey, socket: str, *, but_here: bool = True) -> bytes | None:
        """What came of the call that another socket began, wherever that was; None where none did,
        or where it is under way here (unless ``but_here`` is false).

        Raises OutcomeUnknown, Unavailable.
        """
        until = self._clock.seconds() + LONGEST
        was_lost = False
        while True:
            entry = await self._store.journal_find(key)
            if entry is None or entry.socket == socket or (but_here and key in self._under_way):
                return None
            if entry.outcome is not None:
                return entry.outcome
            if was_lost or self._clock.seconds() >= until:
                raise OutcomeUnknown
            if entry.node == self._bus.node or not await self._bus.is_alive(entry.node):
                was_lost = True  # it may just have ended; so the store is asked once more
            else:
                await self._done.wait(key, LOOK)

    def _done_elsewhere(self, message: Mapping[str, Any]) -> None:
        self._done.blow(JournalKey(*message["key"]))

    async def _remember(self, key: JournalKey, socket: str, outcome: bytes) -> None:
        try:
            await self._store.journal_finish(key, socket, outcome)
        except Unavailable:
            # The page still gets its answer; only a page that comes back for it does not.
            self._log.warn("the outcome of a write could not be journalled: the store is away")


class _BegunElsewhere(Exception):
    """Another socket's call of the same key is being sent, or was: this one must not be."""


class _Journalled:
    """Keeps the entry of one write in step with whether it may have been sent."""

    def __init__(self, store: Store, entry: JournalEntry) -> None:
        self._store = store
        self._entry = entry
        self._epoch = store.epoch
        self.begun = False
        self.told = False  # whether another node may have read of it

    @property
    def key(self) -> JournalKey:
        return self._entry.key

    @property
    def socket(self) -> str:
        """Which socket's call it is."""
        return self._entry.socket

    async def about_to_send(self) -> None:
        if not self.begun:
            self.told = True
            if not await self._store.journal_begin(self._entry):
                raise _BegunElsewhere
            self.begun = True
            if self._store.epoch != self._epoch:
                raise OutcomeUnknown  # another may have begun it in the journal that was lost

    async def write_back(self) -> None:
        """Should another's be there, that one is kept."""
        await self._store.journal_begin(self._entry)

    async def not_done(self) -> None:
        if self.begun:
            try:
                await self._store.journal_forget(self._entry.key, self._entry.socket)
            except Unavailable:
                return  # it stays begun: too careful, never wrong
            self.begun = False
