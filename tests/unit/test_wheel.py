"""Many timers, one call of the clock."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.wheel import TICK, Wheel

START = 1_795_000_000.1


class Sleeper:
    """Notes when it is asked, and says what a test tells it to."""

    def __init__(self, *again: float | None) -> None:
        self.asked: list[float] = []
        self.again = list(again)

    def due(self, now: float) -> float | None:
        self.asked.append(now)
        return self.again.pop(0) if self.again else None


class WheelTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.wheel = Wheel(self.clock)

    def run_for(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds / 0.1)):
            self.clock.advance(0.1)


class Times(WheelTestCase):
    def test_once(self) -> None:
        """It is asked at its time or up to a tick later, never before, and once."""
        sleeper = Sleeper()
        self.wheel.after(10, sleeper)
        self.clock.advance(9.99)
        self.assertEqual(sleeper.asked, [])
        self.clock.advance(0.01 + TICK)
        self.assertEqual(len(sleeper.asked), 1)
        self.run_for(60)
        self.assertEqual(len(sleeper.asked), 1)
        self.assertEqual((len(self.wheel), self.clock.getDelayedCalls()), (0, []))

    @given(st.lists(st.floats(0, 100), max_size=20))
    def test_each(self, delays: list[float]) -> None:
        """However many there are, each is asked at its own time, through one call of the clock."""
        self.setUp()
        sleepers = [Sleeper() for _ in delays]
        for sleeper, delay in zip(sleepers, delays, strict=True):
            self.wheel.after(delay, sleeper)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.run_for(102)
        for sleeper, delay in zip(sleepers, delays, strict=True):
            (asked,) = sleeper.asked
            self.assertTrue(START + delay - 1e-6 <= asked <= START + delay + TICK + 0.1, (delay, asked))

    def test_again(self) -> None:
        """Who names another time is asked again then."""
        sleeper = Sleeper(START + 20, START + 50)
        self.wheel.at(START + 10, sleeper)
        self.run_for(60)
        self.assertEqual([round(asked - START) for asked in sleeper.asked], [10, 20, 50])

    def test_past(self) -> None:
        """Who names a time that is past is asked at the next tick, and holds up nobody."""
        sleeper, other = Sleeper(0.0, 0.0, START), Sleeper()
        self.wheel.at(0, sleeper)
        self.wheel.after(0.5, other)
        self.clock.advance(0)
        self.assertEqual(len(sleeper.asked), 1)
        self.run_for(2)
        self.assertEqual((len(sleeper.asked), len(other.asked)), (4, 1))

    def test_sooner(self) -> None:
        """What is said later may be due sooner."""
        late, soon = Sleeper(), Sleeper()
        self.wheel.after(100, late)
        self.wheel.after(1, soon)
        self.run_for(2)
        self.assertEqual((len(late.asked), len(soon.asked)), (0, 1))

    def test_slept(self) -> None:
        """After the machine slept all that was due is asked, in order."""
        said: list[str] = []

        class Named(Sleeper):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.name = name

            def due(self, now: float) -> float | None:
                said.append(self.name)
                return None

        for name, delay in (("c", 30), ("a", 1), ("b", 2)):
            self.wheel.after(delay, Named(name))
        self.clock.advance(3600)
        self.assertEqual(said, ["a", "b", "c"])

    def test_now(self) -> None:
        """The time of the last turn is there for whoever only wants to know roughly."""
        self.wheel.after(5, Sleeper())
        self.clock.advance(6)
        self.assertEqual(self.wheel.now, START + 6)

    def test_bug(self) -> None:
        """One that fails is logged, and the others are asked all the same."""

        class Broken(Sleeper):
            def due(self, now: float) -> float | None:
                raise ZeroDivisionError

        sleeper = Sleeper()
        self.wheel.after(1, Broken())
        self.wheel.after(1, sleeper)
        self.run_for(2)
        self.assertEqual(len(sleeper.asked), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.wheel), 0)
