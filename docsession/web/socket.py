"""The websocket: a guard in front of Autobahn, and Autobahn's protocol as a thin adapter.

The guard is needed because Autobahn would accept a missing Origin and answer a foreign one
with 400. Every option of Autobahn's that is open by default is set here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import txaio
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from docsession.config import Limits
from docsession.connection import Connection
from docsession.errors import (
    CloseCode,
    DocsessionError,
    Forbidden,
    InternalError,
    InvalidRequest,
    SessionUnknown,
    Unavailable,
)
from docsession.interfaces import Wire
from docsession.model import Identity
from docsession.web.answers import error_body, header
from docsession.web.cookies import SessionCookie

__all__ = ["SUBPROTOCOL", "SocketFactory", "SocketResource"]

SUBPROTOCOL = "docsession.v1"

# No browser cuts a short message into so many; each costs memory, an empty one too.
_MOST_FRAGMENTS = 1000
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")

Connect = Callable[[Wire, Identity, str], Connection]


class Socket(WebSocketServerProtocol):
    """Autobahn's protocol as a wire. Knows nothing of what is said over it."""

    identity: Identity
    origin: str
    tab: Connection | None = None
    _held_back = 0
    _paused = False
    _frames = 0

    def onConnect(self, request: Any) -> str | None:
        # A browser that offers subprotocols breaks off where none of them is taken.
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        # twisted.web's channel was the transport's producer; from here on this is, so that
        # what a slow reader leaves unread is counted.
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.registerProducer(self, True)
        self.tab = self.factory.connect(self, self.identity, self.origin)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.tab is None:
            return
        if isBinary:
            self.tab.close(CloseCode.PROTOCOL_MISUSE, "text frames only")
        else:
            self.tab.text_received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        # Autobahn may call this without onOpen.
        if self.tab is not None:
            self.tab.lost()

    def onPing(self, payload: bytes) -> None:
        # Who pings without reading would fill our memory with pongs; the latest ping is answered
        # as well by none.
        if not self._paused:
            super().onPing(payload)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._frames += 1
        if self._frames > _MOST_FRAGMENTS and not self.failedByMe:
            # Empty ones count for nothing in Autobahn's limit of a message's length.
            self._fail_connection(CloseCode.TOO_BIG, "a message in too many fragments")

    def onMessageEnd(self) -> None:
        self._frames = 0
        super().onMessageEnd()

    def onAutoPingTimeout(self) -> None:
        self.autoPingTimeoutCall = None
        if self.tab is not None and self.state == self.STATE_OPEN:
            # It may be the way back that is broken; then the page learns why.
            self.tab.close(CloseCode.HEARTBEAT_LOST, "no answer to a ping")
        else:
            super().onAutoPingTimeout()

    # -- Wire

    def send(self, payload: bytes) -> None:
        if self.state != self.STATE_OPEN:
            return  # goodbye was said, and the wire will be gone in a moment
        if self._paused:
            self._held_back += len(payload)
        self.sendMessage(payload)  # type: ignore[no-untyped-call]

    def close(self, code: int, reason: str) -> None:
        # Not sendClose, which refuses 1011 and 1001.
        self.sendCloseFrame(code=int(code), reasonUtf8=reason.encode()[:123])

    def unsent(self) -> int:
        return self._held_back

    # -- IPushProducer

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._held_back = 0

    def stopProducing(self) -> None:
        pass


class SocketFactory(WebSocketServerFactory):
    """Autobahn's factory with every limit set."""

    protocol = Socket
    noisy = False

    def __init__(self, clock: IReactorTime, limits: Limits, connect: Connect) -> None:
        self._most = limits.connections
        # Autobahn takes its timers from txaio, whatever reactor the factory is given.
        txaio.use_twisted()
        txaio.config.loop = clock  # type: ignore[attr-defined]
        super().__init__(  # type: ignore[no-untyped-call]
            protocols=[SUBPROTOCOL], server="docsession", reactor=clock
        )
        self.connect = connect
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            versions=[13],
            webStatus=False,
            utf8validateIncoming=True,
            requireMaskedClientFrames=True,
            maskServerFrames=False,
            maxFramePayloadSize=limits.message_bytes,
            maxMessagePayloadSize=limits.message_bytes,
            autoFragmentSize=0,
            failByDrop=False,
            echoCloseCodeReason=False,
            openHandshakeTimeout=limits.open_within,
            closeHandshakeTimeout=5,
            tcpNoDelay=True,
            # Compressing is where small messages become big ones; nobody may ask for it.
            perMessageCompressionAccept=lambda offers: None,
            autoPingInterval=limits.ping_every,
            autoPingTimeout=limits.pong_within,
            autoPingRestartOnAnyTraffic=True,
            # The guard has compared the Origin exactly; Autobahn's patterns are no help.
            allowedOrigins=["*"],
            allowNullOrigin=False,
            maxConnections=limits.connections,
            trustXForwardedFor=0,
        )

    @property
    def is_full(self) -> bool:
        """No more sockets for now."""
        return bool(self.countConnections >= self._most)


class _Admission:
    """Builds the one protocol of an admitted request, knowing whose it is."""

    def __init__(self, factory: SocketFactory, identity: Identity, origin: str) -> None:
        self._factory = factory
        self._identity = identity
        self._origin = origin

    def buildProtocol(self, address: IAddress) -> Socket:
        protocol = self._factory.buildProtocol(address)
        assert isinstance(protocol, Socket)
        protocol.identity = self._identity
        protocol.origin = self._origin
        return protocol


class SocketResource(Resource):
    """``GET /api/socket``: upgrade, then Origin, then cookie, all before ``101``."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        factory: SocketFactory,
        cookie: SessionCookie,
        origins: frozenset[str],
        admits: Callable[[Identity], Awaitable[bool]],
        on_refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        Resource.__init__(self)
        self._factory = factory
        self._cookie = cookie
        self._origins = origins
        self._admits = admits
        self._on_refused = on_refused

    def render(self, request: Request) -> Any:
        if request.method != b"GET":
            request.setHeader(b"Allow", b"GET")
            return error_body(request, InvalidRequest("GET only"), status=405)
        if not _asks_upgrade(request):
            request.setHeader(b"Upgrade", b"websocket")
            request.setHeader(b"Sec-WebSocket-Version", b"13")
            return error_body(request, InvalidRequest("a websocket upgrade, version 13"), status=426)
        origin = header(request, "Origin")
        if origin not in self._origins or header(request, "Sec-Fetch-Site") == "cross-site":
            self._on_refused("origin")
            return error_body(request, Forbidden("this Origin may not open a socket here"))
        identity = self._cookie.read(request)
        if identity is None:
            self._on_refused("cookie")
            return error_body(request, SessionUnknown())
        if self._factory.is_full:
            self._on_refused("full")
            return error_body(request, Unavailable("too many sockets here"))
        gone = False

        def note_gone(_: Any) -> None:
            nonlocal gone
            gone = True

        request.notifyFinish().addErrback(note_gone)

        async def admit() -> None:
            error: DocsessionError
            try:
                admitted = await self._admits(identity)
                error = SessionUnknown()
            except DocsessionError as unavailable:
                admitted, error = False, unavailable
            except Exception:
                self._log.failure("admitting a socket failed on a bug of ours")
                admitted, error = False, InternalError()
            if gone:
                return
            if not admitted:
                self._on_refused("cookie" if isinstance(error, SessionUnknown) else "error")
                request.write(error_body(request, error))
                request.finish()
                return
            answer = WebSocketResource(_Admission(self._factory, identity, str(origin))).render(request)
            if answer is not NOT_DONE_YET:
                request.write(answer)
                request.finish()

        Deferred.fromCoroutine(admit())
        return NOT_DONE_YET


def _asks_upgrade(request: Request) -> bool:
    connection = b",".join(request.requestHeaders.getRawHeaders(b"Connection") or []).lower()
    return (
        (header(request, "Upgrade") or "").lower() == "websocket"
        and b"upgrade" in [token.strip() for token in connection.split(b",")]
        and header(request, "Sec-WebSocket-Version") == "13"
        and _KEY.fullmatch(header(request, "Sec-WebSocket-Key") or "") is not None
    )
