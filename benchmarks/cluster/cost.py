"""What Google is asked for the same people and documents by one node, by two and by four."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster.figures import Figure
from tests.daemon.cluster import LIMITS, Cluster
from tests.daemon.cluster_crowd import Crowd, world

__all__ = ["cost"]

PEOPLE, DOCUMENTS, TABS, WATCHED = 30, 100, 60, 10
WITHIN = 0.02


def cost(*, quick: bool = False) -> list[Figure]:
    """Calls a minute, counted at the sandbox once everybody watches, in windows one after the other."""
    windows, seconds = (3, 10.0) if quick else (3, 24.0)
    runs = {nodes: asyncio.run(_run(nodes, windows, seconds)) for nodes in (1, 2, 4)}
    means = {nodes: statistics.fmean(found["calls"]) for nodes, found in runs.items()}
    ratio = means[4] / means[1]
    # What one window differs from another where nothing else does.
    noise = max((max(found["calls"]) - min(found["calls"])) / means[nodes] for nodes, found in runs.items())
    minute = 60 / seconds
    said = " -> ".join(f"{means[nodes] * minute:.0f}" for nodes in (1, 2, 4))
    return [
        Figure(
            f"Google calls a minute, {PEOPLE} users, {DOCUMENTS} documents, 1 -> 2 -> 4 nodes",
            f"within {WITHIN:.0%} of one node's",
            f"{said}: {ratio - 1:+.1%} (windows of one run differ by {noise:.1%})",
            ratio <= 1 + WITHIN,
            {"windows": {str(nodes): found for nodes, found in runs.items()}, "seconds": seconds},
        )
    ]


async def _run(nodes: int, windows: int, seconds: float) -> dict[str, Any]:
    seed = world(people=PEOPLE, shared=DOCUMENTS)
    with (
        tempfile.TemporaryDirectory(prefix="docsession-cost-") as directory,
        Cluster(Path(directory), nodes=nodes, seed=seed, toml=LIMITS, wires=False) as cluster,
    ):
        async with Crowd(cluster, seed, tabs=TABS, watched=WATCHED) as crowd:
            await crowd.arrive(on=[node.name for node in cluster.nodes])
            watched = {file_id for tab in crowd.tabs for file_id in tab.wants}
            # Until first looks and first leases are over.
            await asyncio.sleep(12)
            calls, methods = [], {}
            for _ in range(windows):
                await crowd.sandbox("DELETE", "/sandbox/calls")
                since = time.monotonic()
                await asyncio.sleep(seconds)
                counted = await crowd.sandbox("GET", "/sandbox/calls")
                calls.append(counted["total"]["calls"] * seconds / (time.monotonic() - since))
                methods = {name: sum_["calls"] for name, sum_ in counted["by_method"].items()}
            cluster.assert_quiet()
            return {"calls": calls, "watched": len(watched), "by_method": methods}
