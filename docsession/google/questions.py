"""Params of reads that were checked before: what they ask for, so that asking again is cheap.

The same page asks the same again and again, in the same bytes; and checking them costs more than
all else that a kept answer needs. What they ask for depends on nobody who asks.
"""

from __future__ import annotations

import msgspec

from docsession.google.drive_request import DriveRequest

__all__ = ["Question", "Questions", "question"]

# What one costs beside its texts, roughly; and how long a text is worth keeping.
_OVERHEAD = 350
_LONGEST = 4096


class Question(msgspec.Struct, frozen=True, gc=False):
    """What of a request a kept answer is found by."""

    key: str
    max_age: float | None
    file_id: str | None


def question(request: DriveRequest) -> Question:
    """What that request asks for."""
    return Question(request.key(), request.max_age, request.file_id)


class Questions:
    """Of one method, by the bytes of the params. Bounded; those not asked again go first."""

    def __init__(self, most_bytes: int) -> None:
        self._half = most_bytes // 2
        # When the young fill their half they become the old, and the old are forgotten.
        self._young: dict[bytes, Question] = {}
        self._old: dict[bytes, Question] = {}
        self._bytes = 0

    def get(self, params: bytes) -> Question | None:
        """What they ask for; None where that is not known (any more)."""
        found = self._young.get(params)
        if found is None and (found := self._old.get(params)) is not None:
            self.keep(params, found)
        return found

    def keep(self, params: bytes, asked: Question) -> None:
        """They were checked, and ask for that."""
        size = len(params) + len(asked.key) + _OVERHEAD
        if len(params) > _LONGEST or params in self._young:
            return
        if self._bytes + size > self._half:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[params] = asked
        self._bytes += size
