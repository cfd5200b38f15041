"""From one tab's write to the last socket on its own node, and to the last on another."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster.figures import Figure, spread
from tests.daemon.cluster import LIMITS, Cluster
from tests.daemon.cluster_crowd import email, world
from tests.daemon.page import Browser, Page

__all__ = ["latency"]

SOCKETS = 20  # on each node
TARGET = 0.005


def latency(*, quick: bool = False) -> list[Figure]:
    """The difference between the two nodes, over writes by turns at either."""
    found = asyncio.run(_run(30 if quick else 250))
    later, own = spread(found["later"]), spread(found["own"])
    return [
        Figure(
            f"change seen at one node -> last of {SOCKETS} sockets on another, over the own node's",
            f"median <= +{TARGET * 1000:.0f} ms",
            f"median {later['median'] * 1000:+.1f} ms, p99 {later['p99'] * 1000:+.1f} ms"
            f" (own: median {own['median'] * 1000:.1f} ms)",
            later["median"] <= TARGET,
            {"later": later, "own": own, "other": spread(found["other"]), "changes": len(found["own"])},
        )
    ]


async def _run(changes: int) -> dict[str, list[float]]:
    seed = world(people=4, shared=1)
    name = seed["files"][0]["name"]
    with (
        tempfile.TemporaryDirectory(prefix="docsession-latency-") as directory,
        Cluster(Path(directory), nodes=2, seed=seed, toml=LIMITS, wires=False) as cluster,
    ):
        file_id = cluster.file(name)
        heard: dict[str, dict[int, float]] = {}
        browsers: list[Browser] = []
        writers: dict[str, Page] = {}
        try:
            for place, node in enumerate(cluster.nodes):
                browser = Browser(cluster.url)
                browsers.append(browser)
                await browser.sign_in(email(place))
                writers[node.name] = await browser.tab(through=node.url)
                await writers[node.name].call("documents.watch", fileId=file_id)
                watching = Browser(cluster.url)
                browsers.append(watching)
                await watching.sign_in(email(2 + place))
                for _ in range(SOCKETS):
                    page = await watching.tab(through=node.url)
                    page.on_event = _hearing(heard, node.name, id(page))
                    await page.call("documents.watch", fileId=file_id)
            found: dict[str, list[float]] = {"own": [], "other": [], "later": []}
            for count in range(changes):
                here, there = (cluster.nodes[(count + turn) % 2].name for turn in (0, 1))
                heard |= {here: {}, there: {}}
                began = time.perf_counter()
                body = {"name": f"Name {count}"}
                await writers[here].call("drive.files.update", fileId=file_id, requestBody=body)
                await _all_heard(heard, here, there)
                last_here, last_there = max(heard[here].values()), max(heard[there].values())
                found["own"].append(last_here - began)
                found["other"].append(last_there - began)
                found["later"].append(last_there - last_here)
                await asyncio.sleep(0.02)
            cluster.assert_quiet()
            return found
        finally:
            for browser in browsers:
                await browser.http.close()


def _hearing(heard: dict[str, dict[int, float]], node: str, page: int) -> Any:
    def hear(event: dict[str, Any]) -> None:
        if event["method"] == "document.changed":
            heard.setdefault(node, {})[page] = time.perf_counter()

    return hear


async def _all_heard(heard: dict[str, dict[int, float]], *nodes: str) -> None:
    for _ in range(20_000):
        if all(len(heard[node]) == SOCKETS for node in nodes):
            return
        await asyncio.sleep(0.0005)
    raise AssertionError(f"not all heard: { {node: len(heard[node]) for node in nodes} }")
