"""What is done once a minute: store who was seen, end what expired, revoke what nobody uses.

Each node looks after the sessions that are live on it; what is for all to do, one of them does.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession.config import Sessions as Lifetimes
from docsession.errors import Unavailable
from docsession.interfaces import Leases, Store
from docsession.live import LiveSessions
from docsession.signout import SignOut
from docsession.tasks import settled, spawn

__all__ = ["TOUCH", "Upkeep"]

# How often what was seen of sessions is written down; much less than any idle expiry.
TOUCH = 60.0
# For so long after one node no other does what is for all to do.
_DONE_FOR = 50.0


class Upkeep(Service):
    """Keeps the store in step with what is live, and rid of what has expired."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        leases: Leases,
        live: LiveSessions,
        sign_out: SignOut,
        clock: IReactorTime,
        lifetimes: Lifetimes,
        *,
        keep_grant: float,
    ) -> None:
        self._store = store
        self._leases = leases
        self._live = live
        self._sign_out = sign_out
        self._clock = clock
        self._lifetimes = lifetimes
        self._keep_grant = keep_grant
        self._loop = LoopingCall(self._begin)
        self._loop.clock = clock
        self._running: Deferred[None] | None = None

    def startService(self) -> None:
        Service.startService(self)
        self._loop.start(TOUCH, now=False)

    async def stop(self) -> None:
        """No more rounds; the one under way ends, and what was last seen is stored."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            await settled(self._running)
        await self._touch(self._seen())

    def touch(self, session_id: str, when: float) -> None:
        """Write down when this session was last seen, without anybody waiting for it."""
        spawn(self._log, self._touch({session_id: when}))

    # -- inside

    def _begin(self) -> None:
        if self._running is None:
            self._running = spawn(self._log, self._once())
            self._running.addBoth(self._ended)

    def _ended(self, _: object) -> None:
        self._running = None

    async def _once(self) -> None:
        now, lifetimes = self._clock.seconds(), self._lifetimes
        try:
            for browser in list(self._live.browsers.values()):
                if browser.connections:
                    browser.last_seen = now
                if now - browser.identity.issued > lifetimes.absolute:
                    await self._sign_out.expire(browser)
            await self._sign_out.find_ended()
            await self._store.touch_sessions(self._seen())
            if await self._leases.take("upkeep", _DONE_FOR):
                await self._for_all(now)
        except Unavailable:
            self._log.warn("upkeep was put off: the store is away")

    async def _for_all(self, now: float) -> None:
        lifetimes = self._lifetimes
        await self._store.prune(
            now=now,
            sessions_idle_before=now - lifetimes.idle,
            sessions_issued_before=now - lifetimes.absolute,
            journal_before=now - lifetimes.journal,
            documents_before=now - lifetimes.idle,
        )
        for user_id in await self._store.orphaned_users(now - self._keep_grant):
            await self._sign_out.forget_user(user_id)

    async def _touch(self, seen: Mapping[str, float]) -> None:
        try:
            await self._store.touch_sessions(seen)
        except Unavailable:
            self._log.warn("when sessions were last seen could not be stored: the store is away")

    def _seen(self) -> dict[str, float]:
        return {browser.id: browser.last_seen for browser in self._live.browsers.values() if browser.stored}
