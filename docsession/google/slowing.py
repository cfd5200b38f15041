"""Who slows down after which of Google's refusals, for how long, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.google.budget import Budget, next_midnight
from docsession.google.gate import POLLS, Gate
from docsession.google.pauses import Pauses, Scope
from docsession.google.refusals import CHANNELS, SHARING, Kind, Refusal, kinds_of

__all__ = ["Slowing"]

# (user or None for everybody, what Google said, for how many seconds)
Tell = Callable[[str | None, str, float], None]
# What other nodes are told: nobody is to ask for so long. A pause that is longer by less is no news.
PAUSE, _NEWS = "pause", 0.5


class Slowing:
    """Turns refusals into pauses; the gate keeps them. ``say`` tells the other nodes of those that
    concern everybody."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        gate: Gate,
        budget: Budget,
        pauses: Pauses,
        *,
        tell: Tell = lambda user_id, reason, seconds: None,
        say: Callable[..., None] = lambda kind, **fields: None,
    ) -> None:
        self._clock = clock
        self._gate = gate
        self._budget = budget
        self._pauses = pauses
        self._tell = tell
        self._say = say

    def refused(self, refusal: Refusal, user_id: str, sent_at: float) -> float:
        """Google refused a request that was sent at that time; returns how long it is to wait."""
        kind = refusal.kind
        scope = _scope(kind, user_id)
        if scope is None:
            return 0.0
        least = refusal.patience
        if kind is Kind.NEXT_DAY:
            now = self._clock.seconds()
            least = max(least, next_midnight(now) - now)
            self._log.error(
                "Google's limit of a day is reached: nothing is asked for {seconds} s ({reason})",
                seconds=round(least),
                reason=refusal.reason,
            )
        before = self._left(scope)
        wait = self._pauses.begin(scope, least=least, sent_at=sent_at)
        if scope.user_id is None and wait > before + _NEWS:
            self._say(PAUSE, of=kind.name, reason=refusal.reason, seconds=wait)
        self._slow_down(kind, scope, refusal.reason, wait)
        return wait

    def heard(self, message: Mapping[str, Any]) -> None:
        """Another node was refused: this one would be too."""
        kind, seconds = Kind[message["of"]], float(message["seconds"])
        scope = _scope(kind, "")
        if scope is not None and scope.user_id is None:
            self._pauses.hold(scope, seconds)
            self._slow_down(kind, scope, str(message["reason"]), seconds)

    def _slow_down(self, kind: Kind, scope: Scope, reason: str, wait: float) -> None:
        if kind is Kind.SLOW_ALL:
            self._budget.limited()
        if kind is not Kind.SLOW_CHANNELS:  # no person waits for a channel: polls go on instead
            self._tell(scope.user_id, reason, wait)
        self._gate.changed()

    def _left(self, scope: Scope) -> float:
        return self._pauses.left(scope.user_id, () if scope.kind is None else (scope.kind,))

    def answered(self, user_id: str, method_id: str, *, poll: bool) -> None:
        """Google did what it was asked."""
        kinds = kinds_of(method_id)
        self._pauses.went_well(user_id, (*kinds, POLLS) if poll else kinds)


def _scope(kind: Kind, user_id: str) -> Scope | None:
    """Whose requests of which kind a refusal holds back."""
    return {
        Kind.SLOW_USER: Scope(user_id),
        Kind.SLOW_ALL: Scope(),
        Kind.NEXT_DAY: Scope(),
        Kind.SLOW_SHARING: Scope(user_id, SHARING),
        Kind.SLOW_CHANNELS: Scope(None, CHANNELS),
        Kind.NO_POLLS: Scope(user_id, POLLS),
    }.get(kind)
