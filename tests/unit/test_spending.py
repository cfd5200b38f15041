"""What was spent of the day, across restarts."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Quota
from docsession.errors import Unavailable
from docsession.google.budget import Budget, next_midnight
from docsession.spending import Spending
from tests.unit.google import clock
from tests.unit.shares import Parts


class FakeStore:
    def __init__(self) -> None:
        self.spent: dict[tuple[str, str], int] = {}
        self.away = False

    async def load_spent(self, day: str) -> dict[str, int]:
        if self.away:
            raise Unavailable
        return {node: units for (when, node), units in self.spent.items() if when == day}

    async def save_spent(self, day: str, node: str, units: int) -> None:
        if self.away:
            raise Unavailable
        self.spent[day, node] = units


class SpendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.store = FakeStore()
        self.shares = Parts()
        self.started = 0

    def start(self, node: str | None = None) -> tuple[Budget, Spending]:
        self.started += 1
        budget = Budget(self.clock, Quota(), self.shares)
        spending = Spending(
            self.store,  # type: ignore[arg-type]
            budget,
            self.clock,
            node=node or f"start {self.started}",
        )
        spending.startService()
        return budget, spending

    def stop(self, spending: Spending) -> None:
        self.assertIsInstance(stopped := spending.stopService(), Deferred)
        self.successResultOf(stopped)

    def test_a_restart_goes_on_with_the_day(self) -> None:
        budget, spending = self.start()
        budget.spend("ann", 200, poll=True)
        self.stop(spending)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        budget, spending = self.start()
        self.assertEqual(budget.spent_by_all, 200)
        budget.spend("ann", 50, poll=True)
        self.clock.advance(60)
        budget, _ = self.start()  # the other one was killed
        self.assertEqual(budget.spent_by_all, 250)

    def test_another_day_is_another(self) -> None:
        budget, spending = self.start()
        budget.spend("ann", 200, poll=True)
        self.stop(spending)
        self.clock.advance(next_midnight(self.clock.seconds()) - self.clock.seconds())
        self.assertEqual(self.start()[0].spent_by_all, 0)

    def test_without_the_store_it_goes_on(self) -> None:
        self.store.away = True
        budget, spending = self.start()
        budget.spend("ann", 200, poll=True)
        self.clock.advance(60)
        self.store.away = False
        self.clock.advance(60)
        self.assertEqual(list(self.store.spent.values()), [200])
        self.store.away = True
        self.stop(spending)

    def test_what_is_stored_already_is_not_stored_again(self) -> None:
        budget, spending = self.start()
        budget.spend("ann", 200, poll=True)
        self.clock.advance(60)
        self.store.spent.clear()
        self.clock.advance(600)
        self.assertEqual(self.store.spent, {})
        self.stop(spending)

    def test_nodes_add_up_and_nothing_counts_twice(self) -> None:
        one, first = self.start("one")
        two, second = self.start("two")
        one.spend("ann", 200, poll=True)
        two.spend("ann", 30, poll=True)
        self.clock.advance(60)
        self.clock.advance(60)
        self.assertEqual((one.spent_by_all, two.spent_by_all), (230, 230))
        self.shares.elsewhere = 30  # one hears of two in another way as well
        self.assertEqual(one.spent_by_all, 230)
        self.shares.elsewhere = 45  # and sooner
        self.assertEqual(one.spent_by_all, 245)
        self.shares.elsewhere = 0
        self.stop(second)
        three, _ = self.start("three")
        self.assertEqual(three.spent_by_all, 230)
        self.stop(first)

    def test_a_name_that_comes_again_goes_on_with_its_count(self) -> None:
        budget, spending = self.start("one")
        budget.spend("ann", 200, poll=True)
        self.stop(spending)
        budget, spending = self.start("one")
        budget.spend("ann", 5, poll=True)
        self.clock.advance(60)
        self.assertEqual((budget.spent_by_all, list(self.store.spent.values())), (205, [205]))
        self.stop(spending)

    def test_what_could_not_be_read_is_read_later(self) -> None:
        budget, spending = self.start()
        budget.spend("ann", 200, poll=True)
        self.stop(spending)
        self.store.away = True
        budget, spending = self.start()
        budget.spend("ann", 7, poll=True)
        self.store.away = False
        self.clock.advance(60)
        self.assertEqual(budget.spent_by_all, 207)
        self.stop(spending)

    def test_midnight_begins_anew_for_all(self) -> None:
        budget, spending = self.start()
        self.store.spent[budget.today, "another"] = 90
        budget.spend("ann", 200, poll=True)
        self.clock.advance(60)
        self.assertEqual(budget.spent_by_all, 290)
        self.clock.advance(next_midnight(self.clock.seconds()) - self.clock.seconds())
        self.clock.advance(60)
        self.assertEqual(budget.spent_by_all, 0)
        self.assertNotIn((budget.today, "start 1"), self.store.spent)
        self.stop(spending)
