"""The first bytes of a connection: a request for a socket goes straight to the handshake, all else to HTTP.

twisted.web needs longer to read a request than Autobahn to shake hands. So a whole request for a
socket is handed to Autobahn as it came; where it, or who admits, finds anything wrong with it, HTTP
gets it after all, and answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from docsession.web.admission import Admission, asks_socket
from docsession.web.handshake import Admitted, SocketFactory, take_over
from docsession.wheel import Wheel

__all__ = ["Door", "Doorway"]

# A whole request that Autobahn reads as twisted.web does. It takes more than the end of a line for
# one, what is no ASCII included, and a folded line for a header; so a cookie could hold another header.
_ASKS = re.compile(rb"GET /api/socket HTTP/1\.1\r\n(?:[!-9;-~]+:[\t -~]*\r\n)+\r\n")
# What it joins to one line, and twisted.web does not.
_ONCE = b"\r\ncookie:", b"\r\nsec-fetch-site:"
# A socket's page says nothing before it is let in.
_MOST_MEANWHILE = 128 * 1024
# Who says nothing for so long is asked to leave, as twisted.web does it.
_SPEAKS_WITHIN = 60.0


def _has_once(head: bytes) -> bool:
    return head.count(_ONCE[0]) <= 1 and head.count(_ONCE[1]) <= 1


class Door:
    """What all doorways of a listener share."""

    def __init__(self, factory: SocketFactory, admission: Admission, wheel: Wheel) -> None:
        self.factory = factory
        self.wheel = wheel
        self._admission = admission

    def admit(self, request: Any) -> Admitted | Deferred[Admitted]:
        """See :class:`docsession.web.handshake.Handshake`; ``request`` is Autobahn's."""
        said = request.headers
        if not asks_socket(said.get):
            raise ConnectionDeny(ConnectionDeny.BAD_REQUEST)
        origin = said.get("origin")
        asked = origin, said.get("sec-fetch-site"), [said.get("cookie", "").encode("latin-1")]
        try:
            identity = self._admission.admit_now(*asked)
        except Exception:  # whatever it was: HTTP finds it again, and says what
            raise ConnectionDeny(ConnectionDeny.FORBIDDEN) from None
        if identity is not None:
            return identity, origin
        waiting = Deferred.fromCoroutine(self._admission.admit(*asked))
        return waiting.addCallbacks(lambda admitted: (admitted, origin), _deny)


def _deny(failure: Failure) -> NoReturn:
    raise ConnectionDeny(ConnectionDeny.FORBIDDEN) from None


@implementer(IProtocol)
class Doorway:
    """One connection until it has said what it wants. ``http`` makes the protocol that answers it."""

    __slots__ = ("_begun", "_door", "_handshake", "_http", "transport")

    def __init__(self, door: Door, http: Callable[[], Any]) -> None:
        self._door = door
        self._http = http
        self._begun = b""
        self._handshake: Any = None
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self._door.wheel.after(_SPEAKS_WITHIN, self)

    def connectionMade(self) -> None:
        """All is said by makeConnection."""

    def dataReceived(self, data: bytes) -> None:
        self._begun += data
        handshake: Any = self._handshake
        if handshake is not None:
            # Who admits is still asked. Autobahn would take another request for another handshake.
            handshake.data += data
            if len(self._begun) > _MOST_MEANWHILE:
                self.transport.abortConnection()
        elif (head := _ASKS.match(data)) is not None and _has_once(head[0].lower()):
            handshake = self._handshake = self._door.factory.shake(self._admit, self._ordinary)
            handshake.makeConnection(self.transport)
            handshake.dataReceived(data)
        else:
            self._ordinary()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._handshake is not None:
            self._handshake.connectionLost(reason)
        self._leave()

    def due(self, now: float) -> None:
        """It may have said something by now."""
        if self.transport is not None and not self._begun:
            self.transport.abortConnection()

    def _admit(self, request: Any) -> Admitted | Deferred[Admitted]:
        admitted = self._door.admit(request)
        if isinstance(admitted, Deferred):
            return admitted.addCallback(self._passed)
        return self._passed(admitted)

    def _passed(self, admitted: Admitted) -> Admitted:
        self._leave()
        return admitted

    def _ordinary(self) -> None:
        transport, begun, http = self.transport, self._begun, self._http()
        self._leave()
        take_over(transport, http)
        http.makeConnection(transport)
        http.dataReceived(begun)

    def _leave(self) -> None:
        # The wheel has this a while longer.
        self.transport = self._handshake = None
        self._begun = b""
