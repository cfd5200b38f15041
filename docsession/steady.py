"""The time that timers and due times go by: the machine's, without its jumps.

A clock that is set back an hour would hold up every timer for an hour, one set forward would make
everything due at once. So what passes is measured, and the clock's own word is only followed:
one second in twenty, never backwards.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

__all__ = ["SteadyTime"]

_FOLLOWED = 0.05
_EVERY = 1.0
# A difference that is no drift any more: somebody set the clock.
_JUMP = 5.0


class SteadyTime:
    """Call it for seconds since the epoch. ``elapsed`` must run on while the machine sleeps."""

    _log = Logger()

    def __init__(self, wall: Callable[[], float], elapsed: Callable[[], float]) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._compared_at = elapsed()
        self._ahead = wall() - self._compared_at
        self._jumped = False

    def __call__(self) -> float:
        elapsed = self._elapsed()
        since = elapsed - self._compared_at
        if since >= _EVERY:
            self._follow(elapsed, since)
        return elapsed + self._ahead

    def _follow(self, elapsed: float, since: float) -> None:
        self._compared_at = elapsed
        difference = self._wall() - (elapsed + self._ahead)
        most = since * _FOLLOWED
        self._ahead += max(-most, min(most, difference))
        jumped = abs(difference) > _JUMP
        if jumped and not self._jumped:
            self._log.warn(
                "this machine's clock was set by {seconds} s: timers follow slowly, after a restart at once",
                seconds=round(difference, 1),
            )
        self._jumped = jumped
