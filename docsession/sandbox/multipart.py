"""Bodies of several parts: ``multipart/related`` uploads and ``multipart/mixed`` batches."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from email.message import Message

from docsession.sandbox.errors import DriveError

__all__ = ["Part", "header_lines", "split"]

_MOST_PARTS = 1000
_BLANK = re.compile(rb"\r?\n\r?\n|\A\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One part; header names are in lower case."""

    headers: dict[str, str]
    body: bytes


def _wrong(message: str) -> DriveError:
    return DriveError(400, "badContent", message)


def split(body: bytes, content_type: str) -> list[Part]:
    """The parts of a body. Raises a 400 for what has none, or no end."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary or not boundary.isascii():
        raise _wrong("Missing multipart boundary.")
    # Google's own client ends lines with a bare LF. Which it is shows on the first one, so that a
    # CR at the end of a part's own bytes stays theirs.
    opening = re.search(rb"(?:\A|\n)--" + re.escape(boundary.encode()) + rb"[ \t]*(\r?\n)", body)
    if opening is None:
        raise _wrong("Malformed multipart body.")
    end = opening[1]
    line = re.compile(end + rb"--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    parts: list[Part] = []
    # A part that is empty shares its line's end with the boundary before it.
    begin = opening.end() - len(end)
    while True:
        found = line.search(body, begin)
        if found is None:
            raise _wrong("Malformed multipart body.")
        parts.append(_part(body[begin + len(end) : found.start()] if found.start() > begin else b""))
        if found[1] is not None:
            return parts
        if len(parts) >= _MOST_PARTS:
            raise _wrong("Too many parts.")
        begin = found.end()


def _part(raw: bytes) -> Part:
    found = _BLANK.search(raw)
    head, body = (raw, b"") if found is None else (raw[: found.start()], raw[found.end() :])
    headers = header_lines(head)
    if headers.get("content-transfer-encoding", "").lower() == "base64":
        try:
            body = b64decode(body)
        except binascii.Error:
            raise _wrong("Malformed base64.") from None
    return Part(headers, body)


def header_lines(head: bytes) -> dict[str, str]:
    """Headers, one a line, by their names in lower case."""
    headers: dict[str, str] = {}
    for line in head.splitlines():
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name.strip():
            raise _wrong("Malformed header.")
        headers[name.strip().lower()] = value.strip()
    return headers
