"""``GET /api/files/ID/content``: a file's bytes, streamed through with back-pressure.

Bytes come from people; they are served so that they cannot run on our origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AsyncExitStack
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from twisted.web.server import Request

from docsession.directory import Directory
from docsession.errors import GoogleUnavailable, InvalidParams, NotSignedIn, RateLimited
from docsession.google.drive_request import compose
from docsession.google.gate import Gate
from docsession.google.http import USER_AGENT, Reply, collect, given_up
from docsession.google.refusals import Kind, read
from docsession.google.slowing import Slowing
from docsession.google.table import TABLE
from docsession.model import Identity
from docsession.sessions import UserSession
from docsession.tasks import with_timeout
from docsession.web.answers import error_body, header, plain_headers
from docsession.web.streaming import Through

__all__ = ["Content"]

# These a browser shows and cannot run; everything else is only offered for saving.
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
# So are these, but for what calls itself XML: a browser would make a document of it.
_PLAYED = re.compile(r"(audio|video)/[a-z0-9][a-z0-9.-]*")
_MOST_ERROR = 64 * 1024


class Content:
    """Serves bytes in the signed-in user's name."""

    _log = Logger()

    def __init__(
        self,
        directory: Directory,
        gate: Gate,
        slowing: Slowing,
        agent: IAgent,
        clock: IReactorTime,
        *,
        api: str,
        answer_within: float,
        silence: float,
    ) -> None:
        self._directory = directory
        self._gate = gate
        self._slowing = slowing
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
        streaming = Through(request, self._clock, self._silence)

        def end() -> None:
            # Not at once: it may be this very request that found the grant revoked.
            streaming.cut()
            if not streaming.begun:
                self._clock.callLater(0, lambda: work.cancel())

        browser.downloads.add(end)
        work = Deferred.fromCoroutine(self._serve(request, browser.user, file_id, export, streaming))
        try:
            return await work
        except CancelledError:
            if streaming.is_over and not streaming.begun:
                raise NotSignedIn from None
            raise  # the browser left
        finally:
            browser.downloads.discard(end)

    # -- inside

    async def _serve(
        self, request: Request, user: UserSession, file_id: str, export: str | None, streaming: Through
    ) -> bytes:
        try:
            name, mime_type = await self._describe(user, file_id)
            url = self._url(file_id, export)
        except InvalidParams as bad:
            raise InvalidParams(bad.message, path="$.ID") from None
        async with AsyncExitStack() as held:
            try:
                await with_timeout(
                    self._clock, self._answer_within, held.enter_async_context(self._gate.media(user.id))
                )
            except TimeoutError:
                raise RateLimited("too many downloads at once", retry_after=5) from None
            response = await self._ask(user, url, header(request, "Range"))
            if response.code == 416:
                _pass_on(request, response, ("Content-Range",))
                no_range = InvalidParams("there is no such range", path="$.Range")
                return error_body(request, no_range, status=416)
            if streaming.is_over:
                response.deliverBody(streaming)  # which drops it
                raise NotSignedIn
            self._set_headers(request, response, name, export or mime_type)
            response.deliverBody(streaming)
            await streaming.done
        return b""

    async def _describe(self, user: UserSession, file_id: str) -> tuple[str, str]:
        params = {"fileId": file_id, "fields": "id,name,mimeType"}
        answer = await user.calls.read_data(compose(TABLE.methods["drive.files.get"], params))
        return str(answer.get("name", "file")), str(answer.get("mimeType", ""))

    def _url(self, file_id: str, export: str | None) -> str:
        if export is None:
            media = compose(TABLE.methods["drive.files.get"], {"fileId": file_id})
            return media.url(self._api, ("alt", "media"))
        params = {"fileId": file_id, "mimeType": export}
        return compose(TABLE.methods["drive.files.export"], params).url(self._api)

    async def _ask(self, user: UserSession, url: str, wanted: str | None) -> IResponse:
        """Google's answer: 200 or 206 with the bytes to come, or 416."""
        rejected: str | None = None
        for _ in range(2):
            token = await user.grant.token(rejected=rejected)
            sent_at = self._clock.seconds()
            # The bare agent: treq would ask for gzip, which makes nonsense of a Range.
            headers = Headers({"User-Agent": [USER_AGENT], "Authorization": [f"Bearer {token}"]})
            if wanted is not None and len(wanted) < 200:
                headers.setRawHeaders("Range", [wanted])
            try:
                response = await with_timeout(
                    self._clock, self._answer_within, _requested(self._agent, url, headers)
                )
                if response.code in (200, 206):
                    return response
                body = await with_timeout(self._clock, self._answer_within, _collected(response))
            except CancelledError:
                raise
            except Exception as error:
                self._log.warn("bytes could not be had from Google: {error}", error=type(error).__name__)
                raise GoogleUnavailable(retry_after=5) from None
            if response.code == 416:
                return response
            refusal = read(Reply(response.code, response.headers, body))
            if refusal.kind is not Kind.STALE_TOKEN:
                if refusal.kind is Kind.WEATHER:
                    raise GoogleUnavailable(retry_after=max(refusal.patience, 5))
                wait = self._slowing.refused(refusal, user.id, sent_at)
                if refusal.kind.is_limit:
                    raise RateLimited("Google's limit is reached", retry_after=max(wait, 1.0))
                raise refusal.error()
            rejected = token
        raise NotSignedIn

    def _set_headers(self, request: Request, response: IResponse, name: str, mime_type: str) -> None:
        plain_headers(request)
        request.setResponseCode(response.code)
        base = mime_type.partition(";")[0].strip().lower()
        shown = base in _SHOWN or _PLAYED.fullmatch(base) is not None
        said = base if shown else "application/octet-stream"
        if base == "text/plain":
            said = "text/plain; charset=utf-8"
        request.setHeader(b"Content-Type", said.encode("ascii", "replace"))
        _pass_on(request, response, ("Content-Range", "Accept-Ranges"))
        if isinstance(response.length, int):
            request.setHeader(b"Content-Length", str(response.length).encode())
        disposition = "inline" if shown else "attachment"
        quoted = quote(name[:200], safe="", errors="replace")
        request.setHeader(b"Content-Disposition", f"{disposition}; filename*=UTF-8''{quoted}".encode())
        request.setHeader(b"Content-Security-Policy", b"sandbox; default-src 'none'")
        request.setHeader(b"Cross-Origin-Resource-Policy", b"same-origin")
        request.setHeader(b"Cache-Control", b"private, no-store")


def _pass_on(request: Request, response: IResponse, names: Iterable[str]) -> None:
    for name in names:
        values = response.headers.getRawHeaders(name)
        if values:
            request.setHeader(name.encode(), values[0].encode())


async def _requested(agent: IAgent, url: str, headers: Headers) -> IResponse:
    try:
        return await agent.request(b"GET", url.encode("ascii"), headers, None)
    except Exception as error:
        if given_up(error):  # the browser left: that is not Google's silence
            raise CancelledError from None
        raise


async def _collected(response: IResponse) -> bytes:
    return await collect(response, _MOST_ERROR)
