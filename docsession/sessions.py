"""The two kinds of session: a browser known by its cookie, and a Google account that is live here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.belonging import FOLDER
from docsession.connection import Connection
from docsession.documents import Documents
from docsession.drive_calls import DriveCalls
from docsession.google.cache import Cache
from docsession.google.channels import Channels
from docsession.google.drive import AccessRefused, Drive
from docsession.google.grant import LiveGrant
from docsession.google.look import Comments, FileView, Looker
from docsession.google.refusals import ACCESS_LOST
from docsession.listings import Files, Listings
from docsession.model import Grant, Identity, User, shared_scopes
from docsession.user_channel import UserChannel

__all__ = ["BrowserSession", "UserSession"]


class BrowserSession:
    """One browser. ``stored``: it has a row, because it did something worth keeping."""

    __slots__ = ("connections", "downloads", "identity", "last_seen", "stored", "user")

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
        make_listings: Callable[[UserSession], Listings],
        on_dead: Callable[[str], Awaitable[None]],
        drive: Drive,
        looker: Looker,
        cache: Cache,
        documents: Documents,
        channels: Channels,
        heard: UserChannel,
        clock: IReactorTime,
    ) -> None:
        MultiService.__init__(self)
        self.id = user.id
        """The account's ``sub``."""
        self.user = replace(user, scopes=shared_scopes(user.scopes))
        self.connections: list[Connection] = []
        self.grant = make_grant(lambda: on_dead(user.id), self._has_other_rights)
        self._looker = looker
        self._cache = cache
        self._documents = documents
        self._channels = channels
        self._heard = heard
        self._make_listings = make_listings
        self.listings_made: Listings | None = None
        self.calls = DriveCalls(
            self,
            self,
            drive=drive,
            cache=cache,
            documents=documents,
            clock=clock,
            listings=lambda: self.listings,
        )

    @property
    def listings(self) -> Listings:
        """Made when they are first needed: most users watch none, and it is the largest part of all."""
        if self.listings_made is None:
            self.listings_made = self._make_listings(self)
            self.listings_made.setServiceParent(self)  # type: ignore[no-untyped-call]
        return self.listings_made

    def attach(self, connection: Connection) -> None:
        """A tab of this user opened."""
        self.connections.append(connection)
        self._channels.want(self)

    def detach(self, connection: Connection) -> None:
        """A tab of this user is gone."""
        if connection in self.connections:
            self.connections.remove(connection)
        if self.listings_made is not None:
            self.listings_made.forget(connection)

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

    def feed_lost(self) -> None:
        """It may have missed something."""
        self._cache.drop_user(self.id)
        self._documents.all_touched(self.id)

    def wrote_elsewhere(self, files: Files | None) -> None:
        """This user wrote something through another node."""
        if files is None or any(
            file is None or file.get("mimeType", FOLDER) == FOLDER for file in files.values()
        ):
            self._cache.drop_user(self.id)  # what is in a folder goes with it
        else:
            self._cache.drop_listings(self.id)

    def fed(self, file_id: str) -> None:
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
