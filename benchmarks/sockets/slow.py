"""One reader that stopped reading among a thousand: what it costs the server, and the others."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from benchmarks.sockets.figures import spread
from benchmarks.sockets.ours import Ours
from benchmarks.sockets.standing import resident
from benchmarks.sockets.subjects import FLIGHT_DOCUMENTS, OurSubject, settle

__all__ = ["BOUND", "slow"]

TABS, EVENTS = 1000, 10_000
# limits.unsent_notification_bytes, as it is when nobody says anything.
BOUND = 262_144
# Some ten events apart.
_EVERY = 0.02


def slow(*, quick: bool = False) -> dict[str, Any]:
    """Two groups of tabs take turns; in one of them the first tab reads no more."""
    events = EVENTS // 10 if quick else EVENTS
    documents = 2 * FLIGHT_DOCUMENTS + 1
    with (
        tempfile.TemporaryDirectory(prefix="docsession-slow-") as directory,
        Ours(Path(directory), users=[range(documents)] * (TABS // 10), documents=documents) as ours,
        OurSubject(ours) as subject,
    ):
        # One more in the one group, so that as many are told in both.
        with_one, without = TABS + 1, TABS
        for tabs in (without, with_one):
            subject.prepare_fanout(tabs)
        for tabs in (without, with_one):
            subject.fanout(tabs, flight=1, seconds=1)
        settle(ours.pids())
        subject.generator.do("stop", f"fan{with_one}", 0)
        grown: dict[int, list[float]] = {with_one: [], without: []}
        p99: dict[int, list[float]] = {with_one: [], without: []}
        sent = {with_one: 0.0, without: 0.0}
        started = resident(ours.pids())
        watch = _Watch(ours)
        highest = started
        while sent[with_one] < events:
            for tabs in (without, with_one):
                before = resident(ours.pids())
                with watch:
                    _, answer = subject.fanout(tabs, flight=8, seconds=1.0)
                grown[tabs].append(resident(ours.pids()) - before)
                sent[tabs] += float(answer["sent"])
                highest = max(highest, resident(ours.pids()))
            for tabs in (without, with_one):
                _, answer = subject.fanout(tabs, flight=1, seconds=0.3)
                p99[tabs].append(float(answer["p99"]))
                sent[tabs] += float(answer["sent"])
        _say(f"stopped reader: {sent[with_one]:.0f} events")
        again = subject.generator.do("hear", f"fan{with_one}", 0, 5)
        ours.assert_quiet()
        ratio = [own / other for own, other in zip(p99[with_one], p99[without], strict=True)]
        return {
            "tabs": TABS,
            "events": sent[with_one],
            "bound": BOUND,
            "queue_bytes": watch.queue,
            "transport_bytes": watch.transport,
            "resident_bytes": sum(grown[with_one]) - sum(grown[without]),
            "highest_bytes": highest - started,
            "p99_with": spread(p99[with_one]).median,
            "p99_without": spread(p99[without]).median,
            "p99_ratio": spread(ratio).median,
            # All of them, and the kernel would have kept what was to be the server's.
            "read_later": again["heard"],
            "close_code": again["code"],
        }


class _Watch:
    """Looks again and again at what waits for the slowest tab; the most there was."""

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self.queue = self.transport = 0

    def __enter__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            queue, transport = self._ours.held()
            self.queue, self.transport = max(self.queue, queue), max(self.transport, transport)


def _say(what: str) -> None:
    sys.stderr.write(f"# {what}\n")
