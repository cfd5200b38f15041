"""What was spent today, kept in the store, so that a restart does not begin the day anew.

Each node stores its own count under its own name, over and over, and adds up those of all others:
of one name only its owner writes, so nothing is counted twice, whoever dies when.
"""

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
    """Brings back what was spent of the day, and writes it down once a minute and at the end.

    ``node`` is this process among those that use the store.
    """

    _log = Logger()

    def __init__(self, store: Store, budget: Budget, clock: IReactorTime, *, node: str) -> None:
        self._store = store
        self._budget = budget
        self._node = node
        self._loop = LoopingCall(lambda: self._work.spawn(self._round()))
        self._loop.clock = clock
        self._work = Background(self._log)
        # What is stored in our name, of which day; None until that is known.
        self._saved: tuple[str, int] | None = None

    def startService(self) -> None:
        Service.startService(self)
        self._work.spawn(self._round())
        self._loop.start(EVERY, now=False)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._work.settle()
        await self._round()

    async def _round(self) -> None:
        try:
            await self._load()
            await self._save()
        except Unavailable:
            self._log.warn("what was spent of the day's quota could not be kept: the store is away")

    async def _load(self) -> None:
        """What all others have spent; and at first what we had, if we had this name before."""
        day = self._budget.today
        spent = dict(await self._store.load_spent(day))
        here = spent.pop(self._node, 0)
        self._budget.spent_before(day, 0 if self._saved else here, sum(spent.values()))
        self._saved = self._saved or (day, here)

    async def _save(self) -> None:
        now = self._budget.spent_here()
        if now != self._saved and now[1]:
            await self._store.save_spent(now[0], self._node, now[1])
            self._saved = now
