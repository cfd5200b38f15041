"""Google's quota day: it ends at midnight in California, summer time included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["by_rule", "pacific_day"]

_STANDARD, _SUMMER = timedelta(hours=-8), timedelta(hours=-7)

try:
    _ZONE: ZoneInfo | None = ZoneInfo("America/Los_Angeles")
except ZoneInfoNotFoundError:
    # Small containers and Windows have no time zone data.
    _ZONE = None


def pacific_day(seconds: float) -> int:
    """The number of the day it is there, so many seconds after 1970 began in UTC."""
    if _ZONE is None:
        return by_rule(seconds)
    return datetime.fromtimestamp(seconds, _ZONE).toordinal()


def by_rule(seconds: float) -> int:
    """The same by the rule in force since 2007: from March's second Sunday to November's first."""
    now = datetime.fromtimestamp(seconds, UTC)
    begins = _sunday(now.year, 3, 2) + timedelta(hours=2) - _STANDARD
    ends = _sunday(now.year, 11, 1) + timedelta(hours=2) - _SUMMER
    return (now + (_SUMMER if begins <= now < ends else _STANDARD)).toordinal()


def _sunday(year: int, month: int, which: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (which - 1))
