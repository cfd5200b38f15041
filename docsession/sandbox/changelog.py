"""The change log, with Google's rule: one live entry per item, moved to the end by every change.

There is one numbering for all logs. What happens to a file is entered once, for everybody;
what concerns one person only (a view, a lost access) or one shared drive goes into a log of
its own. Whether somebody may see an item is decided when the log is read, never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

__all__ = ["ChangeLog", "Entry", "KeptLog", "drive_key"]

_FIRST = 660


def drive_key(drive_id: str) -> str:
    """The key of an entry about a shared drive itself, rather than about a file."""
    return "drive/" + drive_id


class Entry(Struct, frozen=True):
    """The latest change of one item."""

    number: int
    key: str
    """A file id, or :func:`drive_key`."""
    time: str
    left: bool = False
    """The item left the corpus whose log this is."""


class KeptLog(Struct):
    """A log as kept."""

    next_number: int
    common: list[Entry]
    own: dict[str, list[Entry]]


class ChangeLog:
    """Numbers, and what they stand for."""

    def __init__(self) -> None:
        self.next_number = _FIRST
        self._common: dict[str, Entry] = {}
        self._own: dict[str, dict[str, Entry]] = {}
        # Each is called with (whose log, None: the common one; the key) after every entry.
        self.on_entry: list[Callable[[str | None, str], None]] = []

    def enter(self, key: str, time: str) -> None:
        """Something changed that everybody who may see it can read of."""
        self._put(self._common, key, time)
        self._tell(None, key)

    def enter_for(self, owner: str, key: str, time: str, *, left: bool = False) -> None:
        """Something changed for one person (an email) or in one shared drive (its id)."""
        self._put(self._own.setdefault(owner, {}), key, time, left=left)
        self._tell(owner, key)

    def forget(self, key: str) -> None:
        """The item is gone; only the logs of those who could see it still tell of it."""
        self._common.pop(key, None)

    def since(self, number: int, owner: str, shows: Callable[[str], bool]) -> list[Entry]:
        """Entries from this number on, oldest first, one for each item.

        Of the common log those that ``shows`` lets through; of the owner's own log all.
        """
        newest = {entry.key: entry for entry in _backwards_to(number, self._common) if shows(entry.key)}
        for entry in _backwards_to(number, self._own.get(owner, {})):
            known = newest.get(entry.key)
            if known is None or known.number < entry.number:
                newest[entry.key] = entry
        return sorted(newest.values(), key=lambda entry: entry.number)

    def _put(self, log: dict[str, Entry], key: str, time: str, *, left: bool = False) -> None:
        log.pop(key, None)
        log[key] = Entry(self.next_number, key, time, left)
        self.next_number += 1

    def _tell(self, owner: str | None, key: str) -> None:
        for tell in self.on_entry:
            tell(owner, key)

    def kept(self) -> KeptLog:
        """All of it, for :meth:`load`."""
        own = {owner: list(log.values()) for owner, log in self._own.items()}
        return KeptLog(self.next_number, list(self._common.values()), own)

    def load(self, kept: KeptLog) -> None:
        """Become what :meth:`kept` gave."""
        self.next_number = kept.next_number
        self._common = {entry.key: entry for entry in kept.common}
        self._own = {owner: {entry.key: entry for entry in log} for owner, log in kept.own.items()}


def _backwards_to(number: int, log: dict[str, Entry]) -> Iterator[Entry]:
    for entry in reversed(log.values()):
        if entry.number < number:
            return
        yield entry
