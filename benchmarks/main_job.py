"""The main job on real input: 200 people, 2,000 files, a hundred signed-in browsers.

Every browser has two tabs and watches ten shared documents. For a while people change things,
at Google itself and through the daemon; sockets are cut in the middle of writes, which are then
sent again; half way the daemon is killed with ``kill -9`` and started again. At the end each
tab must have been told the last state of everything it watches, and every write must have been
done once.

    python -m benchmarks.main_job [--seconds 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.daemon.page import Browser, Page, Refused
from tests.daemon.server import Server

PEOPLE = 200
FILES = 2000
SHARED = 200
BROWSERS = 100
TABS = 2
WATCHED = 10


def email(number: int) -> str:
    return f"person{number:03}@example.com"


def world(rng: random.Random) -> dict[str, Any]:
    """The seed: most files private, the first ``SHARED`` shared with many as writers."""
    people = [{"email": email(number), "name": f"Person {number:03}"} for number in range(PEOPLE)]
    files = []
    for number in range(FILES):
        owner = number % PEOPLE
        shared = {}
        if number < SHARED:
            shared = {email(other): "writer" for other in rng.sample(range(PEOPLE), 60) if other != owner}
        files.append(
            {
                "name": f"File {number:04}",
                "owner": email(owner),
                "shared": shared,
                "text": f"The text of file {number}.",
            }
        )
    return {"people": people, "files": files}


@dataclass
class Tally:
    """What is measured."""

    changes: int = 0
    writes: int = 0
    cut: int = 0
    resent: int = 0
    unknown: int = 0
    lost: int = 0
    duplicates: int = 0
    to_last_tab: list[float] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    units: int = 0
    seconds: float = 0.0


class LiveTab:
    """A tab that comes back, as the bundled client does: name, watches with versions."""

    def __init__(self, browser: Browser, files: list[str], heard: Any) -> None:
        self.browser = browser
        self.files = files
        self.state: dict[str, dict[str, Any]] = {}
        self.page: Page | None = None
        self.name: str | None = None
        self.live = asyncio.Event()
        self._heard = heard
        self._ids = 0
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                page = await self.browser.tab(self.name)
                self.name = page.opened["connection"]
                self.page = page
                page.on_event = self._event
                for file_id in self.files:
                    known = self.state.get(file_id)
                    extra = {} if known is None else {"version": known["version"]}
                    answer = await page.call("documents.watch", fileId=file_id, **extra)
                    if answer["changed"]:
                        self._learn(file_id, answer)
                self.live.set()
                await page._reading
            except (OSError, aiohttp.ClientError, asyncio.CancelledError, Refused, AssertionError) as error:
                if isinstance(error, asyncio.CancelledError) and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise
            self.live.clear()
            await asyncio.sleep(random.uniform(0, 0.5))

    async def stop(self) -> None:
        """Leave for good."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        if self.page is not None:
            await self.page.close()

    def _event(self, event: dict[str, Any]) -> None:
        if event["method"] == "document.changed":
            self._learn(event["params"]["fileId"], event["params"])

    def _learn(self, file_id: str, state: dict[str, Any]) -> None:
        self.state[file_id] = {"version": state["version"], "name": state["file"]["name"]}
        self._heard(self, file_id, state["file"]["name"])

    async def write(self, method: str, *, cut: bool, tally: Tally, **params: Any) -> None:
        """A write that is sent again until it is answered, under the same id."""
        self._ids += 1
        call_id = f"w{self._ids}"
        tally.writes += 1
        first = True
        while True:
            await self.live.wait()
            page = self.page
            assert page is not None
            try:
                if not first:
                    tally.resent += 1
                await page.send(method, call_id, **params)
                if cut and first:
                    tally.cut += 1
                    await asyncio.sleep(random.uniform(0, 0.02))
                    page.abort()
                first = False
                answer = await page.result(call_id)
                if method == "drive.files.update":
                    self._learn(
                        params["fileId"], {"version": answer["data"]["version"], "file": answer["data"]}
                    )
                return
            except Refused as refused:
                if refused.code == 1010:
                    tally.unknown += 1
                    return
                if refused.code not in (1003, 1007, 1008, 1012):
                    raise
                await asyncio.sleep(0.2)
            except (asyncio.CancelledError, OSError, aiohttp.ClientError, KeyError):
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise
                await asyncio.sleep(0.05)


async def main_job(server: Server, seeded: dict[str, Any], *, seconds: float) -> Tally:
    """Run it against a server that is listening."""
    rng = random.Random(1)
    tally = Tally()
    overview = await asyncio.to_thread(server.control, "GET", "/sandbox/overview")
    ids = {file["name"]: file["id"] for file in overview["files"]}
    access = {
        ids[file["name"]]: {file["owner"], *file["shared"]} for file in seeded["files"] if file["shared"]
    }
    tokens = {
        number: (await asyncio.to_thread(server.control, "POST", "/sandbox/token", {"email": email(number)}))
        for number in range(PEOPLE)
    }

    # (file id, name) -> when it was changed to it; tabs that are still to hear of it
    made: dict[tuple[str, str], float] = {}
    heard: dict[tuple[str, str], dict[int, float]] = {}
    tabs: list[LiveTab] = []

    def hear(tab: LiveTab, file_id: str, name: str) -> None:
        heard.setdefault((file_id, name), {}).setdefault(id(tab), time.monotonic())

    browsers = [Browser(server.url) for _ in range(BROWSERS)]
    gate = asyncio.Semaphore(10)

    async def arrive(number: int) -> None:
        browser = browsers[number]
        async with gate:
            await browser.sign_in(email(number))
        mine = [file_id for file_id, people in access.items() if email(number) in people]
        watched = rng.sample(mine, min(WATCHED, len(mine)))
        tabs.extend(LiveTab(browser, watched, hear) for _ in range(TABS))

    await asyncio.gather(*(arrive(number) for number in range(BROWSERS)))
    await asyncio.gather(*(asyncio.wait_for(tab.live.wait(), 120) for tab in tabs))
    watched = sorted({file_id for tab in tabs for file_id in tab.files})
    await asyncio.to_thread(server.control, "DELETE", "/sandbox/calls")
    counted_from = time.monotonic()

    async def at_google(count: int) -> None:
        file_id = rng.choice(watched)
        name = f"Renamed {count}"
        token = tokens[rng.choice([number for number in range(PEOPLE) if email(number) in access[file_id]])]
        made[file_id, name] = time.monotonic()
        await asyncio.to_thread(
            server.control,
            "PATCH",
            f"/drive/v3/files/{file_id}?fields=id",
            {"name": name},
            token.get("token") or token["access_token"],
        )
        tally.changes += 1

    async def through_us(count: int) -> None:
        tab = rng.choice(tabs)
        file_id = rng.choice(tab.files)
        cut = rng.random() < 0.3
        if rng.random() < 0.5:
            name = f"Renamed by page {count}"
            await tab.write(
                "drive.files.update", cut=cut, tally=tally, fileId=file_id, requestBody={"name": name}
            )
        else:
            await tab.write(
                "drive.comments.create",
                cut=cut,
                tally=tally,
                fileId=file_id,
                requestBody={"content": f"comment {count}"},
            )

    acts: list[asyncio.Task[None]] = []
    killed = False
    count = 0
    while (passed := time.monotonic() - counted_from) < seconds:
        count += 1
        acts.append(asyncio.create_task(at_google(count) if count % 2 else through_us(count)))
        if passed > seconds / 2 and not killed:
            killed = True
            await asyncio.to_thread(server.restart)
        await asyncio.sleep(0.1)
    await asyncio.gather(*acts)
    await asyncio.gather(*(asyncio.wait_for(tab.live.wait(), 60) for tab in tabs))

    def truth() -> dict[str, str]:
        found = server.control("GET", "/sandbox/overview")["files"]
        return {file["id"]: file["name"] for file in found}

    names = await asyncio.to_thread(truth)

    def missing() -> int:
        return sum(tab.state[file_id]["name"] != names[file_id] for tab in tabs for file_id in tab.files)

    for _ in range(400):  # every document is looked at within a few seconds
        if not missing():
            break
        await asyncio.sleep(0.05)
    tally.lost = missing()
    tally.seconds = time.monotonic() - counted_from
    for change, when in made.items():
        watching = [id(tab) for tab in tabs if change[0] in tab.files]
        times = [heard.get(change, {}).get(tab) for tab in watching]
        if watching and all(times):  # else a later change took its place
            tally.to_last_tab.append(max(t for t in times if t is not None) - when)
    calls = await asyncio.to_thread(server.control, "GET", "/sandbox/calls")
    tally.calls = {name: entry["calls"] for name, entry in calls["by_method"].items()}
    tally.units = calls["total"]["units"]
    await asyncio.gather(*(tab.stop() for tab in tabs))
    for browser in browsers:
        await browser.http.close()
    tally.duplicates = await asyncio.to_thread(duplicates, server)
    return tally


def duplicates(server: Server) -> int:
    """Comments that stand more than once: each was written by one call."""
    world = server.control("GET", "/sandbox/world")
    said: dict[str, int] = {}
    for text in _contents(world):
        said[text] = said.get(text, 0) + 1
    return sum(times - 1 for times in said.values())


def _contents(value: Any) -> Any:
    if isinstance(value, dict):
        content = value.get("content")
        if isinstance(content, str) and content.startswith("comment "):
            yield content
        for inner in value.values():
            yield from _contents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _contents(inner)


def report(tally: Tally) -> dict[str, Any]:
    """The figures."""
    delays = sorted(tally.to_last_tab)
    drive = {name: n for name, n in tally.calls.items() if name.startswith("drive.")}
    return {
        "changes at Google": tally.changes,
        "writes through the daemon": tally.writes,
        "sockets cut in the middle of a write": tally.cut,
        "writes sent again": tally.resent,
        "outcome unknown": tally.unknown,
        "changes lost": tally.lost,
        "writes done twice": tally.duplicates,
        "change to last tab, s, median": round(statistics.median(delays), 2) if delays else None,
        "change to last tab, s, p99": round(delays[int(len(delays) * 0.99)], 2) if delays else None,
        "change to last tab, s, worst": round(delays[-1], 2) if delays else None,
        "seconds": round(tally.seconds, 1),
        "Google calls": sum(drive.values()),
        "Google units": tally.units,
        "Google calls by method": drive,
    }


def run(seconds: float) -> dict[str, Any]:
    """Seed, start, run, stop."""
    seed = world(random.Random(7))
    with (
        tempfile.TemporaryDirectory(prefix="docsession-main-job-") as directory,
        Server(Path(directory), seed=seed) as server,
    ):
        tally = asyncio.run(main_job(server, seed, seconds=seconds))
        assert "Traceback" not in server.daemon.log(), server.daemon.log()[-3000:]
        return report(tally)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = run(given.seconds)
    for name, value in figures.items():
        sys.stdout.write(f"{name:40} {value}\n")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
