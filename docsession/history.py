"""What changed in a document lately: by name, as far back as somebody may still have to be told."""

from __future__ import annotations

__all__ = ["History"]

# Beyond so many changes the oldest are told of as one.
_KEPT = 64


class History:
    """Changes one after the other; ``position`` is the last one's number. Who was told up to
    an earlier one is to be told what changed since."""

    __slots__ = ("_kept", "position")

    def __init__(self) -> None:
        self.position = 0
        self._kept: list[tuple[int, frozenset[str]]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, names: frozenset[str]) -> None:
        """One more change, of what these name."""
        self.position += 1
        self._kept.append((self.position, names))
        if len(self._kept) > _KEPT:
            # Who was told of the first of the two hears of it again.
            (_, first), (number, second) = self._kept[:2]
            self._kept[:2] = [(number, first | second)]

    def since(self, position: int) -> frozenset[str]:
        """All that changed after that."""
        return frozenset().union(*(names for number, names in self._kept if number > position))

    def clear(self) -> None:
        """Everybody was told."""
        self._kept.clear()
