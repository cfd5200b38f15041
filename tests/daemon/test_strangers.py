"""Two JSON-RPC clients that know nothing of docsession speak to the daemon unaided."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonrpc_base
import pytest
from jsonrpc_websocket import Server as Stranger

from tests.daemon.page import Browser
from tests.daemon.server import Server

STRANGERS = Path(__file__).parent.parent / "strangers"
NODE = shutil.which("node")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


async def signed_in(browser: Browser) -> tuple[str, str]:
    """The session's identifier and the Cookie header of a signed-in browser."""
    await browser.sign_in("ann@example.com")
    session = (await browser.cookie())["session"]
    cookies = browser.http.cookie_jar.filter_cookies(browser.http._build_url(browser.url))
    return session, "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


def test_pypi_jsonrpc_websocket(server: Server) -> None:
    async def run() -> None:
        async with Browser(server.url) as browser, aiohttp.ClientSession() as http:
            session, cookie = await signed_in(browser)
            stranger = Stranger(
                f"{server.url.replace('http', 'ws')}/api/socket",
                session=http,
                headers={"Origin": server.url, "Cookie": cookie},
            )
            changed: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            stranger.document.changed = lambda **params: changed.set_result(params)
            await stranger.ws_connect()
            opened = await stranger.session.open(session=session)
            assert opened["user"]["email"] == "ann@example.com"
            found = await stranger.drive.files.list(fields="files(id,name)")
            names = {file["name"]: file["id"] for file in found["data"]["files"]}
            with pytest.raises(jsonrpc_base.ProtocolError) as refused:
                await stranger.drive.files.get(fileId="../x")
            assert refused.value.args[0] == -32602
            file_id = names["Autumn plan"]
            await stranger.documents.watch(fileId=file_id)
            await asyncio.to_thread(
                server.as_person,
                "bob@example.com",
                "PATCH",
                f"/drive/v3/files/{file_id}",
                {"name": "Renamed"},
            )
            params = await asyncio.wait_for(changed, 30)
            assert params["file"]["name"] == "Renamed"
            assert params["changed"] == ["lastModifyingUser", "modifiedTime", "name"]
            await stranger.close()

    asyncio.run(run())


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.skipif(
    not (STRANGERS / "node_modules" / "rpc-websockets").is_dir(),
    reason="npm's rpc-websockets is not installed (make tests/strangers/node_modules)",
)
def test_npm_rpc_websockets(server: Server) -> None:
    async def prepare() -> tuple[str, str]:
        async with Browser(server.url) as browser:
            return await signed_in(browser)

    session, cookie = asyncio.run(prepare())
    file_id = server.file("Autumn plan")
    socket = f"{server.url.replace('http', 'ws')}/api/socket"
    assert NODE is not None
    stranger = subprocess.Popen(
        [NODE, "stranger.mjs", socket, server.url, cookie, session, file_id],
        cwd=STRANGERS,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
        text=True,
    )
    try:
        assert stranger.stdout is not None
        said: dict[str, Any] = {}
        for line in stranger.stdout:
            step = json.loads(line)
            said[step["step"]] = step["value"]
            if step["step"] == "watching":
                server.as_person(
                    "bob@example.com", "PATCH", f"/drive/v3/files/{file_id}", {"name": "Renamed"}
                )
        assert "error" not in said, said
        assert said["opened"]["user"]["email"] == "ann@example.com"
        assert "Autumn plan" in {file["name"] for file in said["files"]["data"]["files"]}
        assert said["refused"]["code"] == -32602
        assert said["changed"]["file"]["name"] == "Renamed"
        assert stranger.wait(30) == 0
    finally:
        stranger.kill()
        stranger.wait()
        if stranger.stdout is not None:
            stranger.stdout.close()
