"""A million users against one project's quota: the schedule, the demand and the budget alone."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Hashable
from typing import Any, cast

from twisted.internet.task import Clock

from benchmarks.google_cost.google import rng_of
from docsession.backend.memory import WholeQuota
from docsession.config import Polling, Quota
from docsession.demand import Demand
from docsession.google.budget import Budget
from docsession.schedule import Schedule
from tests.support import START

__all__ = ["million"]

_COST = 5
_MILLION = 1_000_000


def million(
    number: int, *, users: int = _MILLION, visible: float = 0.05, seconds: float = 3600
) -> dict[str, Any]:
    """Gaps between looks, in seconds. Fewer users than a million have a quota as much smaller."""
    share, google = users / _MILLION, Quota()
    quota = Quota(
        per_project_per_minute=round(google.per_project_per_minute * share),
        per_day=round(google.per_day * share),
    )
    return _Million(rng_of(number, "million"), quota, users=users, visible=visible).run(seconds)


class _Million:
    """Each user watches one document of their own; of so many the tab is visible."""

    def __init__(self, rng: random.Random, quota: Quota, *, users: int, visible: float) -> None:
        self.rng = rng
        self.clock = Clock()
        self.clock.advance(START)
        self.budget = Budget(self.clock, quota, WholeQuota())
        self.demand = Demand(self.clock, self.budget.poll_rate)
        self.schedule = Schedule(self.clock, self._due)
        self.waiting: deque[int] = deque()
        self.polling = Polling()
        self.visible = round(users * visible)
        self.last = [0.0] * users
        self.gaps: dict[bool, list[float]] = {True: [], False: []}
        self.recording = False
        for user in range(users):
            self.demand.plan(user, _COST, self._base(user))
        now = self.clock.seconds()
        for user in range(users):
            self.schedule.at(user, now + rng.uniform(0, self._interval(user)))

    def _base(self, user: int) -> float:
        return self.polling.visible if user < self.visible else self.polling.hidden

    def _interval(self, user: int) -> float:
        jitter = self.polling.jitter
        return self._base(user) * self.demand.stretch * self.rng.uniform(1 - jitter, 1 + jitter)

    def _due(self, what: Hashable) -> None:
        user = cast(int, what)
        self.waiting.append(user)
        self.schedule.at(user, self.clock.seconds() + self._interval(user))

    def run(self, seconds: float) -> dict[str, Any]:
        """So long after every document was looked at once; gaps between looks, in seconds."""
        hidden = self.polling.hidden * self.demand.stretch * (1 + self.polling.jitter)
        self.schedule.startService()
        self._until(self.clock.seconds() + hidden + 60)
        self.recording = True
        self._until(self.clock.seconds() + seconds)
        self.schedule.stopService()
        now = self.clock.seconds()
        result: dict[str, Any] = {"stretch": round(self.demand.stretch, 1), "users": len(self.last)}
        for name, is_visible in (("visible", True), ("hidden", False)):
            gaps = self.gaps[is_visible]
            users = range(self.visible) if is_visible else range(self.visible, len(self.last))
            gaps.extend(now - self.last[user] for user in users)  # those that still run count too
            gaps.sort()
            median = gaps[len(gaps) // 2]
            result[name] = {"median": round(median, 1), "worst": round(gaps[-1], 1)}
            result[name]["worst_by_median"] = round(gaps[-1] / median, 2)
        result["never_looked_at"] = sum(last == 0 for last in self.last)
        return result

    def _until(self, end: float) -> None:
        while self.clock.seconds() < end:
            self.clock.advance(1.0)
            now = self.clock.seconds()
            while self.waiting and not self.budget.project_wait(_COST, poll=True):
                user = self.waiting.popleft()
                self.budget.spend("all", _COST, poll=True)
                if self.recording and self.last[user]:
                    self.gaps[user < self.visible].append(now - self.last[user])
                self.last[user] = now
