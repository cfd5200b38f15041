"""Permissions: who may do what with a file, a folder, or a shared drive."""

from __future__ import annotations

from collections.abc import Mapping

from docsession.sandbox.capabilities import file_capabilities
from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import DriveError, does_not_exist, forbidden, invalid, required
from docsession.sandbox.records import File, Permission, parse_time
from docsession.sandbox.resources import show_permission
from docsession.sandbox.sharing import (
    ANYONE,
    ANYONE_WITH_LINK,
    RANK,
    Effective,
    at_least,
    domain_permission_id,
)

__all__ = ["SERVED"]

_IN_DRIVES_ONLY = ("organizer", "fileOrganizer")


def _effective(asked: DriveRequest, file: File) -> dict[str, Effective]:
    return asked.world.sharing.effective(file, asked.world.now())


def _shown(asked: DriveRequest, effective: Effective) -> Result:
    return show_permission(effective, asked.viewer)


def _readable(asked: DriveRequest) -> File:
    """The list of who has access is for those who could add to it."""
    file = asked.file()
    if not file.drive_id and not at_least(asked.world.role(asked.person, file), "writer"):
        raise forbidden()
    return file


def _list(asked: DriveRequest) -> Result:
    file = _readable(asked)
    found = list(_effective(asked, file).values())
    permissions, token = asked.page(found, size=100, key=lambda each: each.permission.id)
    answer = {
        "kind": "drive#permissionList",
        "permissions": [show_permission(each, asked.viewer) for each in permissions],
    }
    return answer | ({"nextPageToken": token} if token else {})


def _get(asked: DriveRequest) -> Result:
    file = asked.file() if asked.ids["permissionId"] == asked.person.permission_id else _readable(asked)
    found = _effective(asked, file).get(asked.ids["permissionId"])
    if found is None:
        raise _unknown(asked)
    return _shown(asked, found)


def _unknown(asked: DriveRequest) -> DriveError:
    return does_not_exist("Permission", asked.ids["permissionId"], "permissionId")


def _shareable(asked: DriveRequest) -> File:
    if asked.params.get("useDomainAdminAccess"):
        raise forbidden("forbidden", "The caller is not an administrator of the domain.")
    file = asked.file()
    role = asked.world.role(asked.person, file)
    # The members of a shared drive are its managers' affair.
    if not file_capabilities(file, role)["canShare"] or (
        file.id in asked.world.drives and not at_least(role, "organizer")
    ):
        raise forbidden()
    return file


def _role(asked: DriveRequest, file: File) -> str:
    role = asked.body.get("role")
    if not role:
        raise required("permission.role")
    if role not in RANK or not role:
        raise invalid("permission.role", f"The specified role '{role}' is invalid.")
    if (role in _IN_DRIVES_ONLY and not file.drive_id) or (role == "owner" and file.drive_id):
        raise forbidden("invalidSharingRequest", f"The role {role} cannot be given here.")
    if RANK[role] > RANK[asked.world.role(asked.person, file)]:
        raise forbidden()
    if role == "owner" and not asked.params.get("transferOwnership"):
        raise forbidden(
            "forbidden",
            "The transferOwnership parameter must be enabled when the permission role is 'owner'.",
            location="transferOwnership",
        )
    return str(role)


def _expires(asked: DriveRequest) -> str:
    text = asked.body.get("expirationTime")
    if not text:
        return ""
    try:
        expires = parse_time(text)
    except ValueError:
        raise invalid("permission.expirationTime") from None
    if expires <= asked.world.now():
        raise invalid("permission.expirationTime", "The expiration time must be in the future.")
    return expires


def _create(asked: DriveRequest) -> Result:
    file = _shareable(asked)
    role = _role(asked, file)
    permission = _new_permission(asked, role)
    permission.expires = _expires(asked)
    known = file.permissions.get(permission.id)
    if known is not None and known.role == "owner":
        return _shown(asked, Effective(known, known.role, ""))
    _put(asked, file, permission)
    return _shown(asked, Effective(permission, permission.role, ""))


def _new_permission(asked: DriveRequest, role: str) -> Permission:
    body = asked.body
    kind = body.get("type")
    if kind == "anyone":
        if at_least(role, "fileOrganizer"):
            raise invalid("permission.role", "The specified role is not allowed for type 'anyone'.")
        found = bool(body.get("allowFileDiscovery"))
        return Permission(ANYONE if found else ANYONE_WITH_LINK, "anyone", role, allow_file_discovery=found)
    if kind == "domain":
        domain = body.get("domain")
        if not domain:
            raise required("permission.domain")
        found = bool(body.get("allowFileDiscovery"))
        return Permission(
            domain_permission_id(domain), "domain", role, domain=domain, allow_file_discovery=found
        )
    if kind not in ("user", "group"):
        raise invalid("permission.type", "The permission type field is required.")
    email = body.get("emailAddress")
    if not email:
        raise required("permission.emailAddress")
    person = asked.world.people.get(email) if kind == "user" else None
    if person is None:
        raise DriveError(
            400,
            "invalidSharingRequest",
            f'Bad Request. User message: "The sandbox knows nobody with the address {email}."',
        )
    return Permission(person.permission_id, "user", role, person.email)


def _put(asked: DriveRequest, file: File, permission: Permission) -> None:
    """Set a permission, with what follows from it elsewhere."""
    now = asked.world.now()
    with asked.world.resharing(file):
        if permission.role == "owner":
            for other in file.permissions.values():
                other.role = "writer" if other.role == "owner" else other.role
        file.permissions[permission.id] = permission
        if permission.email and permission.email != asked.person.email:
            view = asked.world.view(file, asked.world.people[permission.email])
            view.shared, view.shared_by = view.shared or now, asked.person.email
    _tell_member(asked, file, permission)


def _tell_member(asked: DriveRequest, file: File, permission: Permission) -> None:
    drive = asked.world.drives.get(file.id)
    if drive is not None and permission.email:
        asked.world.drive_changed(drive, [permission.email])


def _own_permission(asked: DriveRequest, file: File) -> Permission:
    """A permission on the file itself; one that comes from a folder is changed there."""
    found = file.permissions.get(asked.ids["permissionId"])
    if found is not None:
        return found
    if asked.ids["permissionId"] in _effective(asked, file):
        reason = (
            "cannotModifyInheritedTeamDrivePermission" if file.drive_id else "cannotModifyInheritedPermission"
        )
        raise forbidden(reason, "Cannot update or delete an inherited permission on an item.")
    raise _unknown(asked)


def _update(asked: DriveRequest) -> Result:
    file = _shareable(asked)
    known = _own_permission(asked, file)
    role = _role(asked, file) if "role" in asked.body else known.role
    if known.role == "owner" and role != "owner":
        raise forbidden()
    changed = Permission(
        known.id, known.type, role, known.email, known.domain, known.allow_file_discovery, known.expires
    )
    if "expirationTime" in asked.body:
        changed.expires = _expires(asked)
    if asked.params.get("removeExpiration"):
        changed.expires = ""
    _put(asked, file, changed)
    return _shown(asked, Effective(changed, changed.role, ""))


def _delete(asked: DriveRequest) -> Result:
    leaving = asked.ids["permissionId"] == asked.person.permission_id
    file = asked.file() if leaving else _shareable(asked)
    known = _own_permission(asked, file)
    if known.role == "owner":
        raise forbidden()
    with asked.world.resharing(file):
        del file.permissions[known.id]
    _tell_member(asked, file, known)
    return None


SERVED: Mapping[str, Serve] = {
    "drive.permissions.create": _create,
    "drive.permissions.delete": _delete,
    "drive.permissions.get": _get,
    "drive.permissions.list": _list,
    "drive.permissions.update": _update,
}
