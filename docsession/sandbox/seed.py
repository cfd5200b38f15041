"""Seeds: a few lines from which a world grows. The format of ``--seed FILE``.

Everything may be left out; a file needs a name only. What is not said is made up, always in
the same way, so that the same seed gives the same ids.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct, field

from docsession.sandbox.records import (
    DOCUMENT,
    FOLDER,
    PRESENTATION,
    SPREADSHEET,
    Comment,
    File,
    Permission,
    Person,
    Reply,
    RoleName,
    is_binary,
    is_editor,
    parse_time,
)
from docsession.sandbox.sharing import ANYONE_WITH_LINK
from docsession.sandbox.world import World

__all__ = [
    "Seed",
    "SeedComment",
    "SeedDrive",
    "SeedFile",
    "SeedPerson",
    "SeedReply",
    "load",
    "sow",
    "stable_id",
]

_SHORT_TYPES = {
    "document": DOCUMENT,
    "spreadsheet": SPREADSHEET,
    "presentation": PRESENTATION,
    "folder": FOLDER,
}


class SeedPerson(Struct, forbid_unknown_fields=True):
    """Somebody."""

    email: str
    name: str = ""


class SeedReply(Struct, forbid_unknown_fields=True, kw_only=True):
    """A reply under a comment."""

    author: str
    text: str = ""
    action: str = ""


class SeedComment(Struct, forbid_unknown_fields=True, kw_only=True):
    """A comment."""

    author: str
    text: str
    quote: str = ""
    replies: list[SeedReply] = field(default_factory=list)


class SeedDrive(Struct, forbid_unknown_fields=True, kw_only=True):
    """A shared drive: roles by email; the first organizer makes it."""

    name: str
    members: dict[str, RoleName]


class SeedFile(Struct, forbid_unknown_fields=True, kw_only=True):
    """A file. ``folder`` is the name or id of a folder or shared drive that comes before it."""

    name: str
    id: str = ""
    type: str = "document"
    """``document``, ``spreadsheet``, ``presentation``, ``folder``, or any MIME type."""
    owner: str = ""
    folder: str = ""
    text: str = ""
    content: bytes = b""
    """In JSON: base64. Instead of ``text``."""
    shared: dict[str, RoleName] = field(default_factory=dict)
    """Roles by email; ``anyone`` is whoever has the link."""
    comments: list[SeedComment] = field(default_factory=list)
    modified: str = ""
    description: str = ""
    starred_by: list[str] = field(default_factory=list)
    trashed: bool = False


class Seed(Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole seed. Without people there are Ann, Bob and Cat."""

    people: list[SeedPerson] = field(default_factory=list)
    drives: list[SeedDrive] = field(default_factory=list)
    files: list[SeedFile] = field(default_factory=list)


EXAMPLE_PEOPLE = (
    SeedPerson("ann@example.com", "Ann Archer"),
    SeedPerson("bob@example.com", "Bob Baker"),
    SeedPerson("cat@example.com", "Cat Carter"),
)


def stable_id(*names: str, prefix: str = "1", length: int = 33) -> str:
    """An id that is always the same for the same names."""
    digest = sha256("/".join(names).encode()).digest() + sha256("/".join(("more", *names)).encode()).digest()
    return prefix + urlsafe_b64encode(digest).decode()[: length - len(prefix)]


def load(world: World, state: Mapping[str, Any]) -> None:
    """Replace what a world holds by a saved world or by a seed.

    Raises ValueError (msgspec.ValidationError is one) for what is neither.
    """
    if "roots" in state:
        world.load_json(state)
        return
    seed = msgspec.convert(state, Seed)
    fresh = World(world.clock, world.rng, base_url=world.base_url)
    sow(fresh, seed)
    world.load_json(fresh.to_json())


def sow(world: World, seed: Seed) -> None:
    """Let a seed grow in an empty world. Raises ValueError for a seed that contradicts itself."""
    for person in seed.people or EXAMPLE_PEOPLE:
        world.add_person(person.email, person.name or person.email.partition("@")[0].title())
    for drive in seed.drives:
        _sow_drive(world, drive)
    folders = {drive.name: drive.id for drive in world.drives.values()}
    for place, file in enumerate(seed.files):
        made = _sow_file(world, file, place, folders)
        if made.mime_type == FOLDER:
            folders[file.name] = made.id
    world.sharing.forget()


def _person(world: World, email: str) -> Person:
    person = world.people.get(email)
    if person is None:
        raise ValueError(f"the seed names {email}, who is not one of its people")
    return person


def _sow_drive(world: World, seed: SeedDrive) -> None:
    organizers = [email for email, role in seed.members.items() if role == "organizer"]
    if not organizers:
        raise ValueError(f"the shared drive {seed.name} has no organizer")
    drive = world.add_drive(
        seed.name,
        _person(world, organizers[0]),
        drive_id=stable_id("drive", seed.name, prefix="0A", length=19),
    )
    root = world.files[drive.id]
    for email, role in seed.members.items():
        member = _person(world, email)
        root.permissions[member.permission_id] = Permission(member.permission_id, "user", role, email)


def _sow_file(world: World, seed: SeedFile, place: int, folders: Mapping[str, str]) -> File:
    owner = _person(world, seed.owner or next(iter(world.people)))
    parent = world.files.get(folders.get(seed.folder, seed.folder or world.roots[owner.email]))
    if parent is None:
        raise ValueError(f"{seed.name} lies in {seed.folder}, which does not come before it")
    now = world.now()
    modified = parse_time(seed.modified) if seed.modified else now
    file = File(
        id=seed.id or stable_id("file", str(place), seed.name),
        name=seed.name,
        mime_type=_SHORT_TYPES.get(seed.type, seed.type),
        created=modified,
        modified=modified,
        modified_by=owner.email,
        parent=parent.id,
        drive_id=parent.drive_id,
        description=seed.description,
        trashed=seed.trashed,
    )
    if not file.drive_id:
        file.permissions[owner.permission_id] = Permission(owner.permission_id, "user", "owner", owner.email)
    for email, role in seed.shared.items():
        _share(world, file, owner, email, role)
    for email in seed.starred_by:
        world.view(file, _person(world, email)).starred = True
    world.view(file, owner).viewed = world.view(file, owner).modified = modified
    world.insert(file)
    if is_binary(file.mime_type) or is_editor(file.mime_type):
        world.write_content(file, seed.content or seed.text.encode(), owner, modified=modified)
    for number, comment in enumerate(seed.comments):
        _comment(world, file, comment, number)
    return file


def _share(world: World, file: File, owner: Person, email: str, role: str) -> None:
    if email == "anyone":
        file.permissions[ANYONE_WITH_LINK] = Permission(ANYONE_WITH_LINK, "anyone", role)
        return
    person = _person(world, email)
    file.permissions[person.permission_id] = Permission(person.permission_id, "user", role, email)
    view = world.view(file, person)
    view.shared, view.shared_by = file.created, owner.email


def _comment(world: World, file: File, seed: SeedComment, number: int) -> None:
    _person(world, seed.author)
    comment = Comment(
        id=stable_id(file.id, str(number), prefix="AAAA", length=11),
        author=seed.author,
        created=file.modified,
        modified=file.modified,
        content=seed.text,
        quoted={"mimeType": "text/html", "value": seed.quote} if seed.quote else None,
    )
    for place, each in enumerate(seed.replies):
        _person(world, each.author)
        reply_id = stable_id(comment.id, str(place), prefix="AAAA", length=11)
        comment.replies.append(
            Reply(reply_id, each.author, file.modified, file.modified, each.text, each.action)
        )
        if each.action:
            comment.resolved = each.action == "resolve"
    file.comments[comment.id] = comment
