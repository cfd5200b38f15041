"""``GET /api/socket`` as a resource: refusals are answered here, and what came in pieces is upgraded.

A whole request for a socket that is in order never gets here: see :mod:`docsession.web.doorway`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from docsession.errors import InternalError, InvalidRequest
from docsession.model import Identity
from docsession.web.admission import Admission, Refused, asks_socket
from docsession.web.answers import error_body, header
from docsession.web.cookies import cookie_lines
from docsession.web.handshake import Handshake, SocketFactory

__all__ = ["SocketResource"]


class _Admitted:
    """Builds the one protocol of an admitted request, knowing whose it is."""

    def __init__(self, factory: SocketFactory, identity: Identity, origin: str) -> None:
        self._factory = factory
        self._whose = identity, origin

    def buildProtocol(self, address: IAddress) -> Handshake:
        return self._factory.shake(self._admit)

    def _admit(self, request: Any) -> tuple[Identity, str]:
        return self._whose


class SocketResource(Resource):
    """Upgrade, then Origin, then cookie, all before ``101``."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        factory: SocketFactory,
        admission: Admission,
        on_refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        Resource.__init__(self)
        self._factory = factory
        self._admission = admission
        self._on_refused = on_refused

    def render(self, request: Request) -> Any:
        if request.method != b"GET":
            request.setHeader(b"Allow", b"GET")
            return error_body(request, InvalidRequest("GET only"), status=405)
        if not asks_socket(partial(_header, request)):
            request.setHeader(b"Upgrade", b"websocket")
            request.setHeader(b"Sec-WebSocket-Version", b"13")
            return error_body(request, InvalidRequest("a websocket upgrade, version 13"), status=426)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        Deferred.fromCoroutine(self._admit(request, gone))
        return NOT_DONE_YET

    async def _admit(self, request: Request, gone: list[object]) -> None:
        origin = header(request, "Origin")
        refused: Refused | None = None
        identity: Identity | None = None
        try:
            identity = await self._admission.admit(
                origin, header(request, "Sec-Fetch-Site"), cookie_lines(request)
            )
        except Refused as error:
            refused = error
        except Exception:
            self._log.failure("admitting a socket failed on a bug of ours")
            refused = Refused("error", InternalError())
        if gone:
            return
        if refused is not None or identity is None or origin is None:
            assert refused is not None
            self._on_refused(refused.why)
            request.write(error_body(request, refused.error))
            request.finish()
            return
        answer = WebSocketResource(_Admitted(self._factory, identity, origin)).render(request)
        if answer is not NOT_DONE_YET:
            request.write(answer)
            request.finish()


def _header(request: Request, name: str) -> str | None:
    if name != "connection":
        return header(request, name)
    # A proxy may part it.
    return b",".join(request.requestHeaders.getRawHeaders(b"Connection") or []).decode("latin-1")
