"""Ten minutes of everything at once: what must not grow does not."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sockets.figures import spread
from benchmarks.sockets.ours import Ours
from benchmarks.sockets.standing import resident
from benchmarks.sockets.subjects import FLIGHT_DOCUMENTS, OurSubject, settle, users_for

__all__ = ["soak"]

TABS = 1000


def soak(*, quick: bool = False) -> dict[str, Any]:
    """Fan-out, requests and handshakes by turns; between them memory, descriptors and timed calls."""
    minutes, documents = 1.0 if quick else 10.0, FLIGHT_DOCUMENTS + 1
    with (
        tempfile.TemporaryDirectory(prefix="docsession-soak-") as directory,
        Ours(
            Path(directory), users=[range(documents)] * users_for(TABS), documents=documents, ping_every=5
        ) as ours,
        OurSubject(ours) as subject,
    ):
        subject.prepare_fanout(TABS)
        subject.prepare_requests()
        subject.prepare_handshakes()
        began = time.monotonic()
        seen: list[dict[str, float]] = []
        done = dict.fromkeys(("delivered", "answered", "opened"), 0.0)
        while time.monotonic() - began < minutes * 60:
            for flight in (1, 8):
                done["delivered"] += float(subject.fanout(TABS, flight=flight, seconds=2)[1]["delivered"])
            done["answered"] += float(subject.requests(50, flight=10, seconds=2)[1]["done"])
            done["opened"] += float(subject.handshakes(seconds=0.5)[1]["opened"])
            settle(ours.pids())
            seen.append(
                {
                    "at": time.monotonic() - began,
                    "rss": float(resident(ours.pids())),
                    "fds": float(len(os.listdir(f"/proc/{ours.child.pid}/fd"))),
                    "delayed": float(ours.delayed_calls()),
                }
            )
            sys.stderr.write(f"# soak: {seen[-1]}\n")
        ours.assert_quiet()
        # What is filled once has been filled after a third of the time.
        third = len(seen) // 3
        early, late = seen[third : 2 * third], seen[2 * third :]
        grown = {
            name: spread(each[name] for each in late).median - spread(each[name] for each in early).median
            for name in ("rss", "fds", "delayed")
        }
        return {"minutes": minutes, "tabs": TABS, **done, "grown": grown, "seen": seen}
