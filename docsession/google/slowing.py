"""Who slows down after which of Google's refusals, for how long, and who is told."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.google.budget import Budget, next_midnight
from docsession.google.gate import POLLS, Gate
from docsession.google.pauses import Pauses, Scope
from docsession.google.refusals import CHANNELS, SHARING, Kind, Refusal, kinds_of

__all__ = ["Slowing"]

# (user or None for everybody, what Google said, for how many seconds)
Tell = Callable[[str | None, str, float], None]


class Slowing:
    """Turns refusals into pauses; the gate keeps them."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        gate: Gate,
        budget: Budget,
        pauses: Pauses,
        *,
        tell: Tell = lambda user_id, reason, seconds: None,
    ) -> None:
        self._clock = clock
        self._gate = gate
        self._budget = budget
        self._pauses = pauses
        self._tell = tell

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
        wait = self._pauses.begin(scope, least=least, sent_at=sent_at)
        if kind is Kind.SLOW_ALL:
            self._budget.limited()
        if kind is not Kind.SLOW_CHANNELS:  # no person waits for a channel: polls go on instead
            self._tell(scope.user_id, refusal.reason, wait)
        self._gate.changed()
        return wait

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
