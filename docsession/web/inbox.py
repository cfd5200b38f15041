"""What comes over all plain connections is read in one round, past the reactor's own way to each.

A reactor goes to each connection that can be read by way of a logging context and four methods, which
costs more than to read a request does. So it watches one descriptor for all of them, an epoll of ours.

Only connections are read here that nothing waits to be written to: where a reactor waits to write, it
hears of the end too, and must read what came before that.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Inbox", "Received"]

# How much of one connection is read in a round, and how many connections.
_AT_ONCE = 65536
_MANY = 1024


class Received(Protocol):
    """A protocol on a plain transport, and the kernel's socket under that. ``descriptor`` is the inbox's."""

    sock: Any
    transport: Any
    descriptor: int | None

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""


@implementer(IReadDescriptor)
class Inbox:
    """One for all connections of a listener. Where there is no epoll their transports go on reading."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll: Any = None  # as long as there is anything in it
        self._from: dict[int, Received] = {}

    def __len__(self) -> int:
        return len(self._from)

    def add(self, wire: Received) -> None:
        """Read it here from now on."""
        if not hasattr(select, "epoll"):
            return
        descriptor = wire.sock.fileno()
        try:
            if self._epoll is None:
                self._epoll = select.epoll()
                self._reactor.addReader(self)
            self._epoll.register(descriptor, select.EPOLLIN)
        except OSError:
            self._end_if_empty()
            return  # of descriptors or watches the kernel gives no more
        wire.transport.stopReading()
        wire.descriptor = descriptor
        self._from[descriptor] = wire

    def leave(self, wire: Received) -> None:
        """Read it here no more. Harmless when repeated."""
        descriptor, wire.descriptor = wire.descriptor, None
        if descriptor is None:
            return
        del self._from[descriptor]
        if wire.sock.fileno() == descriptor:  # else it is closed, and the kernel has forgotten it
            self._epoll.unregister(descriptor)
        self._end_if_empty()

    def give_back(self, wire: Received) -> None:
        """Let its transport go on reading."""
        if wire.descriptor is not None:
            wire.transport.startReading()
            self.leave(wire)

    def _end_if_empty(self) -> None:
        if not self._from and self._epoll is not None:
            self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll = None

    # -- IReadDescriptor

    def fileno(self) -> int:
        number: int = self._epoll.fileno()
        return number

    def logPrefix(self) -> str:
        return "Inbox"

    def doRead(self) -> None:
        for descriptor, _ in self._epoll.poll(0, _MANY):
            wire = self._from.get(descriptor)
            if wire is None:  # what was read before it in this round ended it
                continue
            try:
                try:
                    data = wire.sock.recv(_AT_ONCE)
                except BlockingIOError:
                    continue
                except OSError:
                    wire.transport.connectionLost(Failure(CONNECTION_LOST))
                    continue
                if data:
                    wire.dataReceived(data)
                else:
                    wire.transport.readConnectionLost(Failure(CONNECTION_DONE))
            except BaseException:  # as the reactor does: it ends this one, and no other
                self._log.failure("reading failed on a bug of ours")
                wire.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and all that it reads with it."""
        for wire in list(self._from.values()):
            try:
                wire.transport.connectionLost(reason)
            except Exception:  # the others are to hear of it too
                self._log.failure("the end of a connection was not taken, by a bug of ours")
            self.leave(wire)
