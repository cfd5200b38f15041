"""Signing out with a store that answers from its own thread, as a real one does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.page import Browser, Refused
from tests.daemon.server import Server


@pytest.mark.parametrize("how", [{}, {"everywhere": True}, {"disconnect": True}])
def test_it_is_answered_then_told_then_closed(tmp_path: Path, how: dict[str, Any]) -> None:
    with Server(tmp_path) as server:

        async def run() -> None:
            async with Browser(server.url) as browser, Browser(server.url) as elsewhere:
                for one in (browser, elsewhere):
                    await one.sign_in("ann@example.com")
                asking, beside, far = [await one.tab() for one in (browser, browser, elsewhere)]
                assert await asking.call("session.sign_out", **how) == {}
                for tab in (asking, beside):
                    assert (await tab.event("session.signed_out"))["reason"] == "signed_out"
                    assert await tab.closed() == 4500
                if how:
                    assert await far.closed() == 4500
                else:
                    assert (await far.call("session.user"))["email"] == "ann@example.com"
                again = await browser.tab()
                assert again.opened["user"] is None
                with pytest.raises(Refused) as refused:
                    await again.call("drive.files.list")
                assert refused.value.code == 1003

        asyncio.run(run())
        assert "Traceback" not in server.daemon.log()
