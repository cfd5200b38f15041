"""Counters and histograms for what happens thousands of times a second: plain numbers.

Prometheus' own take a lock and look up a child at each count. These hand their numbers over when
they are asked for, as the samples that Prometheus' own would have had.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector

__all__ = ["PlainCounter", "PlainHistogram"]


class _Counts(dict[tuple[str, ...], float]):
    """By the labels' values, in order. What was not counted yet is 0."""

    def __init__(self, form: Counter) -> None:
        self._form = form

    def __missing__(self, values: tuple[str, ...]) -> float:
        self._form.labels(*values)
        return 0


class PlainCounter(Collector):
    """Counts by labels: ``counter.counts["files.get", "ok"] += 1``, with the values as a tuple."""

    def __init__(self, name: str, what: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        # Only for the form of what is handed over, and for when each was counted first.
        self._form = Counter(name, what, labels, registry=None)
        self._labels = labels
        self.counts = _Counts(self._form)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        for family in self._form.collect():
            family.samples = [
                sample._replace(value=self.counts[tuple(sample.labels[label] for label in self._labels)])
                if sample.name.endswith("_total")
                else sample
                for sample in family.samples
            ]
            yield family


class PlainHistogram(Collector):
    """How often something was up to so much; without labels."""

    def __init__(
        self, name: str, what: str, *, buckets: Iterable[float], registry: CollectorRegistry
    ) -> None:
        self._bounds = tuple(map(float, buckets))
        self._form = Histogram(name, what, buckets=self._bounds, registry=None)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._nothings = 0
        registry.register(self)

    def observe(self, value: float) -> None:
        """One more; what would be less than nothing is nothing."""
        if value <= 0:
            self._nothings += 1  # so often that looking for its bucket would show
            return
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        upto = [self._nothings + count for count in accumulate(self._counts)]
        for family in self._form.collect():
            values = iter([*upto, upto[-1], self._sum])  # the buckets, the count, the sum
            family.samples = [
                sample if sample.name.endswith("_created") else sample._replace(value=float(next(values)))
                for sample in family.samples
            ]
            yield family
