"""The listeners' sites: no access log with query strings in it, and bounds on what strangers send."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from docsession.telemetry import Metrics
from docsession.web.doorway import Door, Doorway
from docsession.web.turnstile import Turnstile

__all__ = ["PublicSite", "QuietSite", "admin_resource"]

# No request to us needs a larger body, or longer to arrive.
_MOST_BODY = 64 * 1024
_ARRIVES_WITHIN = 60.0
_TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    b'{"error": {"name": "too_large", "message": "the request is too large"}}'
)


class _SmallRequest(Request):
    """Keeps its body in memory, and refuses one that is large before it has come.

    twisted.web would write any body to a file before it asks whose request it is.
    """

    content: BytesIO
    _refused = False

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length is not None and length > _MOST_BODY:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if not self._refused and self.content.tell() + len(data) > _MOST_BODY:
            self._refuse()
        if not self._refused:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        self._refused = True
        transport: Any = self.channel.transport
        transport.write(_TOO_LARGE)
        transport.loseConnection()


class _PromptChannel(HTTPChannel):
    """A connection on which a request must arrive soon.

    The site's own timeout starts anew with every byte, so a byte now and then would hold a
    connection for ever.
    """

    site: QuietSite
    transport: Any
    _begun: float | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.transport.disconnecting:
            return  # over TLS more may come after what was no request
        if not self._handlingRequest:
            now = self.site.clock.seconds()
            if self._begun is None:
                self._begun = now
            elif now - self._begun > _ARRIVES_WITHIN:
                self.transport.abortConnection()
                return
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        self._begun = None
        super().allContentReceived()  # type: ignore[no-untyped-call]


class QuietSite(Site):
    """A site whose access log has paths only: a query may hold an authorization code."""

    noisy = False
    _log = Logger()

    def __init__(self, resource: IResource, clock: IReactorTime, **options: Any) -> None:
        super().__init__(resource, reactor=clock, timeout=60, **options)  # type: ignore[no-untyped-call]
        self.clock = clock

    def log(self, request: HttpRequest) -> None:
        path = request.uri.partition(b"?")[0].decode("latin-1")[:200]
        self._log.debug(
            "{method} {path} {status}",
            method=request.method.decode("latin-1")[:20],
            path=path,
            status=request.code,
        )


class PublicSite(QuietSite):
    """The listener that anybody can reach: small requests, that come soon, over HTTP/1.1."""

    protocol = _PromptChannel  # type: ignore[assignment]

    def __init__(
        self, resource: IResource, clock: IReactorTime, door: Door, turnstile: Turnstile | None = None
    ) -> None:
        super().__init__(resource, clock, requestFactory=_SmallRequest, parsePOSTFormSubmission=False)
        self._door = door
        self._turnstile = turnstile

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if self._turnstile is not None:
            self._turnstile.one_came()
        return Doorway(self._door, partial(super().buildProtocol, addr))


class _MetricsPage(Resource):
    isLeaf = True

    def __init__(self, metrics: Metrics) -> None:
        Resource.__init__(self)
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")
        return self._metrics.text()


def admin_resource(metrics: Metrics) -> IResource:
    """``/metrics``, for the admin listener only."""
    root = Resource()
    root.putChild(b"metrics", _MetricsPage(metrics))
    return root
