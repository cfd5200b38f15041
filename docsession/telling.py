"""Who is told what of a document: each tab that was told something else, if its user may know.

Plain functions over one document. The same event is encoded once and sent to all as the same
bytes. Whose proof is not fresh is not told; ``ask`` makes that user look first.
"""

from __future__ import annotations

from collections.abc import Callable

from docsession.document import Document, Watcher

__all__ = ["tell", "tell_comments", "tell_lost", "tell_touched"]

MayKnow = Callable[[Watcher], bool]


def tell(document: Document, via: str, *, may_know: MayKnow, ask: Callable[[str], None]) -> int:
    """Tell the state of the document; returns how many tabs were told."""
    encoded: dict[frozenset[str], bytes] = {}
    receivers = 0
    for user_id, watcher in list(document.watchers.items()):
        behind = [(tab, told) for tab, told in watcher.tabs.items() if told.version != document.version]
        if behind and not may_know(watcher):
            ask(user_id)
            continue
        for tab, told in behind:
            names = frozenset(told.names)
            if names not in encoded:
                encoded[names] = document.changed_event(names, via)
            told.version = document.version
            told.names = set()
            receivers += 1
            tab.send_event(encoded[names])
    return receivers


def tell_comments(
    document: Document, via: str, now: float, *, may_know: MayKnow, ask: Callable[[str], None]
) -> None:
    """Tell what changed in its comments."""
    encoded: dict[str, bytes] = {}
    for user_id, watcher in list(document.watchers.items()):
        behind = [(tab, told) for tab, told in watcher.tabs.items() if told.new_comments]
        if behind and not may_know(watcher):
            ask(user_id)
            continue
        for tab, told in behind:
            news, told.new_comments = told.new_comments, set()
            for comment_id in document.discussion.in_order(news):
                if comment_id not in encoded:
                    encoded[comment_id] = document.comment_event(comment_id, via, now)
                tab.send_event(encoded[comment_id])


def tell_touched(document: Document, watcher: Watcher, *, but: object) -> None:
    """Something changed that only this user sees; the tab that did it knows."""
    for tab in list(watcher.tabs):
        if tab is not but:
            tab.notify("document.touched", {"fileId": document.id, "version": document.version})


def tell_lost(document: Document, watcher: Watcher, reason: str) -> None:
    """The last that this user hears of it."""
    for tab in list(watcher.tabs):
        tab.notify("document.lost", {"fileId": document.id, "reason": reason})
