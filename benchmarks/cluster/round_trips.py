"""How often a node goes to Redis and back for a change that it tells its sockets."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster.figures import Figure
from tests.daemon.cluster import LIMITS, Cluster
from tests.daemon.cluster_crowd import email, world
from tests.daemon.page import Browser

__all__ = ["METRIC", "round_trips"]

METRIC = "docsession_redis_round_trips_total"
DOCUMENTS, NODES = 10, 2
FEW, MANY = 10, 200
MOST = 2.0


def round_trips(*, quick: bool = False) -> list[Figure]:
    """The worst node's, beyond what it asks when nothing changes, with few sockets and with many."""
    rounds = 4 if quick else 6
    found = {sockets: asyncio.run(_run(sockets, rounds)) for sockets in (FEW, MANY)}
    worst = {sockets: max(each["for_each_change"].values()) for sockets, each in found.items()}
    return [
        Figure(
            f"Redis round trips per delivered change and node, {FEW} -> {MANY} sockets on each",
            f"<= {MOST:.0f}, both",
            f"{worst[FEW]:.2f} -> {worst[MANY]:.2f} on the node that asks most",
            max(worst.values()) <= MOST,
            {str(sockets): each for sockets, each in found.items()},
        )
    ]


async def _run(sockets: int, rounds: int) -> dict[str, Any]:
    """Changes at Google, which one node's look finds, and all nodes tell."""
    people = 2 * NODES
    seed = world(people=people, shared=DOCUMENTS, writers=people)
    toml = f"{LIMITS}connections_per_session = 300\nconnections_per_user = 300\n[polling]\nvisible = 3\n"
    with (
        tempfile.TemporaryDirectory(prefix="docsession-round-trips-") as directory,
        Cluster(Path(directory), nodes=NODES, seed=seed, toml=toml, wires=False) as cluster,
    ):
        files = [cluster.file(file["name"]) for file in seed["files"] if file["shared"]]
        heard: dict[tuple[str, str], int] = {}
        browsers: list[Browser] = []

        def hear(event: dict[str, Any]) -> None:
            if event["method"] == "document.changed":
                key = (event["params"]["fileId"], event["params"]["file"]["name"])
                heard[key] = heard.get(key, 0) + 1

        try:
            for place, node in enumerate(cluster.nodes):
                browser = Browser(cluster.url)
                browsers.append(browser)
                await browser.sign_in(email(place))
                gate = asyncio.Semaphore(8)
                await asyncio.gather(*(_come(browser, node.url, files, hear, gate) for _ in range(sockets)))
            await asyncio.sleep(12)  # first looks and first leases are over
            idle = await _between(cluster, asyncio.sleep(10))

            async def change() -> None:
                for count in range(rounds):
                    for file_id, file in zip(files, seed["files"], strict=False):
                        body = {"name": f"{file['name']} {count}"}
                        path = f"/drive/v3/files/{file_id}?fields=id"
                        await asyncio.to_thread(cluster.as_person, file["owner"], "PATCH", path, body)
                    for file_id, file in zip(files, seed["files"], strict=False):
                        key = (file_id, f"{file['name']} {count}")
                        for _ in range(1500):
                            if heard.get(key, 0) >= sockets * NODES:
                                break
                            await asyncio.sleep(0.01)
                        else:
                            raise AssertionError(f"{heard.get(key)} of {sockets * NODES} heard of {key}")

            busy = await _between(cluster, change())
            changes = rounds * DOCUMENTS
            cluster.assert_quiet()
            each = {
                name: (busy[name] - idle[name] / idle["seconds"] * busy["seconds"]) / changes
                for name in busy
                if name != "seconds"
            }
            a_second = {name: idle[name] / idle["seconds"] for name in idle if name != "seconds"}
            return {"for_each_change": each, "idle_a_second": a_second, "changes": changes}
        finally:
            for browser in browsers:
                await browser.http.close()


async def _come(browser: Browser, url: str, files: list[str], hear: Any, gate: asyncio.Semaphore) -> None:
    async with gate:
        page = await browser.tab(through=url)
        page.on_event = hear
        await asyncio.gather(*(page.call("documents.watch", fileId=each) for each in files))


async def _between(cluster: Cluster, doing: Any) -> dict[str, float]:
    """What each node asked meanwhile, and how long that was."""
    before = {node.name: node.metric(METRIC) for node in cluster.nodes}
    since = time.monotonic()
    await doing
    after = {node.name: node.metric(METRIC) - before[node.name] for node in cluster.nodes}
    return {**after, "seconds": time.monotonic() - since}
