"""What a user's pages ask of Drive: reads through the cache, writes in order and to the hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from docsession import rpc
from docsession.document import Tab, Viewer
from docsession.documents import Documents
from docsession.google.cache import Cache, Cached
from docsession.google.drive import Account, Drive
from docsession.google.drive_request import DriveRequest, widen_fields
from docsession.google.look import (
    COMMENT_FIELDS,
    OWN_FIELDS,
    REPLY_FIELDS,
    SHARED_FIELDS,
    shared_comment,
    view_of,
)
from docsession.interfaces import Sending
from docsession.listings import Listings
from docsession.times import rfc3339

__all__ = ["CACHED", "DriveCalls"]

# Reads whose answers may be kept; comments only of documents somebody watches.
CACHED = frozenset({"drive.files.get", "drive.files.list", "drive.comments.list"})

# What the hub must learn from a write's answer, beside what the page asked for.
_NEEDED = {
    "drive.files.update": f"{SHARED_FIELDS},{OWN_FIELDS}",
    "drive.files.create": f"{SHARED_FIELDS},{OWN_FIELDS}",
    "drive.files.copy": f"{SHARED_FIELDS},{OWN_FIELDS}",
    "drive.comments.create": COMMENT_FIELDS,
    "drive.comments.update": COMMENT_FIELDS,
    "drive.replies.create": REPLY_FIELDS,
    "drive.replies.update": REPLY_FIELDS,
}


class DriveCalls:
    """Drive requests in one user's name."""

    def __init__(
        self,
        account: Account,
        viewer: Viewer,
        *,
        drive: Drive,
        cache: Cache,
        documents: Documents,
        clock: IReactorTime,
    ) -> None:
        self._account = account
        self._viewer = viewer
        self._drive = drive
        self._cache = cache
        self._documents = documents
        self._clock = clock
        self.listings: Listings | None = None
        self._writing: dict[str, tuple[DeferredLock, int]] = {}

    async def read(self, request: DriveRequest) -> dict[str, Any]:
        """``{"data", "as_of", "source"}``; data is spliced in as the JSON Google's answer makes."""
        cached, kept = await self._read(request)
        return {
            "data": rpc.raw(cached.data),
            "as_of": rfc3339(cached.as_of),
            "source": "cache" if kept else "google",
        }

    async def read_data(self, request: DriveRequest) -> dict[str, Any]:
        """Google's answer alone, decoded."""
        cached, _ = await self._read(request)
        answer: dict[str, Any] = msgspec.json.decode(cached.data)
        return answer

    async def read_fresh(self, request: DriveRequest) -> Cached:
        """A poll's read: asks Google, whatever is kept, and keeps the answer."""
        cached, _ = await self._read(request, max_age=0.0, poll=True)
        return cached

    async def write(self, request: DriveRequest, tab: Tab | None, sending: Sending) -> dict[str, Any]:
        """As :meth:`read`. Writes to one file by one user are sent in the order they came."""
        needed = _NEEDED.get(request.method.id)
        if needed is not None:
            request = widen_fields(request, needed)
        async with self._in_turn(request.file_id):
            as_of = self._clock.seconds()
            try:
                answer = await self._drive.call(self._account, request, sending=sending)
            except Exception:
                # Whatever became of it, what is known of the file may be wrong now.
                if request.file_id is not None:
                    self._documents.touched(request.file_id)
                raise
            self._learn(request, answer, as_of, tab)
        return {"data": answer, "as_of": rfc3339(as_of), "source": "google"}

    # -- inside

    async def _read(
        self, request: DriveRequest, *, max_age: float | None = None, poll: bool = False
    ) -> tuple[Cached, bool]:
        listing = request.method.id == "drive.files.list"

        async def fetch() -> tuple[bytes, frozenset[str], str | None]:
            answer = await self._drive.call(self._account, request, poll=poll)
            files = (
                {str(file["id"]) for file in answer.get("files", ()) if "id" in file} if listing else set()
            )
            if request.file_id is not None:
                files.add(request.file_id)
            if "id" in answer and request.method.id == "drive.files.get":
                files.add(str(answer["id"]))
            return msgspec.json.encode(answer), frozenset(files), self._account.id if listing else None

        if request.method.id not in CACHED or (
            request.method.id == "drive.comments.list" and not self._documents.is_watched(request.file_id)
        ):
            began = self._clock.seconds()
            data, files, _ = await fetch()
            return Cached(data, began, files, None), False
        return await self._cache.read(
            self._account.id,
            (self._account.grant.grant.generation, request.key()),
            fetch,
            about=request.file_id,
            max_age=request.max_age if max_age is None else max_age,
        )

    def _learn(self, request: DriveRequest, answer: Mapping[str, Any], as_of: float, tab: Tab | None) -> None:
        """A write went well: drop what it made untrue, and let everybody else hear of it."""
        documents, viewer = self._documents, self._viewer
        family, _, verb = request.method.id.removeprefix("drive.").partition(".")
        file_id = request.file_id
        if family == "files":
            self._cache.drop_listings(self._account.id)
            if verb == "delete" and file_id is not None:
                documents.deleted(file_id)
            elif verb in ("update", "create", "copy") and "version" in answer:
                documents.learn(viewer, view_of(answer, as_of), teller=tab)
            elif file_id is not None:
                documents.touched(file_id)
        elif file_id is None:
            self._cache.drop_listings(self._account.id)
        elif family == "comments":
            comment_id = str(request.params.get("commentId", ""))
            gone = {"id": comment_id, "deleted": True}
            documents.learn_comment(
                viewer, file_id, gone if verb == "delete" else shared_comment(answer), teller=tab
            )
        elif family == "replies":
            gone = {"id": str(request.params.get("replyId", "")), "deleted": True}
            documents.learn_reply(
                viewer,
                file_id,
                str(request.params.get("commentId", "")),
                gone if verb == "delete" else shared_comment(answer),
                teller=tab,
            )
        elif family == "permissions":
            documents.access_changed(file_id)
        else:
            documents.touched(file_id)
        if self.listings is not None and family in ("files", "drives", "permissions"):
            self.listings.touched(None)

    @asynccontextmanager
    async def _in_turn(self, file_id: str | None) -> AsyncIterator[None]:
        if file_id is None:
            yield
            return
        lock, users = self._writing.get(file_id, (DeferredLock(), 0))
        self._writing[file_id] = (lock, users + 1)
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._writing[file_id]
            if users == 1:
                del self._writing[file_id]
            else:
                self._writing[file_id] = (lock, users - 1)
