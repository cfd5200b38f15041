"""What is due when: one heap, and one LoopingCall of a constant second that starts it.

(A LoopingCall whose interval is moved aligns to its start and fires up to twice as often, so
there is one that never moves, and the due times do.)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Schedule"]

TICK = 1.0


class Schedule(Service):
    """Calls ``start(what)`` once for each thing that is due. A thing has one due time."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, start: Callable[[Hashable], None]) -> None:
        self._clock = clock
        self._start = start
        self._due: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._count = 0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._ended: Deferred[Any] | None = None

    def __len__(self) -> int:
        return len(self._due)

    def due(self, what: Hashable) -> float | None:
        """When, if it is scheduled."""
        return self._due.get(what)

    def at(self, what: Hashable, when: float) -> None:
        """Due then, and at no other time."""
        self._due[what] = when
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, what))
        self._sift()

    def by(self, what: Hashable, when: float) -> None:
        """Due then at the latest."""
        if when < self._due.get(what, float("inf")):
            self.at(what, when)

    def drop(self, what: Hashable) -> None:
        """Not due at all any more."""
        if self._due.pop(what, None) is not None:
            self._sift()

    def startService(self) -> None:
        Service.startService(self)
        self._ended = self._loop.start(TICK, now=False)

    def stopService(self) -> None:
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def _sift(self) -> None:
        """Entries that were moved or dropped stay in the heap until they surface, or are too many."""
        if len(self._heap) > 64 + 2 * len(self._due):
            self._heap = [(when, number, what) for number, (what, when) in enumerate(self._due.items())]
            self._count = len(self._heap)
            heapq.heapify(self._heap)

    def _tick(self) -> None:
        now = self._clock.seconds()
        # Taken out first: what a start makes due at once waits for the next tick, or one thing
        # that is always due would hold up everything.
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap))
        for when, _, what in due:
            if self._due.get(what) != when:
                continue  # moved or dropped
            del self._due[what]
            try:
                self._start(what)
            except Exception:  # one bad thing must not stop the loop for all others
                self._log.failure("starting something that was due failed")
