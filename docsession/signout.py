"""The ways out of a session: replaced by a sign-in, signed out, revoked at Google, expired.

What is retired is stored first and said afterwards, so that nobody is told of a sign-out that a
restart undoes. Only where the end is a fact (revoked, expired) do the tabs come first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.connection import Connection
from docsession.errors import CloseCode, Unavailable
from docsession.google.oauth import OAuth
from docsession.interfaces import Store
from docsession.live import LiveSessions
from docsession.model import Grant, Identity, SessionRecord, User
from docsession.sessions import BrowserSession, UserSession
from docsession.tasks import Flights, spawn

__all__ = ["SignOut"]

# Orphaned since then: the grant is revoked and deleted at the next opportunity.
_LONG_AGO = 0.0


class SignOut:
    """Ends sessions, here and in the store. ``absolute`` is how long an identifier could live.

    ``left(user_id)`` is waited for before a grant is revoked: something may still be asked by it.
    """

    _log = Logger()

    def __init__(
        self,
        store: Store,
        oauth: OAuth,
        live: LiveSessions,
        clock: IReactorTime,
        *,
        absolute: float,
        left: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._live = live
        self._clock = clock
        self._absolute = absolute
        self._left_google = left
        # Half a way out would be none: it goes on when the tab that asked is gone.
        self._under_way: Flights[None] = Flights(abandon=False)

    async def replace(self, old: Identity, new: Identity, user: User, grant: Grant) -> None:
        """See :meth:`docsession.directory.Directory.signed_in`."""
        await self._under_way.join(new.session_id, lambda: self._replace(old, new, user, grant))

    async def sign_out(
        self, browser: BrowserSession, *, everywhere: bool, disconnect: bool, asking: Connection | None
    ) -> None:
        """See :meth:`docsession.directory.Directory.sign_out`."""
        await self._under_way.join(
            object(), lambda: self._sign_out(browser, everywhere or disconnect, disconnect, asking)
        )

    async def grant_died(self, user_id: str) -> None:
        """Google says the grant is gone: say so, once, to every tab of the user."""
        ids = {browser.id for browser in self._live.of_user(user_id)}
        self._end(ids, "revoked")
        self._live.stop_user(user_id)
        try:
            ids |= {record.id for record in await self._store.sessions_of_user(user_id)}
            self._end(ids, "revoked")
            await self._retire(ids)
        except Unavailable:
            # Whoever comes back will be told again, by the next refresh.
            self._log.warn("sessions of a revoked grant could not be retired: the store is away")

    async def expire(self, session_id: str) -> None:
        """It is older than any session may be. Raises Unavailable, but the tabs are out."""
        self._end([session_id], "expired")
        await self._retire([session_id])

    async def retire(self, session_id: str) -> None:
        """A stored session that can do nothing any more: its browser starts anew."""
        await self._retire([session_id])
        self._end([session_id], "revoked")

    async def forget_user(self, user_id: str) -> None:
        """Revoke the grant at Google, then delete it here. What Google does not hear of stays."""
        await self._under_way.join(("forget", user_id), lambda: self._forget_user(user_id))

    # -- inside

    async def _replace(self, old: Identity, new: Identity, user: User, grant: Grant) -> None:
        now = self._clock.seconds()
        record = SessionRecord(new.session_id, new.issued, now, user.id)
        await self._store.save_user(user)
        await self._store.mark_orphaned(user.id, None)
        await self._store.replace_session(old.session_id, record, now + self._absolute)
        live = self._live.users.get(user.id)
        if live is not None:
            live.signed_in_again(user, grant)
        former = self._live.browsers.get(old.session_id)
        former_user = None if former is None else former.user
        for connection in self._live.end(old.session_id):
            connection.notify("session.signed_in", {})
            connection.close(CloseCode.SESSION_REPLACED, "somebody signed in: generate the cookie again")
        if former_user is not None and former_user.id != user.id:
            await self._left(former_user.id)

    async def _sign_out(
        self, browser: BrowserSession, all_browsers: bool, disconnect: bool, asking: Connection | None
    ) -> None:
        user = browser.user
        ids = {browser.id}
        if user is not None and all_browsers:
            ids |= {record.id for record in await self._store.sessions_of_user(user.id)}
            ids |= {other.id for other in self._live.of_user(user.id)}
        await self._retire(ids)
        self._end(ids, "signed_out", but=asking)
        try:
            await self._after_sign_out(user, disconnect)
        finally:
            if asking is not None:
                # Its own call is answered first, so nothing may be waited for after this.
                self._clock.callLater(0, _say_goodbye, asking, "signed_out")

    async def _after_sign_out(self, user: UserSession | None, disconnect: bool) -> None:
        if user is None:
            return
        if disconnect:
            self._live.stop_user(user.id)
            # Marked first: should Google not answer, or we stop, upkeep revokes it later.
            await self._store.mark_orphaned(user.id, _LONG_AGO)
            spawn(self._log, self._forget_soon(user.id))
        else:
            await self._left(user.id)

    async def _left(self, user_id: str) -> None:
        """A browser of this user signed out; after the last one polling stops and the grant ages."""
        try:
            if not await self._store.sessions_of_user(user_id):
                self._live.stop_user(user_id)
                await self._store.mark_orphaned(user_id, self._clock.seconds())
        except Unavailable:
            # The sign-out itself is stored; upkeep finds users without a session.
            self._log.warn("whether a user has other browsers could not be read: the store is away")

    async def _retire(self, session_ids: Iterable[str]) -> None:
        await self._store.retire_sessions(sorted(session_ids), self._clock.seconds() + self._absolute)

    def _end(self, session_ids: Iterable[str], reason: str, *, but: Connection | None = None) -> None:
        for session_id in sorted(session_ids):
            for connection in self._live.end(session_id):
                if connection is not but:
                    _say_goodbye(connection, reason)

    async def _forget_soon(self, user_id: str) -> None:
        try:
            await self.forget_user(user_id)
        except Unavailable:
            self._log.warn("a grant will be forgotten later: the store is away")

    async def _forget_user(self, user_id: str) -> None:
        await self._left_google(user_id)
        grant = await self._store.load_grant(user_id)
        if grant is not None and not grant.dead:
            if not await self._oauth.revoke(grant.refresh_token or grant.access_token):
                return
            # Somebody signed in meanwhile, with a grant of their own.
            if await self._store.load_grant(user_id) != grant:
                return
        await self._store.delete_user(user_id)


def _say_goodbye(connection: Connection, reason: str) -> None:
    connection.notify("session.signed_out", {"reason": reason})
    connection.close(CloseCode.SIGNED_OUT, reason)
