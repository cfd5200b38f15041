"""What all that is planned would cost, and how far it must stretch."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from docsession.demand import Demand
from tests.unit.google import clock


class DemandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.rate = 100.0
        self.alone = False
        self.demand = Demand(self.clock, lambda: self.rate, alone=lambda: self.alone)

    def stretch(self) -> float:
        self.clock.advance(1)
        return self.demand.stretch

    def test_what_fits_is_not_stretched(self) -> None:
        self.assertEqual(self.stretch(), 1)
        for number in range(100):
            self.demand.plan(number, 5, 5)
        self.assertAlmostEqual(self.demand.planned, 100)
        self.assertEqual(self.stretch(), 1)

    def test_beyond_that_all_intervals_grow_alike(self) -> None:
        for number in range(300):
            self.demand.plan(number, 5, 5)
        self.assertAlmostEqual(self.stretch(), 3)
        for number in range(300):
            self.demand.plan(number, 5, 60)
        self.assertEqual(self.stretch(), 1)

    def test_what_is_dropped_costs_nothing(self) -> None:
        for number in range(300):
            self.demand.plan(number, 5, 5)
        for number in range(300):
            self.demand.drop(number)
            self.demand.drop(number)
            if number == 99:
                self.assertApproximates(self.demand.planned, 200, 0.001)
        self.assertEqual((self.demand.planned, self.stretch()), (0, 1))

    def test_what_was_not_planned_leaves_less_but_never_nothing(self) -> None:
        self.demand.plan("a", 100, 1)
        for _ in range(600):
            self.demand.unplanned(5)
            self.clock.advance(0.1)
        self.assertApproximates(self.stretch(), 100 / (100 - 50 * (1 - 1 / 2.718)), 0.1)
        self.demand.unplanned(10**9)
        self.assertAlmostEqual(self.stretch(), 4)
        self.clock.advance(3000)
        self.assertApproximates(self.stretch(), 1, 0.01)

    def test_with_nothing_to_spend_it_is_bounded(self) -> None:
        self.demand.plan("a", 5, 5)
        self.rate = 0.0
        self.assertEqual(self.stretch(), 1000)

    def test_alone_all_intervals_are_four_times_as_long(self) -> None:
        for number in range(200):
            self.demand.plan(number, 5, 5)
        self.alone = True
        self.assertAlmostEqual(self.stretch(), 8)
        self.assertAlmostEqual(self.demand.crowding, 2)
        self.assertAlmostEqual(self.demand.stretched(10, random.Random(1), 0), 80)
        self.alone = False
        self.assertAlmostEqual(self.demand.stretch, 2)

    def test_what_all_would_cost(self) -> None:
        self.demand.plan("a", 100, 10)
        self.demand.unplanned(600)
        self.assertAlmostEqual(self.demand.unstretched, 20)
