"""One user's live grant: hands out access tokens, refreshes them one at a time, ahead of need.

Of several nodes one refreshes, by a lease, and the others wait for what it stores. A refresh writes
the store by compare-and-set on the generation, so two that refresh at once cost a request and no
truth. Only Google's ``invalid_grant`` ends a grant, once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import DocsessionError, NotSignedIn, Unavailable
from docsession.google.oauth import Granted, OAuth, OAuthRefused
from docsession.interfaces import Leases, Store
from docsession.model import Grant, shared_scopes
from docsession.tasks import Flights, Whistle, spawn

__all__ = ["LiveGrant"]

# Refreshed this long before it ends, so that no request leaves with a token about to expire.
EARLY = 240.0
# Where that fails the old token serves on, and the next attempt is this far off.
LATER = 30.0
# How long a node may take for a refresh before another tries, and how often that one looks.
LEASE = 30.0
LOOK = 0.25


class LiveGrant:
    """The grant of a user whose session is live here."""

    __slots__ = (
        "_clock",
        "_hint",
        "_leases",
        "_not_before",
        "_oauth",
        "_on_dead",
        "_on_refresh",
        "_on_rights",
        "_on_stored",
        "_refreshing",
        "_store",
        "_user_id",
        "grant",
    )

    _log = Logger()

    def __init__(
        self,
        user_id: str,
        grant: Grant,
        *,
        oauth: OAuth,
        store: Store,
        leases: Leases,
        clock: IReactorTime,
        on_dead: Callable[[], Awaitable[None]],
        on_stored: Callable[[], None] = lambda: None,
        on_rights: Callable[[Grant], None] = lambda grant: None,
        on_refresh: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """``on_stored`` hears that there is another for every node to read, ``on_rights`` that one
        with other scopes was found in the store."""
        self._user_id = user_id
        self.grant = msgspec.structs.replace(grant, scopes=shared_scopes(grant.scopes))
        self._oauth = oauth
        self._store = store
        self._leases = leases
        self._clock = clock
        self._on_dead = on_dead
        self._on_stored = on_stored
        self._on_rights = on_rights
        self._on_refresh = on_refresh
        # Not abandoned: Google may have answered already, and the answer is for everybody.
        self._refreshing: Flights[None] = Flights(abandon=False)
        self._not_before = 0.0
        self._hint: Whistle[str] = Whistle(clock)

    async def token(self, *, rejected: str | None = None) -> str:
        """An access token that is good now, and is not the one Google just ``rejected``.

        Raises:
            NotSignedIn: the grant is dead.
            GoogleUnavailable: it could not be refreshed for now.
        """
        if self._stale(rejected) and not (
            self._still_good(rejected) and self._clock.seconds() < self._not_before
        ):
            try:
                await self._refreshing.join("refresh", lambda: self._refresh(rejected))
            except DocsessionError:
                if not self._still_good(rejected):
                    raise
                self._not_before = self._clock.seconds() + LATER
        if self.grant.dead:
            raise NotSignedIn
        return self.grant.access_token

    async def refused(self, token: str) -> None:
        """Google does not take this token, and had not taken the one before: the grant is dead."""
        if self.grant.access_token == token and not self.grant.dead:
            await self._die(self.grant)

    def replaced(self, grant: Grant) -> None:
        """A sign-in brought a new grant for this user."""
        self.grant = grant

    def stored_elsewhere(self) -> None:
        """Another node says that there is a newer one in the store."""
        if not self._hint.blow("stored") and "refresh" not in self._refreshing:
            spawn(self._log, self._read_again())

    def _stale(self, rejected: str | None) -> bool:
        grant = self.grant
        if grant.dead:
            return False
        return grant.access_token == rejected or self._clock.seconds() >= grant.access_expires - EARLY

    def _still_good(self, rejected: str | None) -> bool:
        """It ends soon, but not yet."""
        grant = self.grant
        return (
            not grant.dead and grant.access_token != rejected and self._clock.seconds() < grant.access_expires
        )

    async def _refresh(self, rejected: str | None) -> None:
        if not await self._is_ours(rejected):
            return
        try:
            # Somebody else may have refreshed, or signed in anew, since this grant was read.
            await self._read_again()
            if self._stale(rejected):
                await self._ask_google(rejected)
        finally:
            await self._free()

    async def _is_ours(self, rejected: str | None) -> bool:
        """Wait until the refresh is this node's to do; False where another has done it."""
        while not await self._take():
            await self._hint.wait("stored", LOOK)
            await self._read_again()
            if not self._stale(rejected):
                return False
        return True

    async def _take(self) -> bool:
        try:
            return await self._leases.take(f"refresh:{self._user_id}", LEASE)
        except Unavailable:
            return True  # each for itself, as long as nobody can say whose it is

    async def _free(self) -> None:
        try:
            await self._leases.free(f"refresh:{self._user_id}")
        except Unavailable:
            return  # it ends by itself

    async def _ask_google(self, rejected: str | None) -> None:
        before = self.grant
        if before.refresh_token is None:
            if not self._still_good(rejected):
                await self._die(before)
            return
        try:
            granted = await self._oauth.refresh(before.refresh_token)
        except OAuthRefused as refused:
            self._on_refresh(refused.error)
            if refused.error == "invalid_grant":
                await self._die(before)
                return
            self._log.error(
                "Google refuses to refresh a grant: {reason}; are client id and secret right?",
                reason=refused.error,
            )
            raise Unavailable("Google refuses this server's client id or secret", retry_after=60) from None
        self._on_refresh("ok")
        await self._keep(before, after_refresh(before, granted, self._clock.seconds()))

    async def _read_again(self) -> None:
        """Take over what is stored, if it is newer."""
        stored = await self._stored()
        if stored is not None and stored.generation > self.grant.generation:
            await self._take_over(stored)

    async def _take_over(self, stored: Grant) -> None:
        before, self.grant = self.grant, stored
        if stored.dead:
            if not before.dead:
                await self._on_dead()
        elif stored.scopes != before.scopes:
            self._on_rights(stored)

    async def _stored(self) -> Grant | None:
        try:
            return await self._store.load_grant(self._user_id)
        except Unavailable:
            return None  # then what is known here has to do

    async def _keep(self, before: Grant, after: Grant) -> None:
        if self.grant is not before:
            return  # a sign-in brought a newer one while Google was asked
        # Until it is stored it serves from memory: better than asking Google again.
        self.grant = after
        replaces = before.generation
        try:
            while not await self._store.save_grant(self._user_id, after, replaces=replaces):
                stored = await self._store.load_grant(self._user_id)
                if stored is None:
                    return  # the user was deleted
                if stored.generation >= after.generation:
                    self.grant = before
                    await self._take_over(stored)
                    return
                replaces = stored.generation  # the one before could not be stored
            self._on_stored()
        except Unavailable:
            self._log.warn("a refreshed grant could not be stored: the store is away")

    async def _die(self, before: Grant) -> None:
        await self._read_again()
        if self.grant is not before:
            return  # what Google refused is not the newest
        dead = msgspec.structs.replace(before, generation=before.generation + 1, dead=True, access_token="")
        await self._keep(before, dead)
        if self.grant is dead:
            self._log.info("a grant is dead: Google says it was revoked or has expired")
            await self._on_dead()


def after_refresh(before: Grant, granted: Granted, now: float) -> Grant:
    """The next generation; what Google did not repeat stays as it was."""
    return Grant(
        generation=before.generation + 1,
        scopes=shared_scopes(before.scopes if granted.scopes is None else granted.scopes),
        access_token=granted.access_token,
        access_expires=now + granted.expires_in,
        refresh_token=granted.refresh_token or before.refresh_token,
    )
