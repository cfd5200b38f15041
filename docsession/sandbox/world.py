"""The world the sandbox plays: people, files, who may see what, and what changed.

Plain objects; time and randomness are given. Those who change something here end with one of
the methods that say so (:meth:`World.touch`, :meth:`World.resharing`, ...): they number the
change, write the logs, and call ``on_change``, so that nothing is forgotten by anybody.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from docsession.sandbox.changelog import ChangeLog, drive_key
from docsession.sandbox.habits import Habits, Wanted
from docsession.sandbox.identity import person_of, root_id_of
from docsession.sandbox.kept import KeptPerson, KeptWorld, read
from docsession.sandbox.records import (
    FOLDER,
    File,
    Permission,
    Person,
    Revision,
    SharedDrive,
    View,
    is_editor,
    rfc3339,
)
from docsession.sandbox.sharing import Sharing

__all__ = ["Person", "World"]

_ID_LETTERS = string.ascii_letters + string.digits + "-_"
_MOST_REVISIONS = 100


class World:
    """Everything there is."""

    def __init__(self, clock: IReactorTime, rng: Random, *, base_url: str) -> None:
        self.clock = clock
        self.rng = rng
        self.base_url = base_url.rstrip("/")
        self.people: dict[str, Person] = {}
        self.files: dict[str, File] = {}
        self.drives: dict[str, SharedDrive] = {}
        self.roots: dict[str, str] = {}
        """The id of everybody's My Drive, by email."""
        self.children: dict[str, set[str]] = {}
        self.log = ChangeLog()
        self.habits = Habits()
        self.sharing = Sharing(self.files)
        self.on_change: list[Callable[[], None]] = []

    # --- time and names ---------------------------------------------------------------------

    def now(self) -> str:
        """The time."""
        return rfc3339(self.clock.seconds())

    def new_id(self, prefix: str = "1", length: int = 33) -> str:
        """An id that nothing has yet."""
        while True:
            made = prefix + "".join(self.rng.choices(_ID_LETTERS, k=length - len(prefix)))
            if made not in self.files:
                return made

    def behave(self, wanted: Wanted) -> None:
        """Take on these habits. Raises KeyError for a file there is not."""
        self.habits.set(wanted, self.files, self.log.next_number)
        if wanted.lost_tokens is not None:
            self.log.next_number += 1  # so that a token from now on is another one

    # --- people -----------------------------------------------------------------------------

    def add_person(self, email: str, display_name: str) -> Person:
        """Somebody new, with an empty My Drive. The same address gets the same ids everywhere."""
        person = person_of(email, display_name, self.base_url)
        self.people[email] = person
        if email not in self.roots:
            root = File(root_id_of(email), "My Drive", FOLDER, self.now(), self.now(), email)
            root.permissions[person.permission_id] = Permission(person.permission_id, "user", "owner", email)
            self.roots[email] = root.id
            self.insert(root)
        return person

    # --- looking ----------------------------------------------------------------------------

    def role(self, person: Person, file: File) -> str:
        """The person's role on a file; empty for none."""
        return self.sharing.role(person, file, self.now())

    def lists(self, person: Person, file: File) -> bool:
        """Whether the person's listings and log show the file."""
        return self.sharing.lists(person, file, self.now())

    def owner_of(self, file: File) -> Person | None:
        """The owner; a file in a shared drive has none."""
        for permission in file.permissions.values():
            if permission.role == "owner":
                return self.people.get(permission.email)
        return None

    def is_trashed(self, file: File) -> bool:
        """Whether it, or a folder it is in, is in the trash."""
        return any(place.trashed for place in self.path_of(file))

    def path_of(self, file: File) -> Iterator[File]:
        """The file, its folder, that one's folder, and so on to the root."""
        place: File | None = file
        while place is not None:
            yield place
            place = self.files.get(place.parent)

    def below(self, file: File) -> list[File]:
        """What is in a folder, at any depth; parents before children."""
        found = [self.files[child] for child in sorted(self.children.get(file.id, ()))]
        return found + [deep for child in found for deep in self.below(child)]

    # --- changing ---------------------------------------------------------------------------

    def changed(self) -> None:
        """Something is different: tell those who keep it."""
        for tell in self.on_change:
            tell()

    def insert(self, file: File) -> None:
        """Put a new file into its place."""
        self.files[file.id] = file
        self.children.setdefault(file.parent, set()).add(file.id)
        self.log.enter(file.id, self.now())
        self.changed()

    def touch(self, file: File, by: Person | None = None, *, modified: str | None = None) -> None:
        """The file changed. With ``modified`` somebody worked on it, and everybody sees when."""
        file.version += 1
        if modified is not None and by is not None:
            file.modified, file.modified_by = modified, by.email
            self.view(file, by).modified = modified
        self.log.enter(file.id, self.now())
        self.changed()

    def view(self, file: File, person: Person) -> View:
        """What this person has to do with this file, to write in."""
        return file.views.setdefault(person.email, View())

    def touch_for(self, file: File, person: Person, *, noisy: bool = True) -> None:
        """Something changed that only this person can see: the version moves, and their own log."""
        file.version += 1
        if noisy:
            self.log.enter_for(person.email, file.id, self.now())
        self.changed()

    def look_at(self, file: File, person: Person, *, noisy: bool = True) -> None:
        """The person opens the file. At Google that shows in their own log more often than not."""
        self.view(file, person).viewed = self.now()
        self.touch_for(file, person, noisy=noisy)

    def type_content(self, file: File, content: bytes, by: Person) -> None:
        """Somebody writes, in an editor's document by typing; that may take time to show."""
        modified = self.now()
        if self.habits.editor_lag and is_editor(file.mime_type):
            self.clock.callLater(self.habits.editor_lag, self._write_late, file, content, by, modified)
        else:
            self.write_content(file, content, by, modified=modified)

    def _write_late(self, file: File, content: bytes, by: Person, modified: str) -> None:
        if self.files.get(file.id) is file:
            self.write_content(file, content, by, modified=modified)

    def write_content(self, file: File, content: bytes, by: Person, *, modified: str = "") -> None:
        """Other content, as a new revision."""
        modified = modified or self.now()
        file.revisions.append(
            Revision(
                self._revision_id(file), modified, by.email, file.mime_type, content, file.original_filename
            )
        )
        if len(file.revisions) > _MOST_REVISIONS:
            spare = (place for place, kept in enumerate(file.revisions[:-1]) if not kept.keep_forever)
            file.revisions.pop(next(spare, 0))
        self.touch(file, by, modified=modified)

    def _revision_id(self, file: File) -> str:
        if is_editor(file.mime_type):
            return str(int(file.revisions[-1].id) + 1 if file.revisions else 1)
        return self.new_id("0B", 51)

    @contextmanager
    def resharing(self, file: File) -> Iterator[None]:
        """Around a change of the file's permissions or place: who loses sight of it gets to know.

        As at Google, what lies in a folder gets no entries of its own.
        """
        before = self._who_hears(file)
        yield
        self.sharing.forget()
        self._tell_removed(file, before - self._who_hears(file))
        self.touch(file)

    def move(self, file: File, parent: File, by: Person) -> None:
        """Put the file, and what is in it, into another folder.

        What comes into a shared drive belongs to it; what leaves one belongs to who took it out.
        """
        leaves: set[str] = set()
        if file.drive_id != parent.drive_id:
            leaves = self._who_hears(file) | ({file.drive_id} if file.drive_id else set())
        with self.resharing(file):
            self._settle(file, parent, by)
        # In the log of where it was it looks deleted, also to those who still may see it.
        self._tell_removed(file, leaves)

    def _settle(self, file: File, parent: File, by: Person) -> None:
        self.children[file.parent].discard(file.id)
        self.children.setdefault(parent.id, set()).add(file.id)
        file.parent = parent.id
        if file.drive_id == parent.drive_id:
            return
        for moved in [file, *self.below(file)]:
            moved.drive_id = parent.drive_id
            owner = next((key for key, each in moved.permissions.items() if each.role == "owner"), "")
            moved.permissions.pop(owner, None)
            if not moved.drive_id:
                moved.permissions[by.permission_id] = Permission(by.permission_id, "user", "owner", by.email)

    def remove(self, doomed: Iterable[File]) -> None:
        """Delete files for good, with all that is in them."""
        gone = {each.id: each for file in doomed for each in [file, *self.below(file)]}
        watchers = {file_id: self._who_hears(file) for file_id, file in gone.items()}
        for file_id, file in gone.items():
            self.files.pop(file_id, None)
            self.children.pop(file_id, None)
            self.children.get(file.parent, set()).discard(file_id)
            self.log.forget(file_id)
        self.sharing.forget()
        for file_id, file in gone.items():
            self._tell_removed(file, watchers[file_id])
            if file.drive_id:
                self.log.enter_for(file.drive_id, file_id, self.now())
        self.changed()

    def add_drive(self, name: str, by: Person, *, request_id: str = "", drive_id: str = "") -> SharedDrive:
        """A new shared drive, and its folder, with one member."""
        drive = SharedDrive(drive_id or self.new_id("0A", 19), name, self.now(), request_id)
        root = File(drive.id, name, FOLDER, drive.created, drive.created, by.email, drive_id=drive.id)
        root.permissions[by.permission_id] = Permission(by.permission_id, "user", "organizer", by.email)
        self.drives[drive.id] = drive
        self.insert(root)
        self.drive_changed(drive, [by.email])
        return drive

    def remove_drive(self, drive: SharedDrive) -> None:
        """Delete a shared drive with all that is in it."""
        root = self.files[drive.id]
        members = [each.email for each in root.permissions.values() if each.email]
        del self.drives[drive.id]
        self.remove([root])
        self.drive_changed(drive, members)

    def drive_changed(self, drive: SharedDrive, members: Iterable[str]) -> None:
        """The shared drive itself changed, for these people (emails)."""
        for owner in [drive.id, *members]:
            self.log.enter_for(owner, drive_key(drive.id), self.now())
        self.changed()

    def used(self, file: File, person: Person) -> bool:
        """Whether somebody had to do with a file: only then is one in a shared drive in their own log."""
        return person.email in file.views or person.permission_id in file.permissions

    def _who_hears(self, file: File) -> set[str]:
        """In whose own logs the file is."""
        now = self.now()
        return {
            email
            for email, person in self.people.items()
            if self.sharing.lists(person, file, now) and (not file.drive_id or self.used(file, person))
        }

    def _tell_removed(self, file: File, emails: Iterable[str]) -> None:
        for email in sorted(emails):
            self.log.enter_for(email, file.id, self.now(), left=True)

    # --- keeping ----------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The whole world, as plain data."""
        return msgspec.to_builtins(self.kept())  # type: ignore[no-any-return]

    def kept(self) -> KeptWorld:
        """The whole world, as msgspec encodes it."""
        return KeptWorld(
            people=[KeptPerson(each.email, each.display_name) for each in self.people.values()],
            roots=self.roots,
            files=list(self.files.values()),
            drives=list(self.drives.values()),
            log=self.log.kept(),
        )

    def load_json(self, state: Mapping[str, Any]) -> None:
        """Become what :meth:`to_json` gave. Raises ValueError, and then nothing changed."""
        kept = read(state)
        for old in (self.people, self.files, self.drives, self.roots, self.children):
            old.clear()
        self.roots.update(kept.roots)
        self.drives.update((drive.id, drive) for drive in kept.drives)
        for file in kept.files:
            self.files[file.id] = file
            self.children.setdefault(file.parent, set()).add(file.id)
        self.sharing.forget()
        self.log.load(kept.log)
        for person in kept.people:
            self.add_person(person.email, person.name)
        self.changed()
