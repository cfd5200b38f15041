"""Writes are done once, also when the daemon is killed at any point of one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.page import Browser, Page, Refused, until
from tests.daemon.server import Server

WRITE = "drive.comments.create"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


def scenario(
    server: Server, steps: Callable[[Browser, Page, dict[str, Any]], Coroutine[Any, Any, None]]
) -> None:
    """Ann is signed in with one tab, and about to write a comment."""

    async def run() -> None:
        async with Browser(server.url) as browser:
            await browser.sign_in("ann@example.com")
            page = await browser.tab()
            file_id = server.file("Autumn plan")
            await steps(browser, page, {"fileId": file_id, "requestBody": {"content": "once"}})

    asyncio.run(run())


def fault(server: Server, **fault: Any) -> None:
    server.control("PUT", "/sandbox/faults", [fault])


def times_done(server: Server) -> int:
    return server.comments(server.file("Autumn plan")).count("once")


def journalled(server: Server) -> int:
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as database:
        return int(database.execute("SELECT count(*) FROM journal").fetchone()[0])


def test_killed_before_it_was_sent_it_is_done_when_sent_again(server: Server) -> None:
    async def steps(browser: Browser, page: Page, write: dict[str, Any]) -> None:
        # The write waits for a token that never comes.
        server.control("POST", "/sandbox/grants", {"email": "ann@example.com", "do": "expire_access"})
        fault(server, match={"method": "oauth2.token.refresh"}, hang=True)
        call = await page.send(WRITE, "w1", **write)
        await until(
            lambda: "oauth2.token.refresh" in server.control("GET", "/sandbox/calls")["by_method"],
            "the refresh arrives",
        )
        server.daemon.kill()
        assert times_done(server) == 0
        server.control("DELETE", "/sandbox/faults")
        server.daemon.start().wait_listening()
        again = await browser.tab(page.opened["connection"])
        assert again.opened["resumed"]
        answer = await again.call(WRITE, call, **write)
        assert answer["data"]["content"] == "once"
        assert times_done(server) == 1

    scenario(server, steps)


def test_killed_after_google_did_it_its_outcome_is_unknown_and_it_is_not_done_again(server: Server) -> None:
    async def steps(browser: Browser, page: Page, write: dict[str, Any]) -> None:
        fault(server, match={"method": WRITE}, after=True, hang=True)
        call = await page.send(WRITE, "w1", **write)
        await until(lambda: times_done(server), "Google does it")
        server.control("DELETE", "/sandbox/faults")
        server.restart()
        again = await browser.tab(page.opened["connection"])
        with pytest.raises(Refused) as refused:
            await again.call(WRITE, call, **write)
        assert refused.value.code == 1010
        assert times_done(server) == 1

    scenario(server, steps)


def test_killed_before_the_answer_is_stored_it_is_not_done_again(server: Server) -> None:
    async def steps(browser: Browser, page: Page, write: dict[str, Any]) -> None:
        fault(server, match={"method": WRITE}, delay=1.0)
        call = await page.send(WRITE, "w1", **write)
        await until(lambda: journalled(server), "it is journalled")
        lock = sqlite3.connect(server.database, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")  # so nothing more is stored
        await until(lambda: times_done(server), "Google does it")
        server.daemon.kill()
        lock.close()
        server.daemon.start().wait_listening()
        again = await browser.tab(page.opened["connection"])
        with pytest.raises(Refused) as refused:
            await again.call(WRITE, call, **write)
        assert refused.value.code == 1010
        assert times_done(server) == 1

    scenario(server, steps)


def test_killed_after_the_answer_is_stored_the_answer_is_there(server: Server) -> None:
    async def steps(browser: Browser, page: Page, write: dict[str, Any]) -> None:
        first = await page.call(WRITE, "w1", **write)
        server.restart()
        again = await browser.tab(page.opened["connection"])
        assert await again.call(WRITE, "w1", **write) == first
        assert times_done(server) == 1

    scenario(server, steps)


def test_a_cut_socket_leaves_the_write_running_and_the_next_socket_joins_it(server: Server) -> None:
    async def steps(browser: Browser, page: Page, write: dict[str, Any]) -> None:
        fault(server, match={"method": WRITE}, times=1, delay=1.0)
        call = await page.send(WRITE, "w1", **write)
        await until(lambda: journalled(server), "it is journalled")
        page.abort()
        again = await browser.tab(page.opened["connection"])
        answer = await again.call(WRITE, call, **write)
        assert answer["data"]["content"] == "once"
        assert times_done(server) == 1

    scenario(server, steps)
