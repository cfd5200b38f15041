"""Drive v3 over HTTP: every method of Google's description has its route here.

Those that the sandbox plays are answered; the others say so with a 501.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from klein import Klein
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from docsession.sandbox import (
    drive_changes,
    drive_comments,
    drive_drives,
    drive_files,
    drive_files_write,
    drive_permissions,
    drive_revisions,
)
from docsession.sandbox.answers import Answer, json_answer, send
from docsession.sandbox.batch import Batch
from docsession.sandbox.calls import DOWNLOAD
from docsession.sandbox.channels import Channels
from docsession.sandbox.drive_channels import DriveChannels
from docsession.sandbox.drive_request import DriveRequest, Serve, short_scopes
from docsession.sandbox.errors import (
    DriveError,
    no_such_path,
    not_served,
    scope_missing,
    unauthenticated,
    unregistered_caller,
)
from docsession.sandbox.exchange import Exchange
from docsession.sandbox.grants import Access, Grants
from docsession.sandbox.masks import select
from docsession.sandbox.table import Method, methods
from docsession.sandbox.uploads import Uploads, read
from docsession.sandbox.world import World

__all__ = ["SERVED", "Drive"]

SERVED: dict[str, Serve] = {
    **drive_files.SERVED,
    **drive_files_write.SERVED,
    **drive_comments.SERVED,
    **drive_permissions.SERVED,
    **drive_revisions.SERVED,
    **drive_drives.SERVED,
    **drive_changes.SERVED,
}
_READS_BYTES = frozenset({"drive", "drive.file", "drive.readonly", "drive.meet.readonly"})


class Drive:
    """The routes under ``/drive/v3/``, and of uploads and batches."""

    _log = Logger()

    def __init__(self, world: World, grants: Grants, exchange: Exchange, channels: Channels) -> None:
        self._world = world
        self._grants = grants
        self._exchange = exchange
        self._served: Mapping[str, Serve] = {**SERVED, **DriveChannels(channels).served}
        self.app = Klein()
        for method_id, method in methods().items():
            path = "/drive/v3/" + method.path.replace("{", "<").replace("}", ">")
            route = self.app.route(path, methods=[method.verb], endpoint=method_id)
            route(self._route(method_id, method))
        self._uploads = Uploads(world.clock, world.rng, world.base_url)
        for verb, path, method_id in (
            ("POST", "/upload/drive/v3/files", "drive.files.create"),
            ("PATCH", "/upload/drive/v3/files/<fileId>", "drive.files.update"),
        ):
            add = self.app.route(path, methods=[verb], endpoint=f"{method_id} with media")
            add(self._route(method_id, methods()[method_id], uploading=True))
            for piece in ("PUT", "DELETE"):
                self.app.route(path, methods=[piece], endpoint=f"{piece} {path}")(self._piece)
        self._batch = Batch(self.app.resource(), world.clock, world.rng)
        self.app.route("/batch/drive/v3", methods=["POST"], endpoint="batch")(self._calls)
        self.app.handle_errors(HTTPException)(self._no_route)

    def _route(
        self, method_id: str, method: Method, *, uploading: bool = False
    ) -> Callable[..., Coroutine[Any, Any, bytes]]:
        async def route(request: IRequest, **ids: str) -> bytes:
            return await self._answer(request, method_id, method, ids, uploading=uploading)

        return route

    def _no_route(self, request: IRequest, failure: object) -> bytes:
        return send(request, _envelope(no_such_path()))

    async def _answer(
        self, request: IRequest, method_id: str, method: Method, ids: dict[str, str], *, uploading: bool
    ) -> bytes:
        access = self._access(request)
        email = access.email if access is not None else None
        downloads = (request.args or {}).get(b"alt") == [b"media"]
        return await self._exchange.perform(
            request,
            method_id,
            email,
            ids.get("fileId") or ids.get("driveId"),
            lambda: self._guarded(
                method_id, lambda: self._perform(request, method_id, method, ids, access, uploading)
            ),
            units=DOWNLOAD if downloads else None,
        )

    async def _piece(self, request: IRequest, **ids: str) -> bytes:
        """A piece of an upload. Its URL is its permission, but a token that comes along must be good."""
        session = self._uploads.find(request)
        whose = None if session is None else session.asked

        def act() -> Answer:
            if session is None:
                raise DriveError(404, "notFound", "There is no such upload.")
            if _bearer(request) is not None and self._access(request) is None:
                raise unauthenticated()
            if request.method == b"DELETE":
                return self._uploads.end(session)
            return self._uploads.take(session, request, self._done)

        return await self._exchange.perform(
            request,
            "drive.files.upload",
            None if whose is None else whose.person.email,
            None if whose is None else whose.ids.get("fileId"),
            lambda: self._guarded("drive.files.upload", act),
            units=0,
        )

    async def _calls(self, request: IRequest) -> bytes:
        """A batch."""
        try:
            return await self._batch.answer(request)
        except DriveError as refusal:
            return send(request, _envelope(refusal))

    def _guarded(self, method_id: str, act: Callable[[], Answer]) -> Answer:
        try:
            return act()
        except DriveError:
            raise
        except Exception:
            self._log.failure("{method} failed", method=method_id)
            raise DriveError(500, "internalError", "Internal Error") from None

    def _access(self, request: IRequest) -> Access | None:
        return self._grants.lookup(_bearer(request) or "")

    def _perform(
        self,
        request: IRequest,
        method_id: str,
        method: Method,
        ids: dict[str, str],
        access: Access | None,
        uploading: bool,
    ) -> Answer:
        if _bearer(request) is None:
            raise unregistered_caller()
        if access is None:
            raise unauthenticated()
        if method_id not in self._served:
            raise not_served(method_id)
        scopes = short_scopes(access.scopes)
        if not scopes & method.scopes:
            raise scope_missing()
        sent = read(request) if uploading else None
        asked = DriveRequest.decode(
            request,
            method_id,
            method,
            ids,
            self._world,
            access,
            metadata=None if sent is None else sent.metadata,
            upload=None if sent is None else sent.upload,
        )
        if asked.media and not scopes & _READS_BYTES:
            raise scope_missing()
        if sent is not None and sent.upload is None:
            if ids:
                asked.file("writer")
            return self._uploads.begin(asked, sent)
        return self._done(asked, pretty=_wants_pretty(request))

    def _done(self, asked: DriveRequest, *, pretty: bool = True) -> Answer:
        result = self._served[asked.method_id](asked)
        if result is None:
            return Answer(204)
        if isinstance(result, Answer):
            return result
        return json_answer(select(result, asked.mask), pretty=pretty)


def _bearer(request: IRequest) -> str | None:
    """The token that comes with a request; None where there is no such header at all."""
    header = request.getHeader("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _wants_pretty(request: IRequest) -> bool:
    """Google indents unless told not to."""
    asked = cast(dict[bytes, list[bytes]], request.args or {})
    return asked.get(b"prettyPrint", [b"true"])[-1] != b"false"


def _envelope(refusal: DriveError) -> Answer:
    answer = json_answer(refusal.body, status=refusal.status, pretty=True)
    return Answer(answer.status, answer.body, answer.content_type, refusal.headers)
