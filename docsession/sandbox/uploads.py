"""Uploads: a file's bytes with its metadata, at once or in pieces.

An upload in pieces lives at a URL of its own for a week, and only as long as this process.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from docsession.sandbox.answers import Answer
from docsession.sandbox.drive_request import DriveRequest, Upload
from docsession.sandbox.errors import DriveError, invalid
from docsession.sandbox.multipart import split

__all__ = ["MOST_BYTES", "MOST_SESSIONS", "PIECE", "Sent", "Session", "Uploads", "read"]

MOST_BYTES = 200_000_000
MOST_SESSIONS = 100
PIECE = 256 * 1024
_WEEK = 7 * 86_400.0
_OCTETS = "application/octet-stream"
_JSON = "application/json"
_RANGE = re.compile(r"\Abytes (?:\*|(\d{1,18})-(\d{1,18}))/(?:\*|(\d{1,18}))\Z")
_LETTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True, slots=True)
class Sent:
    """What came with a request to ``/upload/``: for a resumable one only how it is to be."""

    metadata: bytes
    upload: Upload | None
    content_type: str = _OCTETS
    length: int | None = None


@dataclass(slots=True)
class Session:
    """An upload in pieces; ``total`` is None while nobody has said."""

    id: str
    asked: DriveRequest
    content_type: str
    total: int | None
    expires: float
    received: bytearray = field(default_factory=bytearray)
    answer: Answer | None = None


def _bytes_of(request: IRequest) -> bytes:
    raw: bytes = request.content.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise DriveError(413, "uploadTooLarge", "The upload is too large for the sandbox.")
    return raw


def _type_of(request: IRequest) -> str:
    return request.getHeader("Content-Type") or _OCTETS


def _only_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower() or _OCTETS


def read(request: IRequest) -> Sent:
    """What a request to ``/upload/`` begins with, or the 400 it deserves."""
    kind = ((request.args or {}).get(b"uploadType") or [b""])[-1].decode("latin-1")
    raw = _bytes_of(request)
    if kind == "media":
        return Sent(b"", Upload(_only_type(_type_of(request)), raw))
    if kind == "multipart":
        parts = split(raw, _type_of(request))
        if len(parts) != 2 or _only_type(parts[0].headers.get("content-type", _JSON)) != _JSON:
            raise DriveError(400, "badContent", "Expected a part of metadata and a part of media.")
        media = parts[1]
        return Sent(parts[0].body, Upload(_only_type(media.headers.get("content-type", "")), media.body))
    if kind == "resumable":
        said = request.getHeader("X-Upload-Content-Length")
        if said is not None and not re.fullmatch(r"\d{1,18}", said):
            raise invalid("X-Upload-Content-Length")
        length = None if said is None else int(said)
        if length is not None and length > MOST_BYTES:
            raise DriveError(413, "uploadTooLarge", "The upload is too large for the sandbox.")
        content_type = _only_type(request.getHeader("X-Upload-Content-Type") or "")
        return Sent(raw, None, content_type, length)
    raise invalid("uploadType", f"Invalid upload type '{kind}'.")


class Uploads:
    """The uploads in pieces that are under way, or were completed not long ago."""

    def __init__(self, clock: IReactorTime, rng: Random, base_url: str) -> None:
        self._clock = clock
        self._rng = rng
        self._base_url = base_url
        self._sessions: dict[str, Session] = {}

    def begin(self, asked: DriveRequest, sent: Sent) -> Answer:
        """A new one: the answer says where its pieces go."""
        self._drop_expired()
        if len(self._sessions) >= MOST_SESSIONS:
            done = next((each.id for each in self._sessions.values() if each.answer is not None), None)
            del self._sessions[done or next(iter(self._sessions))]
        name = "".join(self._rng.choices(_LETTERS, k=60))
        self._sessions[name] = Session(
            name, asked, sent.content_type, sent.length, self._clock.seconds() + _WEEK
        )
        path = "/upload/drive/v3/files" + (f"/{asked.ids['fileId']}" if "fileId" in asked.ids else "")
        location = f"{self._base_url}{path}?uploadType=resumable&upload_id={name}"
        return Answer(200, headers={"Location": location, "X-GUploader-UploadID": name})

    def find(self, request: IRequest) -> Session | None:
        """The one whose URL this is."""
        self._drop_expired()
        name = ((request.args or {}).get(b"upload_id") or [b""])[-1].decode("latin-1")
        return self._sessions.get(name)

    def end(self, session: Session) -> Answer:
        """It is given up."""
        self._sessions.pop(session.id, None)
        return Answer(499)

    def take(self, session: Session, request: IRequest, finish: Callable[[DriveRequest], Answer]) -> Answer:
        """A piece, or a question how far it is. Once all is here, ``finish`` answers."""
        if session.answer is not None:
            return session.answer
        begin, piece, total = _piece(request)
        self._learn_total(session, total)
        if piece and begin is not None:
            self._add(session, begin, piece)
        if session.total is None or len(session.received) < session.total:
            return _so_far(session)
        upload = Upload(session.content_type, bytes(session.received))
        # A refusal ends nothing: what was sent is still here for another try.
        session.answer = finish(replace(session.asked, upload=upload))
        session.received.clear()
        return session.answer

    def _learn_total(self, session: Session, total: int | None) -> None:
        if total is None:
            return
        if session.total not in (None, total) or total < len(session.received):
            raise invalid("Content-Range", "The total size differs from what was said before.")
        if total > MOST_BYTES:
            raise DriveError(413, "uploadTooLarge", "The upload is too large for the sandbox.")
        session.total = total

    def _add(self, session: Session, begin: int, piece: bytes) -> None:
        have, end = len(session.received), begin + len(piece)
        if begin > have:
            raise invalid("Content-Range", f"The next byte to send is number {have}.")
        if end > (MOST_BYTES if session.total is None else session.total):
            raise invalid("Content-Range", "More bytes than the total.")
        if end != session.total and len(piece) % PIECE:
            raise invalid("Content-Range", f"Pieces but the last must be multiples of {PIECE} bytes.")
        # What came before comes again after a lost answer.
        session.received += piece[have - begin :]

    def _drop_expired(self) -> None:
        now = self._clock.seconds()
        for name in [name for name, each in self._sessions.items() if each.expires <= now]:
            del self._sessions[name]


def _piece(request: IRequest) -> tuple[int | None, bytes, int | None]:
    """Where a piece begins (None for a mere question), its bytes, and the total where it is said."""
    raw = _bytes_of(request)
    said = request.getHeader("Content-Range")
    if said is None:
        return 0, raw, len(raw)
    found = _RANGE.match(said.strip())
    if found is None:
        raise invalid("Content-Range")
    total = None if found[3] is None else int(found[3])
    if found[1] is None:
        if raw:
            raise invalid("Content-Range")
        return None, b"", total
    begin, last = int(found[1]), int(found[2])
    if last + 1 - begin != len(raw):
        raise invalid("Content-Range", "The range differs from the number of bytes sent.")
    return begin, raw, total


def _so_far(session: Session) -> Answer:
    have = len(session.received)
    return Answer(308, headers={"Range": f"bytes=0-{have - 1}"} if have else {})
