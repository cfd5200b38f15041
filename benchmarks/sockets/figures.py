"""What the turns come to: medians, quartiles, and ratios to the floor in the same round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["FLOOR", "Spread", "Turn", "Turns", "grouped", "spread"]

FLOOR = "floor-py"


@dataclass(frozen=True)
class Turn:
    """One server's turn in one round of one measure. ``us`` is CPU for each unit, ``rate`` units a
    second, ``times`` milliseconds (``p50``, ``p99``, ``worst``)."""

    measure: str
    server: str
    round: int
    us: float
    rate: float
    times: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{rounded(self.median)} ({rounded(self.low)}..{rounded(self.high)})"


def spread(values: Iterable[float]) -> Spread:
    """Of one value or more."""
    ordered = sorted(values)
    if len(ordered) == 1:
        return Spread(ordered[0], ordered[0], ordered[0])
    low, median, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Spread(low, median, high)


def rounded(value: float) -> str:
    """As many digits as mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def grouped(number: float) -> str:
    """A count."""
    return f"{number:,.0f}"


class Turns:
    """All turns, and what is asked of them."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._by: dict[tuple[str, str], dict[int, Turn]] = {}
        for each in turns:
            self._by.setdefault((each.measure, each.server), {})[each.round] = each

    def measures(self) -> list[str]:
        return list(dict.fromkeys(measure for measure, _ in self._by))

    def servers(self, measure: str) -> list[str]:
        return [server for of, server in self._by if of == measure]

    def has(self, measure: str, server: str) -> bool:
        return (measure, server) in self._by

    def us(self, measure: str, server: str) -> Spread:
        return spread(each.us for each in self._of(measure, server))

    def rate(self, measure: str, server: str) -> Spread:
        return spread(each.rate for each in self._of(measure, server))

    def time(self, measure: str, server: str, which: str) -> Spread:
        return spread(each.times[which] for each in self._of(measure, server))

    def times_faster(self, measure: str, server: str, than: str = FLOOR) -> Spread | None:
        """How many times cheaper in CPU, round by round; None where they shared no round."""
        return self._ratios(measure, server, than, lambda own, other: other.us / own.us)

    def times_longer(self, measure: str, server: str, than: str, which: str) -> Spread | None:
        """By which factor a time is longer, round by round."""
        return self._ratios(measure, server, than, lambda own, other: own.times[which] / other.times[which])

    def _ratios(self, measure: str, server: str, than: str, ratio: Any) -> Spread | None:
        own, other = self._by.get((measure, server), {}), self._by.get((measure, than), {})
        shared = [ratio(own[number], other[number]) for number in own if number in other]
        return spread(shared) if shared else None

    def _of(self, measure: str, server: str) -> list[Turn]:
        return list(self._by[measure, server].values())
