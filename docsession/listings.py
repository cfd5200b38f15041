"""A user's live listings: kept true by the feed, by peers' writes and by what looks find.

The feed is swept only while a listing is watched (:mod:`docsession.sweeping`). A listing is run again
only for what could belong to it, and not more often than a gap allows, but at once for what its own
user wrote, at whatever node.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession import rpc
from docsession.config import Polling
from docsession.demand import Allowance
from docsession.errors import DocsessionError
from docsession.google.cache import Cached
from docsession.google.drive_request import DriveRequest
from docsession.google.feed import FILE_FIELDS, Feed, Sweep
from docsession.google.table import COSTS
from docsession.interfaces import Leases
from docsession.listing import Listing
from docsession.sweeping import SWEPT, TIMER, Sweeping
from docsession.tasks import Background, sleep
from docsession.times import rfc3339
from docsession.watcher import Tab

__all__ = ["LISTING_KINDS", "TOUCHED", "Files", "Listings"]

# What other nodes are told: this user has written.
TOUCHED = "touched"
# What is said of a user's listings between nodes.
LISTING_KINDS = (SWEPT, TIMER, TOUCHED)
# So many files of one sweep are handed on at a time; others get their turn in between.
_SLICE = 500

Files = Mapping[str, Mapping[str, Any] | None]


class Read(Protocol):
    """Asks Google, whatever is kept."""

    async def __call__(self, request: DriveRequest, *, poll: bool) -> Cached: ...


class Listings(Service):
    """The listings that one user's tabs watch; tabs with the same params share one.

    ``say`` tells the other nodes where the user is live. ``on_changed`` hears of each file that the feed
    names, ``on_lost`` when it may have missed some, ``on_written`` of what the user wrote at another node,
    ``on_sweep`` of each sweep's outcome (``ok``, ``failed``, ``lost``), ``on_run`` why a listing is
    run again (``feed``, ``lost``, ``touched``, ``write``, ``timer``, ``failed``).
    """

    _log = Logger()

    def __init__(
        self,
        user_id: str,
        feed: Feed,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        allowance: Allowance,
        leases: Leases,
        say: Callable[..., None],
        *,
        read: Read,
        on_changed: Callable[[str], None],
        on_lost: Callable[[], None],
        on_written: Callable[[Files | None], None],
        new_id: Callable[[], str],
        on_sweep: Callable[[str], None] = lambda outcome: None,
        on_run: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self._clock = clock
        self._polling = polling
        self._allowance = allowance
        self._demand = allowance.demand
        self._say = say
        self._read = read
        self._on_changed = on_changed
        self._on_lost = on_lost
        self._on_written = on_written
        self._new_id = new_id
        self._on_run = on_run
        self._sweeping = Sweeping(
            user_id,
            feed,
            clock,
            rng,
            polling,
            allowance,
            leases,
            say,
            act_on=self._act_on,
            run_by_timer=self._run_by_timer,
            on_sweep=on_sweep,
        )
        self._listings: dict[Hashable, Listing] = {}
        self._work = Background(self._log)
        self._starting = 0
        self._beginning: Counter[Tab] = Counter()
        # How often anything was touched: a reading that was begun before may not show it.
        self._touches = 0
        # Runs that wait for the end of what makes them necessary.
        self._held: dict[Listing, tuple[str, bool]] | None = None

    def __len__(self) -> int:
        return len(self._listings)

    async def watch(self, tab: Tab, request: DriveRequest) -> dict[str, Any]:
        """Begin a live listing. Raises any Google error; then nothing is watched."""
        self._starting += 1
        self._beginning[tab] += 1
        try:
            # The token first: what happens while the listing is read shows in the first sweep.
            await self._sweeping.begin()
            listing, cached = await self._first(request)
            listing.tabs[tab] = listing.digest
            listing.tell(cached)
            if listing.again and not listing.running:
                self._run(listing, "touched")
            if self.running:
                self._sweeping.start()
            self._plan()
        finally:
            self._starting -= 1
            self._beginning[tab] -= 1
            self._beginning = +self._beginning  # without those that are zero
            self._rest()
        return {"listing": listing.id, "data": rpc.raw(cached.data), "as_of": rfc3339(cached.as_of)}

    async def _first(self, request: DriveRequest) -> tuple[Listing, Cached]:
        while True:
            touches = self._touches
            cached = await self._read(request, poll=False)
            listing = self._listings.get(request.key())
            if listing is None:
                listing = self._listings[request.key()] = Listing(self._new_id(), request)
                # What was touched meanwhile could not be asked about it, for it was not here yet.
                listing.again = touches != self._touches
            if listing.learn(cached):
                return listing, cached
            # Another run was begun later and came first: what it saw is not kept here.

    def unwatch(self, tab: Tab, listing_id: str) -> None:
        """This tab no longer watches it. Harmless where it did not."""
        for key, listing in list(self._listings.items()):
            if listing.id == listing_id:
                listing.tabs.pop(tab, None)
                if not listing.tabs:
                    listing.rest()
                    del self._listings[key]
        self._rest()

    def forget(self, tab: Tab) -> None:
        """The tab is gone."""
        for listing in list(self._listings.values()):
            if tab in listing.tabs:
                self.unwatch(tab, listing.id)

    def count(self, tab: Tab) -> int:
        """How many listings this tab watches or begins to."""
        watched = sum(tab in listing.tabs for listing in self._listings.values())
        return watched + self._beginning[tab]

    # -- what makes them run again

    def touched(self, files: Files, *, at_once: bool = False) -> None:
        """Something happened to these; None for one that is out of sight. ``at_once``: the user did it."""
        if at_once:
            self._say(TOUCHED, files=_shown(files), at_once=True)
        self._touch(files, at_once=at_once)

    def all_touched(self, *, at_once: bool = False) -> None:
        """The user did something, nobody can tell to what; ``at_once``: and it is done."""
        self._say(TOUCHED, files=None, at_once=at_once)
        self._touch(None, at_once=at_once)

    def _touch(self, files: Files | None, *, at_once: bool) -> None:
        self._touches += 1
        for listing in list(self._listings.values()):
            if files is None or any(listing.could_hold(file_id, file) for file_id, file in files.items()):
                self._run(listing, "write" if at_once else "touched", at_once=at_once)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is touched within is run again at its end: once, however often it was."""
        if self._held is not None:
            yield
            return
        self._held = {}
        try:
            yield
        finally:
            held, self._held = self._held, None
            for listing, (cause, at_once) in held.items():
                if listing.tabs:
                    self._run(listing, cause, at_once=at_once)

    def hinted(self) -> None:
        """Google pushed, and no watched document explains why: the feed is read soon."""
        self._sweeping.hinted()

    # -- what other nodes say

    def heard(self, kind: str, message: Mapping[str, Any]) -> None:
        """Of this user's log, or listings."""
        if kind == SWEPT and not self._listings:
            for file_id in message["files"] or ():
                self._on_changed(file_id)
        elif kind == SWEPT:
            self._sweeping.heard(message)
        elif kind == TIMER:
            self._sweeping.on_timer()
        elif kind == TOUCHED:
            self._on_written(message["files"])
            self._touch(message["files"], at_once=message["at_once"])

    def missed(self) -> None:
        """What other nodes said may not have been heard."""
        self._sweeping.missed()

    def stopService(self) -> None:
        Service.stopService(self)
        for listing in list(self._listings.values()):
            listing.rest()
        self._listings.clear()
        self._sweeping.stop()
        self._work.cancel()

    # -- inside: the feed

    def _rest(self) -> None:
        """Stop sweeping if nobody watches or is about to."""
        if self._listings or self._starting:
            self._plan()
        else:
            self._sweeping.rest()

    def _plan(self) -> None:
        if self._listings:
            self._sweeping.plan(sum(listing.elsewhere for listing in self._listings.values()))

    def _run_by_timer(self) -> None:
        now = self._clock.seconds()
        for listing in list(self._listings.values()):
            # What came or went with a folder may have no entry in the log at all.
            old = now - listing.as_of >= self._polling.listing * self._demand.stretch
            if listing.elsewhere or listing.stale or old:
                self._run(listing, "failed" if listing.stale else "timer")

    async def _act_on(self, sweep: Sweep) -> None:
        if sweep.files or sweep.lost or sweep.drives:
            self._touches += 1
        hit: set[Listing] = set()
        for number, (file_id, file) in enumerate(sweep.files.items(), start=1):
            self._on_changed(file_id)
            hit.update(
                one for one in self._listings.values() if one not in hit and one.could_hold(file_id, file)
            )
            if number % _SLICE == 0:
                await sleep(self._clock, 0)
        if sweep.lost:
            self._on_lost()
        for listing in list(self._listings.values()):
            if sweep.lost or listing in hit or (sweep.drives and listing.elsewhere):
                self._run(listing, "lost" if sweep.lost else "feed")

    # -- inside: runs

    def _run(self, listing: Listing, cause: str, *, at_once: bool = False) -> None:
        if self._held is not None:
            _, already = self._held.get(listing, ("", False))
            self._held[listing] = cause, at_once or already
            return
        # One run at a time; what comes while it runs makes one more.
        listing.cause = cause
        if listing.running:
            listing.again, listing.again_at_once = True, listing.again_at_once or at_once
            return
        gap = self._polling.listing_gap * self._demand.stretch
        wait = 0.0 if at_once else listing.begun + gap - self._clock.seconds()
        if wait > 0:
            if listing.timer is None or not listing.timer.active():
                listing.timer = self._clock.callLater(wait, self._run, listing, cause)
            return
        listing.rest()
        listing.running = True
        self._work.spawn(self._run_once(listing, person=at_once))

    async def _run_once(self, listing: Listing, *, person: bool) -> None:
        self._on_run(listing.cause)
        listing.again = listing.again_at_once = False
        listing.begun = self._clock.seconds()
        if not listing.elsewhere:
            self._demand.unplanned(self._allowance.cost(COSTS["list"]))
        try:
            cached = await self._read(listing.request, poll=not person)
            if listing.learn(cached):
                listing.tell(cached)
        except DocsessionError as error:
            self._log.debug("a listing could not be read: {reason}", reason=error.name)
            listing.stale = True
        finally:
            listing.running = False
        if listing.again and listing.tabs:
            self._run(listing, listing.cause, at_once=listing.again_at_once)


def _shown(files: Files) -> Files:
    """What decides to which listings they could belong, and no more."""
    names = FILE_FIELDS.split(",")
    return {
        file_id: None if file is None else {name: file[name] for name in names if name in file}
        for file_id, file in files.items()
    }
