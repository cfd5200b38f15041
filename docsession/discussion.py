"""The comments of one document: what is known, what changed, where a page left off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from docsession.model import CommentsRecord

__all__ = ["Discussion", "overlap"]

# Google's replicas lag, and its filter is inclusive: look back this far beyond the mark.
OVERLAP = timedelta(minutes=5)


class Discussion:
    """All comments of a document by id, deleted ones included.

    ``mark`` is the latest ``modifiedTime`` that a look saw (RFC 3339, Google's clock); a page
    hands it back and gets what changed since. What a peer wrote does not move it: something
    else may have happened before that, which no look has seen yet.
    """

    def __init__(self) -> None:
        self._comments: dict[str, Mapping[str, Any]] = {}
        self._learnt_at: dict[str, float] = {}
        self.mark = ""
        self.loaded = False
        self.looked_at = 0.0

    def learn(self, comments: Iterable[Mapping[str, Any]], as_of: float, *, whole: bool) -> list[str]:
        """Take in what a look begun at ``as_of`` saw; returns the ids of what is new or differs.

        ``whole``: these are all there are, so what is missing is gone for good.
        """
        changed = []
        seen = set()
        for comment in comments:
            comment_id = str(comment.get("id", ""))
            seen.add(comment_id)
            if self._put(comment_id, comment, as_of):
                changed.append(comment_id)
            self.mark = later(self.mark, str(comment.get("modifiedTime", "")))
        if whole:
            for comment_id, known in self._comments.items():
                # What was learnt after the look began could not be in it.
                gone = comment_id not in seen and self._learnt_at[comment_id] < as_of
                if gone and not known.get("deleted"):
                    self._comments[comment_id] = {"id": comment_id, "deleted": True}
                    changed.append(comment_id)
        self.looked_at = max(self.looked_at, as_of)
        self.loaded = self.loaded or whole
        return changed

    def learn_one(self, comment: Mapping[str, Any], now: float) -> list[str]:
        """Take in a comment that was just written through here; returns as :meth:`learn`."""
        comment_id = str(comment.get("id", ""))
        return [comment_id] if self._put(comment_id, comment, now) else []

    def record(self, comment_ids: Iterable[str] | None = None) -> CommentsRecord:
        """For the store: these, or all."""
        ids = self._comments if comment_ids is None else comment_ids
        return CommentsRecord({each: self._comments[each] for each in ids}, self.mark, self.looked_at)

    def adopt(self, record: CommentsRecord) -> list[str]:
        """Take in all that is stored; returns as :meth:`learn`."""
        changed = self.learn(record.comments.values(), record.looked_at, whole=False)
        self.mark = later(self.mark, record.mark)
        self.loaded = True
        return changed

    def is_behind(self, mark: str | None) -> bool:
        """Whether a page has seen more than is known here: at another node, or before a kill."""
        return mark is not None and mark != self.mark and later(self.mark, mark) == mark

    @property
    def digest(self) -> str:
        """Names what is known; the same on every node that knows it."""
        known = hashlib.blake2b(self.mark.encode(), digest_size=8)
        for comment_id, comment in sorted(self._comments.items()):
            known.update(f"{comment_id} {comment.get('modifiedTime')} {comment.get('deleted')}\n".encode())
        return known.hexdigest()

    def _put(self, comment_id: str, comment: Mapping[str, Any], as_of: float) -> bool:
        """Whether this is news."""
        known = self._comments.get(comment_id)
        if known is not None:
            if known.get("deleted"):  # nothing brings a comment back
                return False
            earlier = as_of < self._learnt_at[comment_id]
            if not comment.get("deleted") and (
                _older(comment, known) or (earlier and not _older(known, comment))
            ):
                return False
            if _bare(known) == _bare(comment):
                return False
        self._comments[comment_id] = comment
        self._learnt_at[comment_id] = as_of
        return True

    def get(self, comment_id: str) -> Mapping[str, Any] | None:
        """One comment as last seen."""
        return self._comments.get(comment_id)

    def in_order(self, comment_ids: Iterable[str]) -> list[str]:
        """Oldest change first; those without a time last."""
        return sorted(comment_ids, key=lambda one: (self._modified(one) or "~", one))

    def mark_after(self, comment_id: str) -> str:
        """What a page has seen all of that was told this change, and those before it in order."""
        modified = self._modified(comment_id)
        return modified if modified and later(modified, self.mark) == self.mark else self.mark

    def _modified(self, comment_id: str) -> str:
        return str(self._comments.get(comment_id, {}).get("modifiedTime", ""))

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


def _bare(value: Any) -> Any:
    """Without what is false or empty: Google may write it or leave it out."""
    if isinstance(value, Mapping):
        return {name: _bare(part) for name, part in value.items() if part}
    if isinstance(value, list):
        return [_bare(part) for part in value]
    return value


def _time(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
