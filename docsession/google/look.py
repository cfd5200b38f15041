"""One look at one document with one user's eyes: its state, and its comments.

The state is parted into what everybody who may see the document sees alike (``shared``) and
what only this viewer sees (``own``); only the first ever reaches other people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from docsession.errors import GoogleUnavailable
from docsession.google.drive import Account, Drive
from docsession.google.drive_request import COMMENT_FIELDS, compose
from docsession.google.table import TABLE

__all__ = [
    "OWN_FIELDS",
    "SHARED_FIELDS",
    "Comments",
    "FileView",
    "Looker",
    "shared_comment",
    "shared_file",
    "view_of",
]

SHARED_FIELDS = (
    "id,name,mimeType,version,modifiedTime,lastModifyingUser(displayName,photoLink),"
    "headRevisionId,md5Checksum,size,trashed,webViewLink,iconLink"
)
OWN_FIELDS = "parents,permissionIds,capabilities"

_OWN = frozenset(OWN_FIELDS.split(","))
_SHARED = frozenset(re.sub(r"\(.*?\)", "", SHARED_FIELDS).split(","))
_COMMENT = frozenset(re.sub(r"\([^()]*\)|replies.*", "", COMMENT_FIELDS).strip(",").split(",")) | {"action"}
_AUTHOR = ("displayName", "photoLink")

# Drive's own bound for one page of comments; a document with more pages than this is odd.
_PAGE = 100
_MOST_PAGES = 100


class FileView(msgspec.Struct, frozen=True):
    """What one look saw. ``as_of`` is when it began: all that came before shows in it."""

    file_id: str
    google_version: int
    shared: Mapping[str, Any]
    own: Mapping[str, Any]
    as_of: float


class Comments(msgspec.Struct, frozen=True):
    """Comments as one look saw them; only those changed since, where a time was given."""

    comments: tuple[Mapping[str, Any], ...]
    since: str | None
    as_of: float


class Looker:
    """Looks at documents through Drive."""

    def __init__(self, drive: Drive, clock: IReactorTime) -> None:
        self._drive = drive
        self._clock = clock
        self._get = TABLE.methods["drive.files.get"]
        self._comments = TABLE.methods["drive.comments.list"]

    async def file(self, account: Account, file_id: str, *, poll: bool) -> FileView:
        """The document now. Raises as :meth:`docsession.google.drive.Drive.ask`."""
        params = {"fileId": file_id, "fields": f"{SHARED_FIELDS},{OWN_FIELDS}"}
        began = self._clock.seconds()
        answer = await self._drive.ask(account, compose(self._get, params), poll=poll)
        try:
            return view_of(answer, began)
        except (KeyError, ValueError):
            raise _nonsense() from None

    async def comments(self, account: Account, file_id: str, *, since: str | None, poll: bool) -> Comments:
        """All comments (deleted ones included), or those modified at or after ``since``."""
        began = self._clock.seconds()
        found: list[Mapping[str, Any]] = []
        params: dict[str, Any] = {
            "fileId": file_id,
            "fields": f"nextPageToken,comments({COMMENT_FIELDS})",
            "includeDeleted": True,
            "pageSize": _PAGE,
        }
        if since is not None:
            params["startModifiedTime"] = since
        for _ in range(_MOST_PAGES):
            answer = await self._drive.ask(account, compose(self._comments, params), poll=poll)
            listed = answer.get("comments", [])
            if not isinstance(listed, list) or not all(_is_comment(comment) for comment in listed):
                raise _nonsense()
            found.extend(shared_comment(comment) for comment in listed)
            if not answer.get("nextPageToken"):
                break
            params["pageToken"] = answer["nextPageToken"]
        return Comments(tuple(found), since, began)


def view_of(answer: Mapping[str, Any], as_of: float) -> FileView:
    """A Drive File resource as a view. Raises KeyError/ValueError without id or version."""
    return FileView(
        file_id=str(answer["id"]),
        google_version=int(answer["version"]),
        shared=shared_file(answer),
        own={name: answer[name] for name in _OWN if name in answer},
        as_of=as_of,
    )


def shared_file(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Only the fields that do not depend on who looks."""
    shared = {name: answer[name] for name in _SHARED if name in answer}
    if isinstance(shared.get("lastModifyingUser"), dict):
        shared["lastModifyingUser"] = _only(shared["lastModifyingUser"], _AUTHOR)
    return shared


def shared_comment(comment: Mapping[str, Any]) -> dict[str, Any]:
    """A comment or reply without what depends on who looks (as ``author.me``)."""
    shared = {name: comment[name] for name in _COMMENT if name in comment}
    if isinstance(shared.get("author"), dict):
        shared["author"] = _only(shared["author"], _AUTHOR)
    if "replies" in comment:
        shared["replies"] = [shared_comment(reply) for reply in comment["replies"]]
    return shared


def _is_comment(value: Any) -> bool:
    replies = value.get("replies", []) if isinstance(value, dict) and "id" in value else None
    return isinstance(replies, list) and all(isinstance(reply, dict) for reply in replies)


def _nonsense() -> GoogleUnavailable:
    return GoogleUnavailable("Google answered nonsense", retry_after=5)


def _only(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}
