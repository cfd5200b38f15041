"""Files, written: create, update, copy, trash, delete; with or without bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy

from docsession.sandbox.capabilities import file_capabilities
from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import DriveError, bad_request, forbidden, invalid, not_found
from docsession.sandbox.records import (
    FOLDER,
    SHORTCUT,
    File,
    Permission,
    Revision,
    is_binary,
    is_editor,
    parse_time,
)
from docsession.sandbox.sharing import at_least
from docsession.sandbox.show_file import show_file

__all__ = ["SERVED"]

_GENERATED_ID = re.compile(r"\A[A-Za-z0-9_-]{19,64}\Z")
_EVERYBODYS = {
    "name": "name",
    "description": "description",
    "folderColorRgb": "folder_color",
    "originalFilename": "original_filename",
    "copyRequiresWriterPermission": "copy_requires_writer",
    "writersCanShare": "writers_can_share",
}
"""Fields that can be written, and what they are called here."""
_OWN = frozenset({"starred", "viewedByMeTime"})
_IGNORED = frozenset({"kind", "contentHints", "mimeType", "contentRestrictions", "viewersCanCopyContent"})
_WRITABLE = _IGNORED | _OWN | {*_EVERYBODYS, "modifiedTime", "properties", "appProperties"}
_AT_CREATION = _WRITABLE | {"id", "parents", "createdTime", "shortcutDetails"}
_AT_UPDATE = _WRITABLE | {"trashed"}


def _create(asked: DriveRequest) -> Result:
    _refuse_unwritable(asked, _AT_CREATION)
    body = asked.body
    given = "" if asked.upload is None else asked.upload.content_type
    mime_type = body.get("mimeType") or given or "application/octet-stream"
    content = _content(asked, mime_type)
    file = _new_file(asked, str(body.get("name", "Untitled")), mime_type, _new_parent(asked))
    if mime_type == SHORTCUT:
        target = (body.get("shortcutDetails") or {}).get("targetId")
        if not target:
            raise bad_request("A shortcut needs a target.", "shortcutDetails.targetId")
        file.shortcut_to = asked.file_with(target).id
    _write_common(asked, file)
    _write_own(asked, file)
    if is_binary(mime_type) or is_editor(mime_type):
        file.revisions.append(_first_revision(asked, file, content))
    asked.world.insert(file)
    return show_file(file, asked.viewer, asked.mask)


def _new_file(asked: DriveRequest, name: str, mime_type: str, parent: File) -> File:
    now, person = asked.world.now(), asked.person
    file = File(
        id=_new_id(asked, mime_type),
        name=name,
        mime_type=mime_type,
        created=_time(asked, "createdTime", now),
        modified=_time(asked, "modifiedTime", now),
        modified_by=person.email,
        parent=parent.id,
        drive_id=parent.drive_id,
        apps=[asked.access.client_id],
    )
    asked.world.view(file, person).modified = now
    asked.world.view(file, person).viewed = now
    if not file.drive_id:
        file.permissions[person.permission_id] = Permission(
            person.permission_id, "user", "owner", person.email
        )
    return file


def _content(asked: DriveRequest, mime_type: str) -> bytes:
    """The bytes that came along, as a file of this type holds them: editors' files hold text."""
    if asked.upload is None:
        return b""
    if is_editor(mime_type):
        if not asked.upload.content_type.startswith("text/"):
            raise bad_request("The requested conversion is not supported.", "mimeType")
        return asked.upload.content.decode("utf-8", "replace").removeprefix("\ufeff").encode()
    if not is_binary(mime_type):
        raise bad_request("This type of file has no content.", "mimeType")
    return asked.upload.content


def _type_after(asked: DriveRequest, file: File) -> str:
    """A file with bytes of its own is whatever was put into it last."""
    if asked.upload is None or not is_binary(file.mime_type):
        return file.mime_type
    return str(asked.body.get("mimeType") or asked.upload.content_type)


def _first_revision(asked: DriveRequest, file: File, content: bytes) -> Revision:
    number = "1" if is_editor(file.mime_type) else asked.world.new_id("0B", 51)
    return Revision(
        number, file.modified, asked.person.email, file.mime_type, content, file.original_filename
    )


def _new_id(asked: DriveRequest, mime_type: str) -> str:
    wanted = asked.body.get("id")
    if not wanted:
        return asked.world.new_id()
    if not _GENERATED_ID.match(wanted):
        raise invalid("file.id", "The provided file ID is not usable.")
    if is_editor(mime_type):
        raise bad_request("Generated IDs cannot be used with Docs Editors formats.", "file.id")
    if wanted in asked.world.files:
        raise DriveError(409, "fileIdInUse", "A file already exists with the provided ID.")
    return str(wanted)


def _new_parent(asked: DriveRequest, otherwise: File | None = None) -> File:
    """The folder that the body names, else ``otherwise``, else the caller's My Drive."""
    parents = asked.body.get("parents") or []
    if len(parents) > 1:
        raise invalid("parents", "A file can have only one parent.")
    if not parents:
        return otherwise or asked.world.files[asked.world.roots[asked.person.email]]
    return _folder(asked, parents[0])


def _folder(asked: DriveRequest, folder_id: str) -> File:
    own_root = asked.world.roots[asked.person.email]
    if asked.resolve(folder_id) == own_root:
        # Any app may put things into My Drive, also one that sees only what is its own.
        return asked.world.files[own_root]
    folder = asked.file_with(folder_id, "writer")
    if folder.mime_type != FOLDER:
        raise forbidden("parentNotAFolder", "The specified parent is not a folder.")
    return folder


def _refuse_unwritable(asked: DriveRequest, writable: frozenset[str]) -> None:
    if "parents" in asked.body and "parents" not in writable:
        raise forbidden(
            "fieldNotWritable",
            "The parents field is not directly writable in update requests. "
            "Use the addParents and removeParents parameters instead.",
        )
    if any(name not in writable for name in asked.body):
        raise forbidden(
            "fieldNotWritable", "The resource body includes fields which are not directly writable."
        )


def _time(asked: DriveRequest, name: str, otherwise: str) -> str:
    text = asked.body.get(name)
    if text is None:
        return otherwise
    try:
        return parse_time(text)
    except ValueError:
        raise invalid(name) from None


def _write_common(asked: DriveRequest, file: File) -> bool:
    """Write what everybody sees; whether anything differs now."""
    before = (
        deepcopy((file.properties, file.app_properties)),
        [getattr(file, n) for n in _EVERYBODYS.values()],
    )
    for name, own_name in _EVERYBODYS.items():
        if asked.body.get(name) is not None:
            setattr(file, own_name, asked.body[name])
    _merge(file.properties, asked.body.get("properties"))
    if asked.body.get("appProperties"):
        _merge(file.app_properties.setdefault(asked.access.client_id, {}), asked.body["appProperties"])
    after = (file.properties, file.app_properties), [getattr(file, n) for n in _EVERYBODYS.values()]
    return before != after


def _merge(kept: dict[str, str], wanted: Mapping[str, str | None] | None) -> None:
    """A property set to null is removed; one that is not named stays."""
    for key, value in (wanted or {}).items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


def _write_own(asked: DriveRequest, file: File) -> bool:
    """Write what only the caller sees; whether there was any."""
    view = asked.world.view(file, asked.person)
    if asked.body.get("starred") is not None:
        view.starred = asked.body["starred"]
    view.viewed = _time(asked, "viewedByMeTime", view.viewed)
    return bool(_OWN & set(asked.body))


def _update(asked: DriveRequest) -> Result:
    _refuse_unwritable(asked, _AT_UPDATE)
    only_own = not (set(asked.body) - _OWN) and not ({"addParents", "removeParents"} & set(asked.params))
    only_own = only_own and asked.upload is None
    file = asked.file("reader" if only_own else "writer")
    allowed = file_capabilities(file, asked.world.role(asked.person, file))
    if "name" in asked.body and not allowed["canRename"]:
        raise forbidden()
    target = _target(asked, file)
    mime_type = _type_after(asked, file)
    content = _content(asked, mime_type)
    modified = _time(asked, "modifiedTime", asked.world.now())
    if asked.body.get("trashed") not in (None, file.trashed):
        if not allowed["canTrash"]:
            raise forbidden()
        file.trashed = asked.body["trashed"]
        file.trashed_at = asked.world.now() if file.trashed else ""
        file.trashed_by = asked.person.email if file.trashed else ""
        asked.world.touch(file)
    if asked.upload is not None:
        file.mime_type = mime_type
        asked.world.write_content(file, content, asked.person, modified=modified)
        file.revisions[-1].keep_forever = bool(asked.params.get("keepRevisionForever"))
    if _write_common(asked, file) or "modifiedTime" in asked.body:
        asked.world.touch(file, asked.person, modified=modified)
    if _write_own(asked, file):
        asked.world.touch_for(file, asked.person)
    if target is not None and target.id != file.parent:
        asked.world.move(file, target, asked.person)
    return show_file(file, asked.viewer, asked.mask)


def _target(asked: DriveRequest, file: File) -> File | None:
    """Where ``addParents`` and ``removeParents`` want the file to be."""
    add = [each for each in asked.params.get("addParents", "").split(",") if each]
    remove = [asked.resolve(each) for each in asked.params.get("removeParents", "").split(",") if each]
    if not add and not remove:
        return None
    if any(each != file.parent for each in remove):
        raise invalid("removeParents")
    if len(add) > 1:
        raise forbidden("cannotAddParent", "Increasing the number of parents is not allowed")
    owner = asked.world.owner_of(file)
    if not add:
        if owner is None:
            raise forbidden("teamDrivesParentLimit", "A shared drive item must have exactly one parent.")
        return asked.world.files[asked.world.roots[owner.email]]
    folder = _folder(asked, add[0])
    if folder is file or file in asked.world.path_of(folder):
        raise bad_request("A folder cannot be moved into itself.", "addParents")
    out = folder.drive_id != file.drive_id
    allowed = file_capabilities(file, asked.world.role(asked.person, file))
    if not allowed["canMoveItemOutOfDrive" if out else "canMoveItemWithinDrive"]:
        raise forbidden()
    return folder


def _copy(asked: DriveRequest) -> Result:
    _refuse_unwritable(asked, _AT_CREATION)
    source = asked.file()
    if not file_capabilities(source, asked.world.role(asked.person, source))["canCopy"]:
        raise forbidden("cannotCopyFile", "This file cannot be copied by the user.")
    parent = asked.world.files.get(source.parent)
    beside = parent is not None and at_least(asked.world.role(asked.person, parent), "writer")
    name = str(asked.body.get("name", f"Copy of {source.name}"))
    copy = _new_file(asked, name, source.mime_type, _new_parent(asked, parent if beside else None))
    copy.description, copy.shortcut_to = source.description, source.shortcut_to
    copy.properties = dict(source.properties)
    copy.original_filename = source.original_filename
    if asked.params.get("copyComments"):
        copy.comments = deepcopy(source.comments)
    _write_common(asked, copy)
    _write_own(asked, copy)
    if source.revisions:
        copy.revisions.append(_first_revision(asked, copy, source.content))
    asked.world.insert(copy)
    return show_file(copy, asked.viewer, asked.mask)


def _delete(asked: DriveRequest) -> Result:
    file = asked.file()
    if not file_capabilities(file, asked.world.role(asked.person, file))["canDelete"]:
        raise forbidden()
    asked.world.remove([file])
    return None


def _empty_trash(asked: DriveRequest) -> Result:
    drive_id = asked.params.get("driveId", "")
    if drive_id and drive_id not in asked.world.drives:
        raise not_found(drive_id)
    doomed = [
        file
        for file in asked.world.files.values()
        if file.trashed
        and file.drive_id == drive_id
        and file_capabilities(file, asked.world.role(asked.person, file))["canDelete"]
    ]
    asked.world.remove(doomed)
    return None


SERVED: Mapping[str, Serve] = {
    "drive.files.copy": _copy,
    "drive.files.create": _create,
    "drive.files.delete": _delete,
    "drive.files.emptyTrash": _empty_trash,
    "drive.files.update": _update,
}
