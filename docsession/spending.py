"""What was spent today, kept in the store, so that a restart does not begin the day anew."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession.errors import Unavailable
from docsession.google.budget import Budget
from docsession.interfaces import Store
from docsession.tasks import Background

__all__ = ["Spending"]

# What a kill may forget is what was spent in so long.
EVERY = 60.0


class Spending(Service):
    """Brings back what was spent of the day, and writes it down once a minute and at the end."""

    _log = Logger()

    def __init__(self, store: Store, budget: Budget, clock: IReactorTime) -> None:
        self._store = store
        self._budget = budget
        self._loop = LoopingCall(lambda: self._work.spawn(self._save()))
        self._loop.clock = clock
        self._work = Background(self._log)
        self._saved = -1

    def startService(self) -> None:
        Service.startService(self)
        self._work.spawn(self._load())
        self._loop.start(EVERY, now=False)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._work.settle()
        await self._save()

    async def _load(self) -> None:
        try:
            self._budget.spent_before(await self._store.load_spent(self._budget.today))
        except Unavailable:
            self._log.warn("what was spent of the day's quota could not be read: the store is away")

    async def _save(self) -> None:
        spent = self._budget.spent_today
        if spent == self._saved:
            return
        try:
            await self._store.save_spent(self._budget.today, spent)
            self._saved = spent
        except Unavailable:
            self._log.debug("what was spent of the day's quota could not be stored")
