"""The listings of all users who are live here: what happens, here or at another node, reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from docsession.directory import Directory
from docsession.document import Document
from docsession.interfaces import Bus
from docsession.listings import LISTING_KINDS, TOUCHED, Listings
from docsession.sweeping import SWEPT
from docsession.user_channel import UserChannel

__all__ = ["ListingsHere"]


class ListingsHere:
    """One for the process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def moved(self, via: str, document: Document) -> None:
        """A watched document changed."""
        for user_id, listings in self._all():
            # Of who does not watch it, only those that show it: the rest their own feed says.
            seen = document.file if user_id in document.watchers else None
            listings.touched({document.id: seen})

    def hinted(self, user_id: str) -> None:
        """A push notification was about no document that this user watches here."""
        user = self._directory.live_user(user_id)
        if user is not None and user.listings_made is not None:
            user.listings_made.hinted()

    def hear(self, of_users: UserChannel, bus: Bus) -> None:
        """From now on, what other nodes say of them."""
        for kind in LISTING_KINDS:
            of_users.on(kind, partial(self._heard, kind))
        bus.on_gap(self._missed)

    def _heard(self, kind: str, user_id: str, message: Mapping[str, Any]) -> None:
        user = self._directory.live_user(user_id)
        if user is None:
            return
        if user.listings_made is not None:
            user.listings_made.heard(kind, message)
        elif kind == SWEPT:
            for file_id in message["files"] or ():  # who has no listing may have a document
                user.fed(file_id)
        elif kind == TOUCHED:
            user.wrote_elsewhere(message["files"])

    def _missed(self) -> None:
        for _, listings in self._all():
            listings.missed()

    def _all(self) -> list[tuple[str, Listings]]:
        """Of the few users who have some."""
        users = self._directory.live_users()
        return [(user.id, user.listings_made) for user in users if user.listings_made is not None]
