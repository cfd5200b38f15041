"""People, permissions, comments, revisions and shared drives as Google shows them to one viewer.

Files have a module of their own, :mod:`docsession.sandbox.show_file`.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from docsession.sandbox.capabilities import drive_capabilities
from docsession.sandbox.records import Comment, Person, Reply, Revision, SharedDrive, is_binary
from docsession.sandbox.sharing import Effective
from docsession.sandbox.world import World

__all__ = [
    "Viewer",
    "show_comment",
    "show_drive",
    "show_permission",
    "show_reply",
    "show_revision",
    "show_user",
]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and through which app."""

    world: World
    person: Person
    client_id: str = ""


def show_user(person: Person, viewer: Person) -> dict[str, Any]:
    """A person as files show them."""
    return {
        "kind": "drive#user",
        "displayName": person.display_name,
        "photoLink": person.picture,
        "me": person.email == viewer.email,
        "permissionId": person.permission_id,
        "emailAddress": person.email,
    }


def _author(email: str, viewer: Viewer) -> dict[str, Any]:
    """A person as comments show them: Google gives no address there, and no id."""
    person = viewer.world.people.get(email)
    if person is None:
        return {"kind": "drive#user", "displayName": "Anonymous", "me": False}
    shown = show_user(person, viewer.person)
    del shown["permissionId"], shown["emailAddress"]
    return shown


def show_permission(effective: Effective, viewer: Viewer) -> dict[str, Any]:
    """A permission as it works on this file."""
    permission, role, inherited_from = effective
    shown: dict[str, Any] = {
        "kind": "drive#permission",
        "id": permission.id,
        "type": permission.type,
        "role": role,
        "permissionDetails": [
            {"permissionType": "member" if inherited_from in viewer.world.drives else "file", "role": role}
            | {"inherited": bool(inherited_from)}
            | ({"inheritedFrom": inherited_from} if inherited_from else {})
        ],
    }
    if permission.type == "user":
        person = viewer.world.people.get(permission.email)
        shown |= {"emailAddress": permission.email, "deleted": person is None, "pendingOwner": False}
        if person is not None:
            shown |= {"displayName": person.display_name, "photoLink": person.picture}
    else:
        shown["allowFileDiscovery"] = permission.allow_file_discovery
    if permission.domain:
        shown |= {"domain": permission.domain, "displayName": permission.domain}
    if permission.expires:
        shown["expirationTime"] = permission.expires
    return shown


def show_comment(comment: Comment, viewer: Viewer, *, with_deleted: bool) -> dict[str, Any]:
    """A comment with its replies; of a deleted one only that there was one."""
    shown: dict[str, Any] = {
        "kind": "drive#comment",
        "id": comment.id,
        "createdTime": comment.created,
        "modifiedTime": comment.modified,
        "author": _author(comment.author, viewer),
        "deleted": comment.deleted,
        "resolved": comment.resolved,
        "replies": [
            show_reply(reply, viewer) for reply in comment.replies if with_deleted or not reply.deleted
        ],
    }
    if comment.anchor:
        shown["anchor"] = comment.anchor
    if not comment.deleted:
        shown |= {"content": comment.content, "htmlContent": _as_html(comment.content)}
        if comment.quoted:
            shown["quotedFileContent"] = comment.quoted
    return shown


def show_reply(reply: Reply, viewer: Viewer) -> dict[str, Any]:
    """A reply."""
    shown: dict[str, Any] = {
        "kind": "drive#reply",
        "id": reply.id,
        "createdTime": reply.created,
        "modifiedTime": reply.modified,
        "author": _author(reply.author, viewer),
        "deleted": reply.deleted,
    }
    if reply.action:
        shown["action"] = reply.action
    if not reply.deleted:
        shown |= {"content": reply.content, "htmlContent": _as_html(reply.content)}
    return shown


def _as_html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def show_revision(revision: Revision, viewer: Viewer) -> dict[str, Any]:
    """A revision."""
    person = viewer.world.people.get(revision.author)
    shown: dict[str, Any] = {
        "kind": "drive#revision",
        "id": revision.id,
        "mimeType": revision.mime_type,
        "modifiedTime": revision.modified,
        "size": str(len(revision.content)),
    }
    if person is not None:
        shown["lastModifyingUser"] = show_user(person, viewer.person)
    if is_binary(revision.mime_type):
        shown |= {
            "keepForever": revision.keep_forever,
            "md5Checksum": md5(revision.content, usedforsecurity=False).hexdigest(),
        }
        if revision.original_filename:
            shown["originalFilename"] = revision.original_filename
    else:
        shown |= {
            "published": revision.published,
            "publishAuto": revision.publish_auto,
            "publishedOutsideDomain": revision.published_outside_domain,
        }
    return shown


def show_drive(drive: SharedDrive, viewer: Viewer) -> dict[str, Any]:
    """A shared drive, as one of its members sees it."""
    role = viewer.world.role(viewer.person, viewer.world.files[drive.id])
    shown: dict[str, Any] = {
        "kind": "drive#drive",
        "id": drive.id,
        "name": drive.name,
        "colorRgb": drive.color,
        "createdTime": drive.created,
        "hidden": viewer.person.email in drive.hidden_for,
        "capabilities": drive_capabilities(role),
        "restrictions": {
            name: drive.restrictions.get(name, False)
            for name in (
                "adminManagedRestrictions",
                "copyRequiresWriterPermission",
                "domainUsersOnly",
                "driveMembersOnly",
                "sharingFoldersRequiresOrganizerPermission",
            )
        },
    }
    if drive.theme_id:
        shown["themeId"] = drive.theme_id
    return shown
