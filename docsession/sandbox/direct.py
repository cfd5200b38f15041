"""An agent that asks a resource in memory: the same requests and answers, without a wire between.

Nothing is framed and parsed again, and nothing has to be pumped: where the resource answers at
once, the Deferred that :meth:`DirectAgent.request` returns has already fired.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IReactorTime, ITransport
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import NO_BODY_CODES
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["DirectAgent"]

_SERVER = IPv4Address("TCP", "127.0.0.1", 80)
_CLIENT = IPv4Address("TCP", "127.0.0.1", 31337)
# What belongs to the connection; a client of twisted.web's does not show it either.
_OF_THE_CONNECTION = (b"connection", b"content-length", b"keep-alive", b"transfer-encoding", b"upgrade")


@implementer(IAgent)
class DirectAgent:
    """Asks one resource, whatever the host in a URL.

    The clock is needed for one thing only: a connection that the resource drops later than in
    the call that asked ends at the clock's next beat, as one on a wire ends in a later call.
    """

    def __init__(self, resource: IResource, clock: IReactorTime) -> None:
        self._site = _Site(resource)
        self._clock = clock

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Ask. Fails as twisted.web's own agent does; cancelling hangs up."""
        try:
            parsed = URI.fromBytes(uri)
        except ValueError:
            return fail(SchemeNotSupported(f"Unsupported URI: {uri!r}"))
        if parsed.scheme not in (b"http", b"https"):
            return fail(SchemeNotSupported(f"Unsupported scheme: {parsed.scheme!r}"))
        exchange = _Exchange(self._site, self._clock, parsed.scheme == b"https")
        request = exchange.request
        if headers is not None:
            request.requestHeaders = headers.copy()
        # Compressing is for wires.
        request.requestHeaders.removeHeader(b"accept-encoding")
        if not request.requestHeaders.hasHeader(b"host"):
            request.requestHeaders.setRawHeaders(b"Host", [parsed.netloc])
        if bodyProducer is None:
            exchange.ask(method, parsed.originForm)
            return exchange.answered
        request.requestHeaders.setRawHeaders(b"Content-Length", [b"%d" % bodyProducer.length])
        if bodyProducer.length is UNKNOWN_LENGTH:
            request.requestHeaders.removeHeader(b"Content-Length")
        exchange.send(bodyProducer, lambda: exchange.ask(method, parsed.originForm))
        return exchange.answered


class _Site:
    """What a request wants to know of its site."""

    displayTracebacks = False

    def __init__(self, resource: IResource) -> None:
        self._resource = resource

    def getResourceFor(self, request: Any) -> IResource:
        request.sitepath = []
        return cast(IResource, getChildForRequest(self._resource, request))


class _Exchange:
    """One request and its answer: a channel to the server's side, a transport to the client's."""

    # Looked for by requests: there is no wire below, and no access log.
    transport = None

    def __init__(self, site: _Site, clock: IReactorTime, secure: bool) -> None:
        self.site = site
        self.answered: Deferred[IResponse] = Deferred(lambda _: self._hang_up(Failure(CancelledError())))
        self.request = Request(self, parsePOSTFormSubmission=True)
        self.request.content = BytesIO()
        self._clock = clock
        self._secure = secure
        self._sending: tuple[IBodyProducer, Deferred[None]] | None = None
        self._asking = self._lost = self._over = False
        self._response: _Response | None = None
        self._producer: Any = None

    # --- asking -----------------------------------------------------------------------------

    def send(self, body: IBodyProducer, then: Callable[[], None]) -> None:
        """Take the whole body in, then go on."""
        produced = body.startProducing(self.request.content)
        self._sending = body, produced

        def sent(result: object) -> None:
            self._sending = None
            if self._over:
                return
            if isinstance(result, Failure):
                self._over = True
                self.answered.errback(result)
            else:
                then()

        produced.addBoth(sent)

    def ask(self, method: bytes, path: bytes) -> None:
        """Have the resource render."""
        self._asking = True
        # To 1.0 an answer without a length is not sent in chunks, which nobody here takes apart.
        self.request.requestReceived(method, path, b"HTTP/1.0")
        self._asking = False
        if self._lost:
            self._lose(Failure(ConnectionLost()))

    # --- what the server's side calls -------------------------------------------------------

    def getPeer(self) -> IPv4Address:
        return _CLIENT

    def getHost(self) -> IPv4Address:
        return _SERVER

    def isSecure(self) -> bool:
        return self._secure

    def writeHeaders(self, version: bytes, code: int | bytes, reason: bytes, headers: Headers) -> None:
        shown = headers.copy()
        length: Any = UNKNOWN_LENGTH
        if self.request.method == b"HEAD" or int(code) in NO_BODY_CODES:
            length = 0
        elif said := headers.getRawHeaders(b"content-length"):
            length = int(said[-1])
        if self.request.method != b"HEAD":
            for name in _OF_THE_CONNECTION:
                shown.removeHeader(name)
        self._response = _Response(self.request, int(code), reason, shown, length, self)
        self.answered.callback(self._response)

    def write(self, data: bytes) -> None:
        if self._response is not None:
            self._response.received(data)

    def writeSequence(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def requestDone(self, request: Request) -> None:
        self._over = True
        if self._response is not None:
            self._response.ended(Failure(ResponseDone()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer
        while not streaming and self._producer is producer and not self._over:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def loseConnection(self) -> None:
        """The server drops the connection: whoever does so is not called back from here."""
        if not self._lost and not self._over:
            self._lost = True
            if not self._asking:
                self._clock.callLater(0, self._lose, Failure(ConnectionLost()))

    abortConnection = loseConnection

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Called by the request where a form cannot be read.
        self.writeHeaders(b"HTTP/1.1", 400, b"Bad Request", Headers({b"Content-Length": [b"0"]}))
        self.requestDone(self.request)

    # --- ends -------------------------------------------------------------------------------

    def _hang_up(self, reason: Failure) -> None:
        if self._sending is not None:
            body, produced = self._sending
            self._over = True
            body.stopProducing()
            produced.cancel()
            self.answered.errback(ResponseNeverReceived([reason]))
            return
        self._lose(reason)

    def _lose(self, reason: Failure) -> None:
        """The connection is gone: both sides get to know."""
        if self._over:
            return
        self._over = True
        self.request.connectionLost(Failure(ConnectionDone()))
        if self._response is not None:
            self._response.ended(Failure(ResponseFailed([reason], self._response)))
        elif not self.answered.called:
            self.answered.errback(ResponseNeverReceived([reason]))

    def close(self) -> None:
        """The client wants no more of the answer."""
        self._lose(Failure(ConnectionDone()))


@implementer(IResponse)
class _Response:
    """An answer, whose body is kept until somebody wants it. Also that somebody's transport."""

    version = (b"HTTP", 1, 1)
    previousResponse: IResponse | None = None

    def __init__(
        self, request: Request, code: int, phrase: bytes, headers: Headers, length: Any, exchange: _Exchange
    ) -> None:
        self.request = request
        self.code = code
        self.phrase = phrase
        self.headers = headers
        self.length = length
        self._exchange = exchange
        self._protocol: IProtocol | None = None
        self._waiting: list[bytes] = []
        self._end: Failure | None = None
        self._paused = False

    def setPreviousResponse(self, previousResponse: IResponse) -> None:
        self.previousResponse = previousResponse

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body, and what more comes of it, to a protocol; once."""
        if self._protocol is not None:
            raise RuntimeError("deliverBody has been called before")
        self._protocol = protocol
        protocol.makeConnection(cast(ITransport, self))
        self._pass_on()

    def received(self, data: bytes) -> None:
        """More of the body."""
        self._waiting.append(data)
        self._pass_on()

    def ended(self, reason: Failure) -> None:
        """No more of it."""
        if self._end is None:
            self._end = reason
            self._pass_on()

    def _pass_on(self) -> None:
        while self._protocol is not None and self._waiting and not self._paused:
            self._protocol.dataReceived(self._waiting.pop(0))
        if self._protocol is not None and self._end is not None and not self._waiting and not self._paused:
            protocol, self._protocol = self._protocol, _NOBODY
            if protocol is not _NOBODY:
                protocol.connectionLost(self._end)

    # --- as a transport ---------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._pass_on()

    def loseConnection(self) -> None:
        """What has not been taken is dropped."""
        self._waiting.clear()
        self._paused = False
        self._exchange.close()
        self.ended(Failure(ConnectionDone()))

    stopProducing = abortConnection = loseConnection


class _Nobody:
    """Who got a whole body."""

    def dataReceived(self, data: bytes) -> None: ...


_NOBODY: Any = _Nobody()
