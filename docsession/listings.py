"""A user's live listings: kept true by the feed, by peers' writes and by what looks find.

The feed is swept only while a listing is watched, when it is due: a LoopingCall of the user's own,
whose interval never moves, sees to that. A listing is run again only for what could belong to it,
and not more often than a gap allows, but at once for what its own user wrote.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession import rpc
from docsession.config import Polling
from docsession.demand import Allowance
from docsession.document import Tab
from docsession.errors import DocsessionError
from docsession.google.cache import Cached
from docsession.google.drive_request import DriveRequest
from docsession.google.feed import Feed, Sweep
from docsession.google.table import COSTS
from docsession.listing import Listing
from docsession.tasks import Background, sleep
from docsession.times import rfc3339

__all__ = ["Listings"]

# So often it is seen whether a sweep is due.
TICK = 5.0
# So many files of one sweep are handed on at a time; others get their turn in between.
_SLICE = 500

Files = Mapping[str, Mapping[str, Any] | None]


class Read(Protocol):
    """Asks Google, whatever is kept."""

    async def __call__(self, request: DriveRequest, *, poll: bool) -> Cached: ...


class Listings(Service):
    """The listings that one user's tabs watch; tabs with the same params share one.

    ``on_changed`` hears of each file that the feed names, ``on_lost`` when it may have missed some,
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
        *,
        read: Read,
        on_changed: Callable[[str], None],
        on_lost: Callable[[], None],
        new_id: Callable[[], str],
        on_sweep: Callable[[str], None] = lambda outcome: None,
        on_run: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self._user_id = user_id
        self._feed = feed
        self._clock = clock
        self._rng = rng
        self._polling = polling
        self._allowance = allowance
        self._demand = allowance.demand
        self._read = read
        self._on_changed = on_changed
        self._on_lost = on_lost
        self._new_id = new_id
        self._on_sweep = on_sweep
        self._on_run = on_run
        self._listings: dict[Hashable, Listing] = {}
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._work = Background(self._log)
        self._sweeping = self._sweep_again = False
        self._swept_at = float("-inf")
        self._due = 0.0
        # When those are run again that the feed knows nothing of.
        self._elsewhere_due = 0.0
        self._hinted: IDelayedCall | None = None
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
            await self._feed.begin()
            listing, cached = await self._first(request)
            listing.tabs[tab] = listing.digest
            listing.tell(cached)
            if listing.again and not listing.running:
                self._run(listing, "touched")
            if self.running and not self._loop.running:
                self._swept_at = self._clock.seconds()
                self._due, self._elsewhere_due = self._next(self._interval()), self._next(self._polling.feed)
                self._loop.start(TICK, now=False)
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
        self._touches += 1
        for listing in list(self._listings.values()):
            if any(listing.could_hold(file_id, file) for file_id, file in files.items()):
                self._run(listing, "write" if at_once else "touched", at_once=at_once)

    def all_touched(self, *, at_once: bool = False) -> None:
        """Something happened, nobody can tell to what; ``at_once``: the user did it."""
        self._touches += 1
        for listing in list(self._listings.values()):
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
        if not self._loop.running or self._hinted is not None:
            return
        wait = max(0.0, self._swept_at + self._gap() - self._clock.seconds())
        self._hinted = self._clock.callLater(wait, self._sweep_for_hint)

    def stopService(self) -> None:
        Service.stopService(self)
        for listing in list(self._listings.values()):
            listing.rest()
        self._listings.clear()
        self._rest()
        self._work.cancel()

    # -- inside: the feed

    def _rest(self) -> None:
        """Stop sweeping if nobody watches or is about to."""
        if self._listings or self._starting:
            self._plan()
            return
        if self._loop.running:
            self._loop.stop()
        if self._hinted is not None and self._hinted.active():
            self._hinted.cancel()
        self._hinted = None
        self._demand.drop(("feed", self._user_id))
        self._feed.end()

    def _plan(self) -> None:
        """What sweeping costs, and running those that the feed knows nothing of."""
        if self._listings:
            elsewhere = sum(listing.elsewhere for listing in self._listings.values())
            cost = self._allowance.cost(COSTS["list"])
            per_feed = cost * (self._polling.feed / self._interval() + elsewhere)
            self._demand.plan(("feed", self._user_id), per_feed, self._polling.feed)

    def _interval(self) -> float:
        has_channel = self._allowance.has_channel(self._user_id)
        return self._polling.feed_with_push if has_channel else self._polling.feed

    def _next(self, interval: float) -> float:
        stretched = self._demand.stretched(interval, self._rng, self._polling.jitter)
        return self._clock.seconds() + stretched

    def _gap(self) -> float:
        return self._polling.listing_gap * self._demand.stretch

    def _tick(self) -> None:
        now = self._clock.seconds()
        if now >= self._elsewhere_due:
            self._elsewhere_due = self._next(self._polling.feed)
            for listing in list(self._listings.values()):
                # What came or went with a folder may have no entry in the log at all.
                old = now - listing.as_of >= self._polling.listing * self._demand.stretch
                if listing.elsewhere or listing.stale or old:
                    self._run(listing, "failed" if listing.stale else "timer")
        # A channel that ended leaves a due time that is far too late.
        if now >= min(self._due, self._swept_at + 2 * self._interval() * self._demand.stretch):
            self._begin_sweep()

    def _sweep_for_hint(self) -> None:
        self._hinted = None
        if self._sweeping:
            self._sweep_again = True  # it began before whatever the hint was about
        elif self._loop.running:
            self._begin_sweep()

    def _begin_sweep(self) -> None:
        self._due = self._next(self._interval())
        self._plan()
        if not self._sweeping:
            self._swept_at = self._clock.seconds()
            self._work.spawn(self._sweep())

    async def _sweep(self) -> None:
        self._sweeping = True
        try:
            sweep = await self._feed.sweep()
            await self._act_on(sweep)
        except DocsessionError as error:
            # The token has not moved; the next sweep sees what this one would have.
            self._log.debug("a sweep failed: {reason}", reason=error.name)
            self._on_sweep("failed")
            # Also where Google tells of changes by itself: this one it has told of.
            self._due = min(self._due, self._next(self._polling.feed))
        finally:
            self._sweeping = False
        if self._sweep_again:
            self._sweep_again = False
            self.hinted()

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
        self._feed.done(sweep)
        self._on_sweep("lost" if sweep.lost else "ok")

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
        wait = 0.0 if at_once else listing.begun + self._gap() - self._clock.seconds()
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
