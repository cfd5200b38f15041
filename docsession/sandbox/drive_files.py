"""Files, read: get, list, bytes, exports; and about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from docsession.sandbox import query
from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import invalid, not_found
from docsession.sandbox.masks import under
from docsession.sandbox.media import EXPORT_FORMATS, download, export, refuse_download
from docsession.sandbox.orders import order
from docsession.sandbox.records import File
from docsession.sandbox.resources import show_user
from docsession.sandbox.show_file import show_file

__all__ = ["SERVED"]

_COLOURS = ["#ac725e", "#d06b64", "#f83a22", "#fa573c", "#ff7537", "#ffad46", "#42d692", "#4986e7"]
_LIMIT = 15 * 2**30


def _about_get(asked: DriveRequest) -> Result:
    own = [file for file in asked.world.files.values() if asked.world.owner_of(file) is asked.person]
    used = sum(len(each.content) for file in own for each in file.revisions)
    binned = sum(len(each.content) for file in own if asked.world.is_trashed(file) for each in file.revisions)
    return {
        "kind": "drive#about",
        "user": show_user(asked.person, asked.person),
        "storageQuota": {
            "limit": str(_LIMIT),
            "usage": str(used),
            "usageInDrive": str(used),
            "usageInDriveTrash": str(binned),
        },
        "importFormats": {},
        "exportFormats": EXPORT_FORMATS,
        "maxImportSizes": {},
        "maxUploadSize": str(5 * 2**40),
        "appInstalled": True,
        "folderColorPalette": _COLOURS,
        "driveThemes": [],
        "teamDriveThemes": [],
        "canCreateDrives": True,
        "canCreateTeamDrives": True,
    }


def _get(asked: DriveRequest) -> Result:
    file = asked.file()
    if asked.media:
        refuse_download(file)
        return download(file.name, file.mime_type, file.content, asked.range)
    return show_file(asked.world.habits.as_read(file), asked.viewer, asked.mask)


def _export(asked: DriveRequest) -> Result:
    return export(asked.file(), asked.params["mimeType"])


def _generate_ids(asked: DriveRequest) -> Result:
    space = asked.params.get("space", "drive")
    if space not in ("drive", "appDataFolder"):
        raise invalid("space")
    count = asked.params.get("count", 10)
    ids = [asked.world.new_id() for _ in range(count)]
    return {"kind": "drive#generatedIds", "space": space, "ids": ids}


def _list(asked: DriveRequest) -> Result:
    belongs = _corpus(asked)
    spaces = set(asked.params.get("spaces", "drive").split(","))
    if not spaces <= {"drive", "appDataFolder", "photos"}:
        raise invalid("spaces")
    wanted = query.parse(asked.params["q"]) if asked.params.get("q") else None
    found: list[File] = []
    if "drive" in spaces:
        now = asked.world.now()
        for file in asked.world.files.values():
            if not (file.parent and belongs(file) and asked.app_sees(file)):
                continue
            if not asked.world.sharing.lists(asked.person, file, now):
                continue
            if wanted is None or wanted.matches(query.Seen(asked.world, file, asked.person)):
                found.append(file)
    ordered = order(found, asked.params.get("orderBy", ""), asked.world, asked.person, wanted)
    files, token = asked.page(ordered, size=100, key=lambda file: file.id)
    mask = under(asked.mask, "files")
    answer: dict[str, Any] = {
        "kind": "drive#fileList",
        "incompleteSearch": False,
        "files": [show_file(file, asked.viewer, mask) for file in files],
    }
    return answer | ({"nextPageToken": token} if token else {})


def _corpus(asked: DriveRequest) -> Callable[[File], bool]:
    """Which files a listing is about."""
    corpora, drive_id = asked.params.get("corpora", "user"), asked.params.get("driveId", "")
    all_drives = asked.params.get("includeItemsFromAllDrives", False)
    if (corpora == "drive") != bool(drive_id):
        raise invalid(
            "driveId", "The driveId parameter must be specified if and only if corpora is set to drive."
        )
    if corpora in ("drive", "allDrives") and not (all_drives and asked.params.get("supportsAllDrives")):
        raise invalid(
            "includeItemsFromAllDrives",
            "The includeItemsFromAllDrives and supportsAllDrives parameters must be set to true "
            "when driveId is specified or corpora contains drive or allDrives.",
        )
    if corpora == "drive":
        root = asked.world.files.get(drive_id)
        if drive_id not in asked.world.drives or root is None or not asked.world.role(asked.person, root):
            raise not_found(drive_id)
        return lambda file: file.drive_id == drive_id
    if corpora == "allDrives":
        return lambda file: True
    if corpora == "domain":
        return lambda file: any(each.allow_file_discovery for each in file.permissions.values())
    if corpora != "user":
        raise invalid("corpora")
    return lambda file: not file.drive_id or (all_drives and asked.world.used(file, asked.person))


SERVED: Mapping[str, Serve] = {
    "drive.about.get": _about_get,
    "drive.files.export": _export,
    "drive.files.generateIds": _generate_ids,
    "drive.files.get": _get,
    "drive.files.list": _list,
}
