"""One watched document: its last known state, who watches it, and what each tab was told.

Plain values and comparisons. When to look, and with whose eyes, is decided in
:mod:`docsession.documents`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from docsession.discussion import Discussion
from docsession.google.look import Comments, FileView
from docsession.history import History
from docsession.model import DocumentRecord, state_mark
from docsession.watcher import UNKNOWN, Tab, Viewer, Watcher

__all__ = ["Document", "Learnt"]


class Learnt(msgspec.Struct, frozen=True):
    """What a look brought. Not ``taken``: it was older than what is known. ``moved``: Google's
    number did, since the look before by so many ``changes``. ``names``: of the shared fields that
    differ. ``believed``: it was older, and has been so for too long to be a lagging replica."""

    taken: bool
    moved: bool = False
    changes: int = 0
    believed: bool = False
    names: frozenset[str] = frozenset()


class Eyes(msgspec.Struct, gc=False):
    """One user's own last looks: when at the document, when at its comments, and a digest of what
    only that user saw."""

    file: float = 0.0
    comments: float = 0.0
    own: int = 0


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
        # Of those who watch it, and of others who looked lately.
        self.eyes: dict[str, Eyes] = {}
        # Whose proofs the store does not have yet: a change is not to cost as much as there are watchers.
        self.unsaved: set[str] = set()
        # What changed, as far as somebody is still to be told of it.
        self.history = History()
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
        self.stored_at = float("-inf")
        # Whether anybody has it before their eyes, and whether Google would tell all of them of a
        # change; None: to be worked out anew.
        self.visible: bool | None = None
        self.announced: bool | None = None
        # The same of whether anybody watches the comments.
        self._commented: bool | None = None
        # The interval that its next look was planned for.
        self.planned = 0.0
        # Worked out from the state as long as it stays.
        self._mark: str | None = None
        self._encoded: msgspec.Raw | None = None

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
        document.eyes = {
            user: Eyes(*proof) for user, proof in record.proofs.items() if record.doubted <= max(proof) <= now
        }
        document.stored = record.mark
        return document

    def record(self) -> DocumentRecord:
        """For the store, with the proofs that it does not have yet."""
        return DocumentRecord(
            self.id,
            self.version,
            self.google_version,
            dict(self.file),
            self.as_of,
            {
                user: (eyes.file, eyes.comments)
                for user, eyes in ((user, self.eyes.get(user)) for user in self.unsaved)
                if eyes is not None and (eyes.file or eyes.comments)
            },
            self.doubted.get(None, 0.0),
        )

    def saved(self, record: DocumentRecord) -> None:
        """The store has these proofs, whatever became of the state."""
        for user, proof in record.proofs.items():
            if self.seen_by(user) == proof:
                self.unsaved.discard(user)

    def lost(self) -> None:
        """The store has nothing of it any more."""
        self.stored = None
        self.unsaved = set(self.eyes)

    @property
    def mark(self) -> str:
        """Names the state; the same on every node that knows it."""
        if self._mark is None:
            self._mark = state_mark(self.google_version, self.version, self.file)
        return self._mark

    @property
    def encoded(self) -> msgspec.Raw:
        """``file`` as JSON."""
        if self._encoded is None:
            self._encoded = msgspec.Raw(msgspec.json.encode(self.file))
        return self._encoded

    def tidy(self, before: float) -> None:
        """Forget proofs and doubts from so long ago that they say nothing any more."""
        for user_id, eyes in list(self.eyes.items()):
            if eyes.file < before and eyes.comments < before:
                eyes.file = eyes.comments = 0.0
                self.unsaved.discard(user_id)
                if user_id not in self.watchers:
                    del self.eyes[user_id]
        self.doubted = {user: since for user, since in self.doubted.items() if since >= before}

    # -- what is learnt

    def learn(self, view: FileView, *, now: float, believe_older_after: float) -> Learnt:
        """Take in a look. An older number than the newest is a lagging replica, ignored for a while."""
        if view.google_version < self.google_version and now - self.newest_at < believe_older_after:
            return Learnt(taken=False)
        first = self.google_version < 0
        moved = view.google_version != self.google_version
        before, believed = self.google_version, view.google_version < self.google_version
        known = self.file
        differing = {
            name
            for name, value in view.shared.items()
            if name != "version" and (name not in known or known[name] != value)
        }
        names = frozenset(differing) if moved and not first else frozenset()
        self.google_version = view.google_version
        self.newest_at = now
        self.as_of = max(self.as_of, view.as_of)
        if first or names:
            self.seen_at = now
            self.version = str(view.google_version)
        if moved or differing:
            # Under one number there is one state: what differs is how it is shown to this viewer.
            known.update(view.shared)
            known["version"] = self.version
            self._mark = self._encoded = None
        if moved:
            self.unsaid_move = True
            self.moved_at = self.stirred_at = now
            self.bumped_at = self.bumped_at if first else now
        self._changed(names)
        changes = max(1, view.google_version - before) if moved and not first else 0
        return Learnt(taken=True, moved=moved, changes=changes, believed=believed, names=names)

    def adopt(self, record: DocumentRecord, *, now: float) -> Learnt:
        """Take in what another node saw and stored. Not ``taken``: what is known here is newer."""
        if record.doubted > self.doubted.get(None, 0.0):
            self.doubt(min(record.doubted, now))
        for user_id, (file, comments) in record.proofs.items():
            self.prove(user_id, file=min(file, now), comments=min(comments, now))
        self.saved(record)
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
        self.version = record.version
        self._mark = self._encoded = None
        if moved:
            self.newest_at = self.moved_at = self.stirred_at = self.bumped_at = now
        if names:
            self.seen_at = now
        self._changed(names)
        changes = max(1, record.google_version - before) if moved else 0
        return Learnt(taken=True, moved=moved, changes=changes, names=names)

    def _changed(self, names: frozenset[str]) -> None:
        """Everybody is to be told; without names there is nothing that anybody needs to hear of."""
        if names:
            self.history.add(names)
            self.unsettled = True

    def names_since(self, position: int) -> frozenset[str]:
        """What changed since somebody was told so far; all there is, if nobody knows how far."""
        names = self.history.since(position)
        return names if position != UNKNOWN else names | self.file.keys() - {"id", "version"}

    def learn_own(self, user_id: str, view: FileView) -> bool:
        """Whether what only this user sees differs from what their last look saw."""
        if not view.own:
            return False
        eyes = self._eyes(user_id)
        encoded = msgspec.json.encode(view.own, order="deterministic")
        known, eyes.own = eyes.own, int.from_bytes(hashlib.blake2b(encoded, digest_size=7).digest())
        return known not in (0, eyes.own)

    def learn_comments(self, comments: Comments) -> list[str]:
        """Take in a look at the comments; returns the ids of what changed."""
        first = not self.discussion.loaded
        changed = self.discussion.learn(comments.comments, comments.as_of, whole=comments.since is None)
        if first:
            return []
        self.comments_changed(changed)
        return changed

    def comments_changed(self, comment_ids: Iterable[str], *, but: Tab | None = None) -> None:
        """Every tab that watches the comments is to be told of these, ``but`` who wrote them."""
        changed = frozenset(comment_ids)
        for watcher in self.watchers.values() if changed else ():
            if watcher.comments is not None and watcher.comments_changed(changed, but=but):
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
        eyes = self._eyes(user_id)
        eyes.file, eyes.comments = max(eyes.file, file), max(eyes.comments, comments)
        self.unsaved.add(user_id)
        return True

    def doubt(self, since: float, user_id: str | None = None) -> None:
        """Only looks begun from then on prove anything, for this user or for everybody."""
        self.doubted[user_id] = since
        for user, eyes in self.eyes.items():
            if user_id in (None, user):
                eyes.file = eyes.comments = 0.0

    def seen_by(self, user_id: str) -> tuple[float, float]:
        """When this user's own eyes last saw it, and its comments; never: 0."""
        eyes = self.eyes.get(user_id)
        return (0.0, 0.0) if eyes is None else (eyes.file, eyes.comments)

    def _eyes(self, user_id: str) -> Eyes:
        eyes = self.eyes.get(user_id)
        if eyes is None:
            eyes = self.eyes[user_id] = Eyes()
        return eyes

    # -- who watches

    def join(self, viewer: Viewer, tab: Tab, *, new: bool, comments: bool) -> None:
        """The tab watches, anew or as before, and is told the state by what it is answered now."""
        watcher = self.watchers.get(viewer.id)
        if watcher is None:
            watcher = self.watchers[viewer.id] = Watcher(viewer)
        watcher.viewer = viewer
        watcher.join(tab, self.history.position, new=new, comments=comments)
        if comments or self._commented:
            self._commented = comments or None

    def leave(self, tab: Tab, user_id: str) -> None:
        """The user's tab no longer watches, and the user neither if it was the last."""
        watcher = self.watchers.get(user_id)
        if watcher is not None:
            watcher.leave(tab)
            self.visible = self._commented = None
            if not watcher.tabs:
                self.lose(user_id)

    def lose(self, user_id: str) -> Watcher:
        """The user no longer watches."""
        self.visible = self.announced = self._commented = None
        return self.watchers.pop(user_id)

    @property
    def wants_comments(self) -> bool:
        """Whether anybody watches the comments."""
        if self._commented is None:
            self._commented = any(watcher.wants_comments for watcher in self.watchers.values())
        return self._commented

    def stalest(self, default: float) -> float:
        """When the one whose own eyes saw it longest ago did; ``default`` without watchers."""
        eyes, never = self.eyes, Eyes()
        return min([eyes.get(user, never).file for user in self.watchers], default=default)

    # -- what is said

    def is_behind(self, version: str | None) -> bool:
        """Whether a page has seen more than is remembered: a kill may come before the last save."""
        if version is None or not (version.isdecimal() and self.version.isdecimal()):
            return False
        return int(version) > int(self.version)
