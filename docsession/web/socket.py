"""A tab's socket after the handshake: messages in, messages out, pings, goodbye. The wire of a connection.

Autobahn has shaken hands (:mod:`docsession.web.handshake`). What it keeps of a connection is ten times
as much as is needed from then on, so this takes its place on the transport.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IProtocol, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from docsession.config import Limits
from docsession.connection import Connection
from docsession.errors import CloseCode
from docsession.interfaces import Wire
from docsession.model import Identity
from docsession.web.frames import BINARY, CLOSE, PING, PONG, TEXT, VIOLATION, FrameReader, close_frame, frame
from docsession.web.inbox import Inbox
from docsession.web.outbox import Outbox, is_clear, kernel_socket
from docsession.wheel import Wheel

__all__ = ["Socket", "Sockets"]

_OPEN, _CLOSING, _GONE = range(3)
# The other side is given so long to say goodbye too. After what was no websocket nothing of what
# follows can be understood, so it is only given time to read why.
_CLOSE_WITHIN, _READ_WITHIN = 5.0, 1.0
# More than this does not wait for the end of a turn, or of what is read.
_MUCH = 65536
# Up to so much is joined as it comes, which others who are told the same need not do again.
_TOGETHER = 16384
_PING = frame(b"", PING)
_NORMAL = close_frame(CloseCode.NORMAL)


class Sockets:
    """What all of them share, and how many there are. ``connect`` makes the connection that one serves."""

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits,
        wheel: Wheel,
        connect: Callable[[Wire, Identity, str], Connection],
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.wheel = wheel
        self.connect = connect
        self.inbox = Inbox(clock)
        self.outbox = Outbox(clock)
        self.count = 0

    @property
    def is_full(self) -> bool:
        """No more for now."""
        return self.count >= self.limits.connections


@implementer(IProtocol, IPushProducer)
class Socket:
    """Knows nothing of what is said over it. ``ready``: the transport takes more."""

    __slots__ = (
        "_all",
        "_heard",
        "_much",
        "_pending",
        "_reader",
        "_reading",
        "_spilt",
        "_state",
        "_tab",
        "_until",
        "_waiting",
        "descriptor",
        "ready",
        "sock",
        "transport",
    )

    def __init__(self, all_sockets: Sockets, transport: Any, identity: Identity, origin: str) -> None:
        self.transport = transport
        self.ready = True
        self._all = all_sockets
        self.sock = kernel_socket(transport)
        # Something may wait in the transport, and must not be overtaken.
        self._spilt = True
        self._pending: bytes | list[bytes] | None = None
        self._much = 0  # how much that is, where it is a list
        self._reading = False
        self._reader = FrameReader(all_sockets.limits.message_bytes)
        self._state = _OPEN
        self._heard = all_sockets.clock.seconds()
        # Whether a ping is not answered yet, and when its time is up, or that of the goodbye.
        self._waiting = False
        self._until = 0.0
        self._tab: Connection | None = None
        if self.sock is None or transport.producer is not None:
            self._become_producer()
        # The inbox's, from the first write on that nothing waits before.
        self.descriptor: int | None = None
        all_sockets.count += 1
        all_sockets.wheel.at(self._heard + all_sockets.limits.ping_every, self)
        self._tab = all_sockets.connect(self, identity, origin)

    # -- Wire

    def send(self, payload: bytes) -> None:
        """Send one UTF-8 text message."""
        if self._state != _OPEN:
            return
        # As _put does it, whose call would cost as much as all of this.
        pending = self._pending
        if self._reading:  # an answer, which nobody else gets
            data = frame(payload)
            if pending is None:
                self._pending = data
            else:
                self._add(pending, data)
            return
        outbox = self._all.outbox
        data = outbox.frame if payload is outbox.payload else outbox.framed(payload)
        if pending is None:
            self._pending = data
            outbox.later(self)
        elif pending is outbox.left and data is outbox.right:
            self._pending = outbox.both
        else:
            self._add(pending, data)

    def send_all(self, wires: Sequence[Socket], payload: bytes) -> None:
        """The same over each of these: :meth:`send`, whose call costs as much as what it does."""
        outbox = self._all.outbox
        data = outbox.frame if payload is outbox.payload else outbox.framed(payload)
        left = outbox.left if data is outbox.right else b""
        fresh = []
        try:
            for wire in wires:
                pending = wire._pending
                if pending is None and wire._state == _OPEN and not wire._reading:
                    wire._pending = data
                    fresh.append(wire)
                elif pending is left:
                    wire._pending = outbox.both
                else:
                    wire.send(payload)
                    left = outbox.left if data is outbox.right else b""
        finally:
            if fresh:
                outbox.later(*fresh)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake. Harmless when repeated."""
        self._say_goodbye(close_frame(int(code), reason), _CLOSE_WITHIN)

    # -- IProtocol

    def makeConnection(self, transport: Any) -> None:
        """It was made with one."""

    def connectionMade(self) -> None:
        """It is made by the handshake."""

    def dataReceived(self, data: bytes) -> None:
        self._heard = self._all.wheel.now
        # What is said while this is read leaves in one write at its end.
        self._reading = True
        try:
            for opcode, payload in self._reader.feed(data):
                if opcode != TEXT:
                    self._no_text(opcode, payload)
                elif (tab := self._tab) is not None:
                    tab.text_received(payload)
        finally:
            self._reading = False
            self.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._all.count -= 1
        self._state = _GONE
        self._all.inbox.leave(self)
        self._pending = self.sock = self.transport = None
        self._reader.end()  # the wheel has this a while longer
        self._part()

    # -- IPushProducer

    def pauseProducing(self) -> None:
        self.ready = False
        if self._tab is not None:
            self._tab.held_up()

    def resumeProducing(self) -> None:
        self.ready = True
        if self._tab is not None:
            self._tab.drained()

    def stopProducing(self) -> None:
        """The transport says next that the connection is lost."""

    # -- Ticking

    def due(self, now: float) -> float | None:
        """Time for a ping, or for giving up. What comes on the way counts as an answer."""
        limits = self._all.limits
        if self._state == _GONE:
            return None
        if self._state == _OPEN and self._waiting and self._heard >= self._until - limits.pong_within:
            self._waiting = False
        if self._state == _CLOSING or self._waiting:
            if now < self._until:
                return self._until
            return self._give_up()
        if now - self._heard < limits.ping_every:
            return self._heard + limits.ping_every
        self._put(_PING)
        self._waiting = True
        self._until = now + limits.pong_within
        return min(self._until, now + limits.ping_every)

    # -- Flushed

    def flush(self) -> None:
        """Send what is pending, past the transport where nothing waits in it."""
        pending = self._pending
        if pending is None:
            return
        self._pending = None
        data = b"".join(pending) if isinstance(pending, list) else pending
        if self._spilt and self.sock is not None and is_clear(self.transport):
            self._spilt = False
            self._all.inbox.add(self)
        if not self._spilt:
            # As not_taken does it, whose call would show: with many tabs this is what most time is spent in.
            try:
                taken = self.sock.send(data)
            except OSError:
                taken = 0
            if taken == len(data):
                return
            self._spilt = True
            data = data[taken:]
        self._all.inbox.give_back(self)
        if self.sock is not None and self.transport.producer is not self:
            self._become_producer()
        self.transport.write(data)

    # -- inside

    def _put(self, data: bytes) -> None:
        pending = self._pending
        if pending is not None:
            self._add(pending, data)
            return
        self._pending = data
        if not self._reading:
            self._all.outbox.later(self)

    def _add(self, pending: bytes | list[bytes], data: bytes) -> None:
        if isinstance(pending, list):
            pending.append(data)
            self._much += len(data)
        elif not self._reading and len(pending) + len(data) <= _TOGETHER:
            self._pending = self._all.outbox.joined(pending, data)
            return
        else:
            self._pending = [pending, data]
            self._much = len(pending) + len(data)
        if self._much > _MUCH:
            # A transport that is full says so: who asks for much in one read is answered as it reads.
            self.flush()

    def _become_producer(self) -> None:
        # twisted.web's channel is it, where the handshake was one of its requests.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def _no_text(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            # Who pings without reading would fill our memory with pongs; the latest ping is
            # answered as well by none.
            if self.ready and self._state == _OPEN:
                self._put(frame(payload, PONG))
        elif opcode == BINARY:
            if self._tab is not None:
                self._tab.close(CloseCode.PROTOCOL_MISUSE, "text frames only")
        elif opcode == CLOSE:
            self._say_goodbye(_NORMAL, _CLOSE_WITHIN)
            self._lose(self.transport.loseConnection)
        elif opcode == VIOLATION:
            self._say_goodbye(frame(payload, CLOSE), _READ_WITHIN)
            # Closed as a whole, it would take back what the other side has not read yet. TLS waits
            # for the other side by itself.
            plain = self.sock is not None
            self._all.inbox.give_back(self)
            self._lose(self.transport.loseWriteConnection if plain else self.transport.loseConnection)

    def _say_goodbye(self, last: bytes, within: float) -> None:
        if self._state != _OPEN:
            return
        self._put(last)
        self.flush()
        self._state = _CLOSING
        self._until = self._all.clock.seconds() + within
        self._all.wheel.at(self._until, self)

    def _lose(self, lose: Callable[[], None]) -> None:
        # As long as there is a producer, a transport that is full does not close, and TLS never does.
        self.transport.unregisterProducer()
        self._all.inbox.leave(self)
        lose()
        self._part()

    def _give_up(self) -> float | None:
        """Nobody is there, or nobody says goodbye."""
        if self._state == _OPEN and self._tab is not None:
            # It may be the way back that is broken; then the page learns why.
            self._tab.close(CloseCode.HEARTBEAT_LOST, "no answer to a ping")
            return None
        self.transport.abortConnection()
        return None

    def _part(self) -> None:
        tab, self._tab = self._tab, None
        if tab is not None:
            tab.lost()
