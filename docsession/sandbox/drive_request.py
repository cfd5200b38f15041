"""One request to Drive, decoded and checked against Google's description of its method."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.web.iweb import IRequest

from docsession.sandbox import decoding
from docsession.sandbox.answers import Answer
from docsession.sandbox.errors import forbidden, invalid, not_found
from docsession.sandbox.grants import Access
from docsession.sandbox.masks import Mask
from docsession.sandbox.paging import after, page_token
from docsession.sandbox.records import File, Person
from docsession.sandbox.resources import Viewer
from docsession.sandbox.sharing import at_least
from docsession.sandbox.table import Method
from docsession.sandbox.world import World

__all__ = ["DriveRequest", "Result", "Serve", "Upload", "short_scopes"]

_SCOPE_PREFIX = "https://www.googleapis.com/auth/"
_SEES_ALL = frozenset({"drive", "drive.readonly", "drive.metadata", "drive.metadata.readonly"})
Result = Mapping[str, Any] | Answer | None
"""A resource, of which the mask is yet to choose; raw bytes; or nothing (204)."""


def short_scopes(scopes: frozenset[str]) -> frozenset[str]:
    """Scopes without the address that all of Google's begin with."""
    return frozenset(scope.removeprefix(_SCOPE_PREFIX) for scope in scopes)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file's bytes, and what they are."""

    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class DriveRequest:
    """Everything that a method needs to know."""

    method_id: str
    method: Method
    world: World
    person: Person
    access: Access
    ids: Mapping[str, str]
    params: Mapping[str, Any]
    body: Mapping[str, Any]
    mask: Mask
    media: bool
    """Whether ``alt=media`` asks for the bytes."""
    range: str
    upload: Upload | None = None
    """The bytes that came with it."""

    @classmethod
    def decode(
        cls,
        request: IRequest,
        method_id: str,
        method: Method,
        ids: Mapping[str, str],
        world: World,
        access: Access,
        *,
        metadata: bytes | None = None,
        upload: Upload | None = None,
    ) -> DriveRequest:
        """Read a request, or raise the 400 that it deserves.

        With an upload its body is not what says the ``metadata``.
        """
        arguments = decoding.arguments(request)
        alt = arguments.get("alt", ["json"])[-1]
        if alt not in ("json", "media"):
            raise invalid("alt", f"Invalid value '{alt}'. Values must be within: [json, media]")
        return cls(
            method_id=method_id,
            method=method,
            world=world,
            person=world.people[access.email],
            access=access,
            ids=ids,
            params=decoding.parameters(method, arguments),
            body=decoding.body(decoding.raw_body(request) if metadata is None else metadata, method),
            mask=decoding.mask(method_id, method, arguments),
            media=alt == "media",
            range=(request.getHeader("Range") or "").strip(),
            upload=upload,
        )

    @property
    def viewer(self) -> Viewer:
        """Whose eyes the answer is for."""
        return Viewer(self.world, self.person, self.access.client_id)

    @property
    def scopes(self) -> frozenset[str]:
        """What the token allows."""
        return short_scopes(self.access.scopes)

    def file(self, role: str = "reader") -> File:
        """The file of ``fileId``, on which the caller must have at least this role."""
        return self.file_with(self.ids["fileId"], role)

    def file_with(self, file_id: str, role: str = "reader") -> File:
        """A file by id or alias; 404 where it may not be seen, 403 where the role is not enough."""
        found = self.world.files.get(self.resolve(file_id))
        own = self.world.role(self.person, found) if found is not None else ""
        if found is None or not own or not self._may_address(found):
            raise not_found(file_id)
        if not self.app_sees(found):
            if self.method.verb == "GET":
                raise not_found(file_id)
            raise forbidden(
                "appNotAuthorizedToFile",
                f"The user has not granted the app {self.access.client_id} write access "
                f"to the file {file_id}.",
            )
        if not at_least(own, role):
            raise forbidden()
        return found

    def resolve(self, file_id: str) -> str:
        """``root`` is the caller's own My Drive."""
        return self.world.roots[self.person.email] if file_id == "root" else file_id

    def app_sees(self, file: File) -> bool:
        """Whether the token's scopes reach this file."""
        if self.scopes & _SEES_ALL:
            return True
        return "drive.file" in self.scopes and self.access.client_id in file.apps

    def lists(self, file: File) -> bool:
        """Whether the caller's listings and log show this file, through this app."""
        return self.world.lists(self.person, file) and self.app_sees(file)

    def _may_address(self, file: File) -> bool:
        """A caller that does not say it knows shared drives does not find what is in them."""
        if not file.drive_id or "supportsAllDrives" not in self.method.params:
            return True
        return bool(self.params.get("supportsAllDrives"))

    def page(self, items: list[Any], *, size: int, key: Callable[[Any], str]) -> tuple[list[Any], str]:
        """A page of ``items`` from where ``pageToken`` left off, and the token of the next.

        The token remembers the last item given, so that a page neither repeats nor skips what
        stays in the list while others come and go.
        """
        wanted = self.params.get("pageSize", size)
        begin = 0
        if token := self.params.get("pageToken"):
            begin = after(token, self._list_digest(), [key(item) for item in items])
        chosen = items[begin : begin + wanted]
        if begin + wanted >= len(items):
            return chosen, ""
        return chosen, page_token(self._list_digest(), begin + wanted, key(chosen[-1]))

    def _list_digest(self) -> int:
        asked = {name: value for name, value in self.params.items() if name not in ("pageToken", "pageSize")}
        return zlib.crc32(msgspec.json.encode([self.method_id, dict(self.ids), asked], order="sorted"))


Serve = Callable[[DriveRequest], Result]
"""What answers one method."""
