"""The live sessions: the ladder live -> stored -> new, lingering, and the ways out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cachetools import TTLCache
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession.config import Limits
from docsession.config import Sessions as Lifetimes
from docsession.connection import Connection
from docsession.documents import Documents
from docsession.errors import CloseCode, DocsessionError, SessionUnknown, TooMany, Unavailable
from docsession.google.oauth import OAuth
from docsession.interfaces import Store
from docsession.model import Grant, Identity, SessionRecord, User
from docsession.sessions import BrowserSession, UserSession
from docsession.tasks import Flights, spawn

__all__ = ["Directory"]

# How often what was seen of live sessions is written down; much less than any idle expiry.
TOUCH = 60.0
# Opened in the last minutes, so a cookie issued just before is no longer "not yet used".
_REMEMBERED = 100_000

MakeUser = Callable[[User, Grant, Callable[[str], Awaitable[None]]], UserSession]


class Directory(MultiService):
    """Who is live here. The user sessions are its child services."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        oauth: OAuth,
        documents: Documents,
        clock: IReactorTime,
        lifetimes: Lifetimes,
        limits: Limits,
        *,
        make_user: MakeUser,
        keep_grant: float,
    ) -> None:
        MultiService.__init__(self)
        self._store = store
        self._oauth = oauth
        self._documents = documents
        self._clock = clock
        self._lifetimes = lifetimes
        self._limits = limits
        self._make_user = make_user
        self._keep_grant = keep_grant
        self._browsers: dict[str, BrowserSession] = {}
        self._users: dict[str, UserSession] = {}
        self._lingering: dict[str, IDelayedCall] = {}
        self._opened: TTLCache[str, bool] = TTLCache(_REMEMBERED, lifetimes.fresh_cookie, timer=clock.seconds)
        self._reviving: Flights[BrowserSession | None] = Flights(abandon=False)
        self._starting: Flights[UserSession | None] = Flights(abandon=False)
        self._upkeep = LoopingCall(self._keep_up)
        self._upkeep.clock = clock
        self._keeping: Deferred[None] | None = None

    # -- numbers

    @property
    def connections(self) -> int:
        return sum(len(browser.connections) for browser in self._browsers.values())

    @property
    def browsers(self) -> int:
        return len(self._browsers)

    @property
    def users(self) -> int:
        return len(self._users)

    def live_users(self) -> list[UserSession]:
        """All user sessions that are live here."""
        return list(self._users.values())

    # -- cookies

    async def exists(self, identity: Identity) -> BrowserSession | SessionRecord | None:
        """The session a genuine cookie belongs to, live or stored; None where there is none."""
        if self._expired(identity, identity.issued):
            return None
        live = self._browsers.get(identity.session_id)
        if live is not None:
            return live
        record = await self._store.load_session(identity.session_id)
        if record is None or self._expired(identity, record.last_seen):
            return None
        return record

    async def unused(self, identity: Identity) -> bool:
        """Issued just now, and neither opened nor retired: several tabs may start with it."""
        return (
            self._is_fresh(identity)
            and identity.session_id not in self._opened
            and not await self._store.is_retired(identity.session_id)
        )

    async def admits(self, identity: Identity) -> bool:
        """Whether a socket with this cookie may be opened at all (the ladder may still say no)."""
        if await self.exists(identity) is not None:
            return True
        return self._is_fresh(identity) and not await self._store.is_retired(identity.session_id)

    # -- the ladder

    async def open(self, connection: Connection, *, name: str | None, new_name: str, visible: bool) -> str:
        """Join ``connection`` to its session; returns ``live``, ``stored`` or ``new``.

        Raises SessionUnknown, TooMany, Unavailable.
        """
        identity = connection.identity
        how = "live"
        browser = self._browsers.get(identity.session_id)
        if browser is None:
            browser = await self._reviving.join(identity.session_id, lambda: self._revive(identity))
            how = "stored"
        if browser is None:
            if not self._is_fresh(identity) or await self._store.is_retired(identity.session_id):
                raise SessionUnknown
            how = "new"
            now = self._clock.seconds()
            browser = BrowserSession(identity, user=None, stored=False, last_seen=now)
        # Others may have been quicker while this one waited.
        browser = self._browsers.setdefault(identity.session_id, browser)
        user = browser.user
        if len(browser.connections) >= self._limits.connections_per_session:
            raise TooMany("connections of this browser", self._limits.connections_per_session)
        if user is not None and len(user.connections) >= self._limits.connections_per_user:
            raise TooMany("connections of this user", self._limits.connections_per_user)
        resumed = name is not None and how != "new"
        if name is not None:
            older = browser.named(name)
            if older is not None:
                older.close(CloseCode.REPLACED, "this tab has a newer socket")
        browser.connections.append(connection)
        browser.last_seen = self._clock.seconds()
        self._opened[browser.id] = True
        self._stop_lingering(browser.id)
        connection.visible = visible
        connection.opened(browser, name if name is not None and resumed else new_name, resumed=resumed)
        if user is not None:
            user.attach(connection)
            self._stop_lingering(user.id)
        return how

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        self._documents.forget(connection)
        browser = connection.browser
        if browser is None or connection not in browser.connections:
            return
        browser.connections.remove(connection)
        browser.last_seen = self._clock.seconds()
        if browser.user is not None:
            browser.user.detach(connection)
            if not browser.user.connections:
                self._linger(browser.user.id, self._end_user)
        if not browser.connections:
            self._linger(browser.id, self._end_browser)

    async def find(self, identity: Identity) -> BrowserSession | None:
        """The live or stored session of a cookie, brought to life; for HTTP requests."""
        browser = self._browsers.get(identity.session_id)
        if browser is None:
            browser = await self._reviving.join(identity.session_id, lambda: self._revive(identity))
            if browser is not None:
                browser = self._browsers.setdefault(identity.session_id, browser)
                if not browser.connections:
                    self._linger(browser.id, self._end_browser)
        return browser

    # -- sign-in and sign-out

    async def signed_in(self, old: Identity, new: Identity, user: User, grant: Grant) -> None:
        """The user's browser comes back under a new identifier; the old one is dead for good.

        ``grant`` is stored already. Sockets of the old identifier are never moved along.
        """
        now = self._clock.seconds()
        record = SessionRecord(new.session_id, new.issued, now, user.id)
        await self._store.save_user(user)
        await self._store.mark_orphaned(user.id, None)
        await self._store.replace_session(old.session_id, record, now + self._lifetimes.absolute)
        live = self._users.get(user.id)
        if live is not None:
            live.signed_in_again(user, grant)
        former = self._browsers.get(old.session_id)
        former_user = former.user if former is not None else None
        for connection in self._drop_browser(old.session_id):
            connection.notify("session.signed_in", {})
            connection.close(CloseCode.SESSION_REPLACED, "somebody signed in: generate the cookie again")
        if former_user is not None and former_user.id != user.id:
            await self._left(former_user.id)

    async def sign_out(self, browser: BrowserSession, *, everywhere: bool, disconnect: bool) -> None:
        """End this browser's session, or all of the user's; ``disconnect`` revokes the grant too."""
        user = browser.user
        if user is None:
            await self._end_sessions([browser.id], "signed_out")
            return
        if everywhere or disconnect:
            await self._end_all_of(user.id, "signed_out")
        else:
            await self._end_sessions([browser.id], "signed_out")
        if disconnect:
            await self._forget_user(user.id)
        else:
            await self._left(user.id)

    async def grant_died(self, user_id: str) -> None:
        """Google says the grant is gone: say so, once, to every tab of the user."""
        await self._end_all_of(user_id, "revoked")

    def drain(self, seconds: Callable[[], float]) -> None:
        """Tell every tab when to come back; each gets a delay of its own."""
        for browser in self._browsers.values():
            for connection in list(browser.connections):
                connection.notify("server.draining", {"reconnect_after": round(seconds(), 2)})
                connection.close(CloseCode.DRAINING, "the server is stopping")

    # -- inside

    def _is_fresh(self, identity: Identity) -> bool:
        age = self._clock.seconds() - identity.issued
        return -60 <= age <= self._lifetimes.fresh_cookie

    def _expired(self, identity: Identity, last_seen: float) -> bool:
        now = self._clock.seconds()
        return now - identity.issued > self._lifetimes.absolute or now - last_seen > self._lifetimes.idle

    async def _revive(self, identity: Identity) -> BrowserSession | None:
        record = await self._store.load_session(identity.session_id)
        if record is None or self._expired(identity, record.last_seen):
            return None
        user = None
        if record.user_id is not None:
            user_id = record.user_id
            user = self._users.get(user_id) or await self._starting.join(
                user_id, lambda: self._start_user(user_id)
            )
            if user is None:
                return None  # without a live grant this session can do nothing: sign in again
        return BrowserSession(identity, user=user, stored=True, last_seen=record.last_seen)

    async def _start_user(self, user_id: str) -> UserSession | None:
        user = await self._store.load_user(user_id)
        grant = await self._store.load_grant(user_id)
        if user is None or grant is None or grant.dead:
            return None
        session = self._make_user(user, grant, self.grant_died)
        self._users[user_id] = session
        session.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._linger(user_id, self._end_user)
        return session

    def _linger(self, key: str, end: Callable[[str], None]) -> None:
        self._stop_lingering(key)
        self._lingering[key] = self._clock.callLater(self._lifetimes.linger, end, key)

    def _stop_lingering(self, key: str) -> None:
        timer = self._lingering.pop(key, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _end_browser(self, session_id: str) -> None:
        self._lingering.pop(session_id, None)
        browser = self._browsers.get(session_id)
        if browser is not None and browser.downloads:
            self._linger(session_id, self._end_browser)
        elif browser is not None and not browser.connections:
            self._drop_browser(session_id)
            if browser.stored:
                self._spawn_touch({session_id: browser.last_seen})

    def _end_user(self, user_id: str) -> None:
        """Nobody has been here for a while: stop; the store brings it back when needed."""
        self._lingering.pop(user_id, None)
        user = self._users.get(user_id)
        if user is None or user.connections:
            return
        for browser in [browser for browser in self._browsers.values() if browser.user is user]:
            self._end_browser(browser.id)
        self._stop_user(user_id)

    def _stop_user(self, user_id: str) -> None:
        self._stop_lingering(user_id)
        user = self._users.pop(user_id, None)
        if user is not None:
            user.disownServiceParent()  # type: ignore[no-untyped-call]

    def _drop_browser(self, session_id: str) -> list[Connection]:
        """Out of the live ones; returns the connections, still open, for a last word."""
        self._stop_lingering(session_id)
        browser = self._browsers.pop(session_id, None)
        if browser is None:
            return []
        for cut in list(browser.downloads):
            cut()
        return list(browser.connections)

    async def _end_sessions(self, session_ids: list[str], reason: str) -> None:
        until = self._clock.seconds() + self._lifetimes.absolute
        # Sockets first: even when the store is away nothing more reaches them.
        for session_id in session_ids:
            for connection in self._drop_browser(session_id):
                connection.notify("session.signed_out", {"reason": reason})
                connection.close(CloseCode.SIGNED_OUT, reason)
        await self._store.retire_sessions(session_ids, until)

    async def _end_all_of(self, user_id: str, reason: str) -> None:
        stored = await self._store.sessions_of_user(user_id)
        ids = {record.id for record in stored}
        ids |= {
            browser.id for browser in self._browsers.values() if browser.user and browser.user.id == user_id
        }
        await self._end_sessions(sorted(ids), reason)
        self._stop_user(user_id)

    async def _left(self, user_id: str) -> None:
        """A browser of this user signed out; after the last one polling stops and the grant ages."""
        if not await self._store.sessions_of_user(user_id):
            self._stop_user(user_id)
            await self._store.mark_orphaned(user_id, self._clock.seconds())

    async def _forget_user(self, user_id: str) -> None:
        grant = await self._store.load_grant(user_id)
        if grant is not None and not grant.dead:
            await self._oauth.revoke(grant.refresh_token or grant.access_token)
        await self._store.delete_user(user_id)

    def _spawn_touch(self, seen: dict[str, float]) -> None:
        async def touch() -> None:
            try:
                await self._store.touch_sessions(seen)
            except Unavailable:
                self._log.warn("when sessions were last seen could not be stored: the store is away")

        spawn(self._log, touch())

    # -- upkeep

    def startService(self) -> None:
        MultiService.startService(self)
        self._upkeep.start(TOUCH, now=False)

    async def stop(self) -> None:
        """Stop lingering and polling; what was last seen is stored."""
        if self._upkeep.running:
            self._upkeep.stop()
        for timer in self._lingering.values():
            if timer.active():
                timer.cancel()
        self._lingering.clear()
        if self._keeping is not None:
            await _quiet(self._keeping)
        try:
            await self._store.touch_sessions(self._seen())
        except DocsessionError:
            self._log.warn("when sessions were last seen could not be stored: the store is away")
        await MultiService.stopService(self)

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.stop())

    def _keep_up(self) -> None:
        if self._keeping is None:
            self._keeping = spawn(self._log, self._keep_up_once())
            self._keeping.addBoth(lambda _: setattr(self, "_keeping", None))
            if self._keeping is not None and self._keeping.called:
                self._keeping = None

    async def _keep_up_once(self) -> None:
        now = self._clock.seconds()
        for browser in list(self._browsers.values()):
            if now - browser.identity.issued > self._lifetimes.absolute:
                await self._end_sessions([browser.id], "expired")
            elif browser.connections:
                browser.last_seen = now
        try:
            await self._store.touch_sessions(self._seen())
            await self._store.prune(
                now=now,
                sessions_idle_before=now - self._lifetimes.idle,
                sessions_issued_before=now - self._lifetimes.absolute,
                journal_before=now - self._lifetimes.journal,
                documents_before=now - self._lifetimes.idle,
            )
            for user_id in await self._store.orphaned_users(now - self._keep_grant):
                await self._forget_user(user_id)
        except Unavailable:
            self._log.warn("upkeep was put off: the store is away")

    def _seen(self) -> dict[str, float]:
        return {browser.id: browser.last_seen for browser in self._browsers.values() if browser.stored}


def _quiet(running: Deferred[Any]) -> Deferred[None]:
    waiter: Deferred[None] = Deferred()
    running.addBoth(lambda _: waiter.callback(None))
    return waiter
