"""A file as Google shows it to one viewer.

The resource is a table of fields, and only those that a mask asks for are worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import md5, sha1, sha256
from typing import Any

from docsession.sandbox.capabilities import file_capabilities
from docsession.sandbox.masks import Mask, select, under
from docsession.sandbox.media import EXPORT_FORMATS
from docsession.sandbox.records import SHORTCUT, File, View, is_binary, is_editor
from docsession.sandbox.resources import Viewer, show_permission, show_user
from docsession.sandbox.sharing import at_least
from docsession.sandbox.world import World

__all__ = ["show_file"]

_NO_VIEW = View()


@dataclass(frozen=True, slots=True)
class _Look:
    """One file under one pair of eyes."""

    viewer: Viewer
    file: File
    role: str

    @property
    def world(self) -> World:
        return self.viewer.world

    @property
    def view(self) -> View:
        return self.file.views.get(self.viewer.person.email, _NO_VIEW)

    @property
    def binary(self) -> bool:
        return is_binary(self.file.mime_type)

    def user(self, email: str) -> dict[str, Any] | None:
        person = self.world.people.get(email)
        return None if person is None else show_user(person, self.viewer.person)


def show_file(file: File, viewer: Viewer, mask: Mask) -> dict[str, Any]:
    """A file. Fields without a value are left out, as Google does."""
    look = _Look(viewer, file, viewer.world.role(viewer.person, file))
    shown: dict[str, Any] = {}
    for name, read in _FILE.items():
        if mask is None or name in mask or "*" in mask:
            value = read(look)
            if value is not None:
                shown[name] = select(value, under(mask, name))
    return shown


def _extension(file: File) -> str:
    return file.name.rpartition(".")[2] if "." in file.name else ""


def _parents(look: _Look) -> list[str] | None:
    parent = look.world.files.get(look.file.parent)
    if parent is None or not look.world.role(look.viewer.person, parent):
        return None
    return [parent.id]


def _owners(look: _Look) -> list[dict[str, Any]] | None:
    owner = look.world.owner_of(look.file)
    return None if owner is None else [show_user(owner, look.viewer.person)]


def _permissions(look: _Look) -> list[dict[str, Any]] | None:
    if look.file.drive_id or not at_least(look.role, "writer"):
        return None
    return [
        show_permission(each, look.viewer)
        for each in look.world.sharing.effective(look.file, look.world.now()).values()
    ]


def _permission_ids(look: _Look) -> list[str] | None:
    if look.file.drive_id:
        return None
    return list(look.world.sharing.effective(look.file, look.world.now()))


def _shared(look: _Look) -> bool:
    effective = look.world.sharing.effective(look.file, look.world.now()).values()
    return any(each.role != "owner" for each in effective)


def _size(look: _Look) -> str | None:
    if look.binary or is_editor(look.file.mime_type):
        return str(len(look.file.content))
    return None


def _shortcut(look: _Look) -> dict[str, str] | None:
    if look.file.mime_type != SHORTCUT:
        return None
    target = look.world.files.get(look.file.shortcut_to)
    details = {"targetId": look.file.shortcut_to}
    return details if target is None else details | {"targetMimeType": target.mime_type}


def _export_links(look: _Look) -> dict[str, str] | None:
    path = f"{look.world.base_url}/drive/v3/files/{look.file.id}/export?mimeType="
    return {to: path + to for to in EXPORT_FORMATS.get(look.file.mime_type, ())} or None


def _icon(look: _Look) -> str:
    return f"{look.world.base_url}/sandbox/icons/{look.file.mime_type.replace('/', '-')}.svg"


def _digest(make: Callable[..., Any]) -> Callable[[_Look], str | None]:
    return lambda look: make(look.file.content, usedforsecurity=False).hexdigest() if look.binary else None


def _text(read: Callable[[_Look], str]) -> Callable[[_Look], str | None]:
    return lambda look: read(look) or None


_FILE: Mapping[str, Callable[[_Look], Any]] = {
    "kind": lambda look: "drive#file",
    "id": lambda look: look.file.id,
    "name": lambda look: look.file.name,
    "mimeType": lambda look: look.file.mime_type,
    "description": _text(lambda look: look.file.description),
    "starred": lambda look: look.view.starred,
    "trashed": lambda look: look.world.is_trashed(look.file),
    "explicitlyTrashed": lambda look: look.file.trashed,
    "trashedTime": _text(lambda look: look.file.trashed_at if look.file.drive_id else ""),
    "trashingUser": lambda look: look.user(look.file.trashed_by) if look.file.drive_id else None,
    "parents": _parents,
    "properties": lambda look: look.file.properties or None,
    "appProperties": lambda look: look.file.app_properties.get(look.viewer.client_id) or None,
    "spaces": lambda look: ["drive"],
    "version": lambda look: str(look.file.version),
    "webViewLink": lambda look: f"{look.world.base_url}/sandbox/?file={look.file.id}",
    "webContentLink": lambda look: (
        f"{look.world.base_url}/drive/v3/files/{look.file.id}?alt=media" if look.binary else None
    ),
    "iconLink": _icon,
    "hasThumbnail": lambda look: False,
    "thumbnailVersion": lambda look: "0",
    "viewedByMe": lambda look: bool(look.view.viewed),
    "viewedByMeTime": _text(lambda look: look.view.viewed),
    "createdTime": lambda look: look.file.created,
    "modifiedTime": lambda look: look.file.modified,
    "modifiedByMe": lambda look: bool(look.view.modified),
    "modifiedByMeTime": _text(lambda look: look.view.modified),
    "sharedWithMeTime": _text(lambda look: look.view.shared),
    "sharingUser": lambda look: look.user(look.view.shared_by),
    "owners": _owners,
    "driveId": _text(lambda look: look.file.drive_id),
    "teamDriveId": _text(lambda look: look.file.drive_id),
    "lastModifyingUser": lambda look: look.user(look.file.modified_by),
    "shared": lambda look: None if look.file.drive_id else _shared(look),
    "ownedByMe": lambda look: None if look.file.drive_id else look.role == "owner",
    "capabilities": lambda look: file_capabilities(look.file, look.role),
    "viewersCanCopyContent": lambda look: not look.file.copy_requires_writer,
    "copyRequiresWriterPermission": lambda look: look.file.copy_requires_writer,
    "writersCanShare": lambda look: None if look.file.drive_id else look.file.writers_can_share,
    "permissions": _permissions,
    "permissionIds": _permission_ids,
    "folderColorRgb": _text(lambda look: look.file.folder_color),
    "originalFilename": lambda look: (look.file.original_filename or look.file.name) if look.binary else None,
    "fullFileExtension": lambda look: _extension(look.file) if look.binary else None,
    "fileExtension": lambda look: _extension(look.file) if look.binary else None,
    "md5Checksum": _digest(md5),
    "sha1Checksum": _digest(sha1),
    "sha256Checksum": _digest(sha256),
    "size": _size,
    "quotaBytesUsed": lambda look: str(sum(len(each.content) for each in look.file.revisions)),
    "headRevisionId": lambda look: (
        look.file.revisions[-1].id if look.binary and look.file.revisions else None
    ),
    "isAppAuthorized": lambda look: look.viewer.client_id in look.file.apps,
    "exportLinks": _export_links,
    "shortcutDetails": _shortcut,
}
