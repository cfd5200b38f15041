"""Who may do what with which file: roles, as they follow from permissions and folders."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from docsession.sandbox.records import File, Permission, Person

__all__ = ["ANYONE", "ANYONE_WITH_LINK", "RANK", "Effective", "Sharing", "at_least", "domain_permission_id"]

RANK = {"": 0, "reader": 1, "commenter": 2, "writer": 3, "fileOrganizer": 4, "organizer": 5, "owner": 6}
ANYONE, ANYONE_WITH_LINK = "anyone", "anyoneWithLink"


def at_least(role: str, wanted: str) -> bool:
    """Whether a role includes another."""
    return RANK[role] >= RANK[wanted]


def domain_permission_id(domain: str) -> str:
    """The id that permissions for this domain have everywhere, as Google's have."""
    return str(int.from_bytes(sha256(domain.encode()).digest()[:8]))[:19] + "k"


class Effective(NamedTuple):
    """A permission as it works on one file. ``inherited_from`` is empty for the file's own."""

    permission: Permission
    role: str
    inherited_from: str


class _Roles(NamedTuple):
    """Somebody's role on a file, and the part of it that does not come with the link alone."""

    role: str
    found: str


_NONE = _Roles("", "")


class Sharing:
    """Works out roles, and remembers them until the next change of a permission or a place."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._files = files
        self._known: dict[str, dict[str, _Roles]] = {}
        self._good_until = ""

    def forget(self) -> None:
        """A permission changed, or a file's place."""
        self._known.clear()
        self._good_until = ""

    def role(self, person: Person, file: File, now: str) -> str:
        """The person's role on the file; empty for none."""
        return self._roles(person, file, now).role

    def lists(self, person: Person, file: File, now: str) -> bool:
        """Whether listings and logs show it: a file shared by link must have been opened first."""
        roles = self._roles(person, file, now)
        if roles.found:
            return True
        return bool(roles.role) and person.email in file.views and bool(file.views[person.email].viewed)

    def effective(self, file: File, now: str) -> dict[str, Effective]:
        """Every permission that works on the file, by id: its own and those of its folders."""
        found: dict[str, Effective] = {}
        place: File | None = file
        while place is not None:
            for key, permission in place.permissions.items():
                if permission.expires and permission.expires <= now:
                    continue
                own = place is file
                role = permission.role if own else _inherited(permission.role)
                known = found.get(key)
                if known is None or RANK[role] > RANK[known.role]:
                    found[key] = Effective(permission, role, "" if own else place.id)
            place = self._files.get(place.parent)
        return found

    def _roles(self, person: Person, file: File, now: str) -> _Roles:
        if self._good_until and now >= self._good_until:
            self.forget()
        return self._look_up(self._known.setdefault(person.email, {}), person, file, now)

    def _look_up(self, known: dict[str, _Roles], person: Person, file: File, now: str) -> _Roles:
        roles = known.get(file.id)
        if roles is not None:
            return roles
        parent = self._files.get(file.parent)
        above = self._look_up(known, person, parent, now) if parent is not None else _NONE
        role, found = _inherited(above.role), _inherited(above.found)
        domain_id = domain_permission_id(person.email.rpartition("@")[2])
        for key in (person.permission_id, domain_id, ANYONE, ANYONE_WITH_LINK):
            permission = file.permissions.get(key)
            if permission is None or self._has_expired(permission, now):
                continue
            role = max(role, permission.role, key=RANK.__getitem__)
            if permission.type == "user" or permission.allow_file_discovery:
                found = max(found, permission.role, key=RANK.__getitem__)
        known[file.id] = roles = _Roles(role, found)
        return roles

    def _has_expired(self, permission: Permission, now: str) -> bool:
        if not permission.expires:
            return False
        if permission.expires <= now:
            return True
        self._good_until = min(self._good_until or permission.expires, permission.expires)
        return False


def _inherited(role: str) -> str:
    """What a role on a folder gives on what lies in it: its owner does not own that too."""
    return "writer" if role == "owner" else role
