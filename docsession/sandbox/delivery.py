"""Messages of push channels on their way: one at a time of each channel, again after a 5xx."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

__all__ = ["PAUSES", "Delivery", "Message"]

_AGAIN = frozenset({500, 502, 503, 504})
# Before each further try. Google backs off too, and does not say how.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
_ANSWER_WITHIN = 10.0
_USER_AGENT = "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"


@dataclass(frozen=True)
class Message:
    """What is posted to whom; the body is empty."""

    channel_id: str
    address: str
    headers: Mapping[str, str]
    expires: float


class Delivery:
    """Posts messages in the order they came. What was refused for good is not sent again."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, *, most_waiting: int) -> None:
        self._clock = clock
        self._most_waiting = most_waiting
        self._waiting: dict[str, deque[Message]] = {}
        self.agent: IAgent | None = None

    def send(self, message: Message, *, after: float = 0.0) -> None:
        """As soon as those before it have gone, and not before ``after`` seconds have passed."""
        if self.agent is None:
            return
        if after:
            self._clock.callLater(after, self.send, message)
            return
        waiting = self._waiting.get(message.channel_id)
        if waiting is not None:
            if len(waiting) < self._most_waiting:
                waiting.append(message)
            return
        self._waiting[message.channel_id] = deque([message])
        Deferred.fromCoroutine(self._empty(message.channel_id)).addErrback(
            lambda failure: self._log.failure("delivering failed", failure)
        )

    def forget(self, channel_id: str) -> None:
        """Nothing of this channel's is sent any more, but what is on its way."""
        waiting = self._waiting.get(channel_id)
        if waiting is not None:
            waiting.clear()

    async def _empty(self, channel_id: str) -> None:
        waiting = self._waiting[channel_id]
        try:
            while waiting:
                await self._deliver(waiting[0])
                if waiting:
                    waiting.popleft()
        finally:
            del self._waiting[channel_id]

    async def _deliver(self, message: Message) -> None:
        for seconds in (*PAUSES, None):
            if message.expires <= self._clock.seconds() or self.agent is None:
                return
            if await self._post(self.agent, message) not in _AGAIN:
                return
            if seconds is not None:
                await deferLater(self._clock, seconds)

    async def _post(self, agent: IAgent, message: Message) -> int:
        """The status that came back; nobody there is as good as a 503."""
        headers = Headers({"User-Agent": [_USER_AGENT], "Content-Type": ["application/json; utf-8"]})
        for name, value in message.headers.items():
            headers.setRawHeaders(name, [value])
        headers.setRawHeaders("X-Goog-Channel-Expiration", [formatdate(message.expires, usegmt=True)])
        posting = Deferred.fromCoroutine(_answer(agent, message.address, headers))
        timer = self._clock.callLater(_ANSWER_WITHIN, posting.cancel)
        try:
            return await posting
        except Exception as error:
            self._log.debug("nobody took a message: {error}", error=type(error).__name__)
            return 503
        finally:
            if timer.active():
                timer.cancel()


async def _answer(agent: IAgent, address: str, headers: Headers) -> int:
    response = await agent.request(b"POST", address.encode("ascii"), headers, None)
    await readBody(response)
    return int(response.code)
