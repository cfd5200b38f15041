"""Counters and histograms for what happens thousands of times a second: plain numbers.

Prometheus' own take a lock and look up a child at each count. These hand their numbers over when
they are asked for, as the samples that Prometheus' own would have had.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector

__all__ = ["PlainCounter", "PlainHistogram", "Tally"]


class _Counts(dict[tuple[str, ...], float]):
    """By the labels' values, in order. What was not counted yet is 0."""

    def __init__(self, form: Counter) -> None:
        self._form = form

    def __missing__(self, values: tuple[str, ...]) -> float:
        self._form.labels(*values)
        return 0


class Tally(dict[str, int]):
    """For what happens so often that a call to count it would show: ``tally["files.get"] += 1``."""

    def __init__(self, on_new: Callable[[str], object] = lambda name: None) -> None:
        self._on_new = on_new

    def __missing__(self, name: str) -> int:
        self._on_new(name)
        return 0


class PlainCounter(Collector):
    """Counts by labels: ``counter.counts["files.get", "ok"] += 1``, with the values as a tuple."""

    def __init__(self, name: str, what: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        # Only for the form of what is handed over, and for when each was counted first.
        self._form = Counter(name, what, labels, registry=None)
        self._labels = labels
        self.counts = _Counts(self._form)
        self._tallies: list[tuple[tuple[str, ...], Tally]] = []
        registry.register(self)

    def tally(self, *others: str) -> Tally:
        """Another way to count, by the first label, those whose other labels have these values."""
        tally = Tally(lambda first: self.counts[first, *others])
        self._tallies.append((others, tally))
        return tally

    def _count(self, values: tuple[str, ...]) -> float:
        first, *others = values
        return self.counts[values] + sum(
            tally.get(first, 0) for those, tally in self._tallies if those == tuple(others)
        )

    def collect(self) -> Iterator[Metric]:
        for family in self._form.collect():
            family.samples = [
                sample._replace(value=self._count(tuple(sample.labels[label] for label in self._labels)))
                if sample.name.endswith("_total")
                else sample
                for sample in family.samples
            ]
            yield family


class PlainHistogram(Collector):
    """How often something was up to so much; without labels. What is in ``nothings`` was 0."""

    def __init__(
        self,
        name: str,
        what: str,
        *,
        buckets: Iterable[float],
        nothings: Tally | None = None,
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(map(float, buckets))
        self._form = Histogram(name, what, buckets=self._bounds, registry=None)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._nothings = Tally() if nothings is None else nothings
        registry.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        nothings = sum(self._nothings.values())
        upto = [nothings + count for count in accumulate(self._counts)]
        for family in self._form.collect():
            values = iter([*upto, upto[-1], self._sum])  # the buckets, the count, the sum
            family.samples = [
                sample if sample.name.endswith("_created") else sample._replace(value=float(next(values)))
                for sample in family.samples
            ]
            yield family
