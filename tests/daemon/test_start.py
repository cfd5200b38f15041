"""Starting, refusing to start, and stopping: what an operator sees, and the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.children import Child, free_port, twistd
from tests.daemon.page import Browser
from tests.daemon.redis_server import RedisServer, needs_redis
from tests.daemon.server import Server

# Twisted ends a stopped process by the signal that stopped it.
STOPPED = -signal.SIGTERM


def start(tmp_path: Path, toml: str, *arguments: str, secret: bool = True) -> Child:
    """A daemon with this configuration, not started."""
    (tmp_path / "docsession.toml").write_text(toml)
    env = {"DOCSESSION_CLIENT_SECRET": "a secret"} if secret else {}
    return Child(
        twistd("docsession", "--config", str(tmp_path / "docsession.toml"), *arguments),
        cwd=tmp_path,
        env=env,
    )


def toml(**listen: int) -> str:
    listen = {"listen": free_port(), "admin_listen": free_port()} | listen
    lines = [f'{name} = "tcp:{port}:interface=127.0.0.1"' for name, port in listen.items()]
    scope = "https://www.googleapis.com/auth/drive.file"
    return "\n".join(["[server]", *lines, "[google]", 'client_id = "x"', f'scopes = ["{scope}"]'])


def refusal(child: Child) -> str:
    """The line it ends with; it must end with code 1 and without a traceback."""
    child.start()
    assert child.wait_ended() == 1, child.log()
    assert "Traceback" not in child.log(), child.log()
    lines = [line for line in child.log().splitlines() if line.startswith("docsession: ")]
    assert len(lines) == 1, child.log()
    return lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nlisten = 8765", "server.listen"),
        ('[server]\nlisen = "tcp:1"', "did you mean server.listen"),
        ('[sever]\nlisten = "tcp:1"', "did you mean server"),
        ("[google]\nclient_id = ", "not TOML"),
        ('[server]\npublic_url = "http://docs.example.com"', "https"),
        ('[google]\nclient_id = "x"', "google.scopes"),
        ("", "google.client_id"),
    ],
)
def test_a_bad_configuration_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    line = refusal(start(tmp_path, text))
    assert said in line


def test_a_missing_secret_is_one_line(tmp_path: Path) -> None:
    assert "client_secret" in refusal(start(tmp_path, toml(), secret=False))


@pytest.mark.parametrize("which", ["listen", "admin_listen"])
def test_a_busy_port_is_one_line(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert str(port) in refusal(start(tmp_path, toml(**{which: port})))


def test_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    state = tmp_path / "docsession-state"
    state.mkdir(mode=0o700)
    (state / "docsession.sqlite").write_bytes(b"this is no database" * 100)
    (state / "docsession.sqlite").chmod(0o600)
    assert "docsession.sqlite" in refusal(start(tmp_path, toml()))


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    state = tmp_path / "docsession-state"
    state.mkdir(mode=0o700)
    (state / "keys").write_text("k" * 40)
    (state / "keys").chmod(0o644)
    assert "keys" in refusal(start(tmp_path, toml()))


def test_a_store_of_another_client_is_refused(tmp_path: Path) -> None:
    text = toml()
    with start(tmp_path, text) as child:
        child.wait_said("docsession is ready")
        assert child.terminate() == STOPPED
    assert "client" in refusal(start(tmp_path, text.replace('client_id = "x"', 'client_id = "another"')))


def test_a_second_daemon_on_one_store_is_refused(tmp_path: Path) -> None:
    with start(tmp_path, toml()) as child:
        child.wait_said("docsession is ready")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "docsession-state").symlink_to(tmp_path / "docsession-state")
        second = start(tmp_path / "other", toml())
        second.start()
        assert second.wait_ended() == 1
        assert "in use" in second.log()


def test_what_it_makes_is_its_own(tmp_path: Path) -> None:
    with start(tmp_path, toml()) as child:
        child.wait_said("docsession is ready")
        state = tmp_path / "docsession-state"
        assert state.stat().st_mode & 0o777 == 0o700
        for made in state.iterdir():
            assert made.stat().st_mode & 0o077 == 0, made


@needs_redis
def test_a_sandbox_beside_a_node_on_redis(tmp_path: Path) -> None:
    """Its world is the only thing that a node keeps in its state directory."""
    sandbox = free_port()
    listen = "".join(
        f'{name} = "tcp:{free_port()}:interface=127.0.0.1"\n' for name in ("listen", "admin_listen")
    )
    with RedisServer(tmp_path / "redis") as redis:
        (tmp_path / "docsession.toml").write_text(f'[server]\n{listen}[backend]\nurl = "{redis.url}"\n')
        arguments = (
            "--config",
            "docsession.toml",
            "--sandbox",
            "--sandbox-url",
            f"http://127.0.0.1:{sandbox}",
        )
        keys = {"DOCSESSION_KEYS": "k" * 40}
        with Child(twistd("docsession", *arguments), cwd=tmp_path, env=keys) as child:
            child.wait_said("docsession is ready")
            assert child.terminate() == STOPPED
    assert [made.name for made in (tmp_path / "docsession-state").iterdir()] == ["sandbox.json"]


def test_the_log_is_json_lines(tmp_path: Path) -> None:
    with start(tmp_path, toml()) as child:
        child.wait_said("docsession is ready")
        assert child.terminate() == STOPPED
        lines = [json.loads(line) for line in child.log().splitlines()]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)


def test_in_the_background_the_log_is_a_file_of_the_same_lines(tmp_path: Path) -> None:
    (tmp_path / "docsession.toml").write_text(toml())
    command = Path(sys.executable).with_name("twistd")
    env = {**os.environ, "DOCSESSION_CLIENT_SECRET": "a secret"}
    subprocess.run(
        [command, "--pidfile=pid", "--logfile=log", "docsession", "--config", "docsession.toml"],
        cwd=tmp_path,
        env=env,
        check=True,
        timeout=60,
    )
    log = tmp_path / "log"
    try:
        assert polled(lambda: log.exists() and "docsession is ready" in log.read_text())
        assert log.stat().st_mode & 0o777 == 0o600
        assert all("message" in json.loads(line) for line in log.read_text().splitlines())
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert polled(lambda: not (tmp_path / "pid").exists())


def polled(condition: Callable[[], bool]) -> bool:
    """Whether it became true; for what another process does."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.05) for _ in range(600))


def test_check_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with Server(tmp_path / "here") as server:
        config = str(tmp_path / "here" / "docsession.toml")
        busy = Child(twistd("docsession", "--config", config, "--check"), cwd=tmp_path / "here" / "daemon")
        busy.start()
        assert busy.wait_ended() == 1
        assert "FAILED  store" in busy.log()
        assert "FAILED  pages" in busy.log()
        assert server.daemon.terminate() == STOPPED
        free = Child(twistd("docsession", "--config", config, "--check"), cwd=tmp_path)
        free.start()
        assert free.wait_ended() == 0, free.log()
        assert "ok      Google: " in free.log()
        server.sandbox.kill()
        alone = Child(twistd("docsession", "--config", config, "--check"), cwd=tmp_path)
        alone.log_path.unlink()
        alone.start()
        assert alone.wait_ended() == 1
        assert "FAILED  Google" in alone.log()


def test_sigterm_drains(tmp_path: Path) -> None:
    with Server(tmp_path) as server:

        async def run() -> None:
            async with Browser(server.url) as browser:
                await browser.sign_in("ann@example.com")
                tabs = [await browser.tab() for _ in range(5)]
                code = asyncio.create_task(asyncio.to_thread(server.daemon.terminate))
                delays = set()
                for tab in tabs:
                    delays.add((await tab.event("server.draining"))["reconnect_after"])
                    assert await tab.closed() == 4000
                assert len(delays) > 1
                assert await code == STOPPED

        asyncio.run(run())
        assert "Traceback" not in server.daemon.log()


def test_many_tabs_are_told_to_come_back_over_a_longer_time(tmp_path: Path) -> None:
    with Server(tmp_path, toml="[limits]\nopens_per_second = 0.1") as server:

        async def run() -> None:
            async with Browser(server.url) as browser:
                tabs = [await browser.tab() for _ in range(6)]
                code = asyncio.create_task(asyncio.to_thread(server.daemon.terminate))
                delays = [(await tab.event("server.draining"))["reconnect_after"] for tab in tabs]
                assert len(set(delays)) > 1
                assert 5 < max(delays) <= 60
                assert await code == STOPPED

        asyncio.run(run())


def test_nothing_secret_is_logged_or_stored_in_the_clear(tmp_path: Path) -> None:
    with Server(tmp_path) as server:

        async def run() -> None:
            async with Browser(server.url) as browser:
                await browser.sign_in("ann@example.com")
                tab = await browser.tab()
                file_id = server.file("Autumn plan")
                await tab.call("documents.watch", fileId=file_id, comments=True)
                await tab.call("drive.comments.create", fileId=file_id, requestBody={"content": "private"})
                cookie = next(iter(browser.http.cookie_jar)).value
                world = json.dumps(server.control("GET", "/sandbox/world"))
                assert "ya29." in world or "1//" in world
                await tab.close()
                assert server.daemon.terminate() == STOPPED
                log = server.daemon.log()
                stored = b"".join(
                    path.read_bytes() for path in server.database.parent.iterdir() if path.name != "keys"
                )
                for secret in (cookie, cookie.split(".")[0], "a secret of the project", "ya29.", "1//"):
                    assert secret not in log
                    assert secret.encode() not in stored
                for private in (b"Autumn plan", b"private", b"ann@example.com"):
                    assert private not in stored

        asyncio.run(run())


def test_a_full_disk_stops_writes_and_nothing_else(tmp_path: Path) -> None:
    with Server(tmp_path) as server:

        async def run() -> None:
            async with Browser(server.url) as browser:
                await browser.sign_in("ann@example.com")
                tab = await browser.tab()
                file_id = server.file("Autumn plan")
                lock = sqlite3.connect(server.database, isolation_level=None)
                lock.execute("BEGIN IMMEDIATE")
                answer = await tab.call("drive.files.get", fileId=file_id)
                assert answer["data"]["name"] == "Autumn plan"
                sent = await tab.send("drive.comments.create", fileId=file_id, requestBody={"content": "x"})
                refused = await asyncio.wait_for(tab._answers[sent], 30)
                assert refused["error"]["code"] == 1012
                async with browser.http.get(f"{server.url}/readyz?verbose") as ready:
                    assert ready.status == 503
                    assert (await ready.json())["parts"]["store"] == "unavailable"
                lock.execute("ROLLBACK")
                lock.close()
                await tab.call("drive.comments.create", fileId=file_id, requestBody={"content": "y"})
                assert server.comments(file_id).count("x") == 0

        asyncio.run(run())


def test_rubbish_disturbs_nobody(tmp_path: Path) -> None:
    with Server(tmp_path) as server:

        async def run() -> None:
            async with Browser(server.url) as browser:
                await browser.sign_in("ann@example.com")
                tab = await browser.tab()
                for rubbish in (
                    b"\x00" * 5000,
                    b"GET / HTTP/9.9\r\n\r\n",
                    b"POST /api/generate_cookie HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                    b"GET /api/socket HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
                    os.urandom(20_000),
                ):
                    _, writer = await asyncio.open_connection("127.0.0.1", server.listen_port)
                    writer.write(rubbish)
                    writer.close()
                assert await tab.call("session.ping") == {}

        asyncio.run(run())
        assert "Traceback" not in server.daemon.log()
