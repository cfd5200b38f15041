"""What may be spent at Google: quota units (or queries) a minute and a day, below a ceiling.

The ceiling holds from the first request on; backing off (:mod:`docsession.google.pauses`) is the
second line. Polls may spend three quarters of it, at an even pace, so that what a person waits
for finds room whenever it comes. A day's budget is spent as a rate: what is left of it by the
time to midnight in California, where Google's days end.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from twisted.internet.interfaces import IReactorTime

from docsession.config import Quota

__all__ = ["Budget", "next_midnight"]

_MINUTE = 60
_PACIFIC = ZoneInfo("America/Los_Angeles")
# Of what the ceiling leaves, polls take this much at most.
POLLS = 0.75
# So many seconds' worth of polls may go at once; and always one listing.
_BURST_SECONDS = 2.0
_BURST_LEAST = 100.0
# Told to slow down in spite of it all, we believe that the quota is smaller than configured;
# and little by little try again.
_LESS, _LEAST, _MORE_A_MINUTE = 0.7, 0.1, 0.1


class Window:
    """What was spent in the last minute, kept by the second."""

    __slots__ = ("_slots", "spent")

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque()  # [second, spent]
        self.spent = 0

    def expire(self, now: float) -> int:
        """What is still to be counted. A second counts until its last moment is a minute old."""
        slots, oldest = self._slots, int(now) - _MINUTE
        while slots and slots[0][0] < oldest:
            self.spent -= slots.popleft()[1]
        return self.spent

    def add(self, now: float, cost: int) -> None:
        second = int(now)
        if self._slots and self._slots[-1][0] >= second:
            self._slots[-1][1] += cost
        else:
            self._slots.append([second, cost])
        self.spent += cost

    def wait(self, now: float, cost: int, most: float) -> float:
        """Seconds until so much more fits under ``most``; 0: now. Alone, anything fits."""
        over = self.expire(now) + cost - most
        if over <= 0 or not self.spent:
            return 0.0
        free_at = now
        for second, spent in self._slots:
            free_at = second + _MINUTE + 1
            over -= spent
            if over <= 0:
                break
        return max(0.001, free_at - now)


class Budget:
    """One for all users of this process; ``units`` are always Google's, whatever is counted."""

    def __init__(self, clock: IReactorTime, quota: Quota) -> None:
        self._clock = clock
        self._quota = quota
        self._project = Window()
        self._users: dict[str, Window] = {}
        self._tidied = 0.0
        self._most = quota.per_project_per_minute * quota.ceiling
        self._most_of_user = quota.per_user_per_minute * quota.ceiling
        self._midnight = next_midnight(clock.seconds())
        self._throttle = 1.0
        self._throttled_at = 0.0
        self.spent_today = 0
        self._level = self._burst()
        self._paced_at = clock.seconds()

    def cost(self, units: int) -> int:
        """What a request of so many units is counted as."""
        return units if self._quota.model == "units" else 1

    # -- may it be sent?

    def project_wait(self, units: int, *, poll: bool) -> float:
        """Seconds until the project has room for this request."""
        now, cost = self._clock.seconds(), self.cost(units)
        if not poll:
            return max(self._project.wait(now, cost, self._most), self._day_wait(now, cost, 1.0))
        wait = self._project.wait(now, cost, self._most * POLLS)
        return max(wait, self._pace_wait(now), self._day_wait(now, cost, self._quota.ceiling))

    def user_wait(self, user_id: str, units: int, *, poll: bool) -> float:
        """Seconds until this user's own quota has room for it."""
        own = self._users.get(user_id)
        if own is None:
            return 0.0
        most = self._most_of_user * (POLLS if poll else 1.0)
        return own.wait(self._clock.seconds(), self.cost(units), most)

    def spend(self, user_id: str, units: int, *, poll: bool) -> None:
        """It is being sent."""
        now, cost = self._clock.seconds(), self.cost(units)
        self._tidy(now)
        self._users.setdefault(user_id, Window()).add(now, cost)
        self._project.expire(now)
        self._project.add(now, cost)
        if poll:
            self._pace(now)
            self._level -= cost
        self._new_day(now)
        self.spent_today += cost

    def limited(self) -> None:
        """Google refused for the whole project's rate, though we stayed below the ceiling."""
        now = self._clock.seconds()
        self._throttle = max(_LEAST, self._throttled(now) * _LESS)
        self._throttled_at = now

    @property
    def today(self) -> str:
        """The day it is in California, as ``2026-11-25``."""
        return datetime.fromtimestamp(self._clock.seconds(), _PACIFIC).date().isoformat()

    def spent_before(self, units: int) -> None:
        """So much was spent today before this process began."""
        self.spent_today += units

    # -- how much polls may spend

    def poll_rate(self) -> float:
        """What polls may spend a second, from now on, in what is counted."""
        now = self._clock.seconds()
        rate = self._most * POLLS / _MINUTE
        if self._quota.per_day:
            self._new_day(now)
            left = self._quota.per_day * self._quota.ceiling - self.spent_today
            rate = min(rate, max(0.0, left) / max(_MINUTE, self._midnight - now))
        return rate * self._throttled(now)

    def state(self) -> dict[str, Any]:
        """For ``session.status`` and metrics: what of how much, in what is counted."""
        now = self._clock.seconds()
        self._new_day(now)
        return {
            "model": self._quota.model,
            "spent_last_minute": self._project.expire(now),
            "ceiling_per_minute": int(self._most),
            "spent_today": self.spent_today,
            "per_day": self._quota.per_day or None,
        }

    # -- inside

    def _throttled(self, now: float) -> float:
        since = max(0.0, now - self._throttled_at)
        return min(1.0, self._throttle + since / _MINUTE * _MORE_A_MINUTE)

    def _burst(self) -> float:
        least = _BURST_LEAST if self._quota.model == "units" else 1.0
        return max(least, self.poll_rate() * _BURST_SECONDS)

    def _pace(self, now: float) -> None:
        gained = max(0.0, now - self._paced_at) * self.poll_rate()
        self._level = min(self._burst(), self._level + gained)
        self._paced_at = now

    def _pace_wait(self, now: float) -> float:
        self._pace(now)
        if self._level >= 0:
            return 0.0
        # By the hour at the longest, for a rate of nothing.
        return min(3600.0, -self._level / max(self.poll_rate(), 1e-9)) + 0.001

    def _day_wait(self, now: float, cost: int, share: float) -> float:
        if not self._quota.per_day:
            return 0.0
        self._new_day(now)
        over = self.spent_today + cost > self._quota.per_day * share
        return self._midnight - now if over else 0.0

    def _new_day(self, now: float) -> None:
        if now >= self._midnight:
            self._midnight = next_midnight(now)
            self.spent_today = 0

    def _tidy(self, now: float) -> None:
        """Once a minute, forget users who spent nothing in the last one."""
        if now - self._tidied < _MINUTE:
            return
        self._tidied = now
        self._users = {user: own for user, own in self._users.items() if own.expire(now)}


def next_midnight(now: float) -> float:
    """When the day ends in California: Google's quotas of a day are full again."""
    here = datetime.fromtimestamp(now, UTC).astimezone(_PACIFIC)
    tomorrow = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return tomorrow.timestamp()
