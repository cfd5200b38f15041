"""Many connections at once, to a daemon that lets few in: over TCP, TLS and a unix socket."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.proxies import certificate
from tests.daemon.server import Server

MANY = 120
SLOWLY = "[limits]\naccepts_per_second = 40"


def metric(server: Server, name: str) -> float:
    """Of the one without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])


@pytest.mark.parametrize("kind", ["tcp", "ssl", "unix"])
def test_a_herd_waits_and_nobody_is_refused(kind: str, tmp_path: Path) -> None:
    server = Server(tmp_path, toml=SLOWLY)
    trust: ssl.SSLContext | bool = True
    endpoint, base = f"tcp:{server.port}:interface=127.0.0.1", server.url
    if kind == "unix":
        endpoint = f"unix:{tmp_path}/herd.sock"
    if kind == "ssl":
        public, private = certificate()
        (tmp_path / "both.pem").write_bytes(private + public)
        trust = ssl.create_default_context(cadata=public.decode())
        endpoint = f"ssl:{server.port}:interface=127.0.0.1:privateKey={tmp_path}/both.pem"
        base = f"https://127.0.0.1:{server.port}"
    path = tmp_path / "docsession.toml"
    path.write_text(path.read_text().replace(f"tcp:{server.port}:interface=127.0.0.1", endpoint))
    server.daemon.port = server.admin_port

    def connector() -> aiohttp.BaseConnector:
        if kind == "unix":
            return aiohttp.UnixConnector(path=f"{tmp_path}/herd.sock", limit=0)
        return aiohttp.TCPConnector(limit=0, ssl=trust)

    async def run() -> None:
        async with aiohttp.ClientSession(connector=connector()) as inside:

            async def alive(session: aiohttp.ClientSession, path: str = "/livez") -> str:
                async with session.get(f"{base}{path}") as answer:
                    assert answer.status == 200
                    return await answer.text()

            await alive(inside)
            async with aiohttp.ClientSession(connector=connector()) as outside:
                herd = [asyncio.create_task(alive(outside)) for _ in range(MANY)]
                # Who is in is served while they wait.
                async with asyncio.timeout(30):
                    while '"accepting":"busy"' not in await alive(inside, "/readyz?verbose"):
                        await asyncio.sleep(0.01)
                for _ in range(10):
                    await alive(inside)
                assert not all(one.done() for one in herd)
                await asyncio.gather(*herd)
            accepted = await asyncio.to_thread(metric, server, "docsession_accepts_total")
            assert accepted == MANY + 1
            assert await asyncio.to_thread(metric, server, "docsession_accepts_held_seconds_total") > 0

    with server:
        asyncio.run(run())
        assert "Traceback" not in server.daemon.log()
