"""The rows of a store file, for a migration: read in the order of their keys, or put into a new file.

All of it blocks, and nothing else runs in a migration's process. A target is made under another name,
and gets its own when it is complete.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from docsession.backend.rows import Kind, Row, Rows, expiry
from docsession.backend.sqlite_runner import connect
from docsession.backend.sqlite_schema import FileLock, prepare, sync_directory
from docsession.config import Sessions as Lifetimes
from docsession.errors import ConfigError

__all__ = ["SqliteRows"]

SLICE = 500
# No daemon has this in the stamp it wants, so none opens an unfinished file, whatever its name.
_NOTED = "unfinished migration"

_ENDINGS = ("", "-wal", "-shm")


class SqliteRows:
    """Implements :class:`docsession.backend.rows.Rows`."""

    def __init__(
        self, path: Path, stamp: Mapping[str, str], lifetimes: Lifetimes, *, slice_of: int = SLICE
    ) -> None:
        self._path = path
        self._building = path.with_name(f"{path.name}.migrating")
        self._stamp = dict(stamp)
        self._lifetimes = lifetimes
        self._slice = slice_of
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._connection: sqlite3.Connection | None = None

    @property
    def name(self) -> str:
        return f"sqlite {self._path}"

    async def open_source(self) -> str:
        with self._troubles():
            if not self._path.exists():
                raise ConfigError(f"{self._path}: there is no store")
            self._lock.acquire()
            # Every daemon writes down when it started.
            began = _last_pulse(self._path)
            prepare(self._path, self._stamp, now=began)
            self._connection = connect(self._path)
            return f"{self.name} {began!r}"

    async def open_target(self, source: str) -> Mapping[str, str]:
        with self._troubles():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
            for ending in _ENDINGS:
                if (there := self._path.with_name(self._path.name + ending)).exists():
                    raise ConfigError(f"{there}: is there already; move it away, or have it moved from")
            noted = self._noted_before(source)
            if not noted:
                self._discard()
                prepare(self._building, self._stamp, now=0.0)
            self._connection = connect(self._building)
            if not noted:
                await self.note({"source": source})
            return noted

    async def note(self, noted: Mapping[str, str]) -> None:
        with self._transaction() as cursor:
            row = cursor.execute("SELECT value FROM stamp WHERE name = ?", (_NOTED,)).fetchone()
            merged = {**(_decoded(row[0]) if row else {}), **noted}
            cursor.execute(
                "INSERT OR REPLACE INTO stamp (name, value) VALUES (?, ?)",
                (_NOTED, msgspec.json.encode(merged).decode()),
            )

    async def read(self, kind: Kind, after: str) -> tuple[Sequence[Row], str]:
        keys = ", ".join(kind.columns[: kind.keys])
        of_document = kind.name in ("proofs", "comments")
        columns = ", ".join(
            (*kind.columns, "(SELECT as_of FROM documents WHERE file_id = rows.file_id)")
            if of_document
            else kind.columns
        )
        query = f"SELECT {columns} FROM {kind.name} AS rows"  # noqa: S608 - names of ours
        key = msgspec.json.decode(after, type=list[str]) if after else []
        values: list[Any] = [bytes.fromhex(part) if kind.columns[0] == "hash" else part for part in key]
        if values:
            query += f" WHERE ({keys}) > ({', '.join('?' * kind.keys)})"
        query += f" ORDER BY {keys} LIMIT ?"
        with self._transaction() as cursor:
            found = cursor.execute(query, (*values, self._slice)).fetchall()
        if not found:
            return [], ""
        width = len(kind.columns)
        rows = [
            Row(each[:width], expiry(kind, each[:width], self._lifetimes, *each[width:])) for each in found
        ]
        last = [part.hex() if isinstance(part, bytes) else part for part in found[-1][: kind.keys]]
        return rows, msgspec.json.encode(last).decode() if len(found) == self._slice else ""

    async def write(self, kind: Kind, rows: Sequence[Row]) -> None:
        keys = ", ".join(kind.columns[: kind.keys])
        marks = ", ".join("?" * len(kind.columns))
        # Not "INSERT OR REPLACE": replacing a document would delete its proofs and comments.
        others = ", ".join(f"{column} = excluded.{column}" for column in kind.columns[kind.keys :])
        command = (
            f"INSERT INTO {kind.name} ({', '.join(kind.columns)}) VALUES ({marks})"  # noqa: S608
            f" ON CONFLICT ({keys}) DO UPDATE SET {others}"
        )
        with self._transaction() as cursor:
            cursor.executemany(command, [row.values for row in rows])

    async def finish(self) -> None:
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM stamp WHERE name = ?", (_NOTED,))
        with self._troubles():
            assert self._connection is not None
            self._connection.close()  # the last one: writes the log back into the file
            self._connection = None
            self._building.rename(self._path)
            sync_directory(self._path.parent)

    async def check_unused(self) -> None:
        """The lock is held: nobody can."""

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    # -- inside

    def _noted_before(self, source: str) -> Mapping[str, str]:
        if not self._building.exists():
            return {}
        try:
            with closing(connect(self._building)) as connection:
                row = connection.execute("SELECT value FROM stamp WHERE name = ?", (_NOTED,)).fetchone()
                stamp = dict(connection.execute("SELECT name, value FROM stamp WHERE name <> ?", (_NOTED,)))
        except sqlite3.Error:
            return {}  # killed while it was made
        noted = _decoded(row[0]) if row else {}
        return noted if noted.get("source") == source and stamp == self._stamp else {}

    def _discard(self) -> None:
        for ending in _ENDINGS:
            self._building.with_name(self._building.name + ending).unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        connection = self._connection
        assert connection is not None
        with self._troubles(), closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{self._path}: {error}") from None


def _decoded(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def _last_pulse(path: Path) -> float:
    try:
        with closing(connect(path)) as connection:
            return float(connection.execute("SELECT at FROM pulse").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return 0.0  # what is wrong with it is found, and said better, by who prepares it


_fits: type[Rows] = SqliteRows
