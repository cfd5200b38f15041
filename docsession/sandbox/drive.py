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
    """The routes under ``/drive/v3/``, and the refusals of ``/upload/`` and ``/batch/``."""

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
        for verb, path, method_id in (
            ("POST", "/upload/drive/v3/files", "drive.files.create with media"),
            ("PATCH", "/upload/drive/v3/files/<fileId>", "drive.files.update with media"),
            ("POST", "/batch/drive/v3", "batch"),
        ):
            self.app.route(path, methods=[verb], endpoint=method_id)(self._refuse(not_served(method_id)))
        self.app.handle_errors(HTTPException)(self._no_route)

    def _route(self, method_id: str, method: Method) -> Callable[..., Coroutine[Any, Any, bytes]]:
        async def route(request: IRequest, **ids: str) -> bytes:
            return await self._answer(request, method_id, method, ids)

        return route

    def _refuse(self, refusal: DriveError) -> Callable[..., bytes]:
        return lambda request, **ids: send(request, _envelope(refusal))

    def _no_route(self, request: IRequest, failure: object) -> bytes:
        return send(request, _envelope(no_such_path()))

    async def _answer(self, request: IRequest, method_id: str, method: Method, ids: dict[str, str]) -> bytes:
        access = self._access(request)
        email = access.email if access is not None else None
        downloads = (request.args or {}).get(b"alt") == [b"media"]

        def action() -> Answer:
            try:
                return self._perform(request, method_id, method, ids, access)
            except DriveError:
                raise
            except Exception:
                self._log.failure("{method} failed", method=method_id)
                raise DriveError(500, "internalError", "Internal Error") from None

        return await self._exchange.perform(
            request,
            method_id,
            email,
            ids.get("fileId") or ids.get("driveId"),
            action,
            units=DOWNLOAD if downloads else None,
        )

    def _access(self, request: IRequest) -> Access | None:
        return self._grants.lookup(_bearer(request) or "")

    def _perform(
        self,
        request: IRequest,
        method_id: str,
        method: Method,
        ids: dict[str, str],
        access: Access | None,
    ) -> Answer:
        if _bearer(request) is None:
            raise unregistered_caller()
        if access is None:
            raise unauthenticated()
        serve = self._served.get(method_id)
        if serve is None:
            raise not_served(method_id)
        scopes = short_scopes(access.scopes)
        if not scopes & method.scopes:
            raise scope_missing()
        asked = DriveRequest.decode(request, method_id, method, ids, self._world, access)
        if asked.media and not scopes & _READS_BYTES:
            raise scope_missing()
        result = serve(asked)
        if result is None:
            return Answer(204)
        if isinstance(result, Answer):
            return result
        return json_answer(select(result, asked.mask), pretty=_wants_pretty(request))


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
