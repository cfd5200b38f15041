"""Timers for what there are thousands of: one call of the clock turns them all.

Pings, timeouts and lingering need no precision, so what is due within a quarter of a second is due
together, and nothing is ever cancelled: whoever is asked and has nothing to do says so.
"""

from __future__ import annotations

import math
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.tasks import Alarm

__all__ = ["TICK", "Ticking", "Wheel"]

TICK = 0.25


class Ticking(Protocol):
    """Who waits for a time."""

    def due(self, now: float) -> float | None:
        """The time has come; returns when to be asked again, or None."""


class Wheel:
    """Asks each at the time it gave, at most :data:`TICK` seconds later."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._slots: dict[int, list[Ticking]] = {}
        self._alarm = Alarm(clock, self._turn)
        # The time of the last turn: as good as the clock's for whoever only wants to know roughly.
        self.now = clock.seconds()

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def at(self, when: float, what: Ticking) -> None:
        """Ask it then."""
        self._put(math.ceil(when / TICK), what)

    def after(self, seconds: float, what: Ticking) -> None:
        """Ask it in so many seconds."""
        self.at(self._clock.seconds() + seconds, what)

    def _put(self, slot: int, what: Ticking) -> None:
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = [what]
            self._alarm.by(slot * TICK)
        else:
            waiting.append(what)

    def _turn(self) -> None:
        now = self.now = self._clock.seconds()
        current = math.floor(now / TICK)
        for slot in sorted(slot for slot in self._slots if slot <= current):
            for what in self._slots.pop(slot):
                try:
                    again = what.due(now)
                except Exception:  # one bad thing must not stop the wheel for all others
                    self._log.failure("a timer failed on a bug of ours")
                    continue
                if again is not None:
                    self._put(max(math.ceil(again / TICK), current + 1), what)
        if self._slots:
            self._alarm.by(min(self._slots) * TICK)
