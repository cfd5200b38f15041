"""The meter: what was called, what it cost, how much at once; and the quota it is held against."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from docsession.sandbox.errors import DriveError, rate_limited
from docsession.sandbox.pacific import pacific_day
from docsession.sandbox.records import rfc3339

__all__ = ["DOWNLOAD", "Call", "Calls", "Quota", "QuotaSettings", "units_of"]

_MINUTE = 60.0
_RECENT = 100
_LOGGED = 50_000

READ, LIST, DOWNLOAD, EDIT = 5, 100, 200, 50
_COST_OF_VERB = {
    "get": READ,
    "getStartPageToken": READ,
    "generateIds": READ,
    "list": LIST,
    "export": DOWNLOAD,
    "download": DOWNLOAD,
}


def units_of(method: str) -> int:
    """Quota units of a method of Drive. OAuth costs none."""
    if not method.startswith("drive."):
        return 0
    return _COST_OF_VERB.get(method.rsplit(".", 1)[1], EDIT)


@dataclass(slots=True)
class Call:
    """One request: when it came, and what became of it (``status`` 0: nothing yet)."""

    time: str
    method: str
    user: str | None
    file: str | None
    units: int = 0
    status: int = 0
    door: str = ""
    """The ``Host`` it was sent to: where several servers are told other addresses of the sandbox,
    that says which of them sent it."""


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    units: int = 0

    def add(self, units: int) -> None:
        self.calls += 1
        self.units += units

    def to_json(self) -> dict[str, int]:
        return {"calls": self.calls, "units": self.units}


@dataclass(slots=True)
class _Window:
    """What was spent in the last sixty seconds, and the most there ever was."""

    spent: deque[tuple[float, int]] = field(default_factory=deque)
    now: _Sum = field(default_factory=_Sum)
    most: _Sum = field(default_factory=_Sum)

    def expire(self, now: float) -> _Sum:
        while self.spent and self.spent[0][0] <= now - _MINUTE:
            self.now.units -= self.spent.popleft()[1]
            self.now.calls -= 1
        return self.now

    def add(self, now: float, units: int) -> None:
        self.expire(now)
        self.spent.append((now, units))
        self.now.add(units)
        self.most = _Sum(max(self.most.calls, self.now.calls), max(self.most.units, self.now.units))


class Calls:
    """What came in since the start, or since it was last set to zero."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._in_flight = 0
        self.recent: deque[Call] = deque(maxlen=_RECENT)
        self.reset()

    def reset(self) -> None:
        """Begin anew; what is in flight stays in flight."""
        self._total = _Sum()
        self._by_method: dict[str, _Sum] = {}
        self._by_user: dict[str, _Sum] = {}
        self._window = _Window()
        self._max_in_flight = self._in_flight
        self._logged: deque[Call] = deque(maxlen=_LOGGED)
        self._forgotten = 0

    @contextmanager
    def metered(
        self, method: str, user: str | None, file_id: str | None, units: int, door: str = ""
    ) -> Iterator[Call]:
        """Count a request; it is in flight for as long as this context lasts."""
        call = Call(rfc3339(self._clock.seconds()), method, user, file_id, units, door=door)
        self.recent.append(call)
        self._forgotten += len(self._logged) == _LOGGED
        self._logged.append(call)
        self._total.add(units)
        self._by_method.setdefault(method, _Sum()).add(units)
        if user is not None:
            self._by_user.setdefault(user, _Sum()).add(units)
        self._window.add(self._clock.seconds(), units)
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield call
        finally:
            self._in_flight -= 1

    def to_json(self) -> dict[str, Any]:
        """The answer to ``GET /sandbox/calls``."""
        return {
            "total": self._total.to_json(),
            "by_method": {name: total.to_json() for name, total in sorted(self._by_method.items())},
            "by_user": {email: total.to_json() for email, total in sorted(self._by_user.items())},
            "max_in_flight": self._max_in_flight,
            "max_per_minute": self._window.most.to_json(),
        }

    def log(self) -> dict[str, Any]:
        """The answer to ``GET /sandbox/calls/log``: each one, the oldest first."""
        return {"calls": list(self._logged), "forgotten": self._forgotten}


class QuotaSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """A quota. ``units`` is Google's model since May 2026, ``queries`` the one before.

    Google charges beyond a day's units and does not refuse, so ``per_day`` is off by default.
    """

    model: Literal["units", "queries"] = "units"
    per_user_per_minute: int
    per_project_per_minute: int
    per_day: int | None = None
    status: Literal[403, 429] = 403
    """Google answers a user or project over its rate with either."""
    retry_after: float | None = None
    """In seconds; Google rarely says it."""


GOOGLES_OWN = QuotaSettings(per_user_per_minute=325_000, per_project_per_minute=1_000_000)


class Quota:
    """Refuses what passes the quota. What is refused costs nothing."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.set(GOOGLES_OWN)

    def set(self, settings: QuotaSettings) -> None:
        """Another quota; what was spent is forgotten."""
        self.settings = settings
        self._project = _Window()
        self._users: dict[str, _Window] = {}
        self._day = 0
        self._spent_today = 0
        self._overruns: dict[str, int] = {}

    def to_json(self) -> dict[str, Any]:
        """How often something was refused, by whose quota it was over (``project``, ``day``, a user's
        email), and the most that was counted in any minute."""
        most = {user: window.most.units for user, window in sorted(self._users.items())}
        return {
            "overruns": dict(sorted(self._overruns.items())),
            "most_in_a_minute": {"project": self._project.most.units, "by_user": most},
        }

    def _over(self, whose: str, status: int, reason: str) -> DriveError:
        self._overruns[whose] = self._overruns.get(whose, 0) + 1
        return rate_limited(status, reason, self.settings.retry_after)

    def admit(self, method: str, user: str | None, units: int) -> None:
        """Charge for a request, or raise the :class:`DriveError` that refuses it."""
        if not method.startswith("drive.") or user is None:
            return
        now, quota = self._clock.seconds(), self.settings
        cost = units if quota.model == "units" else 1
        day = pacific_day(now)
        if day != self._day:
            self._day, self._spent_today = day, 0
        own = self._users.setdefault(user, _Window())
        if quota.per_day is not None and self._spent_today + cost > quota.per_day:
            raise self._over("day", 403, "dailyLimitExceeded")
        if self._project.expire(now).units + cost > quota.per_project_per_minute:
            raise self._over("project", quota.status, "rateLimitExceeded")
        if own.expire(now).units + cost > quota.per_user_per_minute:
            reason = "userRateLimitExceeded" if quota.status == 403 else "rateLimitExceeded"
            raise self._over(user, quota.status, reason)
        own.add(now, cost)
        self._project.add(now, cost)
        self._spent_today += cost
