"""The sessions that are live here: who is on, who lingers after the last tab, who is out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cachetools import TTLCache
from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime

from docsession.connection import Connection
from docsession.sessions import BrowserSession, UserSession
from docsession.wheel import Wheel

__all__ = ["LiveSessions"]

# Ended ids are remembered until whoever was bringing one back from the store must have noticed; and
# for so long an older state of the store may come back, in which they are alive.
_ENDED_FOR = 86400.0
_REMEMBERED = 100_000


class _Lingering:
    """One that ends when its time has come, unless it stays or lingers anew meanwhile."""

    __slots__ = ("_all", "_end", "_key")

    def __init__(self, all_lingering: dict[str, _Lingering], key: str, end: Callable[[str], None]) -> None:
        self._all = all_lingering
        self._key = key
        self._end = end

    def due(self, now: float) -> None:
        if self._all.get(self._key) is self:
            self._end(self._key)


class LiveSessions(MultiService):
    """Browser sessions by identifier and user sessions by account; the latter are its children.

    Does no I/O. ``on_ended`` hears of a stored browser session that lingered to its end.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wheel: Wheel,
        linger: float,
        *,
        on_ended: Callable[[BrowserSession], None],
    ) -> None:
        MultiService.__init__(self)
        self._clock = clock
        self._wheel = wheel
        self._linger_for = linger
        self._on_ended = on_ended
        self._lingering: dict[str, _Lingering] = {}
        self._ended: TTLCache[str, float] = TTLCache(_REMEMBERED, _ENDED_FOR, timer=clock.seconds)
        self.browsers: dict[str, BrowserSession] = {}
        self.users: dict[str, UserSession] = {}

    def connections(self) -> Iterator[Connection]:
        """All open connections; they may be closed on the way."""
        for browser in list(self.browsers.values()):
            yield from list(browser.connections)

    def of_user(self, user_id: str) -> list[BrowserSession]:
        """The live browsers of that account."""
        return [
            browser
            for browser in self.browsers.values()
            if browser.user is not None and browser.user.id == user_id
        ]

    def has_ended(self, session_id: str) -> bool:
        """It went out for good a short while ago, whatever the store may still say."""
        return session_id in self._ended

    def ended(self) -> dict[str, float]:
        """Those that did, and until when the store is to remember them."""
        return dict(self._ended)

    # -- in

    def add(self, browser: BrowserSession) -> BrowserSession | None:
        """It is live now, or another that was quicker is; None for one that has ended meanwhile."""
        if self.has_ended(browser.id):
            return None
        return self.browsers.setdefault(browser.id, browser)

    def add_user(self, user: UserSession) -> None:
        """It is live now, and ends unless somebody comes."""
        self.users[user.id] = user
        user.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._linger(user.id, self._end_user)

    def join(self, browser: BrowserSession, connection: Connection) -> None:
        """A tab opened."""
        browser.connections.append(connection)
        browser.last_seen = self._clock.seconds()
        self._stay(browser.id)
        if browser.user is not None:
            browser.user.attach(connection)
            self._stay(browser.user.id)

    def look_in(self, browser: BrowserSession) -> None:
        """Somebody uses the session without a tab: it lingers anew."""
        browser.last_seen = self._clock.seconds()
        if not browser.connections:
            self._linger(browser.id, self._end_browser)

    # -- out

    def leave(self, connection: Connection) -> None:
        """A tab ended."""
        browser = connection.browser
        if browser is None or connection not in browser.connections:
            return
        browser.connections.remove(connection)
        browser.last_seen = self._clock.seconds()
        user = browser.user
        if user is not None:
            user.detach(connection)
            if not user.connections and self.users.get(user.id) is user:
                self._linger(user.id, self._end_user)
        if not browser.connections and self.browsers.get(browser.id) is browser:
            self._linger(browser.id, self._end_browser)

    def end(self, session_id: str, until: float) -> list[Connection]:
        """This identifier is out for good, as the store remembers ``until`` then; returns its tabs,
        still open, for a last word."""
        self._ended[session_id] = until
        return self._take_out(session_id)

    def stop_user(self, user_id: str) -> None:
        """Stop polling and forget what is only in memory; the store can bring it back."""
        self._stay(user_id)
        user = self.users.pop(user_id, None)
        if user is not None:
            user.disownServiceParent()  # type: ignore[no-untyped-call]

    def stop_lingering(self) -> None:
        """Before a stop: nobody ends by itself any more."""
        for key in list(self._lingering):
            self._stay(key)

    # -- inside

    def _linger(self, key: str, end: Callable[[str], None]) -> None:
        lingering = self._lingering[key] = _Lingering(self._lingering, key, end)
        self._wheel.after(self._linger_for, lingering)

    def _stay(self, key: str) -> None:
        self._lingering.pop(key, None)

    def _end_browser(self, session_id: str) -> None:
        self._stay(session_id)
        browser = self.browsers.get(session_id)
        if browser is None or browser.connections:
            return
        if browser.downloads:
            self._linger(session_id, self._end_browser)
            return
        self._take_out(session_id)
        if browser.stored:
            self._on_ended(browser)

    def _end_user(self, user_id: str) -> None:
        """Nobody has been here for a while: stop; the store brings it back when needed."""
        self._stay(user_id)
        user = self.users.get(user_id)
        if user is None or user.connections:
            return
        browsers = self.of_user(user_id)
        if any(browser.downloads for browser in browsers):
            self._linger(user_id, self._end_user)
            return
        for browser in browsers:
            self._end_browser(browser.id)
        self.stop_user(user_id)

    def _take_out(self, session_id: str) -> list[Connection]:
        self._stay(session_id)
        browser = self.browsers.pop(session_id, None)
        if browser is None:
            return []
        for cut in list(browser.downloads):
            cut()
        return list(browser.connections)
