"""What may be spent at Google, by minute, user and day."""

from __future__ import annotations

import random
from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Quota
from docsession.google.budget import Budget, Window, next_midnight
from tests.unit.google import clock
from tests.unit.shares import Parts

PACIFIC = ZoneInfo("America/Los_Angeles")


def most_in_a_minute(spent: list[tuple[float, int]]) -> int:
    """The highest sum in any sixty seconds."""
    return max(
        sum(cost for at, cost in spent if start < at <= start + 60) for start in {t - 60 for t, _ in spent}
    )


class Windows(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from([1, 5, 50, 100])), min_size=1, max_size=80))
    def test_no_sixty_seconds_hold_more_than_the_most(self, asked: list[tuple[float, int]]) -> None:
        window, now, spent = Window(), 1000.0, []
        for gap, cost in asked:
            now += gap
            while wait := window.wait(now, cost, 200):
                now += wait
            window.add(now, cost)
            spent.append((now, cost))
        self.assertLessEqual(most_in_a_minute(spent), 200)

    def test_it_waits_no_longer_than_it_must(self) -> None:
        window = Window()
        window.add(1000.5, 150)
        window.add(1030.0, 50)
        self.assertEqual(window.wait(1040.0, 1, 200), 1061.0 - 1040.0)
        self.assertEqual(window.wait(1061.0, 150, 200), 0)
        self.assertEqual(window.wait(1061.0, 151, 200), 1091.0 - 1061.0)

    def test_what_never_fits_goes_alone(self) -> None:
        window = Window()
        self.assertEqual(window.wait(0.0, 500, 200), 0)
        window.add(0.0, 500)
        self.assertGreater(window.wait(30.0, 1, 200), 0)


class Budgets(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.shares = Parts()

    def budget(self, **quota: object) -> Budget:
        numbers = {"per_project_per_minute": 6000, "per_user_per_minute": 1000, "per_day": 0} | quota
        return Budget(self.clock, Quota(**numbers), self.shares)  # type: ignore[arg-type]

    def spend_all(self, budget: Budget, user: str, units: int, *, poll: bool, seconds: int) -> int:
        """Whatever is let through in so many seconds; returns how many requests."""
        done = 0
        for _ in range(seconds * 10):
            while not budget.project_wait(units, poll=poll) and not budget.user_wait(user, units, poll=poll):
                budget.spend(user, units, poll=poll)
                done += 1
            self.clock.advance(0.1)
        return done

    def test_the_ceiling_holds_from_the_first_request_on(self) -> None:
        budget = self.budget(per_user_per_minute=100_000)
        self.assertEqual(self.spend_all(budget, "ann", 5, poll=False, seconds=59) * 5, 4800)

    def test_a_users_own_ceiling(self) -> None:
        budget = self.budget()
        self.assertEqual(self.spend_all(budget, "ann", 5, poll=False, seconds=59) * 5, 800)
        self.assertEqual(budget.user_wait("bob", 5, poll=False), 0)

    def test_polls_go_at_an_even_pace_and_leave_a_quarter(self) -> None:
        budget = self.budget(per_user_per_minute=100_000)
        first = self.spend_all(budget, "ann", 5, poll=True, seconds=10) * 5
        second = self.spend_all(budget, "ann", 5, poll=True, seconds=10) * 5
        rest = self.spend_all(budget, "ann", 5, poll=True, seconds=38) * 5
        self.assertEqual(budget.poll_rate(), 60)
        self.assertApproximates(first, 600 + 120, 10)
        self.assertApproximates(second, 600, 10)
        self.assertLessEqual(first + second + rest, 3600)
        self.assertEqual(budget.project_wait(5, poll=False), 0)

    def test_queries_cost_one_each(self) -> None:
        budget = self.budget(model="queries", per_project_per_minute=100, per_user_per_minute=100)
        self.assertEqual(self.spend_all(budget, "ann", 200, poll=False, seconds=59), 80)

    def test_a_days_budget_is_spent_as_a_rate(self) -> None:
        budget = self.budget(per_project_per_minute=10**9, per_day=10**6)
        until = next_midnight(self.clock.seconds()) - self.clock.seconds()
        self.assertAlmostEqual(budget.poll_rate(), 800_000 / until)
        self.clock.advance(until / 2)
        self.assertAlmostEqual(budget.poll_rate(), 2 * 800_000 / until)
        budget.spend("ann", 800_000, poll=True)
        self.assertEqual(budget.poll_rate(), 0)
        self.assertAlmostEqual(budget.project_wait(5, poll=True), until / 2)
        self.assertEqual(budget.project_wait(5, poll=False), 0)
        budget.spend("ann", 200_000, poll=False)
        self.assertAlmostEqual(budget.project_wait(5, poll=False), until / 2)
        self.clock.advance(until / 2)
        self.assertGreater(budget.poll_rate(), 0)
        self.assertEqual(budget.state()["spent_today"], 0)

    def test_told_to_slow_down_polls_take_less_and_little_by_little_more(self) -> None:
        budget = self.budget()
        budget.limited()
        budget.limited()
        self.assertAlmostEqual(budget.poll_rate(), 60 * 0.49)
        self.clock.advance(60)
        self.assertAlmostEqual(budget.poll_rate(), 60 * 0.59)
        self.clock.advance(600)
        self.assertEqual(budget.poll_rate(), 60)

    def test_users_who_spend_nothing_are_forgotten(self) -> None:
        budget = self.budget(per_project_per_minute=10**9)
        for number in range(100):
            budget.spend(f"user {number}", 5, poll=True)
        self.clock.advance(130)
        budget.spend("ann", 5, poll=True)
        self.assertEqual(len(budget._users), 1)

    def test_an_hour_that_jumps_harms_nothing(self) -> None:
        budget = self.budget(per_user_per_minute=100_000)
        self.spend_all(budget, "ann", 5, poll=True, seconds=5)
        self.clock.advance(3600)
        self.assertEqual(budget.project_wait(5, poll=True), 0)
        self.assertLessEqual(self.spend_all(budget, "ann", 5, poll=True, seconds=1) * 5, 60 + 120 + 5)

    def test_days_end_at_midnight_in_california(self) -> None:
        rng = random.Random(1)
        for _ in range(50):
            now = rng.uniform(1_760_000_000, 1_830_000_000)
            midnight = next_midnight(now)
            here = datetime.fromtimestamp(midnight, PACIFIC)
            self.assertEqual((here.hour, here.minute, here.second), (0, 0, 0))
            self.assertTrue(0 < midnight - now <= 25 * 3600)
        # The day that has 25 hours.
        noon = datetime(2026, 11, 1, 0, 30, tzinfo=PACIFIC).timestamp()
        self.assertEqual(next_midnight(noon) - noon, 24.5 * 3600)

    # -- shares

    def test_a_share_is_a_ceiling_of_its_own(self) -> None:
        budget = self.budget(per_user_per_minute=100_000)
        self.shares.most = 1200
        self.assertEqual(self.spend_all(budget, "ann", 5, poll=False, seconds=59) * 5, 1200)
        self.assertEqual((budget.share, budget.state()["share_per_minute"]), (1200, 1200))

    def test_where_the_share_is_full_the_wait_is_short_and_more_is_asked_for(self) -> None:
        budget = self.budget(per_user_per_minute=100_000)
        self.shares.most = 1200
        self.spend_all(budget, "ann", 5, poll=False, seconds=1)
        self.shares.hurried = 0
        self.assertEqual(budget.project_wait(5, poll=False), 1)
        self.assertEqual(self.shares.hurried, 1)
        self.shares.most = 1300
        self.assertEqual(budget.project_wait(5, poll=False), 0)
        self.shares.most = 4800
        self.spend_all(budget, "ann", 5, poll=False, seconds=1)
        self.assertGreater(budget.project_wait(5, poll=False), 50)  # of all there is

    def test_alone_it_fits_into_all_of_a_share_and_never_over_it(self) -> None:
        budget = self.budget()
        self.shares.most = 110
        self.assertEqual(budget.project_wait(100, poll=True), 0)
        self.shares.most = 99
        self.assertEqual(budget.project_wait(100, poll=True), 1)
        self.assertEqual(budget.project_wait(100, poll=False), 1)

    def test_a_users_share(self) -> None:
        budget = self.budget()
        self.shares.users["ann"] = 400
        self.assertEqual(self.spend_all(budget, "ann", 5, poll=False, seconds=59) * 5, 400)
        self.assertEqual(budget.user_wait("ann", 5, poll=False), 1)
        self.assertEqual(budget.user_wait("bob", 5, poll=False), 0)
        self.shares.users["bob"] = 3
        self.assertEqual(budget.user_wait("bob", 5, poll=False), 1)

    def test_polls_take_their_part_of_the_pace(self) -> None:
        budget = self.budget(per_user_per_minute=100_000)
        self.shares.polls = 0.25
        self.assertEqual(budget.poll_rate(), 15)
        self.shares.most = 600
        self.assertEqual(budget.poll_rate(), 600 * 0.75 / 60)
        self.shares.most = None
        self.spend_all(budget, "ann", 5, poll=True, seconds=10)
        self.assertApproximates(self.spend_all(budget, "ann", 5, poll=True, seconds=40) * 5, 600, 10)

    def test_a_day_is_spent_by_all(self) -> None:
        budget = self.budget(per_project_per_minute=10**9, per_day=10**6)
        until = next_midnight(self.clock.seconds()) - self.clock.seconds()
        self.shares.elsewhere = 400_000
        self.shares.polls = 0.5
        self.assertAlmostEqual(budget.poll_rate(), 400_000 / until / 2)
        self.shares.elsewhere = 999_999
        self.assertAlmostEqual(budget.project_wait(5, poll=False), until)
        self.assertEqual(budget.state()["spent_today"], 999_999)

    def test_what_was_spent_in_the_last_minute(self) -> None:
        budget = self.budget()
        budget.spend("ann", 100, poll=True)
        self.clock.advance(30)
        budget.spend("bob", 5, poll=False)
        self.assertEqual(budget.spending(), (105, {"ann": 100, "bob": 5}))
        self.clock.advance(40)
        self.assertEqual(budget.spending(), (5, {"bob": 5}))

    def test_what_was_spent_of_the_day_here(self) -> None:
        budget = self.budget()
        budget.spend("ann", 100, poll=True)
        today, spent = budget.spent_here()
        self.assertEqual((today, spent), (budget.today, 100))
        self.clock.advance(next_midnight(self.clock.seconds()) - self.clock.seconds())
        self.assertEqual(budget.spent_here(), (budget.today, 0))
        self.assertNotEqual(budget.today, today)
