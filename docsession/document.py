"""One watched document: its last known state, who watches it, and what each tab was told.

Plain values and comparisons. When to look, and with whose eyes, is decided in
:mod:`docsession.documents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from docsession import rpc
from docsession.discussion import Discussion
from docsession.google.look import Comments, FileView
from docsession.model import DocumentRecord
from docsession.times import rfc3339

__all__ = ["Document", "Tab", "Told", "Viewer", "Watcher"]


class Tab(Protocol):
    """A connection, as far as documents go."""

    visible: bool

    @property
    def open(self) -> bool: ...

    def send_event(self, payload: bytes) -> None: ...

    def notify(self, method: str, params: Any) -> None: ...


class Viewer(Protocol):
    """A user session, as far as documents go: somebody who can look."""

    @property
    def id(self) -> str: ...

    async def look(self, file_id: str, *, poll: bool) -> FileView: ...

    async def look_at_comments(self, file_id: str, *, since: str | None, poll: bool) -> Comments: ...


class Told:
    """What one tab knows of one document, and what it is still to be told."""

    __slots__ = ("comments", "names", "new_comments", "version")

    def __init__(self, version: str, *, comments: bool) -> None:
        self.version = version
        self.names: set[str] = set()
        self.comments = comments
        self.new_comments: set[str] = set()


class Watcher:
    """One user who watches a document, in one or more tabs."""

    __slots__ = ("lost_since", "own", "tabs", "viewer")

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.tabs: dict[Tab, Told] = {}
        self.own: Mapping[str, Any] | None = None
        self.lost_since: float | None = None

    @property
    def visible(self) -> bool:
        """Whether any of the tabs is looked at."""
        return any(tab.visible for tab in self.tabs)

    @property
    def wants_comments(self) -> bool:
        return any(told.comments for told in self.tabs.values())


class Document:
    """``version`` is the public one: Google's number as of the last change that shows in ``file``."""

    def __init__(self, file_id: str) -> None:
        self.id = file_id
        self.file: dict[str, Any] = {}
        self.version = ""
        self.google_version = -1
        self.as_of = 0.0
        self.newest_at = 0.0
        self.discussion = Discussion()
        self.watchers: dict[str, Watcher] = {}
        # Users' own last looks: at the document, at its comments.
        self.proofs: dict[str, tuple[float, float]] = {}
        # Watches being set up: until they are, it is not let go though nobody watches yet.
        self.held = 0
        self.seen_at = 0.0
        self.saved_at = 0.0

    # -- to and from the store

    @classmethod
    def from_record(cls, record: DocumentRecord) -> Document:
        document = cls(record.file_id)
        document.file = dict(record.file)
        document.version = record.version
        document.google_version = record.google_version
        document.as_of = record.as_of
        document.newest_at = record.as_of
        document.proofs = dict(record.proofs)
        return document

    def record(self, *, proofs_since: float) -> DocumentRecord:
        """For the store, without proofs that are worth nothing any more."""
        proofs = {user: proof for user, proof in self.proofs.items() if max(proof) >= proofs_since}
        return DocumentRecord(self.id, self.version, self.google_version, self.file, self.as_of, proofs)

    # -- what is learnt

    def learn(self, view: FileView, *, now: float, believe_older_after: float) -> tuple[bool, set[str]]:
        """Take in a look. Returns whether Google's number moved, and the names of what differs.

        An older number than the newest is a lagging replica, and ignored for a while.
        """
        if view.google_version < self.google_version and now - self.newest_at < believe_older_after:
            return False, set()
        moved = view.google_version != self.google_version
        first = self.google_version < 0
        names = {
            name
            for name, value in view.shared.items()
            if name != "version" and name in self.file and self.file[name] != value
        }
        new_names = view.shared.keys() - self.file.keys()
        self.google_version = view.google_version
        self.newest_at = now
        self.as_of = max(self.as_of, view.as_of)
        if first or names or new_names:
            self.file.update(view.shared)
            self.seen_at = now
            self.version = str(view.google_version)
            self.file["version"] = self.version
        if first:
            return moved, set()
        names |= new_names
        if names:
            for told in self.all_told():
                told.names |= names
        return moved, names

    def learn_comments(self, comments: Comments) -> list[str]:
        """Take in a look at the comments; returns the ids of what changed."""
        first = not self.discussion.loaded
        changed = self.discussion.learn(comments.comments, comments.as_of, whole=comments.since is None)
        if first:
            return []
        self.comments_changed(changed)
        return changed

    def comments_changed(self, comment_ids: list[str]) -> None:
        """Every tab that watches the comments is to be told of these."""
        for told in self.all_told():
            if told.comments:
                told.new_comments.update(comment_ids)

    def prove(self, user_id: str, *, file: float | None = None, comments: float | None = None) -> None:
        """This user's own look succeeded at that time."""
        old_file, old_comments = self.proofs.get(user_id, (0.0, 0.0))
        self.proofs[user_id] = (
            old_file if file is None else max(old_file, file),
            old_comments if comments is None else max(old_comments, comments),
        )

    def all_told(self) -> Iterator[Told]:
        for watcher in self.watchers.values():
            yield from watcher.tabs.values()

    # -- what is said

    def changed_event(self, names: frozenset[str], via: str) -> bytes:
        return rpc.notification(
            "document.changed",
            {
                "fileId": self.id,
                "version": self.version,
                "file": self.file,
                "changed": sorted(names),
                "via": via,
                "seen_at": rfc3339(self.seen_at),
            },
        )

    def comment_event(self, comment_id: str, via: str, now: float) -> bytes:
        return rpc.notification(
            "document.comment",
            {
                "fileId": self.id,
                "comment": self.discussion.get(comment_id),
                "commentsMark": self.discussion.mark,
                "via": via,
                "seen_at": rfc3339(now),
            },
        )
