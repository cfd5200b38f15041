"""What other nodes do to the sessions that are live here: newer sockets, newer grants, a store set back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.connection import SENT_AGAIN_WITHIN
from docsession.errors import CloseCode, Unavailable
from docsession.interfaces import Store
from docsession.journal import Journal
from docsession.live import LiveSessions
from docsession.model import SessionRecord
from docsession.sessions import UserSession
from docsession.signout import SignOut
from docsession.tasks import Flights, sleep, spawn
from docsession.user_channel import UserChannel

__all__ = ["Elsewhere"]

T = TypeVar("T")

# What was lost is written again so much at a time, and tried again after so long.
_SLICE = 100
_AGAIN = 5.0


class Elsewhere:
    """Keeps who is live here in step with the other nodes and with the store."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        live: LiveSessions,
        sign_out: SignOut,
        journal: Journal,
        clock: IReactorTime,
        users: UserChannel,
    ) -> None:
        self._store = store
        self._live = live
        self._sign_out = sign_out
        self._journal = journal
        self._clock = clock
        self._users = users
        self._restoring: Flights[None] = Flights(abandon=False)
        users.on("opened", lambda user_id, message: self._opened(message))
        users.on("grant", lambda user_id, message: self._granted(user_id))

    def opened(self, user_id: str, session_id: str, name: str) -> None:
        """A tab that had this name has a socket here now."""
        self._users.say(user_id, "opened", session=session_id, connection=name)

    def missed(self) -> None:
        """Something they said may have been missed."""
        spawn(self._log, self._catch_up())

    def set_back(self) -> None:
        """The store has lost what it had: what lives here is written again, the rest is gone."""
        self._clock.callLater(SENT_AGAIN_WITHIN, _nothing_more_comes_again, list(self._live.connections()))
        # Should it be set back while it is being restored, all begins anew.
        self._restoring.forget("all")
        spawn(self._log, self._restoring.join("all", self._restore))

    # -- inside

    def _opened(self, message: Mapping[str, Any]) -> None:
        browser = self._live.browsers.get(message["session"])
        older = None if browser is None else browser.named(message["connection"])
        if older is not None:
            older.close(CloseCode.REPLACED, "this tab has a newer socket")

    def _granted(self, user_id: str) -> None:
        user = self._live.users.get(user_id)
        if user is not None:
            user.grant.stored_elsewhere()

    async def _catch_up(self) -> None:
        try:
            await self._sign_out.find_ended()
        except Unavailable:
            self._log.debug("which sessions ended elsewhere could not be read: the store is away")

    async def _restore(self) -> None:
        epoch = self._store.epoch
        while self._store.epoch == epoch:
            try:
                await self._write_again()
            except Unavailable:
                await sleep(self._clock, _AGAIN)
            else:
                self._log.info(
                    "the store was set back: {users} users with {browsers} browsers were written to it again",
                    users=len(self._live.users),
                    browsers=len(self._live.browsers),
                )
                return

    async def _write_again(self) -> None:
        # First what must not come back to life, on whatever node it may still be live.
        now = self._clock.seconds()
        ended = sorted((until, session_id) for session_id, until in self._live.ended().items() if until > now)
        for start in range(0, len(ended), _SLICE):
            some = ended[start : start + _SLICE]
            await self._store.retire_sessions([session_id for _, session_id in some], some[-1][0])
        await self._journal.write_back()
        async for user in self._in_slices(list(self._live.users.values())):
            await self._write_user(user)
        async for browser in self._in_slices(list(self._live.browsers.values())):
            if browser.stored and not self._live.has_ended(browser.id):
                user_id = None if browser.user is None else browser.user.id
                await self._store.save_session(
                    SessionRecord(browser.id, browser.identity.issued, browser.last_seen, user_id)
                )
        await self._sign_out.find_ended()

    async def _write_user(self, user: UserSession) -> None:
        if await self._store.load_user(user.id) is None:
            await self._store.save_user(user.user)
        stored = await self._store.load_grant(user.id)
        grant = user.grant.grant
        if not grant.dead and (stored is None or stored.generation < grant.generation):
            # Where another is quicker, its one is as new, or newer.
            replaces = None if stored is None else stored.generation
            await self._store.save_grant(user.id, grant, replaces=replaces)

    async def _in_slices(self, values: Sequence[T]) -> AsyncIterator[T]:
        for number, value in enumerate(values, 1):
            yield value
            if not number % _SLICE:
                await sleep(self._clock, 0)


def _nothing_more_comes_again(connections: list[Any]) -> None:
    for connection in connections:
        connection.resumed = False
