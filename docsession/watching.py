"""Which tab watches which documents, or begins to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from docsession.document import Tab

__all__ = ["Watching"]


class Watching:
    """An index by tab, and of tabs by user; the documents themselves know their watchers."""

    def __init__(self) -> None:
        self._by_tab: dict[Tab, set[str]] = {}
        self._tabs: dict[str, set[Tab]] = {}
        self._user: dict[Tab, str] = {}
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

    def add(self, tab: Tab, user_id: str, file_id: str) -> None:
        self._by_tab.setdefault(tab, set()).add(file_id)
        self._user[tab] = user_id
        self._tabs.setdefault(user_id, set()).add(tab)

    def remove(self, tab: Tab, file_id: str) -> None:
        """Harmless where it was not there."""
        watched = self._by_tab.get(tab, set())
        watched.discard(file_id)
        if not watched and self._by_tab.pop(tab, None) is not None:
            user_id = self._user.pop(tab)
            self._tabs[user_id].discard(tab)
            if not self._tabs[user_id]:
                del self._tabs[user_id]

    def of(self, tab: Tab) -> list[str]:
        """What it watches, in an order that stays."""
        return sorted(self._by_tab.get(tab, ()))

    def of_user(self, user_id: str) -> set[str]:
        """What any tab of this user watches."""
        return set().union(*(self._by_tab[tab] for tab in self._tabs.get(user_id, ())))

    def count(self, tab: Tab, *, beside: str | None) -> int:
        """How many it watches or begins to, not counting one that it asks for again."""
        watched = self._by_tab.get(tab, set()).union(self._beginning.get(tab, ()))
        return len(watched) - (beside in watched)
