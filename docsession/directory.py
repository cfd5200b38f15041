"""Who is live here, and who may come in: the ladder live -> stored -> new.

The ways out are in :mod:`docsession.signout`, what happens by the clock in
:mod:`docsession.upkeep`; this is the door to both for everybody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cachetools import TTLCache
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from docsession.config import Limits
from docsession.config import Sessions as Lifetimes
from docsession.connection import Connection
from docsession.documents import Documents
from docsession.elsewhere import Elsewhere
from docsession.errors import CloseCode, InvalidRequest, SessionUnknown, TooMany
from docsession.google.oauth import OAuth
from docsession.interfaces import Leases, Store
from docsession.journal import Journal, connection_name, is_of_epoch
from docsession.live import LiveSessions
from docsession.model import Grant, Identity, SessionRecord, User
from docsession.sessions import BrowserSession, UserSession
from docsession.signout import SignOut
from docsession.tasks import Flights
from docsession.upkeep import TOUCH, Upkeep
from docsession.user_channel import AllChannel, UserChannel
from docsession.wheel import Wheel

__all__ = ["Directory"]

# Opened in the last minutes, so a cookie issued just before is no longer "not yet used".
_REMEMBERED = 100_000
# A clock that was set back a little does not make a new cookie one from the future.
_SET_BACK = 60.0

MakeUser = Callable[[User, Grant, Callable[[str], Awaitable[None]]], UserSession]


class Directory(Service):
    """The live sessions of this server, and the stored ones brought back when they are needed."""

    def __init__(
        self,
        store: Store,
        oauth: OAuth,
        documents: Documents,
        clock: IReactorTime,
        wheel: Wheel,
        lifetimes: Lifetimes,
        limits: Limits,
        *,
        make_user: MakeUser,
        keep_grant: float,
        left: Callable[[str], Awaitable[None]],
        users: UserChannel,
        everybody: AllChannel,
        leases: Leases,
        journal: Journal,
    ) -> None:
        self._store = store
        self._documents = documents
        self._clock = clock
        self._lifetimes = lifetimes
        self._limits = limits
        self._make_user = make_user
        self._live = LiveSessions(clock, wheel, lifetimes.linger, on_ended=self._ended)
        self._everybody = everybody
        self._sign_out = SignOut(
            store,
            oauth,
            self._live,
            clock,
            absolute=lifetimes.absolute,
            left=left,
            users=users,
            everybody=everybody,
        )
        self._elsewhere = Elsewhere(store, self._live, self._sign_out, journal, clock, users)
        self._upkeep = Upkeep(
            store, leases, self._live, self._sign_out, clock, lifetimes, keep_grant=keep_grant
        )
        self._opened: TTLCache[str, bool] = TTLCache(_REMEMBERED, lifetimes.fresh_cookie, timer=clock.seconds)
        self._reviving: Flights[BrowserSession | None] = Flights(abandon=False)
        self._starting: Flights[UserSession | None] = Flights(abandon=False)

    # -- numbers

    @property
    def connections(self) -> int:
        return sum(len(browser.connections) for browser in self._live.browsers.values())

    @property
    def browsers(self) -> int:
        return len(self._live.browsers)

    @property
    def users(self) -> int:
        return len(self._live.users)

    def open_connections(self) -> list[Connection]:
        """All tabs that passed session.open."""
        return list(self._live.connections())

    def live_user(self, user_id: str) -> UserSession | None:
        """That account's session, if it is live here."""
        return self._live.users.get(user_id)

    def live_users(self) -> list[UserSession]:
        """All user sessions that are live here."""
        return list(self._live.users.values())

    # -- cookies

    async def exists(self, identity: Identity) -> BrowserSession | SessionRecord | None:
        """The session a genuine cookie belongs to, live or stored; None where there is none.

        Being asked for renews its life.
        """
        if self.is_live(identity):
            return self._live.browsers[identity.session_id]
        now = self._clock.seconds()
        record = None if self._is_over(identity) else await self._store.load_session(identity.session_id)
        if record is None or self._idle(record):
            return None
        if now - record.last_seen > TOUCH:
            self._upkeep.touch(record.id, now)
        return record

    def is_live(self, identity: Identity) -> bool:
        """As :meth:`exists`, without asking the store."""
        live = self._live.browsers.get(identity.session_id)
        if live is None or self._is_over(identity):
            return False
        live.last_seen = self._clock.seconds()
        return True

    async def unused(self, identity: Identity) -> bool:
        """Issued just now, and neither opened nor retired: several tabs may start with it."""
        return identity.session_id not in self._opened and await self._may_begin(identity)

    async def admits(self, identity: Identity) -> bool:
        """Whether a socket with this cookie may be opened at all (the ladder may still say no)."""
        return await self.exists(identity) is not None or await self._may_begin(identity)

    # -- the ladder

    async def open(self, connection: Connection, *, name: str | None, new_id: str, visible: bool) -> str:
        """Join ``connection`` to its session; returns ``live``, ``stored`` or ``new``.

        Raises SessionUnknown, TooMany (the socket is closed after that), Unavailable.
        """
        browser, how = await self._climb(connection.identity)
        if connection.browser is not None:
            raise InvalidRequest("this session is open already")
        connection.visible = visible
        return self._let_in(connection, browser, how, name=name, new_id=new_id)

    def open_now(self, connection: Connection, *, name: str | None, new_id: str, visible: bool) -> str | None:
        """As :meth:`open`, where nothing must be waited for: the session is live here. Else None."""
        if not self.is_live(connection.identity):
            return None
        browser = self._live.browsers[connection.identity.session_id]
        connection.visible = visible
        return self._let_in(connection, browser, "live", name=name, new_id=new_id)

    def _let_in(
        self, connection: Connection, browser: BrowserSession, how: str, *, name: str | None, new_id: str
    ) -> str:
        """The end of the ladder. Raises TooMany."""
        older = None if name is None else browser.named(name)
        try:
            self._count(browser, older)
        except TooMany:
            self._live.look_in(browser)
            # Once this call is answered.
            self._clock.callLater(
                0, connection.close, CloseCode.TOO_MANY_CONNECTIONS, "too many connections: close other tabs"
            )
            raise
        if older is not None:
            older.close(CloseCode.REPLACED, "this tab has a newer socket")
        if how != "live":
            self._opened[browser.id] = True
        # A journal that was lost knows nothing of an older name.
        epoch = self._store.epoch
        resumed = name is not None and how != "new" and is_of_epoch(name, epoch)
        connection.opened(
            browser,
            name if name is not None and resumed else connection_name(epoch, new_id),
            resumed=resumed,
        )
        self._live.join(browser, connection)
        if browser.user is not None and name is not None:
            self._elsewhere.opened(browser.user.id, browser.id, name)
        return how

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        self._documents.forget(connection)
        self._live.leave(connection)

    async def find(self, identity: Identity) -> BrowserSession | None:
        """The live or stored session of a cookie, brought to life; for HTTP requests."""
        if self._is_over(identity):
            return None
        browser = self._live.browsers.get(identity.session_id) or await self._bring_back(identity)
        if browser is not None:
            self._live.look_in(browser)
        return browser

    # -- the ways out

    async def signed_in(self, old: Identity, new: Identity, user: User, grant: Grant) -> None:
        """The user's browser comes back under a new identifier; the old one is dead for good.

        ``grant`` is stored already. Sockets of the old identifier are never moved along.
        """
        await self._sign_out.replace(old, new, user, grant)

    async def sign_out(
        self,
        browser: BrowserSession,
        *,
        everywhere: bool,
        disconnect: bool,
        asking: Connection | None = None,
    ) -> None:
        """End this browser's session, or all of the user's; ``disconnect`` revokes the grant too.

        All sockets are closed; that of ``asking`` once its call is answered. Raises Unavailable,
        and then nothing has changed.
        """
        await self._sign_out.sign_out(browser, everywhere=everywhere, disconnect=disconnect, asking=asking)

    def missed(self) -> None:
        """What other nodes said may have been missed: who is live here is compared with the store."""
        self._elsewhere.missed()

    def set_back(self) -> None:
        """The store has lost what it had: who is live here is written to it again."""
        self._elsewhere.set_back()

    def drain(self, seconds: Callable[[], float]) -> None:
        """Tell every tab when to come back; each gets a delay of its own."""
        for connection in self._live.connections():
            connection.notify("server.draining", {"reconnect_after": round(seconds(), 2)})
            connection.close(CloseCode.DRAINING, "the server is stopping")

    # -- running

    def startService(self) -> None:
        Service.startService(self)
        self._everybody.open()
        self._live.startService()  # type: ignore[no-untyped-call]
        self._upkeep.startService()

    async def stop(self) -> None:
        """Stop lingering and polling; what was last seen is stored."""
        Service.stopService(self)
        await self._upkeep.stop()
        self._live.stop_lingering()
        self._everybody.close()
        await self._live.stopService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.stop())

    # -- inside

    def _is_over(self, identity: Identity) -> bool:
        too_old = self._clock.seconds() - identity.issued > self._lifetimes.absolute
        return too_old or self._live.has_ended(identity.session_id)

    def _idle(self, record: SessionRecord) -> bool:
        return self._clock.seconds() - record.last_seen > self._lifetimes.idle

    async def _may_begin(self, identity: Identity) -> bool:
        """Whether a session may start with this cookie: issued just now, and not retired."""
        age = self._clock.seconds() - identity.issued
        if self._is_over(identity) or not -_SET_BACK <= age <= self._lifetimes.fresh_cookie:
            return False
        return not await self._store.is_retired(identity.session_id)

    async def _climb(self, identity: Identity) -> tuple[BrowserSession, str]:
        if self._is_over(identity):
            raise SessionUnknown
        live = self._live.browsers.get(identity.session_id)
        if live is not None:
            return live, "live"
        stored = await self._bring_back(identity)
        if stored is not None:
            return stored, "stored"
        if not await self._may_begin(identity):
            raise SessionUnknown
        mine = BrowserSession(identity, user=None, stored=False, last_seen=self._clock.seconds())
        browser = self._live.add(mine)
        if browser is None:
            raise SessionUnknown
        return browser, "new" if browser is mine else "live"

    async def _bring_back(self, identity: Identity) -> BrowserSession | None:
        """The stored session, live from now on."""
        browser = await self._reviving.join(identity.session_id, lambda: self._revive(identity))
        return None if browser is None else self._live.add(browser)

    async def _revive(self, identity: Identity) -> BrowserSession | None:
        record = await self._store.load_session(identity.session_id)
        if record is None or self._idle(record):
            return None
        user = None
        if record.user_id is not None:
            user_id = record.user_id
            user = self._live.users.get(user_id)
            if user is None:
                user = await self._starting.join(user_id, lambda: self._start_user(user_id))
                if await self._store.is_retired(record.id):
                    return None  # on another node, before anybody here heard what concerns this user
            if user is None:
                # Without a live grant it can do nothing, and would stand in the way of a new one.
                await self._sign_out.retire(record)
                return None
        return BrowserSession(identity, user=user, stored=True, last_seen=record.last_seen)

    async def _start_user(self, user_id: str) -> UserSession | None:
        user = await self._store.load_user(user_id)
        grant = await self._store.load_grant(user_id)
        if user is None or grant is None or grant.dead:
            return None
        session = self._make_user(user, grant, self._sign_out.grant_died)
        self._live.add_user(session)
        return session

    def _count(self, browser: BrowserSession, older: Connection | None) -> None:
        """Raises TooMany where one more is over a limit; ``older`` is about to go."""
        limits = self._limits
        if len(browser.connections) - (older in browser.connections) >= limits.connections_per_session:
            raise TooMany("connections of this browser", limits.connections_per_session)
        user = browser.user
        if user is not None and len(user.connections) - (older in user.connections) >= (
            limits.connections_per_user
        ):
            raise TooMany("connections of this user", limits.connections_per_user)

    def _ended(self, browser: BrowserSession) -> None:
        self._upkeep.touch(browser.id, browser.last_seen)
