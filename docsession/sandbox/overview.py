"""Everything at a glance, for the page where a person plays the other people."""

from __future__ import annotations

from typing import Any

from docsession.sandbox.calls import Calls
from docsession.sandbox.channels import Channels
from docsession.sandbox.faults import Faults
from docsession.sandbox.records import File, Person, is_binary
from docsession.sandbox.sharing import ANYONE, ANYONE_WITH_LINK
from docsession.sandbox.world import World

__all__ = ["overview"]

_MOST_TEXT = 20_000


def overview(world: World, calls: Calls, faults: Faults, channels: Channels) -> dict[str, Any]:
    """People, files with everybody's roles, the latest calls (newest first), faults and channels."""
    return {
        "time": world.now(),
        "people": [_person(each) for each in world.people.values()],
        "drives": [{"id": each.id, "name": each.name} for each in world.drives.values()],
        "files": [_file(world, each) for each in world.files.values() if each.parent],
        "calls": [
            {
                "time": each.time,
                "method": each.method,
                "user": each.user,
                "file": each.file,
                "status": each.status,
            }
            for each in reversed(calls.recent)
        ],
        "faults": faults.in_force,
        "channels": channels.show(),
        "orders": channels.orders,
    }


def _person(person: Person) -> dict[str, str]:
    return {"email": person.email, "name": person.display_name, "picture": person.picture}


def _file(world: World, file: File) -> dict[str, Any]:
    effective = world.sharing.effective(file, world.now())
    owner = world.owner_of(file)
    by_link = effective.get(ANYONE) or effective.get(ANYONE_WITH_LINK)
    text = None
    if file.revisions and (not is_binary(file.mime_type) or file.mime_type.startswith("text/")):
        text = file.content[:_MOST_TEXT].decode("utf-8", "replace")
    return {
        "id": file.id,
        "name": file.name,
        "mimeType": file.mime_type,
        "version": str(file.version),
        "modifiedTime": file.modified,
        "modifiedBy": file.modified_by,
        "trashed": world.is_trashed(file),
        "parent": file.parent,
        "driveId": file.drive_id or None,
        "owner": owner.email if owner is not None else None,
        "roles": {each.permission.email: each.role for each in effective.values() if each.permission.email},
        "anyone": by_link.role if by_link is not None else None,
        "comments": sum(not each.deleted for each in file.comments.values()),
        "text": text,
    }
