"""Plain counters and histograms: an operator sees what Prometheus' own would show."""

from __future__ import annotations

import random
import re
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from twisted.trial.unittest import SynchronousTestCase

from docsession.counting import PlainCounter, PlainHistogram, Tally

BUCKETS = (0.005, 0.02, 0.1, 1, 30)


class CountingTests(SynchronousTestCase):
    """Beside Prometheus' own of the same names, in registries of their own."""

    def setUp(self) -> None:
        self.ours, self.theirs = CollectorRegistry(), CollectorRegistry()

    def assert_same(self) -> None:
        for text in (generate_latest, generate_open):
            ours, theirs = (self.text(text(registry)) for registry in (self.ours, self.theirs))
            self.assertEqual(ours, theirs)

    def text(self, said: bytes) -> str:
        """Without when each was made, which differs by how long making the other took."""
        return re.sub(r"(_created\S* )\S+", r"\1then", said.decode())

    def test_counter(self) -> None:
        labels = ["method", "outcome"]
        plain = PlainCounter("docsession_calls", "Calls.", labels, registry=self.ours)
        real = Counter("docsession_calls", "Calls.", labels, registry=self.theirs)
        self.assert_same()
        rng = random.Random(1)
        for _ in range(200):
            values, amount = (rng.choice("abc"), rng.choice(("ok", 'q"\\\n'))), rng.choice((1, 3, 0.5, 0))
            plain.counts[values] += amount
            real.labels(*values).inc(amount)
        self.assert_same()
        plain.counts["new", "ok"] += 1
        real.labels("new", "ok").inc()
        self.assert_same()

    def test_histogram(self) -> None:
        plain = PlainHistogram("docsession_seconds", "Seconds.", buckets=BUCKETS, registry=self.ours)
        real = Histogram("docsession_seconds", "Seconds.", buckets=BUCKETS, registry=self.theirs)
        self.assert_same()
        for value in (0.0, 0.005, 0.0051, 0.02, 0.5, 1, 29.9, 30, 30.1, 1000.0):
            plain.observe(value)
            real.observe(value)
            self.assert_same()

    def test_when_it_was_first_counted(self) -> None:
        """A sample says since when there is something to count, and that does not move."""
        plain = PlainCounter("c", "C.", ["x"], registry=self.ours)

        def created() -> list[Any]:
            return [
                sample.value
                for family in self.ours.collect()
                for sample in family.samples
                if sample.name == "c_created"
            ]

        self.assertEqual(created(), [])
        plain.counts[("a",)] += 1
        (first,) = created()
        plain.counts[("a",)] += 1
        self.assertEqual(created(), [first])
        self.assertGreater(first, 1e9)

    def test_tally(self) -> None:
        """Counted another way, and the same is shown."""
        labels = ["method", "outcome"]
        plain = PlainCounter("docsession_calls", "Calls.", labels, registry=self.ours)
        real = Counter("docsession_calls", "Calls.", labels, registry=self.theirs)
        tally = plain.tally("ok")
        for method, outcome in (("a", "ok"), ("b", "ok"), ("a", "ok"), ("a", "refused"), ("c", "refused")):
            if outcome == "ok":
                tally[method] += 1
            else:
                plain.counts[method, outcome] += 1
            real.labels(method, outcome).inc()
            self.assert_same()
        plain.counts["a", "ok"] += 2
        real.labels("a", "ok").inc(2)
        self.assert_same()

    def test_nothings(self) -> None:
        tally = Tally()
        plain = PlainHistogram(
            "docsession_seconds", "Seconds.", buckets=BUCKETS, nothings=tally, registry=self.ours
        )
        real = Histogram("docsession_seconds", "Seconds.", buckets=BUCKETS, registry=self.theirs)
        for name in "aab":
            tally[name] += 1
            real.observe(0.0)
        plain.observe(0.5)
        real.observe(0.5)
        self.assert_same()
