"""What is due when."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.schedule import Schedule


class ScheduleTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.started: list[tuple[Hashable, float]] = []
        self.then: Callable[[Hashable], Any] = lambda what: None
        self.schedule = Schedule(self.clock, self.start)
        self.schedule.startService()

    def start(self, what: Hashable) -> None:
        self.started.append((what, self.clock.seconds() - 1000))
        self.then(what)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(1)

    def names(self) -> list[Hashable]:
        return [what for what, _ in self.started]


class Due(ScheduleTestCase):
    def test_once_at_its_time(self) -> None:
        """Never early, at most a tick late, and once."""
        self.schedule.at("a", 1002.5)
        self.assertEqual(self.schedule.due("a"), 1002.5)
        self.tick(10)
        self.assertEqual(self.started, [("a", 3)])
        self.assertIsNone(self.schedule.due("a"))
        self.assertEqual(len(self.schedule), 0)

    def test_in_order(self) -> None:
        for what, when in (("c", 1003), ("a", 1001), ("b", 1002), ("past", 5)):
            self.schedule.at(what, when)
        self.clock.advance(10)
        self.assertEqual(self.names(), ["past", "a", "b", "c"])

    def test_moved(self) -> None:
        """A thing has one due time: the last that was said, later or earlier."""
        self.schedule.at("a", 1001)
        self.schedule.at("a", 1005)
        self.schedule.at("b", 1005)
        self.schedule.at("b", 1001)
        self.assertEqual(len(self.schedule), 2)
        self.tick(10)
        self.assertEqual(self.started, [("b", 1), ("a", 5)])

    def test_by(self) -> None:
        """Earlier, never later."""
        self.schedule.by("a", 1005)
        self.schedule.by("a", 1007)
        self.assertEqual(self.schedule.due("a"), 1005)
        self.schedule.by("a", 1002)
        self.assertEqual(self.schedule.due("a"), 1002)
        self.tick(10)
        self.assertEqual(self.started, [("a", 2)])

    def test_dropped(self) -> None:
        self.schedule.at("a", 1001)
        self.schedule.drop("a")
        self.schedule.drop("unknown")
        self.tick(3)
        self.assertEqual(self.started, [])
        self.schedule.at("a", 1005)
        self.tick(3)
        self.assertEqual(self.names(), ["a"])

    def test_things_that_cannot_be_compared(self) -> None:
        for what in ("a", ("b", 1), 3, object()):
            self.schedule.at(what, 1001)
        self.tick(2)
        self.assertEqual(len(self.started), 4)

    def test_clock_that_jumps(self) -> None:
        """After a laptop's sleep each is started once."""
        for number in range(5):
            self.schedule.at(number, 1001 + number)
        self.clock.advance(8 * 3600)
        self.assertEqual(sorted(self.names()), [0, 1, 2, 3, 4])  # type: ignore[type-var]


class WhileStarting(ScheduleTestCase):
    """What is started may change the schedule."""

    def test_again(self) -> None:
        """The ordinary case: looked at, and due again in a while."""
        self.then = lambda what: self.schedule.at(what, self.clock.seconds() + 5)
        self.schedule.at("a", 1001)
        self.tick(12)
        self.assertEqual(self.started, [("a", 1), ("a", 6), ("a", 11)])

    def test_again_at_once(self) -> None:
        """What is always due is started once a tick, and holds up nothing."""
        self.then = lambda what: len(self.started) < 50 and self.schedule.at(what, 0)
        self.schedule.at("greedy", 1001)
        self.schedule.at("patient", 1001)
        self.tick()
        self.assertEqual(self.names(), ["greedy", "patient"])
        self.tick()
        self.assertEqual(self.names(), ["greedy", "patient"] * 2)

    def test_dropping_another(self) -> None:
        """What another dropped in the same tick is not started."""
        self.then = lambda what: self.schedule.drop("b")
        self.schedule.at("a", 1001)
        self.schedule.at("b", 1001)
        self.tick(3)
        self.assertEqual(self.names(), ["a"])

    def test_moving_another(self) -> None:
        def move(what: Hashable) -> None:
            if what == "a":
                self.schedule.at("b", 1004)

        self.then = move
        self.schedule.at("a", 1001)
        self.schedule.at("b", 1001)
        self.tick(5)
        self.assertEqual(self.started, [("a", 1), ("b", 4)])

    def test_bug(self) -> None:
        """One bad thing stops neither the others nor the loop."""

        def fail(what: Hashable) -> None:
            if what == "bad":
                raise ZeroDivisionError

        self.then = fail
        for what in ("a", "bad", "c"):
            self.schedule.at(what, 1001)
        self.tick()
        self.assertEqual(self.names(), ["a", "bad", "c"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.schedule.at("d", 1002)
        self.tick()
        self.assertEqual(self.names()[-1], "d")


class Running(ScheduleTestCase):
    def test_stopped(self) -> None:
        self.schedule.at("a", 1001)
        self.schedule.stopService()
        self.tick(5)
        self.assertEqual(self.started, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.schedule.stopService()

    def test_started_again(self) -> None:
        self.schedule.stopService()
        self.schedule.at("a", 1001)
        self.schedule.startService()
        self.tick(2)
        self.assertEqual(self.names(), ["a"])

    def test_bounded(self) -> None:
        """Things that are moved again and again do not make the heap grow."""
        for number in range(10):
            self.schedule.at(f"quiet{number}", 1020 - number)
        for number in range(10_000):
            self.schedule.at("restless", 2000 - number % 1000)
            self.assertLess(len(self.schedule._heap), 200)
        self.assertEqual(len(self.schedule), 11)
        self.tick(10)
        self.assertEqual(self.started, [("restless", 1)])
        self.tick(11)
        self.assertEqual(self.started[1:], [(f"quiet{number}", 20 - number) for number in range(9, -1, -1)])

    def test_dropped(self) -> None:
        """Nor do things that are not due any more stay in it."""
        for number in range(10_000):
            self.schedule.at(number, 5000)
        for number in range(10_000):
            self.schedule.drop(number)
        self.assertLessEqual(len(self.schedule._heap), 64)

    @given(
        st.lists(
            st.tuples(st.sampled_from(["at", "by", "drop", "tick"]), st.integers(0, 5), st.integers(0, 30)),
            max_size=300,
        )
    )
    def test_like_a_dictionary(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is said, it starts what a plain dictionary of due times would."""
        self.setUp()
        plain: dict[int, float] = {}
        expected: list[int] = []
        for step, what, when in steps:
            moment = self.clock.seconds() + when
            if step == "at":
                self.schedule.at(what, moment)
                plain[what] = moment
            elif step == "by":
                self.schedule.by(what, moment)
                plain[what] = min(moment, plain.get(what, moment))
            elif step == "drop":
                self.schedule.drop(what)
                plain.pop(what, None)
            else:
                self.tick()
                due = [what for what, when in plain.items() if when <= self.clock.seconds()]
                expected.extend(sorted(due, key=lambda what: plain[what]))
                for what in due:
                    del plain[what]
            self.assertEqual(len(self.schedule), len(plain))
        self.assertEqual(sorted(self.names()), sorted(expected))  # type: ignore[type-var]
        self.assertEqual({what: self.schedule.due(what) for what in plain}, plain)
