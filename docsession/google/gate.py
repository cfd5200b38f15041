"""The only door to Google: whose turn it is, how much at once, how much a minute, who must wait.

In front of the slots (a DeferredSemaphore) stand two lines, of what persons wait for and of polls;
persons go first, and polls hold at most three quarters of the slots. A request goes when there
is a slot, the budget has room for it, and no pause that Google asked for holds it back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from docsession.errors import RateLimited
from docsession.google.budget import Budget
from docsession.google.line import Line, Place
from docsession.google.pauses import Pauses
from docsession.google.table import COSTS
from docsession.tasks import Alarm, PerKey, held, sleep

__all__ = ["PATIENCE", "POLLS", "Gate"]

T = TypeVar("T")

# How long a person's request waits for a known end (of a pause, of a full minute) before it is
# refused with a retry_after; and how long it stands in line at the longest, for whatever reason.
PATIENCE = 10.0
LONGEST = 30.0

# The kind of request that every poll is, beside others: a user's polls can be paused alone.
POLLS = "polls"


class Gate:
    """One for all users of this process."""

    def __init__(
        self,
        clock: IReactorTime,
        budget: Budget,
        pauses: Pauses,
        *,
        in_flight: int,
        per_user: int,
        media: int,
        media_per_user: int,
        on_wait: Callable[[bool, float], None] = lambda poll, seconds: None,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._pauses = pauses
        self._on_wait = on_wait
        self._slots = DeferredSemaphore(in_flight)
        self._per_user = per_user
        self._most_polls = _for_polls(in_flight)
        self._persons = Line(self._holds)
        self._polls = Line(self._holds)
        self._under_way: dict[str, list[int]] = {}  # of each user: all, polls
        self._polls_under_way = 0
        self._admitting = False
        self._alarm = Alarm(clock, self._admit)
        self._media_slots = DeferredSemaphore(media)
        self._oauth_slots = DeferredSemaphore(in_flight)
        self._media_users = PerKey(lambda key: DeferredSemaphore(media_per_user))
        self.in_flight = 0
        self.most_in_flight = 0

    async def run(
        self,
        user_id: str,
        work: Callable[[], Awaitable[T]],
        *,
        units: int = COSTS["read"],
        poll: bool = False,
        kinds: tuple[str, ...] = (),
    ) -> T:
        """Do ``work`` (one request of so many quota units) when it is its turn.

        ``kinds`` are the kinds of request it is, by which it can be paused. Raises
        :class:`RateLimited` where a person would wait too long; a poll waits as long as it takes.
        """
        place = Place(user_id, units, (*kinds, POLLS) if poll else kinds, poll=poll)
        await self._stand_in_line(place)
        try:
            return await work()
        finally:
            self._done(place)

    @asynccontextmanager
    async def media(self, user_id: str) -> AsyncIterator[None]:
        """Hold a slot for a download for as long as it streams. Raises :class:`RateLimited`."""
        units = COSTS["download"]
        while (wait := self._known_wait(user_id, units, ())) > 0:
            await sleep(self._clock, wait)
        async with self._media_users.held(user_id), held(self._media_slots):
            self._budget.spend(user_id, units, poll=False)
            yield

    async def oauth(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, a request to Google's sign-in: it costs no quota, but no more are sent at once
        than for Drive, however many tokens end in one second."""
        async with held(self._oauth_slots):
            return await work()

    def held_back(self, user_id: str) -> float:
        """Seconds until a poll of this user may be sent, as far as the user's own limits go."""
        wait = self._budget.user_wait(user_id, COSTS["read"], poll=True)
        return max(wait, self._pauses.left(user_id, (POLLS,)))

    def paused_for(self, user_id: str) -> float:
        """Seconds until this user's next request may start, as far as Google's wishes go."""
        return self._pauses.left(user_id)

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests in line: persons', polls."""
        return len(self._persons), len(self._polls)

    def changed(self) -> None:
        """A pause began: persons who would wait too long for its end are told so now."""
        for place in self._persons.waiting():
            wait = self._pauses.left(place.user_id, place.kinds)
            if wait > PATIENCE:
                place.given.errback(_too_long(wait))
        self._admit()

    # -- in line

    async def _stand_in_line(self, place: Place) -> None:
        if not place.poll:
            self._known_wait(place.user_id, place.units, place.kinds)
        line = self._polls if place.poll else self._persons
        line.add(place)
        self._admit()
        if place.given.called:
            self._on_wait(place.poll, 0.0)
            return
        began = self._clock.seconds()
        timer = None if place.poll else self._clock.callLater(LONGEST, self._give_up, place)
        try:
            await place.given
        except BaseException:
            line.leave(place)
            self._rest()
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
        self._on_wait(place.poll, self._clock.seconds() - began)

    def _known_wait(self, user_id: str, units: int, kinds: tuple[str, ...]) -> float:
        """For a person's request. Raises RateLimited where it is too long."""
        wait = max(
            self._pauses.left(user_id, kinds),
            self._budget.project_wait(units, poll=False),
            self._budget.user_wait(user_id, units, poll=False),
        )
        if wait > PATIENCE:
            raise _too_long(wait)
        return wait

    def _give_up(self, place: Place) -> None:
        place.given.errback(RateLimited("too much is asked of Google just now", retry_after=PATIENCE))

    def _holds(self, place: Place) -> float:
        """What holds a place back that does not hold back other users."""
        under_way = self._under_way.get(place.user_id)
        if under_way is not None:
            most = _for_polls(self._per_user) if place.poll else self._per_user
            if under_way[0] >= self._per_user or (place.poll and under_way[1] >= most):
                return float("inf")
        wait = self._budget.user_wait(place.user_id, place.units, poll=place.poll)
        return max(wait, self._pauses.left(place.user_id, place.kinds))

    # -- in turn

    def _admit(self) -> None:
        # What is let in may come back here before it returns: then the loop goes on below.
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._slots.tokens and (place := self._next()) is not None:
                self._start(place)
        finally:
            self._admitting = False

    def _next(self) -> Place | None:
        now = self._clock.seconds()
        if not (self._persons or self._polls):
            return None
        pause = self._pauses.left(None)
        if pause > 0:
            self._wake(pause)
            return None
        lines = [self._persons]
        if self._polls_under_way < self._most_polls:
            lines.append(self._polls)
        for line in lines:
            place = line.first(now)
            if place is not None:
                wait = self._budget.project_wait(place.units, poll=place.poll)
                if wait > 0:  # then there is none for those behind it either
                    self._wake(wait)
                    return None
                line.take(place)
                return place
        times = [time for line in lines if (time := line.next_time()) is not None]
        if times:
            self._wake(min(times) - now)
        return None

    def _start(self, place: Place) -> None:
        self._slots.acquire()
        self._budget.spend(place.user_id, place.units, poll=place.poll)
        under_way = self._under_way.setdefault(place.user_id, [0, 0])
        under_way[0] += 1
        under_way[1] += place.poll
        self._polls_under_way += place.poll
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        place.given.callback(None)

    def _done(self, place: Place) -> None:
        under_way = self._under_way[place.user_id]
        under_way[0] -= 1
        under_way[1] -= place.poll
        if not under_way[0]:
            del self._under_way[place.user_id]
        self._polls_under_way -= place.poll
        self.in_flight -= 1
        self._slots.release()
        self._persons.again(place.user_id)
        self._polls.again(place.user_id)
        self._admit()
        self._rest()

    def _wake(self, seconds: float) -> None:
        """Look again after so long, or earlier."""
        self._alarm.by(self._clock.seconds() + max(0.001, seconds))

    def _rest(self) -> None:
        """Nobody waits: nothing to wake up for."""
        if not (self._persons or self._polls):
            self._alarm.off()


def _too_long(wait: float) -> RateLimited:
    return RateLimited("Google's limit is reached", retry_after=wait)


def _for_polls(slots: int) -> int:
    return max(1, slots * 3 // 4)
