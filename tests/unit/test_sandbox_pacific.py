"""The quota day, with and without time zone data."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox import pacific
from docsession.sandbox.pacific import by_rule, pacific_day


def at(month: int, day: int, hour: int, minute: int = 0, *, year: int = 2026) -> float:
    return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()


class DayTests(SynchronousTestCase):
    def test_midnight_in_winter_and_in_summer(self) -> None:
        for day in (pacific_day, by_rule):
            for last, first in (
                (at(1, 15, 7, 59), at(1, 15, 8)),
                (at(7, 15, 6, 59), at(7, 15, 7)),
                # The two days on which the clocks are changed, of 23 and of 25 hours.
                (at(3, 8, 7, 59), at(3, 8, 8)),
                (at(3, 9, 6, 59), at(3, 9, 7)),
                (at(11, 1, 6, 59), at(11, 1, 7)),
                (at(11, 2, 7, 59), at(11, 2, 8)),
            ):
                self.assertEqual(day(first) - day(last), 1)

    def test_the_rule_agrees_with_the_data(self) -> None:
        start = at(1, 1, 0, year=2024)
        hours = [start + hour * 3600 for hour in range(4 * 366 * 24)]
        self.assertEqual([moment for moment in hours if pacific_day(moment) != by_rule(moment)], [])

    def test_without_time_zone_data(self) -> None:
        self.patch(pacific, "_ZONE", None)
        self.assertEqual(pacific_day(at(7, 15, 7)) - pacific_day(at(7, 15, 6)), 1)
