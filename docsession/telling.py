"""Who is told what of a document: each tab that was told something else, if its user may know.

The same event is encoded once and sent to all as the same bytes. Whose proof of access is not fresh
is not told, but made to look first.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from docsession.document import Document, Watcher
from docsession.events import changed_event, comment_event
from docsession.interfaces import HubObserver
from docsession.looks import Looks

__all__ = ["Telling", "tell_lost", "tell_touched"]


class Telling:
    """Tells; ``proof`` is for how many seconds a user's own look counts."""

    def __init__(self, clock: IReactorTime, looks: Looks, *, proof: float, observer: HubObserver) -> None:
        self._clock = clock
        self._looks = looks
        self._proof = proof
        self._observer = observer

    def is_fresh(self, proof: float) -> bool:
        """Whether a look at that time still counts."""
        return self._clock.seconds() - proof <= self._proof

    def state(self, document: Document, via: str) -> None:
        """Tell its state to all who know another."""
        if not document.unsettled:
            return
        encoded: dict[frozenset[str], bytes] = {}
        receivers = 0
        for user_id, watcher in list(document.watchers.items()):
            behind = [(tab, told) for tab, told in watcher.tabs.items() if told.version != document.version]
            if behind and not self._may_know(document, watcher, 0):
                if watcher.lost_since is None:
                    self._looks.viewer_due(document, user_id)
                continue
            for tab, told in behind:
                names = frozenset(told.names)
                if names not in encoded:
                    encoded[names] = changed_event(document, names, via)
                told.version = document.version
                told.names = set()
                receivers += 1
                tab.send_event(encoded[names])
        if receivers:
            self._observer.told(via, receivers)
        if document.settle() and receivers:
            self._observer.settled(self._clock.seconds() - document.seen_at)

    def comments(self, document: Document, via: str) -> None:
        """Tell what changed in its comments to all who were not told yet."""
        if not document.unsettled_comments:
            return
        document.unsettled_comments = False
        encoded: dict[str, bytes] = {}
        now = self._clock.seconds()
        for user_id, watcher in list(document.watchers.items()):
            behind = [(tab, told) for tab, told in watcher.tabs.items() if told.new_comments]
            if behind and not self._may_know(document, watcher, 1):
                document.unsettled_comments = True
                self._looks.viewer_comments_due(document, user_id)
                continue
            for tab, told in behind:
                news, told.new_comments = told.new_comments, set()
                for comment_id in document.discussion.in_order(news):
                    if comment_id not in encoded:
                        encoded[comment_id] = comment_event(document, comment_id, via, now)
                    tab.send_event(encoded[comment_id])

    def _may_know(self, document: Document, watcher: Watcher, which: int) -> bool:
        """By a fresh proof of the user's own: 0 at the document, 1 at its comments."""
        return watcher.lost_since is None and self.is_fresh(document.seen_by(watcher.viewer.id)[which])


def tell_touched(document: Document, watcher: Watcher, *, but: object) -> None:
    """Something changed that only this user sees; the tab that did it knows."""
    for tab in list(watcher.tabs):
        if tab is not but:
            tab.notify("document.touched", {"fileId": document.id, "version": document.version})


def tell_lost(document: Document, watcher: Watcher, reason: str) -> None:
    """The last that this user hears of it."""
    for tab in list(watcher.tabs):
        tab.notify("document.lost", {"fileId": document.id, "reason": reason})
