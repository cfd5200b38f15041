"""One HTTP exchange with Google over treq: bounded in time and size, no cookies, no retries.

Whether to try again is decided above (:mod:`docsession.google.drive`), so what this
tells apart is what that decision needs: never sent, sent without an answer, answered.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import msgspec
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse

from docsession.errors import TooLarge
from docsession.tasks import with_timeout

__all__ = ["GoogleHttp", "NoAnswer", "NotSent", "Reply", "given_up"]

# Google compresses only for a User-Agent that says gzip.
USER_AGENT = "docsession (gzip)"


class NotSent(Exception):
    """The request provably never reached Google."""


class NoAnswer(Exception):
    """It may have reached Google; no whole answer came back."""


class Reply(msgspec.Struct, frozen=True):
    """An answer: any status, the whole body."""

    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """The decoded body. Raises :class:`NoAnswer` where it is no JSON object."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NoAnswer("the answer is not JSON") from None
        if not isinstance(value, dict):
            raise NoAnswer("the answer is not a JSON object")
        return value

    @property
    def retry_after(self) -> float | None:
        """Seconds of a Retry-After header in its seconds form, the only one Google uses."""
        values = self.headers.getRawHeaders("Retry-After") or []
        try:
            return min(3600.0, max(0.0, float(values[0])))
        except (IndexError, ValueError):
            return None


class _Progress:
    """How far an exchange came before it was given up."""

    never_connected = False


class GoogleHttp:
    """Sends single requests through one agent."""

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        *,
        answer_within: float,
        most_bytes: int,
        body_producer: Callable[[bytes], IBodyProducer] | None = None,
    ) -> None:
        # One client serves all users: it must never keep a cookie for the next of them.
        jar = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        options: dict[str, Any] = {}
        if body_producer is not None:
            options["data_to_body_producer"] = body_producer
        self._client = HTTPClient(agent, jar, **options)
        self._clock = clock
        self._answer_within = answer_within
        self._most_bytes = most_bytes

    async def send(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        json: Any = None,
        form: dict[str, str] | None = None,
    ) -> Reply:
        """One request, one whole answer.

        Raises:
            NotSent, NoAnswer: see there.
            TooLarge: the answer is longer than what a browser may be sent.
        """
        headers = Headers({"User-Agent": [USER_AGENT], "Accept": ["application/json"]})
        if token is not None:
            headers.setRawHeaders("Authorization", [f"Bearer {token}"])
        options: dict[str, Any] = {}
        if json is not None:
            headers.setRawHeaders("Content-Type", ["application/json; charset=UTF-8"])
            options["data"] = msgspec.json.encode(json)
        elif form is not None:
            options["data"] = form
        elif method in ("POST", "PATCH", "PUT"):
            options["data"] = b""
        progress = _Progress()
        try:
            return await with_timeout(
                self._clock, self._answer_within, self._exchange(method, url, headers, options, progress)
            )
        except TimeoutError:
            if progress.never_connected:
                raise NotSent(f"no connection within {self._answer_within:g} s") from None
            raise NoAnswer(f"no answer within {self._answer_within:g} s") from None

    async def _exchange(
        self, method: str, url: str, headers: Headers, options: dict[str, Any], progress: _Progress
    ) -> Reply:
        try:
            response = await self._client.request(
                method, url, headers=headers, allow_redirects=False, unbuffered=True, **options
            )
            body = await collect(response, self._most_bytes)
        except (CancelledError, TooLarge):
            raise
        except ConnectingCancelledError:
            progress.never_connected = True
            raise CancelledError from None
        except (ConnectError, DNSLookupError, RequestNotSent) as error:
            raise NotSent(str(error)) from None
        except Exception as error:  # whatever it was, bytes may have left
            if given_up(error):
                raise CancelledError from None
            raise NoAnswer(f"{type(error).__name__}: {error}") from None
        return Reply(response.code, response.headers, body)


def collect(response: IResponse, most: int) -> Deferred[bytes]:
    """The whole body, or :class:`TooLarge` and a dropped connection."""

    def give_up(done: Deferred[bytes]) -> None:
        # First, since dropping the connection may end the collecting at once.
        done.errback(CancelledError())
        collector.drop()

    done: Deferred[bytes] = Deferred(give_up)
    collector = _Collector(done, most)
    response.deliverBody(collector)
    return done


def given_up(error: Exception) -> bool:
    """Whether it is a cancellation, as twisted.web says it: wrapped, or before there is a connection."""
    if isinstance(error, ConnectingCancelledError):
        return True
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", None) or ())


class _Collector(Protocol):
    def __init__(self, done: Deferred[bytes], most: int) -> None:
        self._done = done
        self._most = most
        self._parts: list[bytes] = []
        self._length = 0
        self._failed: Exception | None = None

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self._most:
            if self._failed is None:
                self._failed = TooLarge(self._most)
                self.drop()
            return
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done.called:
            return
        if self._failed is not None:
            self._done.errback(self._failed)
        elif reason.check(ResponseDone, PotentialDataLoss):
            self._done.callback(b"".join(self._parts))
        else:
            self._done.errback(reason)

    def drop(self) -> None:
        """Stop reading; the connection is of no more use."""
        transport = self.transport
        abort = getattr(transport, "abortConnection", None) or getattr(transport, "loseConnection", None)
        if abort is None:
            stop = getattr(transport, "stopProducing", None)
            if stop is not None:
                stop()
        else:
            abort()
