"""How fast new connections are let in: those beyond the rate wait in the kernel's queue, and none is refused.

After a restart all tabs come back at once. Each costs a handshake, a session and its watches; who is
in already must be served meanwhile.
"""

from __future__ import annotations

import re
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from docsession.telemetry import Metrics

__all__ = ["Turnstile", "with_room"]

# A listener that was held back is let go for what comes in so many seconds.
_STEP = 0.01
# After a rest so many seconds' worth may come at once.
_BURST = 0.05
# Times are sums; an error in the last digit must not cost a turn.
_EPSILON = 1e-6
# How many may wait, for endpoints that don't say. The kernel has the last word (net.core.somaxconn).
_WAITING = 4096
_WITH_BACKLOG = frozenset({"tcp", "tcp6", "ssl", "unix"})


class Listener(Protocol):
    """The listening port, as Twisted has it."""

    numberAccepts: int

    def stopReading(self) -> None: ...
    def startReading(self) -> None: ...


class Turnstile:
    """Holds a listener back where more come than ``per_second``."""

    def __init__(self, clock: IReactorTime, per_second: float) -> None:
        self._clock = clock
        self._each = 1 / per_second
        self._burst = max(_BURST, self._each)
        self._step = max(_STEP, self._each)
        # Until when those that came have used up the rate; as long ago as that is, more may come at once.
        self._used_until = clock.seconds() - self._burst
        self._listener: Listener | None = None
        self._letting_go: IDelayedCall | None = None
        self.passed = 0
        self._held_before = 0.0
        self._held_since = 0.0

    @property
    def holds(self) -> bool:
        """Whoever comes just now waits."""
        return self._letting_go is not None

    @property
    def held_seconds(self) -> float:
        """How long it has held back in all."""
        return self._held_before + (self._clock.seconds() - self._held_since if self.holds else 0.0)

    def measure(self, metrics: Metrics) -> None:
        """What the operator sees of it."""
        metrics.count("accepts", "Connections accepted.", lambda: self.passed)
        metrics.count("accepts_held_seconds", "How long new ones had to wait.", lambda: self.held_seconds)
        metrics.watch("accepting", "0 while new connections wait.", lambda: float(not self.holds))

    def guard(self, listener: Listener) -> None:
        """This is the one, from now on."""
        self._listener = listener
        listener.numberAccepts = self._may_come()

    def one_came(self) -> None:
        """Another was accepted."""
        now = self._clock.seconds()
        self.passed += 1
        # One look at the listener accepts several, however few may come: they are made up for.
        self._used_until = max(self._used_until, now - self._burst) + self._each
        no_more = self._used_until + self._each > now
        if no_more and self._letting_go is None and self._listener is not None:
            self._held_since = now
            self._listener.stopReading()
            self._wait()

    def stop(self) -> None:
        """The listener is about to close."""
        self._listener = None
        if self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go = None

    # -- inside

    def _wait(self) -> None:
        wait = max(0.0, self._used_until + self._step - self._clock.seconds())
        self._letting_go = self._clock.callLater(wait, self._let_go)

    def _let_go(self) -> None:
        self._letting_go = None
        if self._used_until + self._each > self._clock.seconds() + _EPSILON:
            self._wait()
        elif self._listener is not None:
            self._held_before += self._clock.seconds() - self._held_since
            self._listener.numberAccepts = self._may_come()
            self._listener.startReading()

    def _may_come(self) -> int:
        left = min(self._burst, self._clock.seconds() - self._used_until)
        return max(1, int(left / self._each + _EPSILON))


def with_room(endpoint: str) -> str:
    """The endpoint with a queue in which a herd can wait, unless it says itself how long that is."""
    kind = endpoint.partition(":")[0]
    # It may also stand in the fourth place, without its name.
    unnamed = [part for part in re.split(r"(?<!\\):", endpoint) if "=" not in part]
    if kind not in _WITH_BACKLOG or ":backlog=" in endpoint or len(unnamed) > 3:
        return endpoint
    return f"{endpoint}:backlog={_WAITING}"
