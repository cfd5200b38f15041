"""Time without jumps."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from docsession.steady import SteadyTime


class SteadyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall = 1_000_000.0
        self.elapsed = 50.0
        self.steady = SteadyTime(lambda: self.wall, lambda: self.elapsed)

    def pass_(self, seconds: float, *, drift: float = 0.0) -> float:
        """Returns how much steady time passed."""
        before = self.steady()
        for _ in range(int(seconds)):
            self.wall += 1 + drift
            self.elapsed += 1
            self.steady()
        return self.steady() - before

    def test_it_is_the_wall_clock(self) -> None:
        self.assertEqual(self.steady(), 1_000_000.0)
        self.assertApproximates(self.pass_(3600), 3600, 0.001)
        self.assertApproximates(self.steady(), self.wall, 0.001)

    def test_it_follows_a_clock_that_is_being_corrected(self) -> None:
        self.pass_(1000, drift=0.01)
        self.assertApproximates(self.steady(), self.wall, 0.1)

    def test_no_jump_is_felt(self) -> None:
        for jump in (3600.0, -3600.0):
            self.wall += jump
            self.assertApproximates(self.pass_(100), 100, 5.01)

    def test_it_never_goes_back_and_arrives_in_the_end(self) -> None:
        self.wall -= 3600
        last = self.steady()
        for _ in range(3600 * 20):
            self.wall += 1
            self.elapsed += 1
            now = self.steady()
            self.assertGreater(now, last)
            last = now
        self.assertApproximates(self.steady(), self.wall, 1.1)

    def test_timers_of_a_reactor_that_goes_by_it(self) -> None:
        """A look that is due in five seconds is made in five seconds, whatever the clock says."""
        reactor = MemoryReactorClock()
        reactor.seconds = self.steady  # type: ignore[method-assign]
        made: list[float] = []
        reactor.callLater(5, lambda: made.append(self.steady()))
        self.wall -= 3600
        for _ in range(6):
            self.wall += 1
            self.elapsed += 1
            reactor.advance(0)
        self.assertEqual(len(made), 1)
