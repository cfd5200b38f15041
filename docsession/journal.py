"""Writes done once, whatever sockets break and servers die around them.

A write is journalled in the store at the moment before it is sent, never earlier, and taken
out again while it waits for another try: what dies then was not done and is simply done when
it is sent again; what dies after it left is answered ``outcome_unknown``. While it runs here,
a later socket of the same connection joins it. On one socket a repeated id is another call, as
JSON-RPC allows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession import rpc
from docsession.errors import DocsessionError, InternalError, OutcomeUnknown, TooMany, Unavailable
from docsession.interfaces import Sending, Store
from docsession.model import JournalEntry, JournalKey
from docsession.tasks import Flights

__all__ = ["Journal", "Write", "digest"]

# Writes outlive their sockets, so what a socket may have in flight does not bound them. This is
# what all sockets of one browser session may have together.
MOST_UNDER_WAY = 1024

Write = Callable[[Sending], Coroutine[Any, Any, bytes]]
"""Does the write, telling when it leaves, and returns the JSON of its result."""


def digest(method: str, params: bytes) -> str:
    """What a call asks for. A page that sends it again sends the same bytes."""
    return hashlib.blake2b(method.encode() + b"\0" + params, digest_size=16).hexdigest()


class Journal:
    """Runs writes and remembers their outcomes in the store."""

    _log = Logger()

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        # Not abandoned when the socket goes: a write under way is finished and remembered.
        self._running: Flights[bytes] = Flights(abandon=False)
        self._under_way: dict[JournalKey, _Journalled] = {}
        self._of_session: Counter[str] = Counter()

    def __len__(self) -> int:
        """Writes under way."""
        return self._of_session.total()

    async def run(self, key: JournalKey, *, socket: str, resumed: bool, write: Write) -> bytes:
        """The outcome (result or error part of an answer) of this call, done at most once.

        Raises:
            OutcomeUnknown: it was sent by a server that did not live to hear the answer.
            Unavailable: the store is away, so it was not sent.
            TooMany: this browser session has too many under way.
        """
        if resumed and key not in self._under_way:
            entry = await self._store.journal_find(key)
            if entry is not None and entry.socket != socket:
                if entry.outcome is None:
                    raise OutcomeUnknown
                return entry.outcome
        running = self._under_way.get(key)
        if running is None or running.socket == socket:
            if self._of_session[key.session_id] >= MOST_UNDER_WAY:
                raise TooMany("writes under way", MOST_UNDER_WAY)
            # The same id twice on one socket is another call, so a flight of its own.
            self._running.forget(key)
        return await self._running.join(key, lambda: self._do(key, socket, write))

    async def _do(self, key: JournalKey, socket: str, write: Write) -> bytes:
        sending = _Journalled(self._store, JournalEntry(key, socket, self._clock.seconds()))
        self._under_way[key] = sending
        self._of_session[key.session_id] += 1
        try:
            try:
                outcome = rpc.result_outcome(await write(sending))
            except CancelledError:
                raise  # stopping: the entry stays begun, which is the truth
            except DocsessionError as error:
                outcome = rpc.error_outcome(error)
            except Exception:
                self._log.failure("a write failed on a bug of ours")
                outcome = rpc.error_outcome(OutcomeUnknown() if sending.begun else InternalError())
            if sending.begun:
                await self._remember(key, socket, outcome)
            return outcome
        finally:
            if self._under_way.get(key) is sending:
                del self._under_way[key]
            self._of_session[key.session_id] -= 1
            if not self._of_session[key.session_id]:
                del self._of_session[key.session_id]

    async def _remember(self, key: JournalKey, socket: str, outcome: bytes) -> None:
        try:
            await self._store.journal_finish(key, socket, outcome)
        except Unavailable:
            # The page still gets its answer; only a page that comes back for it does not.
            self._log.warn("the outcome of a write could not be journalled: the store is away")


class _Journalled:
    """Keeps the entry of one write in step with whether it may have been sent."""

    def __init__(self, store: Store, entry: JournalEntry) -> None:
        self._store = store
        self._entry = entry
        self.begun = False

    @property
    def socket(self) -> str:
        """Which socket's call it is."""
        return self._entry.socket

    async def about_to_send(self) -> None:
        if not self.begun:
            await self._store.journal_begin(self._entry)
            self.begun = True

    async def not_done(self) -> None:
        if self.begun:
            try:
                await self._store.journal_forget(self._entry.key, self._entry.socket)
            except Unavailable:
                return  # it stays begun: too careful, never wrong
            self.begun = False
