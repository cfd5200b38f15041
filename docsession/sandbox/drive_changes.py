"""The change feed, with Google's token rules: decimal tokens, echoed while nothing is new."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

from docsession.sandbox.changelog import Entry, drive_key
from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import forbidden, invalid, not_found
from docsession.sandbox.masks import Mask, under, wants
from docsession.sandbox.records import File
from docsession.sandbox.resources import show_drive
from docsession.sandbox.show_file import show_file

__all__ = ["SERVED", "log_owner", "token_number"]

_TOKEN = re.compile(r"\A[0-9]{1,18}\Z")


def log_owner(asked: DriveRequest) -> str:
    """Whose log is asked for: the caller's own, or a shared drive's."""
    drive_id = asked.params.get("driveId", "")
    if not drive_id:
        return asked.person.email
    if not asked.params.get("supportsAllDrives"):
        raise invalid(
            "supportsAllDrives", "The supportsAllDrives parameter must be set to true with driveId."
        )
    root = asked.world.files.get(drive_id)
    if drive_id not in asked.world.drives or root is None:
        raise not_found(drive_id)
    if not asked.world.role(asked.person, root):
        raise forbidden(
            "teamDriveMembershipRequired", "The attempted action requires shared drive membership."
        )
    return str(drive_id)


def token_number(asked: DriveRequest) -> int:
    """The number in the log that ``pageToken`` stands for: one of another corpus stands for nothing."""
    token, ending = asked.params["pageToken"], _ending(asked)
    if _TOKEN.match(token) is None or not token.endswith(ending):
        raise invalid("pageToken")
    number = int(token.removesuffix(ending) or 0)
    if not 0 < number <= asked.world.log.next_number:
        raise invalid("pageToken")
    asked.world.habits.check_token(number)
    return number


def _token(asked: DriveRequest, number: int) -> str:
    return f"{number}{_ending(asked)}"


def _ending(asked: DriveRequest) -> str:
    """How tokens of a shared drive's log end; a user's own have no such ending."""
    drive_id = asked.params.get("driveId", "")
    return str(1000 + zlib.crc32(drive_id.encode()) % 9000) if drive_id else ""


def _get_start_page_token(asked: DriveRequest) -> Result:
    log_owner(asked)
    return {"kind": "drive#startPageToken", "startPageToken": _token(asked, asked.world.log.next_number)}


def _list(asked: DriveRequest) -> Result:
    owner = log_owner(asked)
    token = token_number(asked)
    if asked.world.habits.takes_empty_page():
        return _answer([], nextPageToken=_token(asked, token))
    size = asked.params.get("pageSize", 100)
    changes: list[dict[str, Any]] = []
    following = token
    mask = under(asked.mask, "changes")

    def shows(key: str) -> bool:
        file = asked.world.files[key]
        return _belongs(asked, file, owner) and asked.lists(file)

    for entry in asked.world.log.since(token, owner, shows):
        change = _change(asked, entry, owner, mask)
        if change is None:
            continue
        if len(changes) == size:
            # An entry that changes again meanwhile is found at the end: seen twice, never missed.
            return _answer(changes, nextPageToken=_token(asked, entry.number))
        changes.append(change)
        following = entry.number + 1
    return _answer(changes, newStartPageToken=_token(asked, following))


def _answer(changes: list[dict[str, Any]], **token: str) -> Result:
    return {"kind": "drive#changeList", "changes": changes, **token}


def _change(asked: DriveRequest, entry: Entry, owner: str, mask: Mask) -> dict[str, Any] | None:
    """An entry as the caller sees it now, or None where it is none of theirs."""
    if entry.key.startswith(drive_key("")):
        return _drive_change(asked, entry, mask)
    file = asked.world.files.get(entry.key)
    belongs = file is None or _belongs(asked, file, owner)
    if file is not None and not belongs and not (entry.left and file.parent):
        return None
    visible = file is not None and belongs and asked.lists(file)
    if not visible and not asked.params.get("includeRemoved", True):
        return None
    change: dict[str, Any] = {
        "kind": "drive#change",
        "type": "file",
        "changeType": "file",
        "time": entry.time,
        "removed": not visible,
        "fileId": entry.key,
    }
    # What moved to another corpus may still be seen, for who asks for it.
    moved = not belongs and asked.params.get("includeCorpusRemovals") and file and asked.lists(file)
    if file is not None and (visible or moved) and wants(mask, "file"):
        change["file"] = show_file(file, asked.viewer, under(mask, "file"))
    return change


def _belongs(asked: DriveRequest, file: File, owner: str) -> bool:
    """Whether a file's changes go into this log at all."""
    if owner != asked.person.email:
        return file.drive_id == owner
    if "drive" not in asked.params.get("spaces", "drive").split(",") or not file.parent:
        return False
    if asked.params.get("restrictToMyDrive"):
        return asked.world.owner_of(file) is asked.person
    if not file.drive_id:
        return True
    # A member's own log tells of what they used in a shared drive; the rest is in the drive's.
    return bool(asked.params.get("includeItemsFromAllDrives")) and asked.world.used(file, asked.person)


def _drive_change(asked: DriveRequest, entry: Entry, mask: Mask) -> dict[str, Any] | None:
    if not asked.params.get("includeItemsFromAllDrives"):
        return None
    drive_id = entry.key.removeprefix(drive_key(""))
    drive, root = asked.world.drives.get(drive_id), asked.world.files.get(drive_id)
    member = drive is not None and root is not None and bool(asked.world.role(asked.person, root))
    if not member and not asked.params.get("includeRemoved", True):
        return None
    change: dict[str, Any] = {
        "kind": "drive#change",
        "type": "drive",
        "changeType": "drive",
        "time": entry.time,
        "removed": not member,
        "driveId": drive_id,
    }
    if drive is not None and member and wants(mask, "drive"):
        change["drive"] = show_drive(drive, asked.viewer)
    return change


SERVED: Mapping[str, Serve] = {
    "drive.changes.getStartPageToken": _get_start_page_token,
    "drive.changes.list": _list,
}
