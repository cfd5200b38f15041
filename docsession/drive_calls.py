"""What a user's pages ask of Drive: reads through the cache, writes in order and to the hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from docsession import rpc
from docsession.belonging import FOLDER
from docsession.documents import Documents
from docsession.errors import OutcomeUnknown
from docsession.google.cache import Cache, Cached, cached
from docsession.google.drive import Account, Drive
from docsession.google.drive_request import COMMENT_FIELDS, REPLY_FIELDS, DriveRequest, widen_fields
from docsession.google.feed import FILE_FIELDS
from docsession.google.look import OWN_FIELDS, SHARED_FIELDS, shared_comment, view_of
from docsession.google.questions import Question
from docsession.interfaces import Sending
from docsession.listings import Listings
from docsession.tasks import PerKey
from docsession.times import rfc3339
from docsession.watcher import Tab, Viewer

__all__ = ["CACHED", "DriveCalls"]

# Reads whose answers may be kept; comments only of documents somebody watches.
CACHED = frozenset({"drive.files.get", "drive.files.list", "drive.comments.list"})
_COMMENTS = "drive.comments.list"

# What the hub and the listings must learn from a write's answer, beside what the page asked for.
_NEEDED = {
    "drive.files.update": f"{SHARED_FIELDS},{OWN_FIELDS},{FILE_FIELDS}",
    "drive.files.create": FILE_FIELDS,
    "drive.files.copy": FILE_FIELDS,
    "drive.comments.create": COMMENT_FIELDS,
    "drive.comments.update": COMMENT_FIELDS,
    "drive.replies.create": REPLY_FIELDS,
    "drive.replies.update": REPLY_FIELDS,
}
# Ids that stand for another folder for everybody.
ALIASES = frozenset({"root", "appDataFolder"})
# Their answers say what the file is now; of what else is written nobody knows what it touched.
_TELLING = frozenset({"create", "copy", "update"})


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
        listings: Callable[[], Listings] | None = None,
    ) -> None:
        """``listings`` are the user's live ones; asked for when something is written."""
        self._account = account
        self._viewer = viewer
        self._drive = drive
        self._cache = cache
        self._documents = documents
        self._clock = clock
        self._listings = listings
        self._writing = PerKey(_lock)

    @property
    def listings(self) -> Listings | None:
        return None if self._listings is None else self._listings()

    async def read(self, request: DriveRequest) -> dict[str, Any]:
        """``{"data", "as_of", "source"}``; data is spliced in as the JSON Google's answer makes."""
        answer, kept = await self._read(request)
        return {
            "data": rpc.raw(answer.data),
            "as_of": rfc3339(answer.as_of),
            "source": "cache" if kept else "google",
        }

    def kept(self, method_id: str, asked: Question, now: float) -> bytes | None:
        """What :meth:`read` would give without asking Google, encoded; None: it would ask."""
        if method_id == _COMMENTS and not self._documents.is_watched(asked.file_id):
            return None
        answer = self._cache.kept(self._account.id, _kept_by(self._account, asked.key), asked.max_age, now)
        return None if answer is None else answer.told

    async def read_data(self, request: DriveRequest) -> dict[str, Any]:
        """Google's answer alone, decoded."""
        read, _ = await self._read(request)
        answer: dict[str, Any] = msgspec.json.decode(read.data)
        return answer

    async def read_fresh(self, request: DriveRequest, *, poll: bool) -> Cached:
        """Asks Google, whatever is kept, and keeps the answer."""
        answer, _ = await self._read(request, max_age=0.0, poll=poll)
        return answer

    async def write(self, request: DriveRequest, tab: Tab | None, sending: Sending) -> dict[str, Any]:
        """As :meth:`read`. Writes to one file by one user are sent in the order they came."""
        needed = _NEEDED.get(request.method.id)
        if needed is not None:
            request = widen_fields(request, needed)
        async with self._in_turn(request.file_id):
            as_of = self._clock.seconds()
            try:
                answer = await self._drive.call(self._account, request, sending=sending)
            except Exception as error:
                self._doubt(request)
                if self.listings is not None and isinstance(error, OutcomeUnknown):
                    self.listings.all_touched()
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
            listed = answer.get("files", ()) if listing else ()
            # One that does not say which files it speaks of may speak of any.
            named = all("id" in file for file in listed)
            files = {str(file["id"]) for file in listed} if named else set()
            if request.file_id is not None and request.file_id not in ALIASES:
                files.add(request.file_id)
            if "id" in answer and request.method.id == "drive.files.get":
                files.add(str(answer["id"]))
            return msgspec.json.encode(answer), frozenset(files), self._account.id if listing else None

        if request.method.id not in CACHED or (
            request.method.id == _COMMENTS and not self._documents.is_watched(request.file_id)
        ):
            began = self._clock.seconds()
            data, files, _ = await fetch()
            return cached(data, began, files), False
        return await self._cache.read(
            self._account.id,
            _kept_by(self._account, request.key()),
            fetch,
            # An alias may be any file.
            about=None if request.file_id in ALIASES else request.file_id,
            max_age=request.max_age if max_age is None else max_age,
        )

    def _learn(self, request: DriveRequest, answer: Mapping[str, Any], as_of: float, tab: Tab | None) -> None:
        """A write went well: drop what it made untrue, and let everybody else hear of it."""
        # The hub tells the listings of a watched document as well.
        with nullcontext() if self.listings is None else self.listings.gathered():
            self._spread(request, answer, as_of, tab)

    def _spread(
        self, request: DriveRequest, answer: Mapping[str, Any], as_of: float, tab: Tab | None
    ) -> None:
        written, viewer = self._documents.written, self._viewer
        family, verb = _parts(request)
        file_id = request.file_id
        if family in ("files", "drives", "permissions"):
            self._cache.drop_listings(self._account.id)
            if family != "files" or answer.get("mimeType", FOLDER) == FOLDER:
                self._cache.drop_user(self._account.id)  # what is in a folder goes with it
        if family == "files":
            self._learn_file(request, verb, answer, as_of, tab)
        elif file_id is None:
            pass
        elif family == "comments":
            comment = _deleted(request, "commentId") if verb == "delete" else shared_comment(answer)
            if "id" in comment:
                written.learn_comment(viewer, file_id, comment, teller=tab)
            else:
                written.comments_touched(file_id)
        elif family == "replies":
            reply = _deleted(request, "replyId") if verb == "delete" else shared_comment(answer)
            comment_id = str(request.params.get("commentId", ""))
            written.learn_reply(viewer, file_id, comment_id, reply, teller=tab)
        elif family == "permissions":
            written.access_changed(file_id)
        else:
            written.touched(file_id)
        if self.listings is not None and family in ("files", "drives", "permissions"):
            if family == "files" and verb in _TELLING and isinstance(answer.get("id"), str):
                self.listings.touched({answer["id"]: answer}, at_once=True)
            else:
                self.listings.all_touched(at_once=True)

    def _learn_file(
        self, request: DriveRequest, verb: str, answer: Mapping[str, Any], as_of: float, tab: Tab | None
    ) -> None:
        written, file_id = self._documents.written, request.file_id
        if verb == "delete" and file_id is not None:
            written.deleted(file_id)
            return
        if file_id is not None and ("addParents" in request.params or "removeParents" in request.params):
            written.access_changed(file_id)  # who may see it follows from where it is
        if file_id is None or verb == "copy":
            return  # a new file, which nobody can be watching
        try:
            view = view_of(answer, as_of)
        except (KeyError, ValueError):
            written.touched(file_id)
        else:
            written.learn(self._viewer, view, teller=tab)

    def _doubt(self, request: DriveRequest) -> None:
        """A write failed: whatever became of it, what is known may be wrong now."""
        family, _ = _parts(request)
        self._cache.drop_listings(self._account.id)
        if request.file_id is not None:
            if family == "permissions":
                self._documents.written.access_changed(request.file_id)
            elif family in ("comments", "replies"):
                self._documents.written.comments_touched(request.file_id)
            self._documents.written.touched(request.file_id)

    @asynccontextmanager
    async def _in_turn(self, file_id: str | None) -> AsyncIterator[None]:
        if file_id is None:
            yield
        else:
            async with self._writing.held(file_id):
                yield


def _kept_by(account: Account, question: str) -> Hashable:
    """What an answer depends on: not on the access token, which is a new one each hour."""
    grant = account.grant.grant
    return question, grant.scopes, grant.dead


def _parts(request: DriveRequest) -> tuple[str, str]:
    """``drive.files.update`` is of the family ``files``, and an ``update``."""
    family, _, verb = request.method.id.removeprefix("drive.").partition(".")
    return family, verb


def _deleted(request: DriveRequest, name: str) -> dict[str, Any]:
    return {"id": str(request.params.get(name, "")), "deleted": True}


def _lock(_: Hashable) -> DeferredLock:
    return DeferredLock()
