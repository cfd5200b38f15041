"""A body from Google on its way to a browser, as fast as the slower of the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.server import Request

__all__ = ["Through"]


class Through(Protocol):
    """Google's bytes straight to the browser, as fast as the slower of the two.

    It is the browser's producer: when the browser is full, reading from Google pauses.
    """

    def __init__(self, request: Request, clock: IReactorTime, silence: float) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self.cut())
        self._request = request
        self._clock = clock
        self._silence = silence
        self._timer: IDelayedCall | None = None
        self._registered = False
        self.begun = False
        self.is_over = False

    def connectionMade(self) -> None:
        if self.is_over:
            self._drop()
            return
        self._request.registerProducer(self, True)
        self.begun = self._registered = True
        self._listen()

    def dataReceived(self, data: bytes) -> None:
        if not self.is_over:
            self._listen()
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.is_over:
            return
        complete = reason.check(ResponseDone) is not None
        self._end()
        if not complete:
            # The length was promised; only a broken connection tells the browser it is short.
            _abort(self._request)
        self._finish()

    def cut(self) -> None:
        """End it now: the session ended, the browser left, or Google fell silent.

        Where it has not begun there is still an answer to give, so the connection stays.
        """
        if self.is_over:
            return
        self._end()
        if self.begun:
            self._drop()
            _abort(self._request)
        self._finish()

    # -- IPushProducer, for the browser's side

    def pauseProducing(self) -> None:
        # The clock runs on: who does not read holds one of few places.
        _call(self.transport, "pauseProducing")

    def resumeProducing(self) -> None:
        if not self.is_over:
            self._listen()
            _call(self.transport, "resumeProducing")

    def stopProducing(self) -> None:
        self.cut()

    # -- inside

    def _listen(self) -> None:
        self._quiet()
        self._timer = self._clock.callLater(self._silence, self.cut)

    def _quiet(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        self._quiet()
        if self._registered:
            self._registered = False
            try:
                self._request.unregisterProducer()
            except (AttributeError, RuntimeError):
                pass  # the browser has gone, and its channel with it

    def _finish(self) -> None:
        if not self.done.called:
            self.done.callback(None)

    def _drop(self) -> None:
        if not _call(self.transport, "abortConnection") and not _call(self.transport, "loseConnection"):
            _call(self.transport, "stopProducing")


def _call(target: Any, name: str) -> bool:
    method: Callable[[], None] | None = getattr(target, name, None)
    if method is None:
        return False
    method()
    return True


def _abort(request: Request) -> None:
    channel = getattr(request, "channel", None)
    transport = getattr(channel, "transport", None)
    if transport is not None:
        _call(transport, "abortConnection")
