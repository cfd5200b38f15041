"""One user who watches a document: in which tabs, and how far each of them was told.

Tabs are nearly always told as far as all others of their user, so only those that stand apart are
noted one by one: who wrote it and knows it already, who reads too slowly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from docsession.google.look import Comments, FileView

__all__ = ["UNKNOWN", "Tab", "Viewer", "Watcher"]

# How far a tab was told of which nobody can say what reached it.
UNKNOWN = -1

_NOTHING: frozenset[str] = frozenset()


class Tab(Protocol):
    """A connection, as far as documents go. ``lagging``: it has more to read than it can, and
    is told of changes when it has caught up."""

    visible: bool
    lagging: bool

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


class Watcher:
    """``position`` is how far the tabs were told, but for those ``apart`` (see
    :class:`docsession.history.History`)."""

    __slots__ = ("apart", "comments", "lost_since", "position", "tabs", "tried", "tried_comments", "viewer")

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.tabs: tuple[Tab, ...] = ()
        self.position = UNKNOWN
        self.apart: dict[Tab, int] | None = None
        # Of the tabs that watch the comments: which ones they are still to be told of.
        self.comments: dict[Tab, frozenset[str]] | None = None
        self.lost_since: float | None = None
        # When a look with these eyes was last begun, at the document and at its comments.
        self.tried = self.tried_comments = 0.0

    @property
    def visible(self) -> bool:
        """Whether any of the tabs is looked at."""
        return any(tab.visible for tab in self.tabs)

    @property
    def wants_comments(self) -> bool:
        return self.comments is not None

    def join(self, tab: Tab, position: int, *, new: bool, comments: bool) -> None:
        """The tab watches, anew or as before, and knows what an answer tells it now."""
        if new:
            self.tabs = (*self.tabs, tab)
        self.place(tab, position)
        self._forget_comments(tab)
        if comments:
            self.comments = self.comments or {}
            self.comments[tab] = _NOTHING

    def leave(self, tab: Tab) -> None:
        """The tab no longer watches. Harmless where it did not."""
        self.tabs = tuple(other for other in self.tabs if other is not tab)
        self._together(tab)
        self._forget_comments(tab)

    def place(self, tab: Tab, position: int) -> None:
        """The tab was told so far."""
        if len(self.tabs) == 1:
            self.position, self.apart = position, None
        elif position == self.position:
            self._together(tab)
        else:
            self.apart = self.apart or {}
            self.apart[tab] = position

    def told(self, tab: Tab) -> int:
        """How far the tab was."""
        return self.position if self.apart is None else self.apart.get(tab, self.position)

    def waits(self, last: int) -> bool:
        """Whether a tab that could be told all up to ``last`` was not."""
        return any(self.told(tab) != last and not tab.lagging for tab in self.tabs)

    def take_behind(self, last: int, into: dict[int, list[Tab]]) -> None:
        """Whoever was not told up to ``last`` is from now on; they are added by how far they were.
        Those that lag stay where they are."""
        tabs, position = self.tabs, self.position
        if self.apart is None:
            for tab in tabs:
                if tab.lagging:
                    break
            else:
                self.position = last
                known = into.get(position)
                if known is None:
                    into[position] = [*tabs]
                else:
                    known += tabs
                return
        left = {}
        for tab in tabs:
            position = self.told(tab)
            if position != last and tab.lagging:
                left[tab] = position
            elif position != last:
                into.setdefault(position, []).append(tab)
        self.position, self.apart = last, left or None

    def comments_changed(self, comment_ids: frozenset[str], *, but: Tab | None) -> bool:
        """Whether any tab is to be told of these."""
        changed = False
        for tab, news in (self.comments or {}).items():
            if tab is not but:
                assert self.comments is not None
                self.comments[tab] = news | comment_ids if news else comment_ids
                changed = True
        return changed

    def take_comments(self, tabs: Iterable[Tab]) -> list[tuple[Tab, frozenset[str]]]:
        """What these are to be told of the comments; from now on they were."""
        comments = self.comments or {}
        taken = [(tab, comments[tab]) for tab in tabs]
        comments.update((tab, _NOTHING) for tab, _ in taken)
        return taken

    def _together(self, tab: Tab) -> None:
        if self.apart is not None:
            self.apart.pop(tab, None)
            self.apart = self.apart or None

    def _forget_comments(self, tab: Tab) -> None:
        if self.comments is not None:
            self.comments.pop(tab, None)
            self.comments = self.comments or None
