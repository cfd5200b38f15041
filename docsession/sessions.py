"""The two kinds of session: a browser known by its cookie, and a Google account that is live here."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.belonging import FOLDER
from docsession.config import Polling
from docsession.connection import Connection
from docsession.demand import Allowance
from docsession.documents import Documents
from docsession.drive_calls import DriveCalls
from docsession.google.cache import Cache
from docsession.google.channels import Channels
from docsession.google.drive import AccessRefused, Drive
from docsession.google.feed import Feed
from docsession.google.grant import LiveGrant
from docsession.google.look import Comments, FileView, Looker
from docsession.google.refusals import ACCESS_LOST
from docsession.interfaces import Leases
from docsession.listings import Files, Listings
from docsession.model import Grant, Identity, User
from docsession.user_channel import UserChannel

__all__ = ["BrowserSession", "UserSession"]


class BrowserSession:
    """One browser. ``stored``: it has a row, because it did something worth keeping."""

    def __init__(
        self, identity: Identity, *, user: UserSession | None, stored: bool, last_seen: float
    ) -> None:
        self.identity = identity
        self.user = user
        self.stored = stored
        self.last_seen = last_seen
        self.connections: list[Connection] = []
        # How to cut each download under way; they end with the session.
        self.downloads: set[Callable[[], None]] = set()

    @property
    def id(self) -> str:
        return self.identity.session_id

    def named(self, name: str) -> Connection | None:
        """The open connection of that name."""
        return next((connection for connection in self.connections if connection.name == name), None)


class UserSession(MultiService):
    """One Google account that is live on this server, with the connections of all its browsers.

    It owns the account's grant, requests, looks and listings; what changes goes to all its tabs.
    """

    _log = Logger()

    def __init__(
        self,
        user: User,
        *,
        make_grant: Callable[[Callable[[], Awaitable[None]], Callable[[Grant], None]], LiveGrant],
        on_dead: Callable[[str], Awaitable[None]],
        drive: Drive,
        looker: Looker,
        cache: Cache,
        documents: Documents,
        channels: Channels,
        heard: UserChannel,
        leases: Leases,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        allowance: Allowance,
        on_sweep: Callable[[str], None],
        on_run: Callable[[str], None],
        new_id: Callable[[], str],
    ) -> None:
        MultiService.__init__(self)
        self.user = user
        self.connections: list[Connection] = []
        self.grant = make_grant(lambda: on_dead(user.id), self._has_other_rights)
        self._looker = looker
        self._cache = cache
        self._documents = documents
        self._channels = channels
        self._heard = heard
        self.calls = DriveCalls(self, self, drive=drive, cache=cache, documents=documents, clock=clock)
        self.listings = Listings(
            user.id,
            Feed(drive, self),
            clock,
            rng,
            polling,
            allowance,
            leases,
            partial(heard.say, user.id),
            read=self.calls.read_fresh,
            on_changed=self._fed,
            on_lost=self._feed_lost,
            on_written=self._wrote_elsewhere,
            on_sweep=on_sweep,
            on_run=on_run,
            new_id=new_id,
        )
        self.calls.listings = self.listings
        self.listings.setServiceParent(self)  # type: ignore[no-untyped-call]

    @property
    def id(self) -> str:
        """The account's ``sub``."""
        return self.user.id

    def attach(self, connection: Connection) -> None:
        """A tab of this user opened."""
        self.connections.append(connection)
        self._channels.want(self)

    def detach(self, connection: Connection) -> None:
        """A tab of this user is gone."""
        if connection in self.connections:
            self.connections.remove(connection)
        self.listings.forget(connection)

    def signed_in_again(self, user: User, grant: Grant) -> None:
        """A sign-in brought a new grant, perhaps with other scopes."""
        self.user = user
        self.grant.replaced(grant)
        self._begin_anew()

    def _has_other_rights(self, grant: Grant) -> None:
        """The same, on another node."""
        self.user = replace(self.user, scopes=grant.scopes)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._cache.drop_user(self.id)
        if self.connections:
            self._channels.want(self, anew=True)

    async def look(self, file_id: str, *, poll: bool) -> FileView:
        """See :class:`docsession.document.Viewer`."""
        try:
            return await self._looker.file(self, file_id, poll=poll)
        except AccessRefused as refused:
            if refused.refusal.reason in ACCESS_LOST:
                # What the user saw before is not shown again, not even while Google is away.
                self._cache.drop_user(self.id)
            raise

    async def look_at_comments(self, file_id: str, *, since: str | None, poll: bool) -> Comments:
        """See :class:`docsession.document.Viewer`."""
        return await self._looker.comments(self, file_id, since=since, poll=poll)

    def _feed_lost(self) -> None:
        """It may have missed something."""
        self._cache.drop_user(self.id)
        self._documents.all_touched(self.id)

    def _wrote_elsewhere(self, files: Files | None) -> None:
        """This user wrote something through another node."""
        if files is None or any(
            file is None or file.get("mimeType", FOLDER) == FOLDER for file in files.values()
        ):
            self._cache.drop_user(self.id)  # what is in a folder goes with it
        else:
            self._cache.drop_listings(self.id)

    def _fed(self, file_id: str) -> None:
        """The user's change log says something happened to this file."""
        self._cache.drop_listings(self.id)
        self._documents.written.touched(file_id)

    def startService(self) -> None:
        MultiService.startService(self)
        self._heard.open(self.id)

    def stopService(self) -> Deferred[None]:
        self._heard.close(self.id)
        self._cache.drop_user(self.id)
        self._channels.leave(self.id)
        self._documents.user_left(self.id)
        return MultiService.stopService(self)  # type: ignore[no-any-return]
