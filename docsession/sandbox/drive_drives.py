"""Shared drives. Each is also the folder of the same id, whose permissions are its members."""

from __future__ import annotations

from collections.abc import Mapping

from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import DriveError, does_not_exist, forbidden, invalid
from docsession.sandbox.records import SharedDrive
from docsession.sandbox.resources import show_drive
from docsession.sandbox.sharing import at_least

__all__ = ["SERVED"]


def _drive(asked: DriveRequest, role: str = "reader") -> SharedDrive:
    _refuse_admin(asked)
    found = asked.world.drives.get(asked.ids["driveId"])
    own = "" if found is None else _own_role(asked, found)
    if found is None or not own:
        raise does_not_exist("Shared drive", asked.ids["driveId"], "driveId")
    if not at_least(own, role):
        raise forbidden(message="The user does not have sufficient permissions for this shared drive.")
    return found


def _own_role(asked: DriveRequest, drive: SharedDrive) -> str:
    return asked.world.role(asked.person, asked.world.files[drive.id])


def _refuse_admin(asked: DriveRequest) -> None:
    if asked.params.get("useDomainAdminAccess"):
        raise forbidden("forbidden", "The caller is not an administrator of the domain.")


def _shown(asked: DriveRequest, drive: SharedDrive) -> Result:
    return show_drive(drive, asked.viewer)


def _list(asked: DriveRequest) -> Result:
    _refuse_admin(asked)
    if asked.params.get("q"):
        raise invalid("q", "Searching shared drives is for administrators of the domain.")
    own = [drive for drive in asked.world.drives.values() if _own_role(asked, drive)]
    own.sort(key=lambda drive: (drive.name.lower(), drive.id))
    drives, token = asked.page(own, size=10, key=lambda drive: drive.id)
    answer = {"kind": "drive#driveList", "drives": [show_drive(drive, asked.viewer) for drive in drives]}
    return answer | ({"nextPageToken": token} if token else {})


def _get(asked: DriveRequest) -> Result:
    return _shown(asked, _drive(asked))


def _create(asked: DriveRequest) -> Result:
    name = asked.body.get("name")
    if not name:
        raise DriveError(400, "required", "A shared drive needs a name.", location="name")
    request_id = f"{asked.person.email}/{asked.params['requestId']}"
    if any(drive.request_id == request_id for drive in asked.world.drives.values()):
        raise DriveError(409, "duplicate", "A shared drive already exists with the provided request ID.")
    drive = asked.world.add_drive(name, asked.person, request_id=request_id)
    return _shown(asked, drive)


def _update(asked: DriveRequest) -> Result:
    drive, body = _drive(asked, "organizer"), asked.body
    root = asked.world.files[drive.id]
    if body.get("name"):
        drive.name = root.name = body["name"]
    if body.get("colorRgb"):
        drive.color = body["colorRgb"]
    if body.get("themeId"):
        drive.theme_id = body["themeId"]
    for name, value in (body.get("restrictions") or {}).items():
        if isinstance(value, bool):
            drive.restrictions[name] = value
    members = [each.email for each in root.permissions.values() if each.email]
    asked.world.drive_changed(drive, members)
    return _shown(asked, drive)


def _hide(asked: DriveRequest) -> Result:
    drive = _drive(asked)
    if asked.person.email not in drive.hidden_for:
        drive.hidden_for.append(asked.person.email)
        asked.world.changed()
    return _shown(asked, drive)


def _unhide(asked: DriveRequest) -> Result:
    drive = _drive(asked)
    if asked.person.email in drive.hidden_for:
        drive.hidden_for.remove(asked.person.email)
        asked.world.changed()
    return _shown(asked, drive)


def _delete(asked: DriveRequest) -> Result:
    drive = _drive(asked, "organizer")
    root = asked.world.files[drive.id]
    if any(not asked.world.is_trashed(file) for file in asked.world.below(root)):
        raise forbidden("teamDriveNotEmpty", "A shared drive must be empty before it can be deleted.")
    asked.world.remove_drive(drive)
    return None


SERVED: Mapping[str, Serve] = {
    "drive.drives.create": _create,
    "drive.drives.delete": _delete,
    "drive.drives.get": _get,
    "drive.drives.hide": _hide,
    "drive.drives.list": _list,
    "drive.drives.unhide": _unhide,
    "drive.drives.update": _update,
}
