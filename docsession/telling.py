"""Who is told what of a document: each tab that was told something else, if its user may know.

The same event is encoded once and handed over once with all who get it. Whose proof of access is not
fresh is not told, but made to look first; who lags is told when it has caught up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from docsession.document import Document
from docsession.events import changed_event, comment_event
from docsession.interfaces import HubObserver
from docsession.looks import Looks
from docsession.watcher import Tab, Watcher

__all__ = ["TellAll", "Telling", "tell_each", "tell_lost", "tell_touched"]

TellAll = Callable[[list[Any], bytes], None]


def tell_each(tabs: list[Tab], payload: bytes) -> None:
    """One tab after the other."""
    for tab in tabs:
        tab.send_event(payload)


class Telling:
    """Tells; ``proof`` is for how many seconds a user's own look counts."""

    def __init__(
        self,
        clock: IReactorTime,
        looks: Looks,
        *,
        proof: float,
        observer: HubObserver,
        tell_all: TellAll = tell_each,
    ) -> None:
        self._clock = clock
        self._looks = looks
        self._proof = proof
        self._observer = observer
        self._tell_all = tell_all

    def is_fresh(self, proof: float) -> bool:
        """Whether a look at that time still counts."""
        return proof >= self._clock.seconds() - self._proof

    def state(self, document: Document, via: str) -> None:
        """Tell its state to all who know another."""
        if not document.unsettled:
            return
        behind, document.unsettled, late = self._take_behind(document, document.watchers.items())
        events = self._encoded(document, behind, via)
        if not document.unsettled and not late:
            document.history.clear()
        receivers = self._send(events, via)
        if receivers and not document.unsettled:
            self._observer.settled(self._clock.seconds() - document.seen_at)

    def comments(self, document: Document, via: str) -> None:
        """Tell what changed in its comments to all who were not told yet."""
        if document.unsettled_comments:
            document.unsettled_comments = False
            self._tell_comments(document, document.watchers.items(), via)

    def caught_up(self, document: Document, user_id: str) -> None:
        """Tell this user's tabs what they were not told as long as they lagged."""
        watchers = [(user_id, document.watchers[user_id])]
        behind, left, _ = self._take_behind(document, watchers)
        document.unsettled |= left
        self._send(self._encoded(document, behind, "poll"), "poll")
        if document.watchers.get(user_id) is watchers[0][1]:
            self._tell_comments(document, watchers, "poll")

    # -- inside. Whoever is sent something may be closed by that, and leave: so first all is worked out.

    def _take_behind(
        self, document: Document, watchers: Iterable[tuple[str, Watcher]]
    ) -> tuple[dict[int, list[Tab]], bool, bool]:
        """Who is to be told now, by how far they were; whether others wait for a proof, or lag."""
        last, eyes = document.history.position, document.eyes
        oldest = self._clock.seconds() - self._proof
        behind: dict[int, list[Tab]] = {}
        left = late = False
        for user_id, watcher in watchers:
            if watcher.position == last and watcher.apart is None:
                continue
            seen = eyes.get(user_id)
            if seen is not None and seen.file >= oldest and watcher.lost_since is None:
                watcher.take_behind(last, behind)
                late = late or watcher.apart is not None
            elif watcher.waits(last):
                left = True
                if watcher.lost_since is None:
                    self._looks.viewer_due(document, user_id)
            else:
                late = True
        return behind, left, late

    def _encoded(
        self, document: Document, behind: dict[int, list[Tab]], via: str
    ) -> list[tuple[list[Tab], bytes]]:
        alike: dict[frozenset[str], list[Tab]] = {}
        for position, tabs in behind.items():
            alike.setdefault(document.names_since(position), []).extend(tabs)
        return [(tabs, changed_event(document, names, via)) for names, tabs in alike.items()]

    def _send(self, events: list[tuple[list[Tab], bytes]], via: str) -> int:
        receivers = sum(len(tabs) for tabs, _ in events)
        for tabs, event in events:
            self._tell_all(tabs, event)
        if receivers:
            self._observer.told(via, receivers)
        return receivers

    def _tell_comments(self, document: Document, watchers: Iterable[tuple[str, Watcher]], via: str) -> None:
        now = self._clock.seconds()
        events: list[tuple[Tab, frozenset[str]]] = []
        for user_id, watcher in watchers:
            if watcher.comments is None:
                continue
            behind = [tab for tab, news in watcher.comments.items() if news and not tab.lagging]
            if behind and not self._may_know_comments(document, user_id, watcher):
                document.unsettled_comments = True
                self._looks.viewer_comments_due(document, user_id)
            else:
                events += watcher.take_comments(behind)
        encoded: dict[str, bytes] = {}
        for tab, news in events:
            for comment_id in document.discussion.in_order(news):
                if comment_id not in encoded:
                    encoded[comment_id] = comment_event(document, comment_id, via, now)
                tab.send_event(encoded[comment_id])

    def _may_know_comments(self, document: Document, user_id: str, watcher: Watcher) -> bool:
        """By a fresh proof of the user's own."""
        return watcher.lost_since is None and self.is_fresh(document.seen_by(user_id)[1])


def tell_touched(document: Document, watcher: Watcher, *, but: object) -> None:
    """Something changed that only this user sees; the tab that did it knows."""
    for tab in watcher.tabs:
        if tab is not but:
            tab.notify("document.touched", {"fileId": document.id, "version": document.version})


def tell_lost(document: Document, watcher: Watcher, reason: str) -> None:
    """The last that this user hears of it."""
    for tab in watcher.tabs:
        tab.notify("document.lost", {"fileId": document.id, "reason": reason})
