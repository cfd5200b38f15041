"""The HTTP endpoints: cookie, sign-in's return, client, demo page, health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any, cast
from urllib.parse import urlsplit

from cachetools import LRUCache
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from docsession.config import Limits
from docsession.config import Sessions as Lifetimes
from docsession.directory import Directory
from docsession.errors import DocsessionError, Forbidden, InternalError, InvalidRequest, NotFound, RateLimited
from docsession.google.notifications import Notifications
from docsession.model import Identity
from docsession.sessions import BrowserSession
from docsession.signin import SignIn
from docsession.tasks import Rate
from docsession.web.answers import Proxies, error_body, header, json, plain_headers
from docsession.web.content import Content
from docsession.web.cookies import SessionCookie, cookie_lines

__all__ = ["Pages"]

_TYPES = {
    ".js": b"text/javascript; charset=utf-8",
    ".ts": b"text/plain; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_ADDRESSES = 10_000  # whose rates of new cookies are remembered

Health = Callable[[], Awaitable[Mapping[str, str]]]


class Pages:
    """Routes of the public listener, beside the socket."""

    app = Klein()
    _log = Logger()

    def __init__(
        self,
        *,
        directory: Directory,
        sign_in: SignIn,
        content: Content,
        notifications: Notifications,
        cookie: SessionCookie,
        socket: IResource,
        clock: IReactorTime,
        lifetimes: Lifetimes,
        limits: Limits,
        public_url: str,
        origins: frozenset[str],
        proxies: Proxies,
        demo: bool,
        sandbox_url: str | None,
        health: Health,
        new_id: Callable[[], str],
    ) -> None:
        self._directory = directory
        self._sign_in = sign_in
        self._content = content
        self._notifications = notifications
        self._cookie = cookie
        self._socket = socket
        self._clock = clock
        self._lifetimes = lifetimes
        self._limits = limits
        self._public_url = public_url
        self._origins = origins
        self._proxies = proxies
        self._demo = demo
        self._sandbox_url = sandbox_url
        self._health = health
        self._new_id = new_id
        self._rates: LRUCache[str, Rate] = LRUCache(_ADDRESSES)
        self._files = {
            entry.name: entry.read_bytes()
            for entry in resources.files("docsession.static").iterdir()
            if entry.name[entry.name.rfind(".") :] in _TYPES
        }

    def resource(self) -> IResource:
        """The whole tree of the public listener."""
        return _Front(self.app.resource())

    @app.handle_errors(DocsessionError)
    def refused(self, request: IRequest, failure: Any) -> bytes:
        return error_body(cast(Request, request), failure.value)

    @app.handle_errors(CancelledError)
    def left(self, request: IRequest, failure: Any) -> bytes:
        return b""  # the browser went away; nobody reads this

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Any) -> bytes:
        asked = cast(Request, request)
        # werkzeug's routing errors are the only ones that are not bugs of ours.
        code = getattr(failure.value, "code", None)
        if code == 405:
            allowed = ", ".join(sorted(getattr(failure.value, "valid_methods", None) or ()))
            asked.setHeader(b"Allow", allowed.encode())
            return error_body(asked, InvalidRequest("this method is not for this path"), status=405)
        if code in (404, 308):
            return error_body(asked, NotFound("there is nothing at this path"))
        self._log.failure("an HTTP request failed on a bug of ours", failure=failure)
        return error_body(asked, InternalError())

    @app.route("/api/generate_cookie", methods=["POST", "OPTIONS"])
    async def generate_cookie(self, request: Request) -> bytes:
        origin = header(request, "Origin")
        if origin is None or origin not in self._origins:
            raise Forbidden("this Origin may not have a cookie here")
        if header(request, "Sec-Fetch-Site") == "cross-site":
            raise Forbidden("only pages of this site may have a cookie here")
        request.setHeader(b"Access-Control-Allow-Origin", origin.encode())
        request.setHeader(b"Access-Control-Allow-Credentials", b"true")
        request.setHeader(b"Access-Control-Expose-Headers", b"Retry-After")
        request.setHeader(b"Vary", b"Origin")
        if request.method == b"OPTIONS":
            request.setHeader(b"Access-Control-Allow-Methods", b"POST")
            request.setHeader(b"Access-Control-Allow-Headers", b"Content-Type")
            request.setResponseCode(204)
            return b""
        identity = self._cookie.read(cookie_lines(request))
        if identity is not None:
            found = await self._directory.exists(identity)
            if found is not None or await self._directory.unused(identity):
                signed_in = (
                    found.user is not None
                    if isinstance(found, BrowserSession)
                    else found is not None and found.user_id is not None
                )
                return self._cookie_answer(request, identity, existing=True, signed_in=signed_in)
        self._limit_new_cookies(request)
        identity = Identity(self._new_id(), self._clock.seconds())
        return self._cookie_answer(request, identity, existing=False, signed_in=False)

    @app.route("/api/oauth/callback", methods=["GET"])
    async def callback(self, request: Request) -> bytes:
        returned = await self._sign_in.returned(
            self._cookie.read(cookie_lines(request)),
            state=_argument(request, b"state"),
            code=_argument(request, b"code"),
            error=_argument(request, b"error"),
        )
        if returned.identity is not None:
            self._write_cookie(request, returned.identity)
        plain_headers(request)
        request.setResponseCode(303)
        request.setHeader(b"Location", returned.location.encode())
        return b""

    @app.route("/api/files/<file_id>/content", methods=["GET"])
    async def file_content(self, request: Request, file_id: str) -> Any:
        identity = self._cookie.read(cookie_lines(request))
        return await self._content.serve(request, identity, file_id, _argument(request, b"format"))

    @app.route("/api/drive/notifications", methods=["POST"])
    def notified(self, request: Request) -> bytes:
        if not self._notifications.take(lambda name: header(request, name)):
            raise NotFound("there is no such channel")
        plain_headers(request)
        request.setResponseCode(204)
        return b""

    @app.route("/api/socket")
    def open_socket(self, request: Request) -> IResource:
        return self._socket

    @app.route("/livez", methods=["GET"])
    def livez(self, request: Request) -> bytes:
        return json(request, 200, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    async def readyz(self, request: Request) -> bytes:
        parts = await self._health()
        # One that is busy does its work, as fast as it can.
        ready = all(state in ("ok", "busy") for state in parts.values())
        answer: dict[str, Any] = {"status": "ok" if ready else "unavailable"}
        # Not request.args, which leaves out a name without a value.
        asked = request.uri.partition(b"?")[2].split(b"&")
        if any(part.partition(b"=")[0] == b"verbose" for part in asked):
            answer["parts"] = dict(parts)
        return json(request, 200 if ready else 503, answer)

    @app.route("/client/<name>", methods=["GET"])
    def client(self, request: Request, name: str) -> bytes:
        if name not in ("docsession.js", "docsession.d.ts"):
            raise NotFound("there is nothing at this path")
        return self._static(request, name)

    @app.route("/demo/<name>", methods=["GET"])
    def demo_part(self, request: Request, name: str) -> bytes:
        if not self._demo or not name.startswith("demo"):
            raise NotFound("there is nothing at this path")
        return self._static(request, name)

    @app.route("/", methods=["GET"])
    def page(self, request: Request) -> bytes:
        if not self._demo:
            raise NotFound("the demo page is switched off (server.demo)")
        if header(request, "Host") != urlsplit(self._public_url).netloc:
            # Cookies and Origin belong to the public URL's host; elsewhere nothing would work.
            plain_headers(request)
            request.setResponseCode(302)
            request.setHeader(b"Location", f"{self._public_url}/".encode())
            return b""
        request.setHeader(b"Content-Security-Policy", _PAGE_POLICY)
        html = self._static(request, "index.html")
        if self._sandbox_url is not None:
            meta = f'<meta name="docsession-sandbox" content="{self._sandbox_url}">'
            html = html.replace(b"<!-- docsession:sandbox -->", meta.encode())
        return html

    # -- inside

    def _static(self, request: Request, name: str) -> bytes:
        if name not in self._files:
            raise NotFound("there is nothing at this path")
        plain_headers(request)
        request.setHeader(b"Cache-Control", b"no-cache")
        request.setHeader(b"Content-Type", _TYPES[name[name.rindex(".") :]])
        return self._files[name]

    def _cookie_answer(
        self, request: Request, identity: Identity, *, existing: bool, signed_in: bool
    ) -> bytes:
        self._write_cookie(request, identity)
        return json(
            request,
            200,
            {"session": identity.session_id, "existing": existing, "signed_in": signed_in},
        )

    def _write_cookie(self, request: Request, identity: Identity) -> None:
        age = self._clock.seconds() - identity.issued
        self._cookie.write(request, identity, min(self._lifetimes.idle, self._lifetimes.absolute - age))

    def _limit_new_cookies(self, request: Request) -> None:
        address = self._proxies.client(request)
        now = self._clock.seconds()
        rate = self._rates.get(address)
        if rate is None:
            rate = self._rates[address] = Rate(
                self._limits.new_cookies_per_second, self._limits.new_cookies_burst, now
            )
        wait = rate.take(now)
        if wait:
            raise RateLimited("too many new cookies from this address", retry_after=max(1.0, wait))


class _Front(Resource):
    """Before the routes: Klein would log a path that is no UTF-8 as a bug, and answer in HTML."""

    isLeaf = True

    def __init__(self, routes: IResource) -> None:
        Resource.__init__(self)
        self._routes = routes

    def render(self, request: Request) -> Any:
        try:
            b"/".join(request.postpath or ()).decode("utf-8")
        except UnicodeDecodeError:
            return error_body(request, NotFound("there is nothing at this path"))
        return self._routes.render(request)


def _argument(request: Request, name: bytes) -> str | None:
    """A query argument that came exactly once."""
    values = request.args.get(name, [])
    if len(values) != 1 or len(values[0]) > 4096:
        return None
    try:
        return str(values[0].decode("utf-8"))
    except UnicodeDecodeError:
        return None
