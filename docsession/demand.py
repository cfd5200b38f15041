"""How much all planned polls would cost a second, and how far their intervals must stretch to fit.

When demand passes what polls may spend, all intervals stretch by one factor: whoever is looked at
often still is looked at more often than the rest, and nobody is left out. While nodes cannot reach
what they share, all of them do what else one would, and intervals stretch for that too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

__all__ = ["Allowance", "Demand"]

# What is not planned (hints, proofs, comments after a change) counts by what it lately cost.
_MEMORY = 60.0
# However much that is, planned looks keep this share of the rate.
_PLANNED_LEAST = 0.25
_MOST = 1000.0
# Where no node knows what the others do.
_ALONE = 4.0
# The factor is worked out anew this often.
_EVERY = 1.0


class Demand:
    """Planned costs by what they are for. Costs and ``rate`` are in what the quota counts.

    ``alone``: what nodes share cannot be reached, so each of them polls for what it watches.
    """

    def __init__(
        self,
        clock: IReactorTime,
        rate: Callable[[], float],
        *,
        alone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._rate = rate
        self._alone = alone
        self._planned: dict[Hashable, float] = {}
        self._total = 0.0
        self._extra = 0.0
        self._extra_at = clock.seconds()
        self._crowding = 1.0
        self._worked_out = float("-inf")

    def plan(self, what: Hashable, cost: float, interval: float) -> None:
        """This costs so much every so many seconds, if nothing is stretched."""
        per_second = cost / interval
        self._total += per_second - self._planned.get(what, 0.0)
        self._planned[what] = per_second

    def drop(self, what: Hashable) -> None:
        """Nothing is planned for this any more."""
        self._total -= self._planned.pop(what, 0.0)
        if not self._planned:
            self._total = 0.0  # and with it what rounding left

    def unplanned(self, cost: float) -> None:
        """A poll that stood in no plan is on its way."""
        self._extra = self._extra_now() + cost
        self._extra_at = self._clock.seconds()

    @property
    def planned(self) -> float:
        """What all plans cost a second, unstretched."""
        return self._total

    @property
    def unstretched(self) -> float:
        """What all polls would cost a second, those that stand in no plan too."""
        return self._total + self._extra_now() / _MEMORY

    @property
    def crowding(self) -> float:
        """By how much intervals are longer because all would not fit; 1 where it does."""
        now = self._clock.seconds()
        if not 0 <= now - self._worked_out < _EVERY:
            self._worked_out = now
            rate = self._rate()
            room = max(rate * _PLANNED_LEAST, rate - self._extra_now() / _MEMORY)
            self._crowding = min(_MOST, max(1.0, self._total / room if room > 0 else _MOST))
            if not self._total:
                self._crowding = 1.0
        return self._crowding

    @property
    def stretch(self) -> float:
        """By how much every interval is to be longer, for whatever reason."""
        return self.crowding * (_ALONE if self._alone() else 1.0)

    def stretched(self, interval: float, rng: random.Random, jitter: float) -> float:
        """The interval as it is to be now, give or take that part of it."""
        return interval * self.stretch * rng.uniform(1 - jitter, 1 + jitter)

    def _extra_now(self) -> float:
        past = max(0.0, self._clock.seconds() - self._extra_at)
        return self._extra * math.exp(-past / _MEMORY)


@dataclass(frozen=True)
class Allowance:
    """What polls may cost, and who can be polled for. ``cost`` turns quota units into what is
    counted; ``held_back`` and ``has_channel`` speak of a user: for how many seconds nothing can
    be polled in their name, and whether Google tells us of their changes."""

    demand: Demand
    cost: Callable[[int], int]
    held_back: Callable[[str], float] = lambda user_id: 0.0
    has_channel: Callable[[str], bool] = lambda user_id: False
