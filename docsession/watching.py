"""Which tab watches which documents, or begins to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from docsession.watcher import Tab

__all__ = ["Watching"]


class Watching:
    """An index by tab, and of tabs by user; the documents themselves know their watchers.

    Few documents and few tabs each, but many of both kinds: hence tuples.
    """

    def __init__(self) -> None:
        self._by_tab: dict[Tab, tuple[str, ...]] = {}  # the user, then the documents
        self._tabs: dict[str, tuple[Tab, ...]] = {}
        self._beginning: dict[Tab, list[str]] = {}

    @contextmanager
    def beginning(self, tab: Tab, file_id: str) -> Iterator[None]:
        """As long as this lasts it counts, whatever becomes of it."""
        asked_for = self._beginning.setdefault(tab, [])
        asked_for.append(file_id)
        try:
            yield
        finally:
            asked_for.remove(file_id)
            if not asked_for and self._beginning.get(tab) is asked_for:
                del self._beginning[tab]

    def add(self, tab: Tab, user_id: str, file_id: str) -> bool:
        """Whether it did not watch that before. A tab is one user's as long as it watches anything."""
        known = self._by_tab.get(tab)
        if known is None:
            self._tabs[user_id] = (*self._tabs.get(user_id, ()), tab)
            self._by_tab[tab] = (user_id, file_id)
        elif file_id not in known[1:]:
            self._by_tab[tab] = (*known, file_id)
        else:
            return False
        return True

    def remove(self, tab: Tab, file_id: str) -> None:
        """Harmless where it was not there."""
        known = self._by_tab.get(tab)
        if known is None:
            return
        user_id, *watched = known
        left = [other for other in watched if other != file_id]
        if left:
            self._by_tab[tab] = (user_id, *left)
            return
        del self._by_tab[tab]
        tabs = tuple(other for other in self._tabs[user_id] if other is not tab)
        if tabs:
            self._tabs[user_id] = tabs
        else:
            del self._tabs[user_id]

    def user(self, tab: Tab) -> str | None:
        """Whose it is, if it watches anything."""
        known = self._by_tab.get(tab)
        return None if known is None else known[0]

    def of(self, tab: Tab) -> list[str]:
        """What it watches, in an order that stays."""
        return sorted(self._by_tab.get(tab, ())[1:])

    def of_user(self, user_id: str) -> set[str]:
        """What any tab of this user watches."""
        return {file_id for tab in self._tabs.get(user_id, ()) for file_id in self._by_tab[tab][1:]}

    def count(self, tab: Tab, *, beside: str | None) -> int:
        """How many it watches or begins to, not counting one that it asks for again."""
        watched = self._by_tab.get(tab, ())[1:]
        beginning = self._beginning.get(tab)
        if beginning is None:
            return len(watched) - (beside in watched)
        both = {*watched, *beginning}
        return len(both) - (beside in both)
