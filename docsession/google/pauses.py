"""How long to leave Google alone after it said that we ask too much: full jitter, doubling.

A pause is for somebody (one user, everybody) and may be for one kind of request only (sharing,
opening channels). What Google asks for (``Retry-After``, a table's least) is kept at least.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
from twisted.internet.interfaces import IReactorTime

__all__ = ["Pauses", "Scope"]

_FIRST, _MOST = 1.0, 64.0
# A refusal this long after the last pause ended begins at the beginning.
_FORGET = 120.0


class Scope(msgspec.Struct, frozen=True):
    """Whose requests (None: everybody's), and of which kind (None: all)."""

    user_id: str | None = None
    kind: str | None = None


class _Pause:
    __slots__ = ("begun", "ceiling", "until")

    def __init__(self) -> None:
        self.begun = self.until = 0.0
        self.ceiling = _FIRST


class Pauses:
    """The pauses in force."""

    def __init__(self, clock: IReactorTime, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._pauses: dict[Scope, _Pause] = {}

    def begin(self, scope: Scope, *, least: float = 0.0, sent_at: float | None = None) -> float:
        """A request sent at ``sent_at`` was refused; returns how long to wait from now.

        What was sent before the pause began says nothing new, but may ask for more.
        """
        now = self._clock.seconds()
        pause = self._pauses.get(scope)
        if pause is None or now - pause.until > _FORGET:
            self._tidy(now)
            pause = self._pauses[scope] = _Pause()
        if now >= pause.until and (sent_at is None or sent_at >= pause.begun):
            pause.begun = now
            pause.until = now + self._rng.uniform(0, pause.ceiling)
            pause.ceiling = min(_MOST, pause.ceiling * 2)
        pause.until = max(pause.until, now + least)
        return max(0.0, pause.until - now)

    def hold(self, scope: Scope, seconds: float) -> None:
        """Another node was refused, and waits for so long: as if it had happened here."""
        now = self._clock.seconds()
        pause = self._pauses.setdefault(scope, _Pause())
        pause.begun = now
        pause.until = max(pause.until, now + seconds)
        pause.ceiling = min(_MOST, pause.ceiling * 2)

    def left(self, user_id: str | None, kinds: Iterable[str] = ()) -> float:
        """Seconds until such a request of this user may be sent; 0: now."""
        if not self._pauses:
            return 0.0
        now = self._clock.seconds()
        ends = [self._pauses[scope].until for scope in self._that_hold(user_id, kinds)]
        return max(0.0, max(ends, default=now) - now)

    def went_well(self, user_id: str, kinds: Iterable[str] = ()) -> None:
        """Google answered such a request: after these pauses the next begins at the beginning."""
        if not self._pauses:
            return
        now = self._clock.seconds()
        for scope in self._that_hold(user_id, kinds):
            if self._pauses[scope].until <= now:
                del self._pauses[scope]

    def _that_hold(self, user_id: str | None, kinds: Iterable[str]) -> list[Scope]:
        scopes = {Scope(user, kind) for user in (None, user_id) for kind in (None, *kinds)}
        return [scope for scope in scopes if scope in self._pauses]

    def _tidy(self, now: float) -> None:
        self._pauses = {scope: pause for scope, pause in self._pauses.items() if now - pause.until <= _FORGET}
