"""A user's live listings: kept true by the feed, by peers' writes and by what looks find.

The feed is swept by a LoopingCall of the user's own, only while a listing is watched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import msgspec
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession import rpc
from docsession.document import Tab
from docsession.errors import DocsessionError
from docsession.google.cache import Cached
from docsession.google.drive_request import DriveRequest
from docsession.google.feed import Feed
from docsession.tasks import Background
from docsession.times import rfc3339

__all__ = ["Listings"]

# Corpora that a user's own change log does not cover.
_ELSEWHERE = frozenset({"drive", "allDrives", "domain"})


class Read(Protocol):
    """Asks Google, whatever is kept."""

    async def __call__(self, request: DriveRequest, *, poll: bool) -> Cached: ...


class _Listing:
    __slots__ = ("again", "as_of", "digest", "files", "id", "request", "running", "stale", "tabs")

    def __init__(self, listing_id: str, request: DriveRequest) -> None:
        self.id = listing_id
        self.request = request
        self.as_of = 0.0
        self.digest = ""
        self.files: frozenset[str] = frozenset()
        self.tabs: dict[Tab, str] = {}
        self.running = False
        self.again = False
        # A run failed: what made it necessary is still unseen.
        self.stale = False

    @property
    def elsewhere(self) -> bool:
        """Whether it shows what no change log of the user's tells of."""
        return "driveId" in self.request.params or self.request.params.get("corpora") in _ELSEWHERE

    def learn(self, cached: Cached) -> bool:
        """Take in a reading. False where a later one is known already."""
        if cached.as_of < self.as_of:
            return False
        self.as_of = cached.as_of
        self.digest = _digest(cached.data)
        self.files = cached.files
        self.stale = False
        return True


class Listings(Service):
    """The listings that one user's tabs watch; tabs with the same params share one."""

    _log = Logger()

    def __init__(
        self,
        feed: Feed,
        clock: IReactorTime,
        *,
        every: float,
        read: Read,
        on_changed: Callable[[str], None],
        new_id: Callable[[], str],
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._every = every
        self._read = read
        self._on_changed = on_changed
        self._new_id = new_id
        self._listings: dict[Hashable, _Listing] = {}
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._work = Background(self._log)
        self._sweeping = False
        self._starting = 0

    def __len__(self) -> int:
        return len(self._listings)

    async def watch(self, tab: Tab, request: DriveRequest) -> dict[str, Any]:
        """Begin a live listing. Raises any Google error; then nothing is watched."""
        self._starting += 1
        try:
            # The token first: what happens while the listing is read shows in the first sweep.
            await self._feed.begin()
            listing, cached = await self._first(request)
            listing.tabs[tab] = listing.digest
            self._tell(listing, cached)
            if self.running and not self._loop.running:
                self._loop.start(self._every, now=False)
        finally:
            self._starting -= 1
            self._rest()
        return {"listing": listing.id, "data": rpc.raw(cached.data), "as_of": rfc3339(cached.as_of)}

    async def _first(self, request: DriveRequest) -> tuple[_Listing, Cached]:
        while True:
            cached = await self._read(request, poll=False)
            listing = self._listings.get(request.key())
            if listing is None:
                listing = self._listings[request.key()] = _Listing(self._new_id(), request)
            if listing.learn(cached):
                return listing, cached
            # Another run was begun later and came first: what it saw is not kept here.

    def unwatch(self, tab: Tab, listing_id: str) -> None:
        """This tab no longer watches it. Harmless where it did not."""
        for key, listing in list(self._listings.items()):
            if listing.id == listing_id:
                listing.tabs.pop(tab, None)
                if not listing.tabs:
                    del self._listings[key]
        self._rest()

    def forget(self, tab: Tab) -> None:
        """The tab is gone."""
        for listing in list(self._listings.values()):
            if tab in listing.tabs:
                self.unwatch(tab, listing.id)

    def count(self, tab: Tab) -> int:
        """How many listings this tab watches."""
        return sum(tab in listing.tabs for listing in self._listings.values())

    def touched(self, file_id: str | None) -> None:
        """Run again those that hold this file; all of them for None."""
        for listing in self._listings.values():
            # Without ids in the answer nobody can tell which files it holds.
            if file_id is None or file_id in listing.files or not listing.files:
                self._run(listing)

    def stopService(self) -> None:
        Service.stopService(self)
        self._listings.clear()
        self._rest()
        self._work.cancel()

    # -- inside

    def _rest(self) -> None:
        """Stop sweeping if nobody watches or is about to."""
        if self._listings or self._starting:
            return
        if self._loop.running:
            self._loop.stop()
        self._feed.end()

    def _tick(self) -> None:
        for listing in self._listings.values():
            if listing.elsewhere or listing.stale:
                self._run(listing)
        if not self._sweeping:
            self._work.spawn(self._sweep())

    async def _sweep(self) -> None:
        self._sweeping = True
        try:
            sweep = await self._feed.sweep()
        except DocsessionError as error:
            # The token has not moved; the next sweep sees what this one would have.
            self._log.debug("a sweep failed: {reason}", reason=error.name)
            return
        finally:
            self._sweeping = False
        for file_id in sweep.files:
            self._on_changed(file_id)
        if sweep.files or sweep.lost:
            self.touched(None)

    def _run(self, listing: _Listing) -> None:
        # One run at a time; what comes while it runs makes one more.
        if listing.running:
            listing.again = True
        else:
            listing.running = True
            self._work.spawn(self._run_again(listing))

    async def _run_again(self, listing: _Listing) -> None:
        try:
            listing.again = True
            while listing.again and listing.tabs:
                listing.again = False
                cached = await self._read(listing.request, poll=True)
                if listing.learn(cached):
                    self._tell(listing, cached)
        except DocsessionError as error:
            self._log.debug("a listing could not be read: {reason}", reason=error.name)
            listing.stale = True
        finally:
            listing.running = False

    def _tell(self, listing: _Listing, cached: Cached) -> None:
        event: bytes | None = None
        for tab, told in list(listing.tabs.items()):
            if told != listing.digest:
                listing.tabs[tab] = listing.digest
                if event is None:
                    event = rpc.notification(
                        "listing.changed",
                        {
                            "listing": listing.id,
                            "data": rpc.raw(cached.data),
                            "as_of": rfc3339(cached.as_of),
                        },
                    )
                tab.send_event(event)


def _digest(data: bytes) -> str:
    """Equal for two answers that show the same. Google writes a page token anew each time."""
    answer = msgspec.json.decode(data)
    answer.pop("nextPageToken", None)
    return hashlib.blake2b(msgspec.json.encode(answer, order="deterministic"), digest_size=16).hexdigest()
