"""How fast channels are opened, and for how long none is, after Google said that it were too many."""

from __future__ import annotations

import random

from twisted.internet.interfaces import IReactorTime

__all__ = ["Pace"]

_BURST = 10
# After a refusal that concerns everybody: minutes, with full jitter under a doubling ceiling.
_LEAST, _FIRST, _MOST = 60.0, 120.0, 3600.0
AT_ONCE = 4


class Pace:
    """For all users of this process: so many a second, so many under way, and pauses."""

    def __init__(self, clock: IReactorTime, rng: random.Random, *, per_second: float) -> None:
        self._clock = clock
        self._rng = rng
        self._between = 1 / per_second
        self._next = float("-inf")  # when the line of those who have a time is through
        self._begun = float("-inf")
        self._until = float("-inf")
        self._ceiling = _FIRST
        self.under_way = 0

    def time(self) -> float:
        """When the next one may be opened: a time of its own for each that asks."""
        now = self._clock.seconds()
        earliest = max(now, self._until)
        # After a rest some may go at once; after a pause one goes first.
        rested = earliest - _BURST * self._between if earliest == now else earliest
        self._next = max(self._next, rested)
        start = max(earliest, self._next)
        self._next += self._between
        return start

    def may_start(self) -> bool:
        """Whether one whose time has come may really be opened."""
        return self.under_way < AT_ONCE and self._clock.seconds() >= self._until

    def refused(self, sent_at: float, *, least: float = 0.0) -> float:
        """Google refused one, and would refuse others; returns for how long none is opened.

        What was sent before the pause began says nothing new.
        """
        now = self._clock.seconds()
        if now >= self._until or sent_at >= self._begun:
            self._begun = now
            self._until = now + max(least, _LEAST) + self._rng.uniform(0, self._ceiling)
            self._ceiling = min(_MOST, self._ceiling * 2)
        self._until = max(self._until, now + least)
        return self._until - now

    def went_well(self) -> None:
        """One was opened: the next pause begins at the beginning."""
        self._ceiling = _FIRST
