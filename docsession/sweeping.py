"""When a user's change log is swept, and by which of the nodes that show listings of that user's.

One of them holds the lease, sweeps, and tells the others what it found: they act on it as if they
had swept, for a log is the same wherever it is read. Each has a token of its own. Where that is not
the one from which the other began, something was missed: then a node sweeps once itself.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession.config import Polling
from docsession.demand import Allowance
from docsession.errors import DocsessionError
from docsession.google.feed import Feed, Sweep
from docsession.google.table import COSTS
from docsession.interfaces import Leases
from docsession.tasks import Background, held

__all__ = ["SWEPT", "TIMER", "Sweeping"]

# So often it is seen whether a sweep is due.
TICK = 5.0
# What other nodes are told: what a sweep found; that listings are due of which no log tells.
SWEPT, TIMER = "swept", "timer"
# A larger finding is not passed on: who needs it sweeps.
_MOST_BYTES = 65_536
# So many findings of others wait to be acted on; of more, the next one makes good.
_MOST_WAITING = 4
# Who takes over sweeps at once, but not right after all was known.
_FRESH = 2.0
# After a gap in what is heard all users' logs are read, spread over so long.
_SPREAD = 5.0


class Sweeping:
    """``say(kind, **fields)`` tells the other nodes where the user is live; ``act_on`` is given what was
    found, ``run_by_timer`` is called when those are due that no log tells of."""

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
        act_on: Callable[[Sweep], Awaitable[None]],
        run_by_timer: Callable[[], None],
        on_sweep: Callable[[str], None],
    ) -> None:
        self._user_id = user_id
        self._feed = feed
        self._clock = clock
        self._rng = rng
        self._polling = polling
        self._allowance = allowance
        self._demand = allowance.demand
        self._leases = leases
        self._lease = f"feed:{user_id}"
        self._say = say
        self._act_on = act_on
        self._run_by_timer = run_by_timer
        self._on_sweep = on_sweep
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._work = Background(self._log)
        # A sweep, or acting on another node's: one at a time.
        self._turn = DeferredLock()
        self._sweeping = self._sweep_again = False
        self._waiting = 0
        self._known_at = float("-inf")  # when this node last knew all there was
        self._due = self._timer_due = 0.0
        self._elsewhere = 0
        self._planned: tuple[bool, float, int] | None = None
        self._hinted: IDelayedCall | None = None
        self._catching_up: IDelayedCall | None = None

    # -- while listings are watched

    async def begin(self) -> None:
        """What happens from now on will be seen. Raises any Google error."""
        await self._feed.begin()

    def start(self) -> None:
        """The token is there: from now on it is swept, on one node or another."""
        if not self._loop.running:
            self._known_at = self._clock.seconds()
            self._due, self._timer_due = self._next(self._interval()), self._next(self._polling.feed)
            self._loop.start(TICK, now=False)
            self._leases.want(self._lease, self._changed_hands)

    def rest(self) -> None:
        """Nobody watches any more."""
        if self._loop.running:
            self._loop.stop()
            self._leases.drop(self._lease)
        for call in (self._hinted, self._catching_up):
            if call is not None and call.active():
                call.cancel()
        self._hinted = self._catching_up = None
        self._demand.drop(("feed", self._user_id))
        self._planned = None
        self._feed.end()

    def stop(self) -> None:
        """Whatever is under way is given up."""
        self.rest()
        self._work.cancel()

    def plan(self, elsewhere: int) -> None:
        """What sweeping costs here, and running so many listings that the log knows nothing of."""
        self._elsewhere = elsewhere
        now = self._holds(), self._interval(), elsewhere
        if now != self._planned:
            self._planned = now
            cost = self._allowance.cost(COSTS["list"])
            runs = (self._polling.feed / now[1] if now[0] else 0.0) + elsewhere
            self._demand.plan(("feed", self._user_id), cost * runs, self._polling.feed)

    # -- what makes it due

    def hinted(self) -> None:
        """Google pushed, and no watched document explains why: the log is read soon."""
        if not self._loop.running or self._hinted is not None:
            return
        wait = max(0.0, self._known_at + self._gap() - self._clock.seconds())
        self._hinted = self._clock.callLater(wait, self._sweep_for_hint)

    def missed(self) -> None:
        """What other nodes said may not have been heard."""
        if self._loop.running and self._catching_up is None:
            wait = self._rng.uniform(0, _SPREAD)
            self._catching_up = self._clock.callLater(wait, self._catch_up_soon)

    def _catch_up_soon(self) -> None:
        self._catching_up = None
        if not self._sweeping:
            self._begin_sweep()

    def _changed_hands(self, ours: bool) -> None:
        self.plan(self._elsewhere)
        # Whoever held it may have died over a hint.
        if ours and self._clock.seconds() - self._known_at > _FRESH and self._loop.running:
            self._begin_sweep()

    def _holds(self) -> bool:
        return self._leases.holds(self._lease)

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
        self.plan(self._elsewhere)
        if not self._holds():
            return
        if now >= self._timer_due:
            self._timer_due = self._next(self._polling.feed)
            self._say(TIMER)
            self._run_by_timer()
        # A channel that ended leaves a due time that is far too late.
        if now >= min(self._due, self._known_at + 2 * self._interval() * self._demand.stretch):
            self._begin_sweep()

    def _sweep_for_hint(self) -> None:
        self._hinted = None
        if not self._loop.running or not self._holds():
            return
        if self._sweeping:
            self._sweep_again = True  # it began before whatever the hint was about
        else:
            self._begin_sweep()

    # -- sweeps

    def _begin_sweep(self) -> None:
        self._due = self._next(self._interval())
        if not self._sweeping:
            self._sweeping = True
            self._known_at = self._clock.seconds()
            self._work.spawn(self._sweep())

    async def _sweep(self) -> None:
        try:
            async with held(self._turn):
                sweep = await self._swept()
            if sweep is not None and self._holds():
                self._tell(sweep)
        finally:
            self._sweeping = False
        if self._sweep_again:
            self._sweep_again = False
            self.hinted()

    async def _swept(self) -> Sweep | None:
        """From our own token; None where that failed."""
        try:
            sweep = await self._feed.sweep()
            await self._act_on(sweep)
        except DocsessionError as error:
            # The token has not moved; the next sweep sees what this one would have.
            self._log.debug("a sweep failed: {reason}", reason=error.name)
            self._on_sweep("failed")
            # Also where Google tells of changes by itself: this one it has told of.
            self._due = min(self._due, self._next(self._polling.feed))
            return None
        self._feed.done(sweep)
        self._on_sweep("lost" if sweep.lost else "ok")
        return sweep

    # -- between nodes

    def _tell(self, sweep: Sweep) -> None:
        # Also of one that found nothing: whoever has missed the last one sees it by the token.
        files = dict(sweep.files) if len(msgspec.json.encode(sweep.files)) <= _MOST_BYTES else None
        self._say(
            SWEPT,
            since=sweep.since,
            to=self._feed.token,
            files=files,
            lost=sweep.lost,
            drives=sweep.drives,
        )

    def heard(self, message: Mapping[str, Any]) -> None:
        """Another node has swept."""
        if self._loop.running and self._waiting < _MOST_WAITING:
            self._waiting += 1
            self._work.spawn(self._learn(message))

    async def _learn(self, message: Mapping[str, Any]) -> None:
        try:
            async with held(self._turn):
                await self._learn_in_turn(message)
        finally:
            self._waiting -= 1

    async def _learn_in_turn(self, message: Mapping[str, Any]) -> None:
        mine, files, to = self._feed.token, message["files"], message["to"]
        if mine is None:
            return
        found = Sweep(files or {}, lost=bool(message["lost"]), drives=bool(message["drives"]), token=to)
        if files is None or not (found.lost or mine == message["since"]):
            swept = await self._swept()
            if swept is None or swept.lost or files is None:
                return  # with our own token, as far as that went
        self._known_at = self._clock.seconds()
        self._due = self._next(self._interval())
        await self._act_on(found)
        # Together the two leave out nothing, however far behind a replica of Google's may be; and
        # with one token we need not ask again.
        self._feed.done(found)

    def on_timer(self) -> None:
        """Another node says that listings are due which no log tells of."""
        if self._loop.running:
            self._run_by_timer()
