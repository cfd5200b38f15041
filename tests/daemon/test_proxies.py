"""The sample configurations of nginx and HAProxy, each with three real daemons behind it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.daemon.children import free_port
from tests.daemon.cluster import Cluster
from tests.daemon.page import Browser, Page, until
from tests.daemon.proxies import KINDS, LACKING, OWN_PAGE, Proxy, program
from tests.daemon.redis_server import needs_redis
from tests.daemon.server import Server

pytestmark = needs_redis

TABS = 9


class Site(Cluster):
    """Three daemons on one Redis, and the proxy in front, over https: pages know nothing else."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._port = free_port()
        self._kind = kind
        super().__init__(directory, nodes=3)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def __enter__(self) -> Site:
        super().__enter__()
        where = self.directory / "proxy"
        where.mkdir()
        self.proxy = Proxy(self._kind, [node.port for node in self.nodes], where, port=self._port)
        try:
            self.proxy.__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.__exit__()
        super().__exit__()

    def spread(self) -> list[int]:
        """How many tabs each node has that still runs."""
        return [int(node.metric("docsession_connections")) for node in self.nodes if node.running]

    def served_by_both(self) -> bool:
        """Asks for a page; whether the last so many were served by the first two nodes."""
        with urllib.request.urlopen(f"{self.url}/livez", context=self.proxy.trust(), timeout=10) as answer:
            assert answer.status == 200
        lines = [line for line in self.proxy.logs().splitlines() if "/livez" in line][-TABS:]
        names = [f"node=127.0.0.1:{node.port}" for node in self.nodes[:2]]
        if self._kind == "haproxy":
            names = [f" nodes/node{number} " for number in (1, 2)]
        return all(any(name in line for line in lines) for name in names)


@pytest.fixture(
    params=[
        pytest.param(kind, marks=pytest.mark.skipif(program(kind) is None, reason=LACKING[kind]))
        for kind in KINDS
    ]
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with Site(request.param, tmp_path) as site:
        yield site
        site.assert_quiet()


async def watching(browser: Browser, file_id: str) -> Page:
    """A tab that watches a document with its comments. Nothing on the way is tried twice."""
    tab = await browser.tab()
    await tab.call("documents.watch", fileId=file_id, comments=True)
    return tab


async def all_hear(site: Site, tabs: list[Page], file_id: str, words: str) -> None:
    """What one tab writes comes to all the others, wherever they are."""
    await tabs[0].call("drive.comments.create", fileId=file_id, requestBody={"content": words})
    for tab in tabs[1:]:
        await tab.event("document.comment", lambda params: params["comment"]["content"] == words)
    assert site.comments(file_id).count(words) == 1


def test_pages_on_any_node(site: Site) -> None:
    """Pages, cookie, sign-in, sockets and events; then one node is stopped, and another is killed."""

    async def run() -> None:
        async with site.proxy.browser() as ann, site.proxy.browser() as bob:
            async with ann.http.get(f"{site.url}/") as answer:
                assert await answer.text() == OWN_PAGE
            async with ann.http.get(f"{site.url}/client/docsession.js") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/javascript")
            for browser, email in ((ann, "ann@example.com"), (bob, "bob@example.com")):
                await browser.sign_in(email)
                cookie = await browser.cookie()
                assert (cookie["existing"], cookie["signed_in"]) == (True, True)
            file_id = site.file("Autumn plan")
            tabs = [await watching(browser, file_id) for browser in (ann, bob, ann) * (TABS // 3)]
            assert all(tab.opened["user"] for tab in tabs)
            spread = await asyncio.to_thread(site.spread)
            assert sum(spread) == TABS
            assert min(spread) >= 2, spread
            await all_hear(site, tabs, file_id, "to all three")

            # One is drained: it tells its tabs, and they come back at once, on the others.
            stopped = asyncio.create_task(asyncio.to_thread(site.nodes[0].stop))
            tabs = await come_back(tabs, spread[0], 4000, (ann, bob), file_id)
            assert await stopped == -signal.SIGTERM
            spread = await asyncio.to_thread(site.spread)
            assert (len(spread), sum(spread)) == (2, TABS)
            await all_hear(site, tabs, file_id, "to the two that are left")

            # Another dies without a word.
            await asyncio.to_thread(site.nodes[1].kill)
            tabs = await come_back(tabs, spread[0], 1006, (ann, bob), file_id)
            assert await asyncio.to_thread(site.spread) == [TABS]
            await all_hear(site, tabs, file_id, "to the last one")

            # Both are back, and new tabs go to them.
            for node in site.nodes[:2]:
                node.start()
            for node in site.nodes[:2]:
                await asyncio.to_thread(node.wait)
                await until(node.ready, "ready again")
            await until(site.served_by_both, "both serve again")
            tabs += [await watching(ann, file_id) for _ in range(TABS)]
            assert min(await asyncio.to_thread(site.spread)) >= 2
            await all_hear(site, tabs, file_id, "to all again")
            for tab in tabs:
                await tab.close()

    asyncio.run(run())


async def come_back(
    tabs: list[Page], ended: int, code: int, browsers: tuple[Browser, Browser], file_id: str
) -> list[Page]:
    """Wait for so many of the tabs to be closed, and open as many, at once."""
    ann, bob = browsers

    async def closed() -> list[Page]:
        while True:
            gone = [tab for tab in tabs if tab.close_code is not None]
            if len(gone) == ended:
                return gone
            waiting = [tab._reading for tab in tabs if tab not in gone]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    gone = await asyncio.wait_for(closed(), 30)
    assert {tab.close_code for tab in gone} == {code}
    back = [await watching(ann if tab.opened["user"]["email"][:3] == "ann" else bob, file_id) for tab in gone]
    return [tab for tab in tabs if tab not in gone] + back


def _says(words: str, params: dict[str, Any]) -> bool:
    return bool(params["comment"]["content"] == words)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that nginx's workers reach, who are not root."""
    directory = Path(tempfile.mkdtemp(prefix="docsession-socket-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.skipif(program("nginx") is None, reason=LACKING["nginx"])
def test_one_node_behind_nginx_on_a_unix_socket(tmp_path: Path, shared: Path) -> None:
    """A whole session goes through it, also after the daemon was killed; strangers are told apart."""
    where = shared / "docsession.sock"
    (tmp_path / "proxy").mkdir()
    with (
        Proxy("nginx", where, tmp_path / "proxy") as proxy,
        Server(
            tmp_path,
            public_url=proxy.url,
            listen=f"unix:{where}:mode=666",
            in_server='trusted_proxies = ["unix"]',
            toml="[limits]\nnew_cookies_burst = 3\nnew_cookies_per_second = 0.001",
        ) as server,
    ):

        async def new_cookies(address: str, count: int) -> list[int]:
            """What a stranger gets who comes from there and says that it came from elsewhere."""
            there = aiohttp.TCPConnector(ssl=proxy.trust(), local_addr=(address, 0), force_close=True)
            said = []
            async with Browser(proxy.url, there) as stranger:
                for number in range(count):
                    headers = {"Origin": proxy.url, "X-Forwarded-For": f"198.51.100.{number}"}
                    async with stranger.http.post(
                        f"{proxy.url}/api/generate_cookie", headers=headers
                    ) as answer:
                        said.append(answer.status)
                    stranger.http.cookie_jar.clear()
            return said

        async def run() -> None:
            file_id = server.file("Autumn plan")
            async with proxy.browser() as ann:
                await ann.sign_in("ann@example.com")
                for words in ("over a unix socket", "over the next one"):
                    tabs = [await watching(ann, file_id) for _ in range(3)]
                    body = {"content": words}
                    await tabs[0].call("drive.comments.create", fileId=file_id, requestBody=body)
                    for tab in tabs[1:]:
                        await tab.event("document.comment", partial(_says, words))
                    # What it leaves behind is in nobody's way.
                    await asyncio.to_thread(server.restart)
                    for tab in tabs:
                        await tab.closed()
            assert await new_cookies("127.0.0.2", 4) == [200, 200, 200, 429]
            assert await new_cookies("127.0.0.3", 1) == [200]

        asyncio.run(run())
        assert "Traceback" not in server.daemon.log()
