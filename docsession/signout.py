"""The ways out of a session: replaced by a sign-in, signed out, revoked at Google, expired.

What is retired is stored first and said afterwards, so that nobody is told of a sign-out that a
restart undoes. Only where the end is a fact (revoked, expired) do the tabs come first. The other
nodes are told, and do the same; what one of them did not hear it finds in the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

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
from docsession.user_channel import AllChannel, UserChannel

__all__ = ["SignOut"]

# Orphaned since then: the grant is revoked and deleted at the next opportunity.
_LONG_AGO = 0.0
# The reason that is none for a page: somebody signed in, and it goes on under a new identifier.
_REPLACED = "replaced"
# The store is asked about so many sessions at a time.
_SLICE = 500


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
        users: UserChannel,
        everybody: AllChannel,
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._live = live
        self._clock = clock
        self._absolute = absolute
        self._left_google = left
        self._users = users
        self._everybody = everybody
        # Half a way out would be none: it goes on when the tab that asked is gone.
        self._under_way: Flights[None] = Flights(abandon=False)
        users.on("ended", lambda user_id, message: self._ended_elsewhere(message))
        users.on("over", lambda user_id, message: self._over_elsewhere(user_id))
        everybody.on("ended", self._ended_elsewhere)

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
        self._end(ids, "revoked", user_id)
        self._live.stop_user(user_id)
        try:
            stored = {record.id for record in await self._store.sessions_of_user(user_id)} - ids
            self._end(stored, "revoked", user_id)
            await self._retire(ids | stored)
            self._users.say(user_id, "over")
        except Unavailable:
            # Whoever comes back will be told again, by the next refresh.
            self._log.warn("sessions of a revoked grant could not be retired: the store is away")

    async def expire(self, browser: BrowserSession) -> None:
        """It is older than any session may be. Raises Unavailable, but the tabs are out."""
        self._end([browser.id], "expired", _user_of(browser))
        await self._retire([browser.id])

    async def retire(self, record: SessionRecord) -> None:
        """A stored session that can do nothing any more: its browser starts anew."""
        await self._retire([record.id])
        self._end([record.id], "revoked", record.user_id)

    async def find_ended(self, session_ids: Iterable[str] | None = None) -> None:
        """End those of these (of all that are live here) that were retired elsewhere, which was
        not heard of. Raises Unavailable."""
        ids = list(self._live.browsers if session_ids is None else session_ids)
        for start in range(0, len(ids), _SLICE):
            for session_id in await self._store.retired_among(ids[start : start + _SLICE]):
                self._end_here(session_id, "signed_out", self._until())

    async def forget_user(self, user_id: str) -> None:
        """Revoke the grant at Google, then delete it here. What Google does not hear of stays."""
        await self._under_way.join(("forget", user_id), lambda: self._forget_user(user_id))

    # -- inside

    async def _replace(self, old: Identity, new: Identity, user: User, grant: Grant) -> None:
        now = self._clock.seconds()
        record = SessionRecord(new.session_id, new.issued, now, user.id)
        before = await self._store.load_session(old.session_id)
        former = None if before is None else before.user_id
        await self._store.save_user(user)
        await self._store.mark_orphaned(user.id, None)
        await self._store.replace_session(old.session_id, record, now + self._absolute)
        live = self._live.users.get(user.id)
        if live is not None:
            live.signed_in_again(user, grant)
        self._users.say(user.id, "grant")
        self._end([old.session_id], _REPLACED, former)
        if former is not None and former != user.id:
            await self._left(former)

    async def _sign_out(
        self, browser: BrowserSession, all_browsers: bool, disconnect: bool, asking: Connection | None
    ) -> None:
        user = browser.user
        ids = {browser.id}
        if user is not None and all_browsers:
            ids |= {record.id for record in await self._store.sessions_of_user(user.id)}
            ids |= {other.id for other in self._live.of_user(user.id)}
        await self._retire(ids)
        self._end(ids, "signed_out", _user_of(browser), but=asking)
        try:
            await self._after_sign_out(user, disconnect)
        finally:
            if asking is not None:
                # Its own call is answered first, so nothing may be waited for after this.
                self._clock.callLater(0, _dismiss, asking, "signed_out")

    async def _after_sign_out(self, user: UserSession | None, disconnect: bool) -> None:
        if user is None:
            return
        if disconnect:
            self._live.stop_user(user.id)
            self._users.say(user.id, "over")
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
                self._users.say(user_id, "over")
                await self._store.mark_orphaned(user_id, self._clock.seconds())
        except Unavailable:
            # The sign-out itself is stored; upkeep finds users without a session.
            self._log.warn("whether a user has other browsers could not be read: the store is away")

    async def _retire(self, session_ids: Iterable[str]) -> None:
        await self._store.retire_sessions(sorted(session_ids), self._until())

    def _until(self) -> float:
        return self._clock.seconds() + self._absolute

    def _end(
        self,
        session_ids: Iterable[str],
        reason: str,
        user_id: str | None,
        *,
        but: Connection | None = None,
    ) -> None:
        """End these sessions of that user (None: of nobody who is signed in), on every node."""
        ids, until = sorted(session_ids), self._until()
        for session_id in ids:
            self._end_here(session_id, reason, until, but=but)
        if ids and user_id is None:
            self._everybody.say("ended", sessions=ids, reason=reason, until=until)
        elif ids and user_id is not None:
            self._users.say(user_id, "ended", sessions=ids, reason=reason, until=until)

    def _end_here(self, session_id: str, reason: str, until: float, *, but: Connection | None = None) -> None:
        for connection in self._live.end(session_id, until):
            if connection is not but:
                _dismiss(connection, reason)

    def _ended_elsewhere(self, message: Mapping[str, Any]) -> None:
        for session_id in message["sessions"]:
            self._end_here(session_id, message["reason"], message["until"])

    def _over_elsewhere(self, user_id: str) -> None:
        spawn(self._log, self._over(user_id))

    async def _over(self, user_id: str) -> None:
        """The user's last browser is said to have signed out."""
        try:
            await self.find_ended([browser.id for browser in self._live.of_user(user_id)])
        except Unavailable:
            return  # once a minute it is looked for anyhow
        # Else somebody has just signed in here, who was not counted there.
        if not self._live.of_user(user_id):
            self._live.stop_user(user_id)

    async def _forget_soon(self, user_id: str) -> None:
        try:
            await self.forget_user(user_id)
        except Unavailable:
            self._log.warn("a grant will be forgotten later: the store is away")

    async def _forget_user(self, user_id: str) -> None:
        await self._left_google(user_id)
        if await self._store.sessions_of_user(user_id):
            # Somebody signed in, on another node perhaps, just when the last one left.
            await self._store.mark_orphaned(user_id, None)
            return
        grant = await self._store.load_grant(user_id)
        if grant is not None and not grant.dead:
            if not await self._oauth.revoke(grant.refresh_token or grant.access_token):
                return
            # Somebody signed in meanwhile, with a grant of their own.
            if await self._store.load_grant(user_id) != grant:
                return
        await self._store.delete_user(user_id)


def _user_of(browser: BrowserSession) -> str | None:
    return None if browser.user is None else browser.user.id


def _dismiss(connection: Connection, reason: str) -> None:
    if reason == _REPLACED:
        connection.notify("session.signed_in", {})
        connection.close(CloseCode.SESSION_REPLACED, "somebody signed in: generate the cookie again")
    else:
        connection.notify("session.signed_out", {"reason": reason})
        connection.close(CloseCode.SIGNED_OUT, reason)
