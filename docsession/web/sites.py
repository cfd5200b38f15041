"""The listeners' sites: no access log with query strings in it, and the admin listener."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from docsession.telemetry import Metrics

__all__ = ["QuietSite", "admin_resource"]


class QuietSite(Site):
    """A site whose access log has paths only: a query may hold an authorization code."""

    noisy = False
    _log = Logger()

    def __init__(self, resource: IResource, clock: IReactorTime) -> None:
        super().__init__(resource, reactor=clock, timeout=60)  # type: ignore[no-untyped-call]

    def log(self, request: HttpRequest) -> None:
        path = request.uri.partition(b"?")[0].decode("latin-1")[:200]
        self._log.debug(
            "{method} {path} {status}",
            method=request.method.decode("latin-1")[:20],
            path=path,
            status=request.code,
        )


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
