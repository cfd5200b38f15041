"""A store as plain rows, kind by kind: what moves from one store to another as it is.

What is sealed stays sealed, for both stores bind it to the same words; but for the state of a document,
which each store marks in its own way. What cannot be unsealed, and would have to be, counts as absent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from docsession.config import Sessions as Lifetimes

__all__ = ["KINDS", "NEVER", "Kind", "Row", "Rows", "Tally", "Values", "expiry"]

NEVER = float("inf")

Values = tuple[Any, ...]
"""What is in a row: bytes, texts, numbers, None, and tuples of such."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows of one sort. ``columns`` are in the order of a row's values; the first ``keys`` name it."""

    name: str
    columns: tuple[str, ...]
    keys: int = 1


# In an order in which each finds what it needs: a session ends its user's being an orphan.
# "state" is an encoded DocumentState; "proofs" are (user, at the document, at its comments), "comments"
# (id, sealed), both in the order of their names.
KINDS = (
    Kind("users", ("user_id", "sealed")),
    Kind("grants", ("user_id", "sealed")),
    Kind("sessions", ("hash", "sealed", "issued", "last_seen", "user_id")),
    Kind("retired", ("hash", "until")),
    Kind("sign_in_states", ("hash", "session", "expires", "sealed")),
    Kind("orphans", ("user_id", "since")),
    Kind("journal", ("hash", "socket", "begun", "outcome", "node")),
    Kind("documents", ("file_id", "as_of", "state", "proofs", "comments")),
    Kind("channels", ("id", "user_id", "generation", "expires", "sealed")),
    Kind("spent", ("day", "node", "units"), keys=2),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and until when it is of use. ``NEVER``: it does not expire."""

    values: Values
    expires: float = NEVER


def expiry(kind: Kind, values: Values, lifetimes: Lifetimes) -> float:
    """Until when this row is of use, from the times in it, as both stores reckon."""
    row: Mapping[str, Any] = dict(zip(kind.columns, values, strict=True))
    match kind.name:
        case "sessions":
            return float(min(row["last_seen"] + lifetimes.idle, row["issued"] + lifetimes.absolute))
        case "retired":
            return float(row["until"])
        case "sign_in_states" | "channels":
            return float(row["expires"])
        case "journal":
            return float(row["begun"] + lifetimes.journal)
        case "documents":
            return float(row["as_of"] + lifetimes.idle)
    return NEVER


class Tally:
    """How many rows there are, and a sum over what is in them that does not depend on their order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, values: Values) -> None:
        encoded = msgspec.msgpack.encode(values)
        self.count += 1
        self._sum += int.from_bytes(hashlib.blake2b(encoded, digest_size=16).digest(), "big")

    @property
    def digest(self) -> str:
        return (self._sum % 2**128).to_bytes(16, "big").hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.count, self._sum) == (other.count, other._sum)


class Rows(Protocol):
    """A store from which rows are taken, or into which they are put. Used from one task.

    Every method may raise :class:`docsession.errors.ConfigError` (it is not what it should be) or
    :class:`docsession.errors.Unavailable`.
    """

    @property
    def name(self) -> str:
        """What it is and where, as it may be shown."""

    async def open_source(self) -> str:
        """Open what is there, and keep daemons out where that can be. Returns a name of its state that
        is another one as soon as a daemon has run on it."""

    async def open_target(self, source: str) -> Mapping[str, str]:
        """Make a place for what comes from the source of that name; returns what was noted there by an
        earlier migration of the same, and nothing where that is not so.

        What was left by one of another state of that source is thrown away.
        """

    async def note(self, noted: Mapping[str, str]) -> None:
        """Keep this in the target until it is finished."""

    async def read(self, kind: Kind, after: str) -> tuple[Sequence[Row], str]:
        """A slice of rows, and what to say as ``after`` for the next; empty: there is none.
        The first is after ``""``."""

    async def write(self, kind: Kind, rows: Sequence[Row]) -> None:
        """Put these, over what is there under the same keys."""

    async def finish(self) -> None:
        """The target is complete: from now on a daemon may use it."""

    async def check_unused(self) -> None:
        """Raises ConfigError where a daemon uses it."""

    async def close(self) -> None: ...
