"""A daemon that starts on a Redis with many stored sessions, and on one with none."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster.figures import Figure
from tests.daemon.cluster import KEYS, LIMITS, Cluster, Node

__all__ = ["sessions"]

MANY = 100_000
STARTS = 5
# What one start differs from the next by where nothing else does.
LATER, LARGER = 0.5, 2 * 2**20


def sessions(*, quick: bool = False) -> list[Figure]:
    """Start-up time, memory, and what a start asks of Redis, without stored sessions and with many."""
    many = 5_000 if quick else MANY
    with (
        tempfile.TemporaryDirectory(prefix="docsession-sessions-") as directory,
        Cluster(Path(directory), nodes=1, toml=LIMITS, wires=False) as cluster,
    ):
        without = _starts(cluster)
        _seed(cluster, many)
        stored = int(cluster.breakable.call("DBSIZE"))
        assert stored >= many, f"{stored} keys"
        beside = _starts(cluster)
        cluster.assert_quiet()
    more = {"none": without, "many": beside, "keys in Redis": stored}
    asked = f"{without['asked']} -> {beside['asked']} commands"
    return [
        Figure(
            f"0 -> {many:,} stored sessions: start-up",
            "does not read them",
            f"{without['seconds']:.2f} s -> {beside['seconds']:.2f} s; {asked}",
            beside["seconds"] - without["seconds"] < LATER and beside["asked"] < 2 * without["asked"] + 50,
            more,
        ),
        Figure(
            "... memory of the node",
            "unchanged",
            f"{without['memory'] / 2**20:.1f} MiB -> {beside['memory'] / 2**20:.1f} MiB",
            abs(beside["memory"] - without["memory"]) < LARGER,
        ),
    ]


def _starts(cluster: Cluster) -> dict[str, Any]:
    """The medians of some starts."""
    node = cluster.nodes[0]
    found = [_start(cluster, node) for _ in range(STARTS)]
    return {
        "seconds": statistics.median(seconds for seconds, _, _ in found),
        "memory": statistics.median(memory for _, memory, _ in found),
        "asked": int(statistics.median(asked for _, _, asked in found)),
    }


def _start(cluster: Cluster, node: Node) -> tuple[float, int, int]:
    node.stop()
    before = sum(cluster.breakable.commands().values())
    began = time.monotonic()
    node.start()
    pause = threading.Event()
    while not node.ready():
        assert time.monotonic() - began < 60, node.child.log()[-2000:]
        pause.wait(0.01)
    seconds = time.monotonic() - began
    pause.wait(3)  # what a start leaves to later is part of it
    return seconds, node.memory(), sum(cluster.breakable.commands().values()) - before


def _seed(cluster: Cluster, many: int) -> None:
    argv = [sys.executable, "-m", "benchmarks.cluster.seed", cluster.breakable.url, str(many)]
    argv += [cluster.sandbox_url, "the-project"]
    subprocess.run(argv, check=True, env={**os.environ, "DOCSESSION_KEYS": KEYS}, timeout=300)
