"""One watched document: its last known state, who watches it, and what each tab was told.

Plain values and comparisons. When to look, and with whose eyes, is decided in
:mod:`docsession.documents`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from docsession.discussion import Discussion
from docsession.google.look import Comments, FileView
from docsession.model import DocumentRecord, state_mark

__all__ = ["Document", "Learnt", "Tab", "Told", "Viewer", "Watcher"]


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


class Learnt(msgspec.Struct, frozen=True):
    """What a look brought. Not ``taken``: it was older than what is known. ``moved``: Google's
    number did, since the look before by so many ``changes``. ``names``: of the shared fields that
    differ. ``believed``: it was older, and has been so for too long to be a lagging replica."""

    taken: bool
    moved: bool = False
    changes: int = 0
    believed: bool = False
    names: frozenset[str] = frozenset()


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

    __slots__ = ("lost_since", "tabs", "tried", "viewer")

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.tabs: dict[Tab, Told] = {}
        self.lost_since: float | None = None
        # When a look with these eyes was last begun, by what it was at ("file", "comments").
        self.tried: dict[str, float] = {}

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
        # What only that user saw at their last look.
        self.own: dict[str, Mapping[str, Any]] = {}
        # Since when looks count as proofs: of one user, or (None) of everybody.
        self.doubted: dict[str | None, float] = {}
        # When Google's number was last seen to move: comments seen before may be old.
        self.moved_at = 0.0
        # When it was last seen to have moved since the look before.
        self.bumped_at = 0.0
        # When it last moved, or somebody turned to it: a quiet one is looked at less often.
        self.stirred_at = 0.0
        # Whether somebody is still to be told of the last change, or of one in the comments.
        self.unsettled = False
        self.unsettled_comments = False
        # Watches being set up: until they are, it is not let go though nobody watches yet.
        self.held = 0
        # Deleted for good: a watch that is being set up finds nothing.
        self.gone = False
        self.seen_at = 0.0
        self.saved_at = 0.0
        # It moved, and the other nodes are still to hear of it.
        self.unsaid_move = False
        # The mark of the state that the store has, as far as is known here.
        self.stored: str | None = None

    # -- to and from the store

    @classmethod
    def from_record(cls, record: DocumentRecord, now: float) -> Document:
        """What the store has of it. What was seen later than now, before somebody set the clock
        back, was seen nobody knows when: it proves nothing, and puts off no look."""
        document = cls(record.file_id)
        document.file = dict(record.file)
        document.version = record.version
        document.google_version = record.google_version
        document.as_of = document.newest_at = min(record.as_of, now)
        if record.doubted:
            document.doubt(min(record.doubted, now))
        document.proofs = {
            user: proof for user, proof in record.proofs.items() if record.doubted <= max(proof) <= now
        }
        document.stored = record.mark
        return document

    def record(self) -> DocumentRecord:
        """For the store."""
        return DocumentRecord(
            self.id,
            self.version,
            self.google_version,
            dict(self.file),
            self.as_of,
            dict(self.proofs),
            self.doubted.get(None, 0.0),
        )

    @property
    def mark(self) -> str:
        """Names the state; the same on every node that knows it."""
        return state_mark(self.google_version, self.version, self.file)

    def tidy(self, before: float) -> None:
        """Forget proofs and doubts from so long ago that they say nothing any more."""
        self.proofs = {user: proof for user, proof in self.proofs.items() if max(proof) >= before}
        self.doubted = {user: since for user, since in self.doubted.items() if since >= before}
        self.own = {
            user: own for user, own in self.own.items() if user in self.watchers or user in self.proofs
        }

    # -- what is learnt

    def learn(self, view: FileView, *, now: float, believe_older_after: float) -> Learnt:
        """Take in a look. An older number than the newest is a lagging replica, ignored for a while."""
        if view.google_version < self.google_version and now - self.newest_at < believe_older_after:
            return Learnt(taken=False)
        first = self.google_version < 0
        moved = view.google_version != self.google_version
        before, believed = self.google_version, view.google_version < self.google_version
        names: set[str] = set()
        if moved and not first:
            known = self.file
            names = {
                name
                for name, value in view.shared.items()
                if name != "version" and (name not in known or known[name] != value)
            }
        self.google_version = view.google_version
        self.newest_at = now
        self.as_of = max(self.as_of, view.as_of)
        if first or names:
            self.file.update(view.shared)
            self.seen_at = now
            self.version = str(view.google_version)
        elif not moved:
            # Under one number there is one state: what differs is how it is shown to this viewer.
            self.file.update(view.shared)
        self.file["version"] = self.version
        if moved:
            self.unsaid_move = True
            self.moved_at = self.stirred_at = now
            self.bumped_at = self.bumped_at if first else now
        self.unsettled |= bool(names)
        for told in self.all_told() if names else ():
            told.names |= names
        changes = max(1, view.google_version - before) if moved and not first else 0
        return Learnt(taken=True, moved=moved, changes=changes, believed=believed, names=frozenset(names))

    def adopt(self, record: DocumentRecord, *, now: float) -> Learnt:
        """Take in what another node saw and stored. Not ``taken``: what is known here is newer."""
        if record.doubted > self.doubted.get(None, 0.0):
            self.doubt(min(record.doubted, now))
        for user_id, (file, comments) in record.proofs.items():
            self.prove(user_id, file=min(file, now), comments=min(comments, now))
        unsaved = self.mark != self.stored
        self.stored = record.mark
        self.as_of = max(self.as_of, min(record.as_of, now))
        moved = record.google_version != self.google_version
        if unsaved and self.google_version > record.google_version:
            return Learnt(taken=False)
        before, self.google_version = self.google_version, record.google_version
        known, self.file = self.file, dict(record.file)
        differing = {name for name in {*known, *self.file} if known.get(name) != self.file.get(name)}
        names = frozenset(differing - {"version"}) if moved else frozenset()
        if not names:
            # The same state under two names: nobody needs to hear of that.
            for told in self.all_told():
                told.version = record.version if told.version == self.version else told.version
        self.version = record.version
        if moved:
            self.newest_at = self.moved_at = self.stirred_at = self.bumped_at = now
        if names:
            self.seen_at = now
            self.unsettled = True
            for told in self.all_told():
                told.names |= names
        changes = max(1, record.google_version - before) if moved else 0
        return Learnt(taken=True, moved=moved, changes=changes, names=names)

    def learn_own(self, user_id: str, view: FileView) -> bool:
        """Whether what only this user sees differs from what their last look saw."""
        known = self.own.get(user_id)
        if view.own:
            self.own[user_id] = view.own
        return known is not None and bool(view.own) and known != view.own

    def learn_comments(self, comments: Comments) -> list[str]:
        """Take in a look at the comments; returns the ids of what changed."""
        first = not self.discussion.loaded
        changed = self.discussion.learn(comments.comments, comments.as_of, whole=comments.since is None)
        if first:
            return []
        self.comments_changed(changed)
        return changed

    def comments_changed(self, comment_ids: Iterable[str], *, but: Told | None = None) -> None:
        """Every tab that watches the comments is to be told of these, ``but`` who wrote them."""
        changed = set(comment_ids)
        for told in self.all_told() if changed else ():
            if told.comments and told is not but:
                told.new_comments |= changed
                self.unsettled_comments = True

    @property
    def comments_known(self) -> bool:
        """Whether the comments were looked at since the document last moved."""
        return self.discussion.loaded and self.discussion.looked_at >= self.moved_at

    # -- who may know it

    def prove(self, user_id: str, *, file: float = 0.0, comments: float = 0.0) -> bool:
        """This user's own look, begun at that time, succeeded. False: that was too long ago."""
        if max(file, comments) < max(self.doubted.get(user_id, 0.0), self.doubted.get(None, 0.0)):
            return False
        old_file, old_comments = self.proofs.get(user_id, (0.0, 0.0))
        self.proofs[user_id] = (max(old_file, file), max(old_comments, comments))
        return True

    def doubt(self, since: float, user_id: str | None = None) -> None:
        """Only looks begun from then on prove anything, for this user or for everybody."""
        self.doubted[user_id] = since
        if user_id is None:
            self.proofs.clear()
        else:
            self.proofs.pop(user_id, None)

    def seen_by(self, user_id: str) -> tuple[float, float]:
        """When this user's own eyes last saw it, and its comments."""
        return self.proofs.get(user_id, (0.0, 0.0))

    def leave(self, tab: Tab) -> None:
        """The tab no longer watches, and its user neither if it was the last."""
        for user_id, watcher in list(self.watchers.items()):
            watcher.tabs.pop(tab, None)
            if not watcher.tabs:
                del self.watchers[user_id]

    def told(self, user_id: str, tab: Tab | None) -> Told | None:
        """What this user's tab was told, if it watches."""
        watcher = self.watchers.get(user_id)
        return None if watcher is None or tab is None else watcher.tabs.get(tab)

    def settle(self) -> bool:
        """Whether, just now, the last who was still to be told of a change has been."""
        if not self.unsettled or any(told.version != self.version for told in self.all_told()):
            return False
        self.unsettled = False
        return True

    def all_told(self) -> Iterator[Told]:
        for watcher in self.watchers.values():
            yield from watcher.tabs.values()

    # -- what is said

    def is_behind(self, version: str | None) -> bool:
        """Whether a page has seen more than is remembered: a kill may come before the last save."""
        if version is None or not (version.isdecimal() and self.version.isdecimal()):
            return False
        return int(version) > int(self.version)
