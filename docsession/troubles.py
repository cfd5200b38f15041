"""What is wrong just now, and who has been told: ``session.degraded`` and ``session.recovered``.

Level-triggered as everything: each tab is told what differs from what it was last told, so a
trouble with several causes is said once, and a tab that opens in the middle of one hears of it.
Of several troubles a tab is told the worst, and that all is well when the last is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["FORBIDDEN", "LIMITED", "STORE", "UNAVAILABLE", "Listener", "Troubles"]

LIMITED = "google_rate_limited"
UNAVAILABLE = "google_unavailable"
FORBIDDEN = "google_forbids"
STORE = "store_unavailable"
WORST_FIRST = (STORE, UNAVAILABLE, FORBIDDEN, LIMITED)

# A pause shorter than this is no news, nor are intervals stretched by less.
PAUSE = 5.0
STRETCHED, FITS_AGAIN = 2.0, 1.5
# Google is away when so many requests in a row went wrong, over so many seconds.
FAILURES, FAILING = 3, 5.0
# How often what nobody reports is looked at.
CHECK = 5.0
# What is said of when it may be better, where nobody knows.
SOON = 30.0


class Listener(Protocol):
    """A tab, as far as troubles go."""

    trouble: str | None

    @property
    def user_id(self) -> str | None: ...

    def notify(self, method: str, params: Any) -> None: ...


class _Cause(NamedTuple):
    """``until`` is when it may be over; with an ``open_end`` it is over only when somebody says so."""

    until: float
    open_end: bool


class Troubles:
    """Causes by reason and by whom they concern (None: everybody)."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        listeners: Callable[[], Iterable[Listener]],
        stretch: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._listeners = listeners
        self._stretch = stretch
        self._causes: dict[tuple[str, str | None], dict[str, _Cause]] = {}
        self._failures = 0
        self._failing_since = 0.0
        self._timer: IDelayedCall | None = None

    # -- what others report

    def limited(self, user_id: str | None, reason: str, seconds: float) -> None:
        """Google said why nothing of this user's (None: of anybody's) is asked for so long."""
        trouble = FORBIDDEN if reason == "domainPolicy" else LIMITED
        # Where the last pause was told, a short one says that it is not over yet.
        if seconds >= PAUSE or (trouble, user_id) in self._causes:
            self._begin(trouble, user_id, "pause", self._clock.seconds() + seconds)

    def weather(self, well: bool, retry_after: float) -> None:
        """Google answered, or did not."""
        now = self._clock.seconds()
        if well:
            self._failures = 0
            self._end(UNAVAILABLE, None, "failures")
            return
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if self._failures >= FAILURES and now - self._failing_since >= FAILING:
            self._begin(UNAVAILABLE, None, "failures", now + max(retry_after, SOON), open_end=True)

    def store(self, away: bool) -> None:
        """The store went away, or is back."""
        if away:
            self._begin(STORE, None, "store", self._clock.seconds() + SOON, open_end=True)
        else:
            self._end(STORE, None, "store")

    # -- what is so now

    def of(self, user_id: str | None) -> dict[str, float]:
        """The reasons that concern this user, and in how many seconds it may be better."""
        now = self._clock.seconds()
        found: dict[str, float] = {}
        for (reason, whose), causes in self._causes.items():
            if whose in (None, user_id):
                left = max(cause.until for cause in causes.values()) - now
                found[reason] = max(left, found.get(reason, 0.0))
        return found

    def tell(self, listener: Listener) -> None:
        """What this tab does not know yet."""
        now = self.of(listener.user_id)
        worst = next((reason for reason in WORST_FIRST if reason in now), None)
        if worst == listener.trouble:
            return
        listener.trouble = worst
        if worst is None:
            listener.notify("session.recovered", {})
        else:
            listener.notify("session.degraded", {"reason": worst, "retry_after": round(now[worst], 1)})

    def counts(self, reason: str) -> int:
        """How many are concerned by it: 0, of users, or 1 for everybody."""
        return sum(each == reason for each, _ in self._causes)

    def start(self) -> None:
        """From now on also look whether what is planned still fits."""
        self._timer = self._clock.callLater(CHECK, self._check)

    def stop(self) -> None:
        """Nobody is told of anything any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # -- inside

    def _begin(
        self, reason: str, user_id: str | None, cause: str, until: float, *, open_end: bool = False
    ) -> None:
        causes = self._causes.setdefault((reason, user_id), {})
        new = not causes
        if cause in causes and not open_end:
            until = max(until, causes[cause].until)
        causes[cause] = _Cause(until, open_end)
        if new:
            seconds = round(until - self._clock.seconds())
            self._log.warn("{reason}, for {seconds} s or more", reason=reason, seconds=seconds)
            self._tell_all()

    def _end(self, reason: str, user_id: str | None, cause: str) -> None:
        causes = self._causes.get((reason, user_id), {})
        if causes.pop(cause, None) is not None and not causes:
            del self._causes[(reason, user_id)]
            self._log.info("{reason} is over", reason=reason)
            self._tell_all()

    def _check(self) -> None:
        self._timer = self._clock.callLater(CHECK, self._check)
        now = self._clock.seconds()
        for (reason, user_id), causes in list(self._causes.items()):
            for cause, (until, open_end) in list(causes.items()):
                # Not at once: what waited for the end is asked only now, and may be refused again.
                if not open_end and until <= now - CHECK:
                    self._end(reason, user_id, cause)
        stretch = self._stretch()
        if stretch >= STRETCHED:
            self._begin(LIMITED, None, "stretch", now + SOON, open_end=True)
        elif stretch < FITS_AGAIN:
            self._end(LIMITED, None, "stretch")

    def _tell_all(self) -> None:
        for listener in self._listeners():
            self.tell(listener)
