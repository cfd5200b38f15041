"""What the sample proxies do when a node dies with a request in its hands: nodes here are stand-ins."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.daemon.children import free_port
from tests.daemon.page import until
from tests.daemon.proxies import KINDS, LACKING, OWN_PAGE, Proxy, program

pytestmark = [
    pytest.mark.parametrize(
        "kind",
        [
            pytest.param(kind, marks=pytest.mark.skipif(program(kind) is None, reason=LACKING[kind]))
            for kind in KINDS
        ],
    )
]

ANSWER = b"HTTP/1.1 %d So\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Node:
    """Says that it is alive and ready, and to anything else what it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heads: list[str] = []  # of what it was asked
        self.dies = False  # with the request in its hands
        self.ready = True
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split()[1]
            if path == "/livez":
                writer.write(ANSWER % 200)
            elif path == "/readyz":
                writer.write(ANSWER % (200 if self.ready else 503))
            else:
                self.heads.append(head)
                if not self.dies:
                    writer.write(ANSWER % 200)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Site:
    """Three such nodes, and a proxy in front."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.nodes = [Node() for _ in range(3)]
        self.proxy = Proxy(kind, [node.port for node in self.nodes], directory)

    async def __aenter__(self) -> Site:
        for node in self.nodes:
            await node.start()
        await asyncio.to_thread(self.proxy.__enter__)
        for path in ("/livez", "/readyz"):
            assert (await self.ask("GET", path))[0] == 200
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.proxy.__exit__)
        for node in self.nodes:
            await node.stop()

    @property
    def asked(self) -> int:
        """How often a node was asked for anything."""
        return sum(len(node.heads) for node in self.nodes)

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        return await asyncio.to_thread(
            fetch, method, f"{self.proxy.url}{path}", headers or {}, self.proxy.trust()
        )


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def fetch(method: str, url: str, headers: dict[str, str], trust: ssl.SSLContext) -> tuple[int, bytes]:
    """Status and body; a redirection is an answer as any other."""
    request = urllib.request.Request(url, method=method, headers=headers)
    opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(request, b"" if method == "POST" else None, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


CALLBACK = "/api/oauth/callback?state=a-state&code=a-secret-code"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def test_what_may_be_repeated_is(kind: str, tmp_path: Path) -> None:
    """Two nodes die with whatever they are asked; the third answers, whoever was asked first."""

    async def run() -> None:
        async with Site(kind, tmp_path) as site:
            site.nodes[0].dies = site.nodes[1].dies = True
            for method, path, headers in (
                ("POST", "/api/generate_cookie", {}),
                ("POST", "/api/drive/notifications", {}),
                ("GET", "/client/docsession.js", {}),
                ("GET", "/api/files/x/content", {}),
                ("GET", "/api/socket", UPGRADE),
            ):
                for _ in range(3):
                    assert await site.ask(method, path, headers) == (200, b"ok"), (method, path)
            assert len(site.nodes[2].heads) == 15
            assert site.nodes[0].heads and site.nodes[1].heads

    asyncio.run(run())


def test_the_end_of_a_sign_in_runs_once(kind: str, tmp_path: Path) -> None:
    """A node that died with it in its hands is the only one that saw it."""

    async def run() -> None:
        async with Site(kind, tmp_path) as site:
            for node in site.nodes:
                node.dies = True
            for number in (1, 2, 3):
                status, _ = await site.ask("GET", CALLBACK)
                assert status == 502
                assert site.asked == number

    asyncio.run(run())


def test_the_end_of_a_sign_in_finds_a_node(kind: str, tmp_path: Path) -> None:
    """Where no connection came about nothing has run, and another node is asked; no log has the code."""

    async def run() -> None:
        async with Site(kind, tmp_path) as site:
            await site.nodes[0].stop()
            await site.nodes[1].stop()
            for _ in range(6):
                assert await site.ask("GET", CALLBACK) == (200, b"ok")
            assert len(site.nodes[2].heads) == 6
            assert all(CALLBACK in head for head in site.nodes[2].heads)
            await site.nodes[2].stop()
            assert (await site.ask("GET", CALLBACK))[0] in (502, 503)
            assert (await site.ask("GET", "/client/docsession.js?marked"))[0] in (502, 503)
        said = site.proxy.logs()
        assert "/api/oauth/callback" in said
        assert "a-secret-code" not in said
        assert "a-state" not in said

    asyncio.run(run())


def test_no_stranger_makes_a_node_look_dead(kind: str, tmp_path: Path) -> None:
    """Headers on which a node would close the connection never reach one."""

    async def run() -> None:
        async with Site(kind, tmp_path) as site:
            for _ in range(5):
                status, _ = await site.ask("GET", "/client/x", {"X-Much": "y" * 17_000})
                assert status in (400, 414, 431, 494)
            assert site.asked == 0
            assert (await site.ask("GET", "/client/x", {"Cookie": "y" * 3_000}))[0] == 200

    asyncio.run(run())


def test_what_goes_where(kind: str, tmp_path: Path) -> None:
    """The operator's own pages, docsession's, nothing of the admin listeners, and https only."""

    async def run() -> None:
        async with Site(kind, tmp_path) as site:
            assert await site.ask("GET", "/") == (200, OWN_PAGE.encode())
            for path in ("/metrics", "/api", "/clients/x", "/readyz/x"):
                assert (await site.ask("GET", path))[0] == 404, path
            assert site.asked == 0
            assert (await site.ask("GET", "/api/x", {"X-Forwarded-For": "6.6.6.6"}))[0] == 200
            assert site.asked == 1
            head = next(node.heads[0] for node in site.nodes if node.heads).lower()
            assert f"\r\nhost: 127.0.0.1:{site.proxy.port}\r\n" in head
            believed = [line for line in head.splitlines() if line.startswith("x-forwarded-for: ")]
            assert believed[-1].endswith("127.0.0.1")
            plain = f"http://127.0.0.1:{site.proxy.plain_port}/api/x"
            status, _ = await asyncio.to_thread(fetch, "GET", plain, {}, site.proxy.trust())
            assert status == 308
            assert site.asked == 1

    asyncio.run(run())


def test_when_no_node_is_ready_one_that_lives_is_asked(kind: str, tmp_path: Path) -> None:
    """While Redis is away all say that they are not ready, and go on with what they can."""

    async def run() -> None:
        async with Site(kind, tmp_path) as site:
            for node in site.nodes:
                node.ready = False
            assert await site.ask("GET", "/readyz") == (503, b"ok")
            if kind == "haproxy":  # nginx asks nobody whether he is ready
                await until(lambda: "backend nodes has no server available" in site.proxy.logs(), "all out")
            for _ in range(6):
                assert await site.ask("GET", "/client/docsession.js") == (200, b"ok")
            assert await site.ask("GET", "/readyz") == (503, b"ok")

    asyncio.run(run())
