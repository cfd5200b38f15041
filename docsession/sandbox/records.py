"""What the world is made of: plain records, stored as they are.

Times are RFC 3339 strings in UTC with milliseconds throughout, so that they compare as text
and need no conversion on their way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Struct, field

__all__ = [
    "DOCUMENT",
    "FOLDER",
    "PRESENTATION",
    "SHORTCUT",
    "SPREADSHEET",
    "Comment",
    "File",
    "Permission",
    "Person",
    "Reply",
    "Revision",
    "RoleName",
    "SharedDrive",
    "View",
    "is_binary",
    "is_editor",
    "parse_time",
    "rfc3339",
]

EDITOR_PREFIX = "application/vnd.google-apps."
DOCUMENT = EDITOR_PREFIX + "document"
SPREADSHEET = EDITOR_PREFIX + "spreadsheet"
PRESENTATION = EDITOR_PREFIX + "presentation"
FOLDER = EDITOR_PREFIX + "folder"
SHORTCUT = EDITOR_PREFIX + "shortcut"


RoleName = Annotated[str, Meta(pattern=r"\A(owner|organizer|fileOrganizer|writer|commenter|reader)\Z")]
"""A role, checked where records are read from outside."""


@lru_cache(16)  # one request asks for the same moment several times
def rfc3339(seconds: float) -> str:
    """The time as Google writes it: ``2026-11-20T10:00:00.000Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse_time(text: str) -> str:
    """Any RFC 3339 time or date, in the one form used here. UTC where it names no zone.

    Raises ValueError.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    moment = moment.astimezone(UTC)
    return f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a Google account here."""

    email: str
    sub: str
    display_name: str
    permission_id: str
    given_name: str
    family_name: str
    picture: str
    """Absolute URL of the portrait, on the sandbox."""


class Permission(Struct, omit_defaults=True):
    """A grant on one file, folder or shared drive."""

    id: str
    type: str
    """``user``, ``domain`` or ``anyone``."""
    role: RoleName
    email: str = ""
    domain: str = ""
    allow_file_discovery: bool = False
    expires: str = ""


class Reply(Struct, omit_defaults=True):
    """An answer under a comment; ``author`` is an email address."""

    id: str
    author: str
    created: str
    modified: str
    content: str = ""
    action: str = ""
    deleted: bool = False


class Comment(Struct, omit_defaults=True):
    """A comment; ``author`` is an email address."""

    id: str
    author: str
    created: str
    modified: str
    content: str = ""
    quoted: dict[str, str] | None = None
    anchor: str = ""
    resolved: bool = False
    deleted: bool = False
    replies: list[Reply] = field(default_factory=list)


class Revision(Struct, omit_defaults=True):
    """One state of a file's content. Text of editor files is kept as UTF-8."""

    id: str
    modified: str
    author: str
    mime_type: str
    content: bytes = b""
    original_filename: str = ""
    keep_forever: bool = False
    published: bool = False
    publish_auto: bool = False
    published_outside_domain: bool = False


class View(Struct, omit_defaults=True):
    """What one person has to do with one file, and nobody else sees."""

    viewed: str = ""
    modified: str = ""
    shared: str = ""
    shared_by: str = ""
    starred: bool = False


class File(Struct, omit_defaults=True):
    """A file, folder or shortcut. ``parent`` is empty for roots only."""

    id: str
    name: str
    mime_type: str
    created: str
    modified: str
    modified_by: str
    parent: str = ""
    drive_id: str = ""
    version: int = 1
    description: str = ""
    original_filename: str = ""
    folder_color: str = ""
    trashed: bool = False
    """Put into the trash itself; what lies in a trashed folder is in the trash without this."""
    trashed_at: str = ""
    trashed_by: str = ""
    copy_requires_writer: bool = False
    writers_can_share: bool = True
    shortcut_to: str = ""
    app_properties: dict[str, dict[str, str]] = field(default_factory=dict)
    """By client id: an app sees its own only."""
    properties: dict[str, str] = field(default_factory=dict)
    apps: list[str] = field(default_factory=list)
    """Client ids that made or were given this file: what the scope ``drive.file`` shows."""
    permissions: dict[str, Permission] = field(default_factory=dict)
    comments: dict[str, Comment] = field(default_factory=dict)
    revisions: list[Revision] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The content now."""
        return self.revisions[-1].content if self.revisions else b""


class SharedDrive(Struct, omit_defaults=True):
    """A shared drive. Its members are the permissions of the folder with the same id."""

    id: str
    name: str
    created: str
    request_id: str = ""
    color: str = "#4285f4"
    theme_id: str = ""
    restrictions: dict[str, bool] = field(default_factory=dict)
    hidden_for: list[str] = field(default_factory=list)


def is_editor(mime_type: str) -> bool:
    """Whether Google's own editors hold it: it can be exported, not downloaded."""
    return mime_type in (DOCUMENT, SPREADSHEET, PRESENTATION)


def is_binary(mime_type: str) -> bool:
    """Whether it has bytes of its own."""
    return not mime_type.startswith(EDITOR_PREFIX)
