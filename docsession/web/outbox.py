"""What is said in one turn of the reactor leaves in one write a tab, and is framed once for all.

The kernel is asked at once, as long as nothing waits in the transport: a transport's own way,
waiting for the reactor to say that the socket can be written, costs three times as much.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.web.frames import frame

__all__ = ["Flushed", "Outbox", "is_clear", "kernel_socket", "not_taken"]


class Flushed(Protocol):
    """A wire on which something waits."""

    def flush(self) -> None:
        """Send it now."""


class Outbox:
    """One for all wires of a listener."""

    __slots__ = ("_clock", "_waiting", "both", "frame", "left", "payload", "right")
    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[Flushed] = []
        # What was framed last, and which two were joined to what: who is told the same as the one before
        # is sent the same bytes, which are still in the processor's cache.
        self.payload: bytes | None = None
        self.frame = b""
        self.left = self.right = self.both = b""

    def framed(self, payload: bytes) -> bytes:
        """As a text frame."""
        self.frame = frame(payload)
        self.payload = payload
        return self.frame

    def joined(self, left: bytes, right: bytes) -> bytes:
        """Both, one after the other."""
        self.left, self.right, self.both = left, right, left + right
        return self.both

    def later(self, *wires: Flushed) -> None:
        """Flush them at the end of this turn."""
        if not self._waiting:
            self._clock.callLater(0, self._flush)
        self._waiting += wires

    def _flush(self) -> None:
        self.payload = None
        self.left = self.right = self.both = b""
        waiting, self._waiting = self._waiting, []
        for wire in waiting:
            try:
                wire.flush()
            except Exception:  # what waits on all others would never be sent
                self._log.failure("sending failed on a bug of ours")


def kernel_socket(transport: Any) -> Any:
    """The socket under a plain transport, to be sent to; None where something lies between, as TLS does."""
    if isinstance(transport, tcp.Connection) and not transport.TLS:
        return transport.socket
    return None


def not_taken(sock: Any, data: bytes) -> bytes:
    """Offer it to the kernel; returns what it did not take. Where the wire is broken that is all of it,
    which the transport finds out in a moment."""
    try:
        return data[sock.send(data) :]
    except OSError:
        return data


def is_clear(transport: Any) -> bool:
    """Whether all that was written to a plain transport is with the kernel."""
    return not (transport.dataBuffer or transport._tempDataBuffer)
