"""What one tab has not read yet: in order, and counted, so that it can be bounded."""

from __future__ import annotations

from collections import deque

__all__ = ["ANSWER", "EVENT", "STATE", "Backlog"]

# Of a document's state only the latest matters: what waits can be dropped, and told anew later.
STATE, EVENT, ANSWER = range(3)
# What one costs beside its text, roughly.
_OVERHEAD = 100


class Backlog:
    """Messages of three kinds. ``events`` and ``bytes``: what those that are no answers hold, and all."""

    __slots__ = ("_messages", "bytes", "events")

    def __init__(self) -> None:
        self._messages: deque[tuple[int, bytes]] = deque()
        self.bytes = 0
        self.events = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, kind: int, payload: bytes) -> None:
        """One more, at the end."""
        self._messages.append((kind, payload))
        self._count(kind, len(payload) + _OVERHEAD)

    def take(self) -> bytes:
        """The first."""
        kind, payload = self._messages.popleft()
        self._count(kind, -len(payload) - _OVERHEAD)
        return payload

    def drop_states(self) -> None:
        """Leave out what can be told anew."""
        kept = [(kind, payload) for kind, payload in self._messages if kind != STATE]
        dropped = sum(len(payload) + _OVERHEAD for kind, payload in self._messages if kind == STATE)
        self._messages = deque(kept)
        self._count(STATE, -dropped)

    def _count(self, kind: int, length: int) -> None:
        self.bytes += length
        if kind != ANSWER:
            self.events += length
