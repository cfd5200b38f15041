"""What a store seals: bytes or an encoded value, bound to its kind and row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from twisted.logger import Logger

from docsession.keys import Sealer, Unreadable

__all__ = ["CommentsLookedAt", "DocumentState", "SealedColumns", "encoded"]

T = TypeVar("T")


class DocumentState(msgspec.Struct, frozen=True):
    """The part of a document's record that Google said."""

    version: str
    google_version: int
    file: Mapping[str, Any]
    doubted: float = 0.0


class CommentsLookedAt(msgspec.Struct, frozen=True):
    """What is known of a document's comments beside themselves."""

    mark: str
    looked_at: float


class SealedColumns:
    """Seals and unseals, in the store's thread. What cannot be read (a key was dropped) is None.

    It is counted in ``unreadable``, by kind.
    """

    log = Logger()

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.unreadable: Counter[str] = Counter()
        self._logged: set[str] = set()

    def log_unreadable(self) -> None:
        """Say it once for each kind; apart from the counting, because logs belong to the reactor's thread."""
        for kind in list(self.unreadable):
            if kind not in self._logged:
                self._logged.add(kind)
                self.log.error(
                    "a stored {kind} cannot be read with these keys: it counts as absent", kind=kind
                )

    def seal(self, kind: str, row: str, data: bytes) -> bytes:
        return self._sealer.seal(data, about=f"{kind} {row}")

    def unseal(self, kind: str, row: str, blob: bytes) -> bytes | None:
        try:
            return self._sealer.unseal(blob, about=f"{kind} {row}")
        except Unreadable:
            self.unreadable[kind] += 1
            return None

    def unseal_value(self, kind: str, row: str, blob: bytes, of: type[T]) -> T | None:
        """As :meth:`unseal`, for what :func:`encoded` gave."""
        data = self.unseal(kind, row, blob)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=of)
        except (msgspec.MsgspecError, RecursionError):  # of a version that knew it otherwise
            self.unreadable[kind] += 1
            return None


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
