"""One user with forty tabs on four nodes, whose access token expires under all of them at once."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import combinations
from pathlib import Path

from benchmarks.cluster.figures import Figure
from tests.daemon.cluster import LIMITS, Cluster
from tests.daemon.cluster_crowd import email, world
from tests.daemon.page import Browser, Page

__all__ = ["refreshes"]

NODES, TABS = 4, 10
NAMES = ("id", "name", "mimeType", "version", "modifiedTime", "size", "trashed", "webViewLink")


def refreshes(*, quick: bool = False) -> list[Figure]:
    """The most refreshes after one expiry, over some expiries."""
    counts = asyncio.run(_run(2 if quick else 8))
    return [
        Figure(
            f"refreshes for {NODES} nodes x {TABS} tabs on one expired grant",
            "1",
            f"{max(counts)} (each of {len(counts)} times)" if len(set(counts)) == 1 else str(counts),
            max(counts) == 1 == min(counts),
            {"refreshes": counts},
        )
    ]


async def _run(times: int) -> list[int]:
    seed = world(people=2, shared=1)
    with (
        tempfile.TemporaryDirectory(prefix="docsession-refreshes-") as directory,
        Cluster(Path(directory), nodes=NODES, seed=seed, toml=LIMITS, wires=False) as cluster,
    ):
        file_id = cluster.file(seed["files"][0]["name"])
        browsers: list[Browser] = []
        pages: list[Page] = []
        try:
            for node in cluster.nodes:
                browser = Browser(cluster.url)
                browsers.append(browser)
                await browser.sign_in(email(0))
                pages += [await browser.tab(through=node.url) for _ in range(TABS)]
            counts = []
            for _ in range(times):
                await asyncio.to_thread(
                    cluster.control, "POST", "/sandbox/grants", {"email": email(0), "do": "expire_access"}
                )
                await asyncio.to_thread(cluster.control, "DELETE", "/sandbox/calls")
                # Each tab something of its own, which nobody else's answer will do for.
                fields = map(",".join, combinations(NAMES, 3))
                asked = [
                    page.call("drive.files.get", fileId=file_id, fields=wanted, maxAge=0)
                    for page, wanted in zip(pages, fields, strict=False)
                ]
                await asyncio.gather(*asked)
                by_method = (await asyncio.to_thread(cluster.control, "GET", "/sandbox/calls"))["by_method"]
                counts.append(by_method.get("oauth2.token.refresh", {"calls": 0})["calls"])
            cluster.assert_quiet()
            return counts
        finally:
            for browser in browsers:
                await browser.http.close()
