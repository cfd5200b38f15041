"""One tab's socket as the rest of the server knows it: calls in, answers and events out.

It decodes, limits, dispatches and encodes. What a method does is the catalogue's business
(:mod:`docsession.methods`), which it is given as a mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from docsession import rpc
from docsession.batch import Answer, Batch
from docsession.config import Limits
from docsession.errors import (
    CloseCode,
    DocsessionError,
    InternalError,
    InvalidRequest,
    MethodNotFound,
    NotSignedIn,
    RateLimited,
    SessionNotOpen,
    TooLarge,
    TooMany,
)
from docsession.interfaces import Wire
from docsession.model import Identity
from docsession.outgoing import Outgoing
from docsession.tasks import Rate
from docsession.wheel import Wheel

if TYPE_CHECKING:
    from docsession.sessions import BrowserSession, UserSession

__all__ = ["SENT_AGAIN_WITHIN", "CallObserver", "Connection", "Method"]

# A page sends again what was not answered as soon as it is back; later what it sends is new.
SENT_AGAIN_WITHIN = 30.0
# What stands before the result in an outcome counts as a part of the answer.
_BEFORE_RESULT = len(rpc.result_outcome(b""))
# Refused calls that are put up with: this many at once, then one a second.
_PATIENCE = 200


class Method(Protocol):
    """One entry of the catalogue."""

    name: str
    before_open: bool
    needs_user: bool

    def at_once(self, connection: Connection, call: rpc.Call, now: float) -> bytes | None:
        """The result, which is JSON, where nothing needs to be waited for; None: nothing was done yet."""

    async def call(self, connection: Connection, call: rpc.Call) -> bytes:
        """Do it; returns an outcome (see :func:`docsession.rpc.result_outcome`)."""


class CallObserver(Protocol):
    """Counts pages' calls."""

    @property
    def answered_at_once(self) -> MutableMapping[str, int]:
        """How many went well and took no time, by method."""

    def call(self, method: str, outcome: str, seconds: float) -> None:
        """It was answered: ``ok`` or an error's name."""


class Connection(Outgoing):
    """Serves one socket. Its ``name`` is the tab's and outlives it; nothing else does."""

    __slots__ = (
        "__weakref__",
        "_being_opened",
        "_clock",
        "_in_flight",
        "_methods",
        "_observer",
        "_on_lost",
        "_opened_at",
        "_patience",
        "_rate",
        "_running",
        "browser",
        "identity",
        "name",
        "origin",
        "resumed",
        "socket_id",
        "trouble",
        "visible",
    )
    _log = Logger()

    def __init__(
        self,
        wire: Wire,
        identity: Identity,
        *,
        origin: str,
        socket_id: str,
        methods: Mapping[str, Method],
        limits: Limits,
        clock: IReactorTime,
        wheel: Wheel,
        on_lost: Callable[[Connection], None],
        observer: CallObserver,
        on_lagging: Callable[[Any], None] = lambda tab: None,
        on_caught_up: Callable[[Any], None] = lambda tab: None,
    ) -> None:
        super().__init__(wire, limits, on_lagging, on_caught_up)
        self.identity = identity
        self.origin = origin
        self.socket_id = socket_id
        self.name: str = ""
        self.resumed = False
        self._opened_at = clock.seconds()
        self.visible = True
        # What is wrong just now, as this tab was last told.
        self.trouble: str | None = None
        self.browser: BrowserSession | None = None
        self._methods = methods
        self._clock = clock
        self._on_lost = on_lost
        self._observer = observer
        self._running: set[Deferred[None]] | None = None  # none while it is idle
        self._rate = Rate(limits.calls_per_second, limits.calls_burst, clock.seconds())
        self._patience: Rate | None = None  # until it is tried
        self._in_flight = 0
        self._being_opened = False
        wheel.after(limits.open_within, self)

    # -- what the rest of the server does with it

    @property
    def open(self) -> bool:
        """Whether session.open succeeded and the socket still serves."""
        return self.browser is not None and not self._over

    @property
    def user(self) -> UserSession:
        """The signed-in user's session. Raises SessionNotOpen or NotSignedIn."""
        if self.browser is None:
            raise SessionNotOpen
        if self.browser.user is None:
            raise NotSignedIn
        return self.browser.user

    @property
    def user_id(self) -> str | None:
        """Who is signed in, if anybody is."""
        return None if self.browser is None or self.browser.user is None else self.browser.user.id

    def opened(self, browser: BrowserSession, name: str, *, resumed: bool) -> None:
        """session.open succeeded."""
        self.browser = browser
        self.name = name
        self.resumed = resumed
        self._opened_at = self._clock.seconds()

    @property
    def sends_again(self) -> bool:
        """Whether what comes now may have come before, on another socket."""
        return self.resumed and self._clock.seconds() - self._opened_at < SENT_AGAIN_WITHIN

    def close(self, code: CloseCode, reason: str) -> None:
        """Stop serving at once and begin to close the socket."""
        if not self._over:
            if code != CloseCode.SLOW_CONSUMER:
                self.pour_out()
            self._end()
            self._wire.close(code, reason)

    # -- what the socket tells it

    def lost(self) -> None:
        """The socket is gone."""
        self._end()

    def text_received(self, payload: bytes) -> None:
        """One text message came."""
        if self._over:
            return
        try:
            call = rpc.parse(payload, self._limits.batch)
            answer = self._begin(call) if isinstance(call, rpc.Call) else self._begin_other(call)
            if isinstance(answer, bytes):
                self.send_answer(answer)
            elif answer is not None:
                self._spawn(self._answer_later(answer))
        except Exception:
            self._failed(Failure())

    def due(self, now: float) -> None:
        """See :class:`docsession.wheel.Ticking`: session.open should have come."""
        if self.browser is None:
            self.close(CloseCode.NOT_OPENED_IN_TIME, "session.open did not come in time")

    # -- inside

    def _end(self) -> None:
        if self._over:
            return
        self.send_nothing_more()
        for running in list(self._running or ()):
            running.cancel()
        self._on_lost(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        running = Deferred.fromCoroutine(work)
        if self._running is None:
            self._running = set()
        self._running.add(running)

        def done(result: Any) -> None:
            if self._running is not None:
                self._running.discard(running)
                if not self._running:
                    self._running = None
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._failed(result)

        running.addBoth(done)
        if self._over:  # closed by what it did itself, before there was anything to cancel
            running.cancel()

    def _failed(self, failure: Failure) -> None:
        self._log.failure("answering failed on a bug of ours", failure=failure)
        self.close(CloseCode.OUR_FAULT, "something went wrong here; it has been logged")

    async def _answer_later(self, answer: Coroutine[Any, Any, bytes | None]) -> None:
        said = await answer
        if said is not None:
            self.send_answer(said)

    def _begin_other(self, call: rpc.Call | rpc.Refused | list[rpc.Call | rpc.Refused]) -> Answer:
        if isinstance(call, rpc.Call):
            return self._begin(call)
        if isinstance(call, rpc.Refused):
            self._count_refusal()
            return None if call.id is None else rpc.answer(call.id, rpc.error_outcome(call.error))
        batch = Batch(self._limits.answer_bytes)
        for each in call:
            # An earlier one may have ended the session.
            batch.add(each.id, None if self._over else self._begin_other(each))
        return batch.answer()

    def _begin(self, call: rpc.Call) -> Answer:
        started = self._clock.seconds()
        try:
            method = self._admitted(call, started)
            result = method.at_once(self, call, started)
            if result is None:
                return self._finish(method, call, started)
            if len(result) > self._limits.answer_bytes - _BEFORE_RESULT:
                raise TooLarge(self._limits.answer_bytes)
        except Exception as error:
            return self._refusal(call, error, started)
        # It took microseconds: to ask for the time again would take a tenth of them, a call too.
        self._observer.answered_at_once[call.method] += 1
        return None if call.id is None else rpc.result_answer(call.id, result)

    def _admitted(self, call: rpc.Call, now: float) -> Method:
        """The method, if this call of it may be done at all."""
        wait = self._rate.take(now)
        if wait:
            self._count_refusal()
            raise RateLimited("too many calls at once", retry_after=wait)
        if self._in_flight >= self._limits.calls_in_flight:
            self._count_refusal()
            raise TooMany("calls in flight", self._limits.calls_in_flight)
        method = self._methods.get(call.method)
        if method is None:
            raise MethodNotFound(call.method)
        if not method.before_open:
            if self.browser is None:
                raise SessionNotOpen
            if method.needs_user and self.browser.user is None:
                raise NotSignedIn
        elif self.browser is not None or self._being_opened:
            raise InvalidRequest("this session is open already")
        return method

    async def _finish(self, method: Method, call: rpc.Call, started: float) -> bytes | None:
        self._in_flight += 1
        self._being_opened |= method.before_open
        try:
            outcome = await method.call(self, call)
            if len(outcome) > self._limits.answer_bytes:
                raise TooLarge(self._limits.answer_bytes)
        except CancelledError:
            raise
        except Exception as error:
            return self._refusal(call, error, started)
        finally:
            self._in_flight -= 1
            if method.before_open:
                self._being_opened = False
        self._observer.call(call.method, "ok", self._clock.seconds() - started)
        return None if call.id is None else rpc.answer(call.id, outcome)

    def _refusal(self, call: rpc.Call, error: Exception, started: float) -> bytes | None:
        """The answer to a call that failed. To be asked where the error was caught."""
        if not isinstance(error, DocsessionError):
            self._log.failure("{method} failed on a bug of ours", method=call.method[:100])
            error = InternalError()
        known = call.method if call.method in self._methods else "unknown"
        self._observer.call(known, error.name, self._clock.seconds() - started)
        return None if call.id is None else rpc.answer(call.id, rpc.error_outcome(error))

    def _count_refusal(self) -> None:
        now = self._clock.seconds()
        if self._patience is None:
            self._patience = Rate(1.0, _PATIENCE, now)
        if self._patience.take(now):
            self.close(CloseCode.PROTOCOL_MISUSE, "too many refused calls")
