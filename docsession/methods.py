"""The catalogue: every method a page may call, with its params, its result and a sentence.

Handlers are thin: they decode, hand on to whoever knows, and encode. Drive's methods are all
made alike from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime

from docsession import __version__, rpc
from docsession.config import Limits
from docsession.connection import Connection, Method
from docsession.directory import Directory
from docsession.documents import Documents
from docsession.economy import Economy
from docsession.errors import SessionUnknown, TooMany
from docsession.google.drive_request import Policy, callable_methods, find_method, prepare
from docsession.journal import Journal
from docsession.method import (
    AttentionParams,
    DriveEntry,
    Entry,
    NoParams,
    OpenParams,
    SignInParams,
    SignOutParams,
    UnwatchListingParams,
    UnwatchParams,
    WatchParams,
)
from docsession.model import User
from docsession.openrpc import describe
from docsession.signin import SignIn

__all__ = ["Catalogue"]


class Catalogue:
    """All methods, by name, bound to the parts that do the work."""

    def __init__(
        self,
        *,
        directory: Directory,
        documents: Documents,
        sign_in: SignIn,
        journal: Journal,
        economy: Economy,
        clock: IReactorTime,
        limits: Limits,
        policy: Policy,
        new_id: Callable[[], str],
    ) -> None:
        self._directory = directory
        self._documents = documents
        self._sign_in = sign_in
        self._economy = economy
        self._clock = clock
        self._limits = limits
        self._policy = policy
        self._new_id = new_id
        self._list_method = find_method("drive.files.list")
        self._described: rpc.raw | None = None
        own = [
            Entry(
                "session.open",
                OpenParams,
                "Join the session of the cookie; must come first.",
                self._open,
                at_once=self._open_at_once,
                before_open=True,
                needs_user=False,
            ),
            Entry("session.ping", NoParams, "Is anybody there?", at_once=lambda _, __: {}, needs_user=False),
            Entry(
                "session.sign_in",
                SignInParams,
                "Where to send the browser to sign in with Google.",
                self._start_sign_in,
                needs_user=False,
            ),
            Entry(
                "session.sign_out",
                SignOutParams,
                "Sign out here, everywhere, or of Google's grant too.",
                self._sign_out,
                needs_user=False,
            ),
            Entry("session.user", NoParams, "Who is signed in.", at_once=self._user),
            Entry(
                "session.attention",
                AttentionParams,
                "Whether the tab is visible; hidden ones are refreshed less often.",
                at_once=self._attention,
                needs_user=False,
            ),
            Entry("session.status", NoParams, "What is watched and how fresh it is.", at_once=self._status),
            Entry("rpc.discover", NoParams, "This document.", at_once=self._discover, needs_user=False),
            Entry(
                "documents.watch",
                WatchParams,
                "Be told of every change to a document.",
                partial(self._watch, documents.watch),
                at_once=partial(self._watch, documents.watch_at_once),
            ),
            Entry("documents.unwatch", UnwatchParams, "No longer be told.", at_once=self._unwatch),
            Entry("documents.watching", NoParams, "What this tab watches.", at_once=self._watching),
            Entry(
                "listings.watch",
                dict[str, Any],
                "A live drive.files.list.",
                self._watch_listing,
                like=self._list_method,
            ),
            Entry(
                "listings.unwatch", UnwatchListingParams, "End a live listing.", at_once=self._unwatch_listing
            ),
        ]
        # What the policy switches off is still found, and refused by name.
        reachable = callable_methods(Policy(empty_trash=True, delete_drives=True))
        drive = [DriveEntry(method, policy, journal) for method in reachable.values()]
        entries: list[Method] = [*own, *drive]
        self.methods: Mapping[str, Method] = {entry.name: entry for entry in entries}

    async def _open(self, connection: Connection, params: OpenParams) -> Any:
        self._belongs(connection, params)
        how = await self._directory.open(
            connection, name=params.connection, new_id=self._new_id(), visible=params.visible
        )
        return self._opened(connection, how)

    def _open_at_once(self, connection: Connection, params: OpenParams) -> Any:
        self._belongs(connection, params)
        how = self._directory.open_now(
            connection, name=params.connection, new_id=self._new_id(), visible=params.visible
        )
        return None if how is None else self._opened(connection, how)

    def _belongs(self, connection: Connection, params: OpenParams) -> None:
        if params.session != connection.identity.session_id:
            raise SessionUnknown("cookie and session do not belong together: generate a cookie first")

    def _opened(self, connection: Connection, how: str) -> Any:
        browser = connection.browser
        user = browser.user if browser is not None else None
        if self._economy.troubles.of(connection.user_id):
            # After the answer, a tab that opens in the middle of a trouble hears of it.
            self._clock.callLater(0, self._economy.troubles.tell, connection)
        return {
            "session": connection.identity.session_id,
            "how": how,
            "connection": connection.name,
            "resumed": connection.resumed,
            "user": None if user is None else public_user(user.user),
            "heartbeat": self._limits.heartbeat,
            "server": {"name": "docsession", "version": __version__},
        }

    async def _start_sign_in(self, connection: Connection, params: SignInParams) -> Any:
        browser = connection.browser
        hint = browser.user.id if browser is not None and browser.user is not None else ""
        url = await self._sign_in.start(
            connection.identity, origin=connection.origin, return_to=params.return_to, login_hint=hint
        )
        return {"url": url}

    async def _sign_out(self, connection: Connection, params: SignOutParams) -> Any:
        if connection.browser is not None:
            await self._directory.sign_out(
                connection.browser,
                everywhere=params.everywhere,
                disconnect=params.disconnect,
                asking=connection,
            )
        return {}

    def _user(self, connection: Connection, params: NoParams) -> Any:
        return public_user(connection.user.user)

    def _attention(self, connection: Connection, params: AttentionParams) -> Any:
        connection.visible = params.visible
        self._documents.attention(connection)
        return {}

    def _status(self, connection: Connection, params: NoParams) -> Any:
        user = connection.user
        return {
            "documents": self._documents.watched(connection),
            "listings": user.listings.count(connection),
            "connections": len(user.connections),
            "google": self._economy.state(user.id),
        }

    def _discover(self, connection: Connection, params: NoParams) -> Any:
        if self._described is None:
            self._described = rpc.raw(rpc.encode(describe(self.methods)))
        return self._described

    def _watch(self, begin: Callable[..., Any], connection: Connection, params: WatchParams) -> Any:
        """``begin`` is the hub's way of beginning a watch: at once, or with waiting."""
        if self._documents.count(connection, beside=params.file_id) >= self._limits.watches_per_connection:
            raise TooMany("watches", self._limits.watches_per_connection)
        return begin(
            connection,
            connection.user,
            params.file_id,
            version=params.version,
            comments=params.comments,
            mark=params.comments_mark,
        )

    def _unwatch(self, connection: Connection, params: UnwatchParams) -> Any:
        self._documents.unwatch(connection, params.file_id)
        return {}

    def _watching(self, connection: Connection, params: NoParams) -> Any:
        return {"documents": self._documents.watched(connection)}

    async def _watch_listing(self, connection: Connection, params: dict[str, Any]) -> Any:
        request = prepare(self._list_method, params, self._policy)
        listings = connection.user.listings
        if listings.count(connection) >= self._limits.listings_per_connection:
            raise TooMany("live listings", self._limits.listings_per_connection)
        return await listings.watch(connection, request)

    def _unwatch_listing(self, connection: Connection, params: UnwatchListingParams) -> Any:
        connection.user.listings.unwatch(connection, params.listing)
        return {}


def public_user(user: User) -> dict[str, Any]:
    """What a page may know of who is signed in."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "picture": user.picture,
        "scopes": list(user.scopes),
    }
