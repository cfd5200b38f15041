"""The opening handshake, by Autobahn; once hands are shaken a :class:`~docsession.web.socket.Socket` goes on.

Every option of Autobahn's that is open by default is set here. They are set on a class, once: by itself
Autobahn copies thirty of them to each connection and formats them for a log line that nobody reads,
half of what a handshake costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from docsession.model import Identity
from docsession.web.outbox import is_clear, kernel_socket, not_taken
from docsession.web.socket import Socket, Sockets

__all__ = ["SUBPROTOCOL", "Admitted", "Handshake", "SocketFactory", "take_over"]

SUBPROTOCOL = "docsession.v1"

# Whose socket it is, and which Origin asks.
Admitted = tuple[Identity, str]


def _none(offers: Any) -> None:
    """No compression, whatever is offered."""


def take_over(transport: Any, protocol: Any) -> None:
    """From now on what comes over this transport is the protocol's."""
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    elif isinstance(getattr(transport, "protocol", None), ProtocolWrapper):
        transport.protocol.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


class Handshake(WebSocketServerProtocol):
    """Autobahn's protocol for as long as hands are shaken.

    ``admit`` is given the request and returns who it is, at once or later, or raises; ``refused`` is
    called, in place of an answer of Autobahn's, where it does or Autobahn finds fault with the request.
    """

    # They are attributes of the factory's own subclass.
    CONFIG_ATTRS: list[str] = []
    peer = ""
    transport: Any
    trackedTimings: Any = None
    openHandshakeTimeoutCall: Any = None
    admit: Callable[[Any], Admitted | Deferred[Admitted]]
    refused: Callable[[], None] | None = None
    _admitted: Admitted

    def connectionMade(self) -> None:
        # Without the transport's details, which only somebody who asks for them needs.
        try:
            self.transport.setTcpNoDelay(True)
        except (AttributeError, OSError):
            pass  # a unix socket has no such thing
        # Of all that Autobahn would set here, what reading a request needs.
        self.state = self.STATE_CONNECTING
        self.data = b""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.state = self.STATE_CLOSED

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.processHandshake()

    def onConnect(self, request: Any) -> Any:
        admitted = self.admit(request)
        if isinstance(admitted, Deferred):
            return admitted.addCallback(self._accept, request)
        return self._accept(admitted, request)

    def _accept(self, admitted: Admitted, request: Any) -> str | None:
        self._admitted = admitted
        # A browser that offers subprotocols breaks off where none of them is taken.
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def succeedHandshake(self, accepted: Any) -> None:
        if self.state == self.STATE_CONNECTING:  # else it went away while it waited
            super().succeedHandshake(accepted)
        # Nothing of it is needed any more; the collector would have to find that out.
        self.__dict__.clear()

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        if self.state != self.STATE_CONNECTING:
            return
        if self.refused is not None:
            self.refused()
        else:
            self.sendHttpErrorResponse(code, reason, responseHeaders)  # type: ignore[no-untyped-call]
            self.transport.loseConnection()

    def sendData(self, data: bytes, *_: Any, **__: Any) -> None:
        # Twisted's transport takes two thirds of a kilobyte more for good once it was written to.
        sock = kernel_socket(self.transport)
        if sock is not None and is_clear(self.transport):
            data = not_taken(sock, data)
        if data:
            self.transport.write(data)

    def _onOpen(self) -> None:
        rest, self.data = self.data, b""
        transport = self.transport
        socket = Socket(self.factory.sockets, transport, *self._admitted)
        take_over(transport, socket)
        if rest:
            socket.dataReceived(rest)


class SocketFactory(WebSocketServerFactory):
    """Autobahn's factory with every option set."""

    noisy = False

    def __init__(self, sockets: Sockets) -> None:
        # Autobahn takes its timers from txaio, whatever reactor the factory is given.
        txaio.use_twisted()
        txaio.config.loop = sockets.clock  # type: ignore[attr-defined]
        super().__init__(  # type: ignore[no-untyped-call]
            protocols=[SUBPROTOCOL], server="docsession", reactor=sockets.clock
        )
        self.sockets = sockets
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            versions=[13],
            webStatus=False,
            maskServerFrames=False,
            openHandshakeTimeout=0,
            # Compressing is where small messages become big ones; nobody may ask for it.
            perMessageCompressionAccept=_none,
            autoPingInterval=0,
            # The Origin is compared exactly by whoever admits; Autobahn's patterns are no help.
            allowedOrigins=["*"],
            allowNullOrigin=False,
            maxConnections=0,
            trustXForwardedFor=0,
        )
        options = {name: getattr(self, name) for name in WebSocketServerProtocol.CONFIG_ATTRS}
        options["perMessageCompressionAccept"] = staticmethod(_none)
        self._protocol = type("Handshake", (Handshake,), options)

    def shake(
        self, admit: Callable[[Any], Admitted | Deferred[Admitted]], refused: Callable[[], None] | None = None
    ) -> Handshake:
        """A protocol for one handshake; see :class:`Handshake`."""
        protocol: Handshake = self._protocol()
        protocol.factory = self
        protocol.admit = admit
        protocol.refused = refused
        return protocol
