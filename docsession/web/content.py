"""``GET /api/files/ID/content``: a file's bytes, streamed through with back-pressure.

Bytes come from people; they are served so that they cannot run on our origin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from twisted.web.server import Request

from docsession.directory import Directory
from docsession.errors import GoogleUnavailable, InvalidParams, NotSignedIn
from docsession.google.drive_request import compose
from docsession.google.gate import Gate
from docsession.google.http import USER_AGENT, Reply, collect
from docsession.google.refusals import Kind, read
from docsession.google.table import TABLE
from docsession.model import Identity
from docsession.sessions import BrowserSession, UserSession
from docsession.tasks import with_timeout
from docsession.web.answers import header, plain_headers

__all__ = ["Content"]

# These a browser shows and cannot run; everything else is only offered for saving.
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
_PASSED_ON = ("Content-Length", "Content-Range", "Accept-Ranges")
_MOST_ERROR = 64 * 1024


class Content:
    """Serves bytes in the signed-in user's name."""

    _log = Logger()

    def __init__(
        self,
        directory: Directory,
        gate: Gate,
        agent: IAgent,
        clock: IReactorTime,
        *,
        api: str,
        answer_within: float,
        silence: float,
    ) -> None:
        self._directory = directory
        self._gate = gate
        self._agent = agent
        self._clock = clock
        self._api = api.rstrip("/")
        self._answer_within = answer_within
        self._silence = silence

    async def serve(
        self, request: Request, identity: Identity | None, file_id: str, export: str | None
    ) -> bytes:
        """Answer the request; raises for what goes wrong before the first byte."""
        browser = None if identity is None else await self._directory.find(identity)
        if browser is None or browser.user is None:
            raise NotSignedIn
        user = browser.user
        try:
            name, mime_type = await self._describe(user, file_id)
            url = self._url(file_id, export)
        except InvalidParams as bad:
            raise InvalidParams(bad.message, path="$.ID") from None
        async with self._gate.media(user.id):
            response = await self._ask(user, url, header(request, "Range"))
            shown = export or mime_type
            self._set_headers(request, response, name, shown)
            await self._stream(request, response, browser)
        return b""

    # -- inside

    async def _describe(self, user: UserSession, file_id: str) -> tuple[str, str]:
        params = {"fileId": file_id, "fields": "id,name,mimeType"}
        answer = await user.calls.read_data(compose(TABLE.methods["drive.files.get"], params))
        return str(answer.get("name", "file")), str(answer.get("mimeType", ""))

    def _url(self, file_id: str, export: str | None) -> str:
        method = TABLE.methods["drive.files.get" if export is None else "drive.files.export"]
        params = {"fileId": file_id} if export is None else {"fileId": file_id, "mimeType": export}
        prepared = compose(method, params)
        query = [*prepared.query] if export is not None else [*prepared.query, ("alt", "media")]
        return f"{self._api}/drive/v3/{prepared.path}?{urlencode(query)}"

    async def _ask(self, user: UserSession, url: str, wanted: str | None) -> IResponse:
        rejected: str | None = None
        for _ in range(2):
            token = await user.grant.token(rejected=rejected)
            # The bare agent: treq would ask for gzip, which makes nonsense of a Range.
            headers = Headers({"User-Agent": [USER_AGENT], "Authorization": [f"Bearer {token}"]})
            if wanted is not None and len(wanted) < 200:
                headers.setRawHeaders("Range", [wanted])
            try:
                response = await with_timeout(
                    self._clock, self._answer_within, _requested(self._agent, url, headers)
                )
                if response.code < 400:
                    return response
                body = await with_timeout(self._clock, self._answer_within, _collected(response))
            except CancelledError:
                raise
            except Exception as error:
                self._log.warn("bytes could not be had from Google: {error}", error=type(error).__name__)
                raise GoogleUnavailable(retry_after=5) from None
            if response.code == 416:
                raise InvalidParams("there is no such range", path="$.Range")
            refusal = read(Reply(response.code, response.headers, body))
            if refusal.kind is not Kind.STALE_TOKEN:
                if refusal.kind is Kind.WEATHER:
                    raise GoogleUnavailable(retry_after=max(refusal.patience, 5))
                raise refusal.error()
            rejected = token
        raise NotSignedIn

    def _set_headers(self, request: Request, response: IResponse, name: str, mime_type: str) -> None:
        plain_headers(request)
        request.setResponseCode(response.code)
        base = mime_type.partition(";")[0].strip().lower()
        shown = base in _SHOWN or base.startswith(("audio/", "video/"))
        said = base if shown else "application/octet-stream"
        if base == "text/plain":
            said = "text/plain; charset=utf-8"
        request.setHeader(b"Content-Type", said.encode("ascii", "replace"))
        for passed in _PASSED_ON:
            values = response.headers.getRawHeaders(passed)
            if values:
                request.setHeader(passed.encode(), values[0].encode())
        if isinstance(response.length, int):
            request.setHeader(b"Content-Length", str(response.length).encode())
        disposition = "inline" if shown else "attachment"
        request.setHeader(
            b"Content-Disposition", f"{disposition}; filename*=UTF-8''{quote(name[:200], safe='')}".encode()
        )
        request.setHeader(b"Content-Security-Policy", b"sandbox; default-src 'none'")
        request.setHeader(b"Cross-Origin-Resource-Policy", b"same-origin")
        request.setHeader(b"Cache-Control", b"private, no-store")

    async def _stream(self, request: Request, response: IResponse, browser: BrowserSession) -> None:
        streaming = _Through(request, self._clock, self._silence)
        browser.downloads.add(streaming.cut)
        request.notifyFinish().addErrback(lambda _: streaming.cut())
        try:
            response.deliverBody(streaming)
            await streaming.done
        finally:
            browser.downloads.discard(streaming.cut)


async def _requested(agent: IAgent, url: str, headers: Headers) -> IResponse:
    return await agent.request(b"GET", url.encode("ascii"), headers, None)


async def _collected(response: IResponse) -> bytes:
    return await collect(response, _MOST_ERROR)


class _Through(Protocol):
    """Google's bytes straight to the browser, as fast as the slower of the two.

    It is the browser's producer: when the browser is full, reading from Google pauses.
    """

    def __init__(self, request: Request, clock: IReactorTime, silence: float) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self.cut())
        self._request = request
        self._clock = clock
        self._silence = silence
        self._timer: IDelayedCall | None = None
        self._over = False
        self._registered = False

    def connectionMade(self) -> None:
        if self._over:
            self._drop()
            return
        self._request.registerProducer(self, True)
        self._registered = True
        self._listen()

    def dataReceived(self, data: bytes) -> None:
        if not self._over:
            self._listen()
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        complete = reason.check(ResponseDone) is not None
        self._end()
        if not complete:
            # The length was promised; only a broken connection tells the browser it is short.
            _abort(self._request)
        self._finish()

    def cut(self) -> None:
        """End it now: the session ended, the browser left, or Google fell silent."""
        if self._over:
            return
        self._end()
        self._drop()
        _abort(self._request)
        self._finish()

    # -- IPushProducer, for the browser's side

    def pauseProducing(self) -> None:
        self._quiet()
        _call(self.transport, "pauseProducing")

    def resumeProducing(self) -> None:
        if not self._over:
            self._listen()
            _call(self.transport, "resumeProducing")

    def stopProducing(self) -> None:
        self.cut()

    # -- inside

    def _listen(self) -> None:
        self._quiet()
        self._timer = self._clock.callLater(self._silence, self.cut)

    def _quiet(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _end(self) -> None:
        self._over = True
        self._quiet()
        if self._registered:
            self._registered = False
            try:
                self._request.unregisterProducer()
            except (AttributeError, RuntimeError):
                pass  # the browser has gone, and its channel with it

    def _finish(self) -> None:
        if not self.done.called:
            self.done.callback(None)

    def _drop(self) -> None:
        if not _call(self.transport, "abortConnection") and not _call(self.transport, "loseConnection"):
            _call(self.transport, "stopProducing")


def _call(target: Any, name: str) -> bool:
    method: Callable[[], None] | None = getattr(target, name, None)
    if method is None:
        return False
    method()
    return True


def _abort(request: Request) -> None:
    channel = getattr(request, "channel", None)
    transport = getattr(channel, "transport", None)
    if transport is not None:
        _call(transport, "abortConnection")
