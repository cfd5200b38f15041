"""What is said of a document: the answer to a watch, and the events."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from docsession import rpc
from docsession.document import Document
from docsession.times import rfc3339

__all__ = ["changed_event", "comment_event", "watch_answer"]

# One look is the answer to many watches.
_as_of = lru_cache(maxsize=1000)(rfc3339)


def watch_answer(
    document: Document, version: str | None, mark: str | None, *, comments: bool
) -> dict[str, Any]:
    """The answer to a watch by a page that has this ``version`` and ``mark``."""
    answer: dict[str, Any] = {
        "fileId": document.id,
        "version": document.version,
        "changed": document.version != version,
        "file": document.encoded,
        "as_of": _as_of(document.as_of),
    }
    if comments:
        discussion = document.discussion
        said = discussion.whole() if mark is None else discussion.since(mark)
        answer |= {"comments": said, "commentsMark": discussion.mark}
    return answer


def changed_event(document: Document, names: frozenset[str], via: str) -> bytes:
    return rpc.notification(
        "document.changed",
        {
            "fileId": document.id,
            "version": document.version,
            "file": document.encoded,
            "changed": sorted(names),
            "via": via,
            "seen_at": rfc3339(document.seen_at),
        },
    )


def comment_event(document: Document, comment_id: str, via: str, now: float) -> bytes:
    return rpc.notification(
        "document.comment",
        {
            "fileId": document.id,
            "comment": document.discussion.get(comment_id),
            "commentsMark": document.discussion.mark_after(comment_id),
            "via": via,
            "seen_at": rfc3339(now),
        },
    )
