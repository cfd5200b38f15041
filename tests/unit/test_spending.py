"""What was spent of the day, across restarts."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Quota
from docsession.errors import Unavailable
from docsession.google.budget import Budget, next_midnight
from docsession.spending import Spending
from tests.unit.google import clock


class FakeStore:
    def __init__(self) -> None:
        self.spent: dict[str, int] = {}
        self.away = False

    async def load_spent(self, day: str) -> int:
        if self.away:
            raise Unavailable
        return self.spent.get(day, 0)

    async def save_spent(self, day: str, units: int) -> None:
        if self.away:
            raise Unavailable
        self.spent = {day: units}


class SpendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.store = FakeStore()

    def start(self) -> tuple[Budget, Spending]:
        budget = Budget(self.clock, Quota())
        spending = Spending(self.store, budget, self.clock)  # type: ignore[arg-type]
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
        self.assertEqual(budget.spent_today, 200)
        budget.spend("ann", 50, poll=True)
        self.clock.advance(60)
        budget, _ = self.start()  # the other one was killed
        self.assertEqual(budget.spent_today, 250)

    def test_another_day_is_another(self) -> None:
        budget, spending = self.start()
        budget.spend("ann", 200, poll=True)
        self.stop(spending)
        self.clock.advance(next_midnight(self.clock.seconds()) - self.clock.seconds())
        self.assertEqual(self.start()[0].spent_today, 0)

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
