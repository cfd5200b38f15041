"""One tab's socket as the rest of the server knows it: calls in, answers and events out.

It decodes, limits, dispatches and encodes. What a method does is the catalogue's business
(:mod:`docsession.methods`), which it is given as a mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from docsession import rpc
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

__all__ = ["SENT_AGAIN_WITHIN", "Connection", "Method"]

# A page sends again what was not answered as soon as it is back; later what it sends is new.
SENT_AGAIN_WITHIN = 30.0
# Refused calls that are put up with: this many at once, then one a second.
_PATIENCE = 200


class Method(Protocol):
    """One entry of the catalogue."""

    name: str
    before_open: bool
    needs_user: bool

    async def call(self, connection: Connection, call: rpc.Call) -> bytes:
        """Do it; returns an outcome (see :func:`docsession.rpc.result_outcome`)."""


class Connection(Outgoing):
    """Serves one socket. Its ``name`` is the tab's and outlives it; nothing else does."""

    __slots__ = (
        "__weakref__",
        "_being_opened",
        "_clock",
        "_in_flight",
        "_methods",
        "_on_call",
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
        on_call: Callable[[str, str, float], None] = lambda method, outcome, seconds: None,
        on_lagging: Callable[[Outgoing], None] = lambda tab: None,
        on_caught_up: Callable[[Outgoing], None] = lambda tab: None,
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
        self._on_call = on_call
        self._running: set[Deferred[None]] = set()
        self._rate = Rate(limits.calls_per_second, limits.calls_burst, clock.seconds())
        self._patience = Rate(1.0, _PATIENCE, clock.seconds())
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
        calls, is_batch = rpc.parse(payload, most=self._limits.batch)
        if is_batch:
            self._spawn(self._answer_batch(calls))
        else:
            self._spawn(self._answer_one(calls[0]))

    def due(self, now: float) -> None:
        """See :class:`docsession.wheel.Ticking`: session.open should have come."""
        if self.browser is None:
            self.close(CloseCode.NOT_OPENED_IN_TIME, "session.open did not come in time")

    # -- inside

    def _end(self) -> None:
        if self._over:
            return
        self.send_nothing_more()
        for running in list(self._running):
            running.cancel()
        self._on_lost(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        running = Deferred.fromCoroutine(work)
        self._running.add(running)

        def done(result: Any) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure("answering failed on a bug of ours", failure=result)
                self.close(CloseCode.OUR_FAULT, "something went wrong here; it has been logged")

        running.addBoth(done)
        if self._over:  # closed by what it did itself, before there was anything to cancel
            running.cancel()

    async def _answer_one(self, call: rpc.Call | rpc.Refused) -> None:
        answer = await self._answer(call)
        if answer is not None:
            self._send_answer(answer)

    async def _answer_batch(self, calls: list[rpc.Call | rpc.Refused]) -> None:
        # All run at once, as if they had come singly; one message answers them together.
        running = [Deferred.fromCoroutine(self._answer(call)) for call in calls]
        try:
            answers = [await one for one in running]
        except CancelledError:
            for one in running:
                one.addErrback(lambda _: None)
                one.cancel()
            raise
        said = self._that_fit(calls, answers)
        if said:
            self._send_answer(rpc.batch(said))

    def _that_fit(self, calls: list[rpc.Call | rpc.Refused], answers: list[bytes | None]) -> list[bytes]:
        """A batch's answers; from where they are too large for one message, the error instead."""
        limit = room = self._limits.answer_bytes
        said: list[bytes] = []
        for call, answer in zip(calls, answers, strict=True):
            if answer is None or call.id is None:
                continue
            if len(answer) > room:
                answer = rpc.answer(call.id, rpc.error_outcome(TooLarge(limit)))
            room -= len(answer)
            said.append(answer)
        return said

    def _send_answer(self, payload: bytes) -> None:
        self.send_answer(payload)

    async def _answer(self, call: rpc.Call | rpc.Refused) -> bytes | None:
        if self._over:
            return None  # an earlier call of the same batch ended it
        if isinstance(call, rpc.Refused):
            self._count_refusal()
            return None if call.id is None else rpc.answer(call.id, rpc.error_outcome(call.error))
        started = self._clock.seconds()
        said = "ok"
        try:
            outcome = await self._outcome(call)
            if len(outcome) > self._limits.answer_bytes:
                raise TooLarge(self._limits.answer_bytes)
        except CancelledError:
            raise
        except DocsessionError as error:
            said, outcome = error.name, rpc.error_outcome(error)
        except Exception:
            self._log.failure("{method} failed on a bug of ours", method=call.method[:100])
            said, outcome = "internal_error", rpc.error_outcome(InternalError())
        known = call.method if call.method in self._methods else "unknown"
        self._on_call(known, said, self._clock.seconds() - started)
        return None if call.id is None else rpc.answer(call.id, outcome)

    async def _outcome(self, call: rpc.Call) -> bytes:
        wait = self._rate.take(self._clock.seconds())
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
            if method.needs_user:
                _ = self.user
        elif self.browser is not None or self._being_opened:
            raise InvalidRequest("this session is open already")
        self._in_flight += 1
        self._being_opened |= method.before_open
        try:
            return await method.call(self, call)
        finally:
            self._in_flight -= 1
            if method.before_open:
                self._being_opened = False

    def _count_refusal(self) -> None:
        if self._patience.take(self._clock.seconds()):
            self.close(CloseCode.PROTOCOL_MISUSE, "too many refused calls")
