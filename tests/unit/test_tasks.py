"""Starting, waiting, sharing and spacing out asynchronous work."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import Unavailable
from docsession.tasks import (
    Alarm,
    Background,
    Flights,
    PerKey,
    Rate,
    Seldom,
    Whistle,
    delays,
    sleep,
    spawn,
    with_timeout,
)


class Spawning(SynchronousTestCase):
    """``spawn`` and ``sleep``."""

    log = Logger()

    def test_bug(self) -> None:
        """Nobody waits for it, so it is logged."""

        async def fail() -> None:
            raise ZeroDivisionError

        self.assertIsNone(self.successResultOf(spawn(self.log, fail())))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancelled(self) -> None:
        """Stopping it is quiet, and reaches what it waits for."""
        clock = Clock()

        async def wait() -> None:
            await sleep(clock, 5)

        work = spawn(self.log, wait())
        work.cancel()
        self.assertIsNone(self.successResultOf(work))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_sleep(self) -> None:
        clock = Clock()
        waiting = sleep(clock, 5)
        clock.advance(4.9)
        self.assertNoResult(waiting)
        clock.advance(0.1)
        self.successResultOf(waiting)


class Timeouts(SynchronousTestCase):
    """``with_timeout``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cancelled = 0
        self.inner: Deferred[str] = Deferred(self.note)

    def note(self, _: Any) -> None:
        self.cancelled += 1

    def run_for(self, seconds: float) -> Deferred[str]:
        async def work() -> str:
            return await self.inner

        return Deferred.fromCoroutine(with_timeout(self.clock, seconds, work()))

    def test_in_time(self) -> None:
        running = self.run_for(5)
        self.clock.advance(4.9)
        self.inner.callback("done")
        self.assertEqual(self.successResultOf(running), "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        self.inner.callback("done")
        self.assertEqual(self.successResultOf(self.run_for(5)), "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        running = self.run_for(5)
        self.clock.advance(5)
        self.failureResultOf(running, TimeoutError)
        self.assertEqual(self.cancelled, 1)

    def test_own_failure(self) -> None:
        running = self.run_for(5)
        self.inner.errback(ZeroDivisionError())
        self.failureResultOf(running, ZeroDivisionError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_from_outside(self) -> None:
        """That is no timeout."""
        running = self.run_for(5)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Sharing(SynchronousTestCase):
    """``Flights``: one piece of work, many waiters."""

    def setUp(self) -> None:
        self.flights: Flights[str] = Flights()
        self.started: list[Deferred[str]] = []
        self.cancelled: list[int] = []

    def work(self) -> Callable[[], Any]:
        async def fly() -> str:
            number = len(self.started)
            self.started.append(Deferred(lambda _: self.cancelled.append(number)))
            return await self.started[number]

        return fly

    def join(self, key: str = "k", flights: Flights[str] | None = None) -> Deferred[str]:
        return Deferred.fromCoroutine((flights or self.flights).join(key, self.work()))

    def test_shared(self) -> None:
        """One flight, and the answer for each of its waiters."""
        waiters = [self.join() for _ in range(3)]
        self.assertEqual(len(self.started), 1)
        self.assertIn("k", self.flights)
        self.started[0].callback("here")
        self.assertEqual([self.successResultOf(waiter) for waiter in waiters], ["here"] * 3)
        self.assertNotIn("k", self.flights)
        self.assertNoResult(self.join())
        self.assertEqual(len(self.started), 2)

    def test_keys(self) -> None:
        a, b = self.join("a"), self.join("b")
        self.started[1].callback("for b")
        self.assertEqual(self.successResultOf(b), "for b")
        self.assertNoResult(a)

    def test_failure(self) -> None:
        """Every waiter hears of it."""
        waiters = [self.join() for _ in range(3)]
        self.started[0].errback(ZeroDivisionError())
        for waiter in waiters:
            self.failureResultOf(waiter, ZeroDivisionError)
        self.assertNotIn("k", self.flights)

    def test_one_leaves(self) -> None:
        """The others are not disturbed."""
        first, second = self.join(), self.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.cancelled, [])
        self.started[0].callback("here")
        self.assertEqual(self.successResultOf(second), "here")

    def test_all_leave(self) -> None:
        """Nobody wants it, so it is cancelled; who comes then starts anew."""
        waiters = [self.join(), self.join()]
        for waiter in waiters:
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
        self.assertEqual(self.cancelled, [0])
        self.assertNotIn("k", self.flights)
        later = self.join()
        self.started[1].callback("again")
        self.assertEqual(self.successResultOf(later), "again")

    def test_all_leave_and_it_goes_on(self) -> None:
        """``abandon=False``: it is finished, and joined by who comes later."""
        flights: Flights[str] = Flights(abandon=False)
        first = self.join(flights=flights)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.cancelled, [])
        later = self.join(flights=flights)
        self.started[0].callback("here")
        self.assertEqual(self.successResultOf(later), "here")

    def test_refusal_that_nobody_waits_for(self) -> None:
        """What is expected of the work is no bug."""

        async def refuse() -> str:
            waiting.cancel()  # whoever asked leaves as the answer comes
            raise LookupError

        started: Deferred[None] = Deferred()

        async def work() -> str:
            await started
            return await refuse()

        for expected, logged in (((LookupError,), 0), ((), 1)):
            started = Deferred()
            flights: Flights[str] = Flights(expected=expected)
            waiting = Deferred.fromCoroutine(flights.join("k", work))
            waiting.addErrback(lambda failure: failure.trap(CancelledError) and None)
            started.callback(None)
            gc.collect()
            self.assertEqual(len(self.flushLoggedErrors(LookupError)), logged)

    def test_bug_that_nobody_waits_for(self) -> None:
        """It is logged, where otherwise nobody would ever know."""
        flights: Flights[str] = Flights(abandon=False)
        for failure, logged in ((ZeroDivisionError(), 1), (Unavailable(), 0)):
            waiter = self.join(flights=flights)
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
            self.started[-1].errback(failure)
            self.assertEqual(len(self.flushLoggedErrors()), logged)

    def test_forgotten(self) -> None:
        """Those who wait still get that answer; later ones start anew."""
        first = self.join()
        self.flights.forget("k")
        second = self.join()
        self.assertEqual(len(self.started), 2)
        self.started[0].callback("old")
        self.assertEqual(self.successResultOf(first), "old")
        self.assertNoResult(second)
        self.assertIn("k", self.flights)
        self.started[1].callback("new")
        self.assertEqual(self.successResultOf(second), "new")
        self.assertNotIn("k", self.flights)

    def test_forgotten_and_left(self) -> None:
        """Leaving a forgotten flight does not touch its successor."""
        first = self.join()
        self.flights.forget("k")
        second = self.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertIn("k", self.flights)
        self.started[1].callback("new")
        self.assertEqual(self.successResultOf(second), "new")
        self.started[0].callback("unheard")

    def test_done_at_once(self) -> None:
        """Work that needs no waiting leaves nothing behind."""

        async def now() -> str:
            return "now"

        async def fail() -> str:
            raise ZeroDivisionError

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.flights.join("k", now))), "now")
        self.failureResultOf(Deferred.fromCoroutine(self.flights.join("k", fail)), ZeroDivisionError)
        self.assertNotIn("k", self.flights)

    def test_started_from_a_waiter(self) -> None:
        """Who starts it again from its own answer gets a new flight."""
        again: list[Deferred[str]] = []
        first = self.join()
        first.addCallback(lambda _: again.append(self.join()))
        self.started[0].callback("here")
        self.assertEqual(len(self.started), 2)
        self.assertNoResult(again[0])

    def test_a_waiter_sends_others_away(self) -> None:
        """One that closes the socket of another on hearing it disturbs nobody else."""
        for fail in (False, True):
            waiters = [self.join() for _ in range(3)]
            waiters[0].addBoth(lambda _, second=waiters[1]: second.cancel())
            waiters[1].addErrback(lambda failure: failure.trap(CancelledError) and None)
            if fail:
                self.started[-1].errback(ZeroDivisionError())
                self.failureResultOf(waiters[2], ZeroDivisionError)
            else:
                self.started[-1].callback("here")
                self.assertEqual(self.successResultOf(waiters[2]), "here")


class Spacing(SynchronousTestCase):
    """``delays`` and ``Rate``."""

    def test_delays(self) -> None:
        """Full jitter below a ceiling that doubles, up to the most."""

        class Highest(random.Random):
            def uniform(self, a: float, b: float) -> float:
                assert a == 0
                return b

        self.assertEqual(
            list(islice(delays(Highest(), first=1, most=10), 7)), [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
        )
        some = list(islice(delays(random.Random(1)), 50))
        self.assertTrue(all(0 <= delay <= 32 for delay in some))
        self.assertGreater(len(set(some)), 40)

    def test_rate(self) -> None:
        rate = Rate(2, 3, 100.0)
        self.assertTrue(rate.full)
        self.assertEqual([rate.take(100.0) for _ in range(4)], [0, 0, 0, 0.5])
        self.assertFalse(rate.full)
        self.assertEqual(rate.take(100.25), 0.25)
        self.assertEqual(rate.take(100.5), 0)
        self.assertEqual(rate.take(1000), 0)
        self.assertEqual([rate.take(1000) for _ in range(3)], [0, 0, 0.5])

    def test_rate_when_the_clock_jumps_back(self) -> None:
        """Nobody is locked out until the clock is where it was."""
        rate = Rate(1, 1, 1000.0)
        rate.take(1000.0)
        self.assertEqual(rate.take(0.0), 1.0)
        self.assertEqual(rate.take(1.0), 0)

    @given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 10), min_size=1, max_size=100))
    def test_rate_never_gives_more(self, per_second: float, burst: int, waits: list[float]) -> None:
        """In any stretch of time: the burst, and the rate times its length."""
        rate, now, taken = Rate(per_second, burst, 0.0), 0.0, 0
        for wait in waits:
            now += wait
            taken += rate.take(now) == 0
        self.assertLessEqual(taken, burst + now * per_second + 1e-6)

    @given(st.floats(0.1, 100), st.integers(1, 5))
    def test_rate_says_when(self, per_second: float, burst: int) -> None:
        rate, now = Rate(per_second, burst, 0.0), 0.0
        for _ in range(20):
            wait = rate.take(now)
            now += wait + 1e-9
            if wait:
                self.assertEqual(rate.take(now), 0)


class SeldomTests(SynchronousTestCase):
    def test_once_in_so_many_seconds_with_a_count_of_the_rest(self) -> None:
        seldom = Seldom(60)
        self.assertEqual([seldom.take("a", now) for now in (0, 1, 59)], [0, None, None])
        self.assertEqual(seldom.take("b", 59), 0)
        self.assertEqual([seldom.take("a", now) for now in (60, 61, 120)], [2, None, 1])


class AlarmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rung: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.rung.append(self.clock.seconds()))

    def test_rings_once_at_the_earliest_time(self) -> None:
        for when in (5, 3, 4):
            self.alarm.by(when)
        self.clock.pump([1] * 10)
        self.assertEqual(self.rung, [3])
        self.alarm.by(2)
        self.clock.advance(0)
        self.assertEqual(self.rung, [3, 10])

    def test_put_off_it_does_not_ring_until_it_is_set_again(self) -> None:
        self.alarm.off()
        self.alarm.by(3)
        self.alarm.off()
        self.clock.advance(5)
        self.assertEqual((self.rung, self.clock.getDelayedCalls()), ([], []))
        self.alarm.by(7)
        self.clock.advance(2)
        self.assertEqual(self.rung, [7])


class BackgroundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.background = Background(Logger())
        self.first: Deferred[None] = Deferred()
        self.second: Deferred[None] = Deferred()
        self.ended: list[str] = []
        for name, wait in (("first", self.first), ("second", self.second)):
            self.background.spawn(self.work(name, wait))

    async def work(self, name: str, wait: Deferred[None]) -> None:
        try:
            await wait
            self.ended.append(name)
        except CancelledError:
            self.ended.append(f"{name} given up")
            raise

    def test_it_settles_when_the_last_has_ended(self) -> None:
        settled = Deferred.fromCoroutine(self.background.settle())
        self.second.callback(None)
        self.assertNoResult(settled)
        self.first.callback(None)
        self.successResultOf(settled)
        self.assertEqual(self.ended, ["second", "first"])

    def test_all_that_run_are_given_up(self) -> None:
        self.first.callback(None)
        self.background.cancel()
        self.assertEqual(self.ended, ["first", "second given up"])
        self.successResultOf(Deferred.fromCoroutine(self.background.settle()))


class PerKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.places = PerKey(lambda key: DeferredSemaphore(2 if key == "wide" else 1))

    def hold(self, key: str, until: Deferred[None]) -> tuple[list[str], Deferred[None]]:
        seen: list[str] = []

        async def work() -> None:
            async with self.places.held(key):
                seen.append(key)
                await until

        return seen, Deferred.fromCoroutine(work())

    def test_each_key_has_its_own_places(self) -> None:
        inside = [self.hold(key, Deferred()) for key in ("wide", "wide", "wide", "narrow", "narrow")]
        self.assertEqual([len(seen) for seen, _ in inside], [1, 1, 0, 1, 0])
        for _, work in inside:
            work.cancel()
            self.failureResultOf(work, CancelledError)

    def test_a_key_that_nobody_holds_or_waits_for_is_forgotten(self) -> None:
        first: Deferred[None] = Deferred()
        _, holder = self.hold("narrow", first)
        seen, waiter = self.hold("narrow", Deferred())
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.assertEqual((seen, list(self.places.in_use)), ([], ["narrow"]))
        first.callback(None)
        self.successResultOf(holder)
        self.assertEqual(self.places.in_use, {})


class Whistles(SynchronousTestCase):
    """What is waited for by name."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.whistle: Whistle[str] = Whistle(self.clock)

    def wait(self, name: str = "a", seconds: float = 5) -> Deferred[None]:
        return Deferred.fromCoroutine(self.whistle.wait(name, seconds))

    def test_wakes_all_who_wait_for_it(self) -> None:
        first, second, other = self.wait(), self.wait(), self.wait("b")
        self.assertTrue(self.whistle.blow("a"))
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertNoResult(other)
        self.assertFalse(self.whistle.blow("a"))
        self.clock.advance(5)
        self.successResultOf(other)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_gives_up_is_forgotten(self) -> None:
        first, second = self.wait(), self.wait()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertTrue(self.whistle.blow("a"))
        self.successResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waiting_again_at_once_is_waiting(self) -> None:
        again: list[Deferred[None]] = []
        for _ in range(2):
            self.wait().addCallback(lambda _: again.append(self.wait()))
        self.whistle.blow("a")
        self.assertEqual(len(again), 2)
        self.assertTrue(self.whistle.blow("a"))
        for waiting in again:
            self.successResultOf(waiting)
