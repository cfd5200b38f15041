"""One connection that is made anew whenever it is lost: for ever, and at random moments."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.backend.redis_endpoint import Lost
from docsession.backend.redis_welcome import NotReady, Refused
from docsession.tasks import delays, sleep, spawn

__all__ = ["TROUBLES", "Line"]

TROUBLES = (NotReady, Refused, Lost, ConnectError, OSError)
"""Why there may be no connection; anything else is a bug of ours."""

FIRST_TRY = 0.2
# Less than any lease: a node that is back late would do what another does for longer than that.
LAST_TRY = 2.5


class Connection(Protocol):
    """What a line needs to know of its connection."""

    def when_lost(self) -> Deferred[None]:
        """Fires once no answer will come any more."""

    def close(self) -> Deferred[None]:
        """End it; fires when it has ended."""


class Line:
    """``up`` hears of each new connection, ``down`` when it is lost, with the reason."""

    _log = Logger()

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        clock: IReactorTime,
        rng: random.Random,
        *,
        up: Callable[[], None],
        down: Callable[[Lost], None],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._up = up
        self._down = down
        self._keeping: Deferred[None] | None = None
        self.wire: Any = None

    async def start(self) -> None:
        """The first connection. Raises one of :data:`TROUBLES`; then nothing was begun."""
        self._take(await self._connect())
        self._keeping = spawn(self._log, self._keep())

    async def stop(self) -> None:
        """Close it, and make no other."""
        if self._keeping is not None:
            self._keeping.cancel()
        wire, self.wire = self.wire, None
        if wire is not None:
            await wire.close()

    async def _keep(self) -> None:
        while self.wire is not None:  # stopped, that is, by one of those who heard of it
            await self.wire.when_lost()
            wire, self.wire = self.wire, None
            self._down(wire.ended)
            await self._again()

    async def _again(self) -> None:
        for delay in delays(self._rng, first=FIRST_TRY, most=LAST_TRY):
            await sleep(self._clock, delay)
            try:
                wire = await self._connect()
            except CancelledError:
                raise
            except TROUBLES:
                continue
            except Exception:  # or it would never be tried again
                self._log.failure("a connection to Redis failed on a bug of ours")
                continue
            self._take(wire)
            return

    def _take(self, wire: Any) -> None:
        self.wire = wire
        self._up()
