"""``docsession-migrate`` as operators run it: a daemon's store, to Redis and back, and the keys of nodes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.children import Child
from tests.daemon.page import Browser
from tests.daemon.redis_server import RedisServer, needs_redis
from tests.daemon.server import Server

pytestmark = needs_redis

OLD = "the-old-secret-of-all-the-nodes-which-is-long-enough"
NEW = "the-new-secret-of-all-the-nodes-which-is-long-enough"
STOPPED = -signal.SIGTERM


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One whose keys are configured, as those of several nodes have to be."""
    monkeypatch.setenv("DOCSESSION_KEYS", OLD)
    (tmp_path / "server").mkdir()
    with Server(tmp_path / "server") as server:
        yield server


def migrate(server: Server, *arguments: str, keys: str = OLD) -> tuple[int, list[str]]:
    """Run the command; its exit code, and what it said."""
    child = Child(
        [sys.executable, "-m", "docsession.migrate", "--config", str(configuration(server)), *arguments],
        cwd=server.daemon.cwd,
        env={"DOCSESSION_KEYS": keys, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    before = len(child.log())
    child.start()
    code = child.wait_ended()
    said = child.log()[before:]
    assert "Traceback" not in said, said
    return code, said.splitlines()


def refused(server: Server, *arguments: str, keys: str = OLD) -> str:
    """The one line that it ends with."""
    code, said = migrate(server, *arguments, keys=keys)
    assert code == 1, said
    lines = [line for line in said if line.startswith("docsession-migrate: ")]
    assert len(lines) == 1, said
    return lines[0]


def configuration(server: Server) -> Path:
    return server.directory / "docsession.toml"


def on_redis(server: Server, redis: RedisServer, yes: bool = True) -> None:
    """What the configuration says from now on."""
    plain = configuration(server).read_text().partition("[backend]")[0]
    configuration(server).write_text(plain + (f'[backend]\nurl = "{redis.url}"\n' if yes else ""))


def test_there_and_back(server: Server, redis: RedisServer) -> None:
    """Who was signed in stays it; what was known is known; each store is refused while it is used."""

    async def still_there(browser: Browser, file_id: str, words: str) -> None:
        tab = await browser.tab()
        assert tab.opened["user"]["email"] == "ann@example.com"
        watched = await tab.call("documents.watch", fileId=file_id, comments=True)
        assert "plan" in watched["file"]["name"]
        await tab.call("drive.comments.create", fileId=file_id, requestBody={"content": words})
        await tab.close()

    async def run() -> None:
        async with Browser(server.url, aiohttp.TCPConnector(force_close=True)) as browser:
            await browser.sign_in("ann@example.com")
            file_id = server.file("Autumn plan")
            await still_there(browser, file_id, "on SQLite")
            on_redis(server, redis)
            there = ("--from", "sqlite", "--to", "redis")
            assert "already in use by process" in refused(server, *there)
            assert server.daemon.terminate() == STOPPED
            code, said = migrate(server, *there)
            assert code == 0, said
            assert any(line.split()[:3] == ["grants", "1", "1"] for line in said), said
            assert "there is a store already" in refused(server, *there)

            server.daemon.start().wait_listening()
            await still_there(browser, file_id, "on Redis")
            back = ("--from", "redis", "--to", "sqlite")
            server.database.rename(server.database.with_name("as it was"))
            assert "runs; stop all nodes first" in refused(server, *back)
            assert server.daemon.terminate() == STOPPED
            code, said = migrate(server, *back)
            assert code == 0, said
            assert "is there already" in refused(server, *back)

            on_redis(server, redis, yes=False)
            redis.kill()
            server.daemon.start().wait_listening()
            await still_there(browser, file_id, "on SQLite again")
            assert {"on SQLite", "on Redis", "on SQLite again"} <= set(server.comments(file_id))

    asyncio.run(run())


def test_killed_in_the_middle(server: Server, redis: RedisServer) -> None:
    """The same command goes on; a daemon does not begin with the half."""
    assert server.daemon.terminate() == STOPPED
    on_redis(server, redis)
    redis.cli("hset", "docsession:migration", "program", "docsession-migrate", "source", "another")
    redis.cli("set", "docsession:user:half", "of it")
    server.daemon.start()
    assert server.daemon.wait_ended() == 1
    assert "in use by something else" in server.daemon.log()
    code, said = migrate(server, "--from", "sqlite", "--to", "redis")
    assert code == 0, said
    assert redis.cli("exists", "docsession:user:half") == "0"


def test_keys_are_adopted(server: Server, redis: RedisServer) -> None:
    """New ones in front of the old: nodes start with them once they were adopted, and not before."""
    both = f"{NEW} {OLD}"

    async def run() -> None:
        assert server.daemon.terminate() == STOPPED
        on_redis(server, redis)
        assert "there is no store" in refused(server, "--adopt-keys")
        server.daemon.start().wait_listening()
        async with Browser(server.url, aiohttp.TCPConnector(force_close=True)) as browser:
            await browser.sign_in("ann@example.com")
            assert "still runs; stop all nodes first" in refused(server, "--adopt-keys", keys=both)
            assert server.daemon.terminate() == STOPPED
            assert "cannot be read with these keys" in refused(server, "--adopt-keys", keys=NEW)
            server.daemon._env["DOCSESSION_KEYS"] = both
            server.daemon.start()
            assert server.daemon.wait_ended() == 1
            assert "give all nodes the same keys in the same order" in server.daemon.log()
            code, said = migrate(server, "--adopt-keys", keys=both)
            assert code == 0, said
            server.daemon.start().wait_listening()
            tab = await browser.tab()
            assert tab.opened["user"]["email"] == "ann@example.com"
            await tab.close()

    asyncio.run(run())


def test_what_it_is_not_given(server: Server, redis: RedisServer, tmp_path: Path) -> None:
    """Every way to call it wrong, and a Redis that is not there, is one line."""
    assert server.daemon.terminate() == STOPPED
    there = ("--from", "sqlite", "--to", "redis")
    assert "backend.url: missing" in refused(server, *there)
    on_redis(server, redis)
    assert "--from and --to" in refused(server)
    assert "--from and --to" in refused(server, "--from", "redis", "--to", "redis")
    assert "--adopt-keys goes alone" in refused(server, "--adopt-keys", *there)
    assert "cannot be read" in refused(server, *there, "--config", str(tmp_path / "missing.toml"))
    assert "server.keys_file" in refused(server, *there, keys="")
    redis.kill()
    assert f"127.0.0.1:{redis.port}" in refused(server, *there)
    assert f"127.0.0.1:{redis.port}" in refused(server, "--adopt-keys")
