"""A connection to Redis that is still being made when it is given up."""

from __future__ import annotations

import random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.redis import Redis
from docsession.backend.redis_endpoint import Lost
from docsession.backend.redis_line import LAST_TRY, Line
from docsession.config import Backend


class Held:
    """A connection whose end the test decides."""

    def __init__(self) -> None:
        self.ended = Lost("cut")
        self.lost: Deferred[None] = Deferred()

    def when_lost(self) -> Deferred[None]:
        return self.lost

    async def close(self) -> None:
        pass


class GivenUpWhileConnecting(SynchronousTestCase):
    def test_the_link_hears_of_it_as_of_any_cancel(self) -> None:
        """Twisted calls it by another name, which would be taken for a bug and tried again."""
        reactor = MemoryReactorClock()
        settings = Backend(url="unix:///nowhere/redis.sock")
        redis = Redis(settings, None, reactor=reactor, rng=random.Random(4))
        starting = Deferred.fromCoroutine(redis.start())
        self.assertEqual(len(reactor.unixClients), 1)
        starting.cancel()
        self.failureResultOf(starting, CancelledError)

    def test_a_line_that_stops_makes_no_other(self) -> None:
        reactor = MemoryReactorClock()
        first = Held()
        made: list[Deferred[Held]] = []

        async def connect() -> Held:
            made.append(Deferred())
            return await made[-1]

        line = Line(connect, reactor, random.Random(4), up=lambda: None, down=lambda _: None)
        starting = Deferred.fromCoroutine(line.start())
        made[0].callback(first)
        self.successResultOf(starting)
        first.lost.callback(None)
        reactor.advance(LAST_TRY)
        self.assertEqual(len(made), 2)
        self.successResultOf(Deferred.fromCoroutine(line.stop()))
        reactor.pump([LAST_TRY] * 20)
        self.assertEqual(len(made), 2)
        self.assertEqual(reactor.getDelayedCalls(), [])
