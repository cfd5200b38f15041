"""One connection to Redis: txredisapi's protocol, with a bound on how long an answer may take.

The only module that imports txredisapi, which takes the global reactor when it is imported: so it
is imported where a Redis is configured, and nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from docsession.backend.redis_endpoint import Lost
from docsession.backend.redis_welcome import Refused

__all__ = ["Hearer", "Wire"]


class Wire(txredisapi.HiredisProtocol):  # type: ignore[misc]
    """One connection. Answers come in the order of the questions, and in time, or none does any more."""

    def __init__(self, clock: Any, patience: float) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._clock = clock
        self._patience = patience
        self._due: deque[float] = deque()
        self._alarm: IDelayedCall | None = None
        self._late = False
        self._lost: Deferred[None] = Deferred()
        self._closed: Deferred[None] = Deferred()
        self.ended: Lost | None = None

    def ask(self, *commands: Sequence[Any]) -> list[Deferred[Any]]:
        """Send them at once. Each may fail with :class:`Refused` or :class:`Lost`."""
        if self.ended is not None:
            raise self.ended
        self.transport.write(b"".join(map(_packed, commands)))
        due = self._clock.seconds() + self._patience
        self._due.extend(due for _ in commands)
        if self._alarm is None:
            self._alarm = self._clock.callLater(self._patience, self._look)
        return [self.replyQueue.get().addCallback(self._answer) for _ in commands]

    async def ask_one(self, *command: Any) -> Any:
        return await self.ask(command)[0]

    def when_lost(self) -> Deferred[None]:
        """Fires once no answer will come any more; for one waiter."""
        return self._lost

    def give_up(self, why: str) -> None:
        """What comes now would be taken for the answer to something else."""
        self._end(Lost(why))
        self.transport.abortConnection()

    def close(self) -> Deferred[None]:
        """Send what is still to be sent, if that goes quickly; fires when it is closed."""
        self._end(Lost("closed here"))
        self.transport.loseConnection()
        self._alarm = self._clock.callLater(self._patience, self.transport.abortConnection)
        return self._closed

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        try:
            super().dataReceived(data)
        except txredisapi.InvalidData:
            self.give_up("it does not speak as Redis does")

    def connectionLost(self, why: Failure) -> None:
        lost = Lost("it closed the connection")
        lost.__cause__ = why.value
        self._end(lost)
        self._quiet()
        super().connectionLost(why)
        self._closed.callback(None)

    def replyReceived(self, reply: Any) -> None:
        if self._due:
            self._due.popleft()
        self._late = False
        super().replyReceived(reply)

    def _answer(self, reply: Any) -> Any:
        if isinstance(reply, txredisapi.ResponseError):
            raise Refused(str(reply))
        if isinstance(reply, Exception):
            assert self.ended is not None
            raise self.ended
        return reply

    def _look(self) -> None:
        self._alarm = None
        if not self._due or self.ended is not None:
            return
        wait = self._due[0] - self._clock.seconds()
        if wait <= 0 and self._late:
            self.give_up(f"no answer within {self._patience:g} seconds")
            return
        # It may be this process that was slow: what has arrived meanwhile is read before that.
        self._late = wait <= 0
        self._alarm = self._clock.callLater(max(0.0, wait), self._look)

    def _end(self, lost: Lost) -> None:
        if self.ended is not None:
            return
        self.ended = lost
        self._quiet()
        self._lost.callback(None)

    def _quiet(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()


class Hearer(Wire):
    """One that hears messages. What Redis says about subscriptions is no answer to any question."""

    def __init__(self, clock: Any, patience: float, heard: Callable[[bytes, bytes], None]) -> None:
        super().__init__(clock, patience)
        self._heard = heard

    def tell(self, verb: str, channels: Iterable[str]) -> None:
        """Subscribe to, or unsubscribe from."""
        if names := list(channels):
            self.transport.write(_packed((verb, *names)))

    def replyReceived(self, reply: Any) -> None:
        kind = reply[0] if isinstance(reply, list) and reply else None
        if kind == b"message":
            self._heard(reply[1], reply[2])
        elif isinstance(reply, txredisapi.ResponseError) and not self._due:
            self.give_up(str(reply))  # a subscription was refused
        elif kind not in (b"subscribe", b"unsubscribe"):
            super().replyReceived(reply)


def _packed(command: Sequence[Any]) -> bytes:
    words = [_bytes(word) for word in command]
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)])


def _bytes(word: Any) -> bytes:
    # repr: txredisapi would write six digits of a float, and times have more.
    return word if isinstance(word, bytes) else (word if isinstance(word, str) else repr(word)).encode()
