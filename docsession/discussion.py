"""The comments of one document: what is known, what changed, where a page left off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["Discussion", "overlap"]

# Google's replicas lag, and its filter is inclusive: look back this far beyond the mark.
OVERLAP = timedelta(minutes=5)


class Discussion:
    """All comments of a document by id, deleted ones included.

    ``mark`` is the latest ``modifiedTime`` seen (RFC 3339, Google's clock); a page hands it
    back and gets what changed since.
    """

    def __init__(self) -> None:
        self._comments: dict[str, Mapping[str, Any]] = {}
        self.mark = ""
        self.loaded = False
        self.as_of = 0.0

    def learn(self, comments: Iterable[Mapping[str, Any]], as_of: float, *, whole: bool) -> list[str]:
        """Take in what a look saw; returns the ids of what is new or differs.

        ``whole``: these are all there are, so what is missing is gone for good.
        """
        changed = []
        seen = set()
        for comment in comments:
            comment_id = str(comment.get("id", ""))
            seen.add(comment_id)
            known = self._comments.get(comment_id)
            if known is None or (known != comment and not _older(comment, known)):
                self._comments[comment_id] = comment
                changed.append(comment_id)
            self.mark = later(self.mark, str(comment.get("modifiedTime", "")))
        if whole:
            for comment_id, known in self._comments.items():
                if comment_id not in seen and not known.get("deleted"):
                    self._comments[comment_id] = {"id": comment_id, "deleted": True}
                    changed.append(comment_id)
        self.as_of = max(self.as_of, as_of)
        self.loaded = self.loaded or whole
        return changed

    def get(self, comment_id: str) -> Mapping[str, Any] | None:
        """One comment as last seen."""
        return self._comments.get(comment_id)

    def whole(self) -> list[Mapping[str, Any]]:
        """The comments there are, oldest first."""
        there = [comment for comment in self._comments.values() if not comment.get("deleted")]
        return sorted(there, key=lambda comment: str(comment.get("createdTime", "")))

    def since(self, mark: str) -> list[Mapping[str, Any]]:
        """What changed at or after a mark (with some overlap), deletions included."""
        start = overlap(mark)
        if start is None:
            return list(self._comments.values())
        return [
            comment
            for comment in self._comments.values()
            if "modifiedTime" not in comment or _time(str(comment["modifiedTime"])) >= _time(start)
        ]

    def with_reply(self, comment_id: str, reply: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A known comment as it is with this reply in it (new, changed or deleted)."""
        known = self._comments.get(comment_id)
        if known is None or known.get("deleted"):
            return None
        others = [old for old in known.get("replies", ()) if old.get("id") != reply.get("id")]
        there = others if reply.get("deleted") else [*others, reply]
        there.sort(key=lambda one: str(one.get("createdTime", "")))
        comment = {**known, "replies": there}
        if reply.get("modifiedTime"):
            comment["modifiedTime"] = later(str(known.get("modifiedTime", "")), str(reply["modifiedTime"]))
        if reply.get("action") in ("resolve", "reopen"):
            comment["resolved"] = reply["action"] == "resolve"
        return comment


def overlap(mark: str) -> str | None:
    """The ``startModifiedTime`` for what came after a mark; None for a mark that is none."""
    try:
        return (_time(mark) - OVERLAP).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def later(one: str, other: str) -> str:
    """The later of two RFC 3339 times, either of which may be empty or nonsense."""
    try:
        other_time = _time(other)
    except ValueError:
        return one
    try:
        return other if other_time > _time(one) else one
    except ValueError:
        return other


def _older(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    try:
        return _time(str(one["modifiedTime"])) < _time(str(other["modifiedTime"]))
    except (KeyError, ValueError):
        return False


def _time(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
