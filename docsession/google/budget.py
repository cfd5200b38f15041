"""What may be spent at Google: quota units (or queries) a minute and a day, below a ceiling.

The ceiling holds from the first request on; backing off (:mod:`docsession.google.pauses`) is the
second line. Polls may spend three quarters of it, at an even pace, so that what a person waits
for finds room whenever it comes. A day's budget is spent as a rate: what is left of it by the
time to midnight in California, where Google's days end.

Several nodes spend of one quota: of a minute each takes its share and no more, of a day what the
others leave (:class:`docsession.interfaces.Shares`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from twisted.internet.interfaces import IReactorTime

from docsession.config import Quota
from docsession.interfaces import Shares

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
# Where only this node's share is full: it may have grown by then.
_SHARES_MOVE = 1.0


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
    """One for all users of this process; ``units`` are always Google's, whatever is counted.

    ``spent_today`` is what was spent here.
    """

    def __init__(self, clock: IReactorTime, quota: Quota, shares: Shares) -> None:
        self._clock = clock
        self._quota = quota
        self._shares = shares
        self._project = Window()
        self._users: dict[str, Window] = {}
        self._tidied = 0.0
        self._most = quota.per_project_per_minute * quota.ceiling
        self._most_of_user = quota.per_user_per_minute * quota.ceiling
        self._midnight = next_midnight(clock.seconds())
        self._throttle = 1.0
        self._throttled_at = 0.0
        self.spent_today = 0
        self._spent_by_others = 0
        self._level = self._burst()
        self._paced_at = clock.seconds()

    def cost(self, units: int) -> int:
        """What a request of so many units is counted as."""
        return units if self._quota.model == "units" else 1

    # -- may it be sent?

    def project_wait(self, units: int, *, poll: bool) -> float:
        """Seconds until the project has room for this request."""
        now, cost = self._clock.seconds(), self.cost(units)
        wait = self._wait(self._project, now, cost, self._most, self._shares.project(), poll=poll)
        if not poll:
            return max(wait, self._day_wait(now, cost, 1.0))
        return max(wait, self._pace_wait(now), self._day_wait(now, cost, self._quota.ceiling))

    def user_wait(self, user_id: str, units: int, *, poll: bool) -> float:
        """Seconds until this user's own quota has room for it."""
        own, share = self._users.get(user_id) or Window(), self._shares.user(user_id)
        return self._wait(own, self._clock.seconds(), self.cost(units), self._most_of_user, share, poll=poll)

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

    @property
    def spent_by_all(self) -> int:
        """What was spent today, here and elsewhere, as far as is known."""
        # Two accounts of one thing: what nodes have stored, and what they say of themselves.
        return self.spent_today + max(self._spent_by_others, self._shares.spent_today_elsewhere())

    def spent_here(self) -> tuple[str, int]:
        """Which day it is, and what this node has spent of it."""
        self._new_day(self._clock.seconds())
        return self.today, self.spent_today

    def spent_before(self, day: str, here: int, elsewhere: int) -> None:
        """So much is stored as spent on that day, in this node's name and in all others'."""
        if day == self.today:
            self._new_day(self._clock.seconds())
            self.spent_today += here
            self._spent_by_others = max(elsewhere, self._spent_by_others)

    def spending(self) -> tuple[int, Mapping[str, int]]:
        """What was spent here in the last minute: in all, and by whom."""
        now = self._clock.seconds()
        by_user = {user: spent for user, own in self._users.items() if (spent := own.expire(now))}
        return self._project.expire(now), by_user

    # -- how much polls may spend

    def poll_rate(self) -> float:
        """What polls may spend a second here, from now on, in what is counted."""
        now = self._clock.seconds()
        rate = self._most * POLLS / _MINUTE
        if self._quota.per_day:
            self._new_day(now)
            left = self._quota.per_day * self._quota.ceiling - self.spent_by_all
            rate = min(rate, max(0.0, left) / max(_MINUTE, self._midnight - now))
        here = rate * self._throttled(now) * self._shares.part_of_polls()
        share = self._shares.project()
        return here if share is None else min(here, share * POLLS / _MINUTE)

    @property
    def share(self) -> float:
        """What of a minute's ceiling is this node's."""
        share = self._shares.project()
        return self._most if share is None else min(share, self._most)

    def state(self) -> dict[str, Any]:
        """For ``session.status`` and metrics: what of how much, in what is counted."""
        now = self._clock.seconds()
        self._new_day(now)
        return {
            "model": self._quota.model,
            "spent_last_minute": self._project.expire(now),
            "ceiling_per_minute": int(self._most),
            "share_per_minute": int(self.share),
            "spent_today": self.spent_by_all,
            "per_day": self._quota.per_day or None,
        }

    # -- inside

    def _wait(
        self, window: Window, now: float, cost: int, most: float, share: float | None, *, poll: bool
    ) -> float:
        part = POLLS if poll else 1.0
        wait = window.wait(now, cost, most * part)
        if wait or share is None or share >= most:
            return wait
        # What goes alone may take all of a share, but not more: the rest is somebody else's.
        spent = window.expire(now)
        if spent + cost <= (share * part if spent else share):
            return 0.0
        if not poll:
            self._shares.hurry()
        return min(_SHARES_MOVE, window.wait(now, cost, share * part) or _SHARES_MOVE)

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
        over = self.spent_by_all + cost > self._quota.per_day * share
        return self._midnight - now if over else 0.0

    def _new_day(self, now: float) -> None:
        if now >= self._midnight:
            self._midnight = next_midnight(now)
            self.spent_today = self._spent_by_others = 0

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
