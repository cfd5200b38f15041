"""One live listing: what it shows, what it could hold, and what each tab was told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall

from docsession import rpc
from docsession.belonging import FOLDER, could_hold, query_of
from docsession.google import fields
from docsession.google.cache import Cached
from docsession.google.drive_request import DriveRequest
from docsession.times import rfc3339
from docsession.watcher import Tab

__all__ = ["Listing"]

# What a user's own change log does not tell of, or not reliably.
_ELSEWHERE = frozenset({"drive", "allDrives", "domain"})


class Listing:
    """Tabs with the same params share one; ``tabs`` holds what each was last told, as a digest."""

    __slots__ = (
        "again",
        "again_at_once",
        "as_of",
        "begun",
        "cause",
        "digest",
        "files",
        "id",
        "opaque",
        "query",
        "request",
        "running",
        "stale",
        "tabs",
        "timer",
    )

    def __init__(self, listing_id: str, request: DriveRequest) -> None:
        self.id = listing_id
        self.request = request
        self.query = query_of(request.params)
        # A page after the first moves with what comes and goes before it; and without ids in the
        # answer nobody can tell which files it shows.
        self.opaque = "pageToken" in request.params or not _shows_ids(request)
        self.as_of = 0.0
        self.digest = ""
        self.files: frozenset[str] = frozenset()
        self.tabs: dict[Tab, str] = {}
        self.running = False
        self.again = self.again_at_once = False
        # Why the next run is made.
        self.cause = ""
        # When the last run began, and the next one where it must wait.
        self.begun = float("-inf")
        self.timer: IDelayedCall | None = None
        # A run failed: what made it necessary is still unseen.
        self.stale = False

    @property
    def elsewhere(self) -> bool:
        """Whether it shows what no change log of the user's tells of."""
        params = self.request.params
        return (
            "driveId" in params
            or params.get("corpora") in _ELSEWHERE
            or bool(params.get("includeItemsFromAllDrives"))
            or params.get("spaces", "drive") != "drive"
        )

    def could_hold(self, file_id: str, file: Mapping[str, Any] | None) -> bool:
        """Whether it shows this file, or may do so now. (None: the file is out of sight.)"""
        if self.opaque or file_id in self.files:
            return True
        if file is None:
            return file_id in self.query.parents
        # What lies in a folder comes and goes with it, and has no entry of its own for that.
        return file.get("mimeType") == FOLDER or could_hold(self.query, file)

    def learn(self, cached: Cached) -> bool:
        """Take in a reading. False where a later one is known already."""
        if cached.as_of < self.as_of:
            return False
        self.as_of = cached.as_of
        self.digest = _digest(cached.data)
        self.files = cached.files
        self.stale = False
        return True

    def tell(self, cached: Cached) -> None:
        """This reading, to each tab that was told something else."""
        event: bytes | None = None
        for tab, told in list(self.tabs.items()):
            if told != self.digest:
                self.tabs[tab] = self.digest
                if event is None:
                    event = rpc.notification(
                        "listing.changed",
                        {"listing": self.id, "data": rpc.raw(cached.data), "as_of": rfc3339(cached.as_of)},
                    )
                tab.send_event(event)

    def rest(self) -> None:
        """It is not to run again by itself."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


def _shows_ids(request: DriveRequest) -> bool:
    return request.fields is None or fields.keeps(fields.parse(request.fields), "files", "id")


def _digest(data: bytes) -> str:
    """Equal for two answers that show the same. Google writes a page token anew each time."""
    answer = msgspec.json.decode(data)
    answer.pop("nextPageToken", None)
    return hashlib.blake2b(msgspec.json.encode(answer, order="deterministic"), digest_size=16).hexdigest()
