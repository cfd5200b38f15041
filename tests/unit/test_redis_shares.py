"""A node's share of the quota while Redis is away: it stays, and nobody is asked for it in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.redis_shares import RedisShares


class Link:
    """What shares ask of Redis."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.listener: Callable[[bool], None] = lambda away: None
        self._away = False

    @property
    def away(self) -> bool:
        self.looked_at += 1
        return self._away

    def on_away(self, call: Callable[[bool], None]) -> None:
        self.listener = call

    def key(self, name: str) -> str:
        return name

    def go(self, away: bool) -> None:
        self._away = away
        self.listener(away)

    async def run(self, script: Any, keys: list[str], args: list[Any]) -> Any:
        raise AssertionError("asked in vain")

    async def do_all(self, commands: list[Any]) -> Any:
        raise AssertionError("asked in vain")


class Away(SynchronousTestCase):
    def test_it_waits_without_haste(self) -> None:
        clock, link = Clock(), Link()
        shares = RedisShares(link, clock, node="one", project=1000, user=100)  # type: ignore[arg-type]
        link.go(True)
        shares.hurry()
        for _ in range(600):
            clock.advance(0.1)
        self.assertTrue(30 <= link.looked_at <= 150, link.looked_at)
        stopping = Deferred.fromCoroutine(shares.stop())
        self.assertIsInstance(self.failureResultOf(stopping).value, AssertionError)  # its goodbye is tried
        self.assertEqual(clock.getDelayedCalls(), [])
