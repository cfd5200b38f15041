"""The rows of a store file, for a migration: read in the order of their keys, or put into a new file.

All of it blocks, and nothing else runs in a migration's process. A target is made under another name,
and gets its own when it is complete.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from docsession.backend.rows import Kind, Row, Rows, Values, expiry
from docsession.backend.sealing import DocumentState, SealedColumns, encoded
from docsession.backend.sqlite_runner import connect
from docsession.backend.sqlite_schema import FileLock, prepare, sync_directory
from docsession.config import Sessions as Lifetimes
from docsession.errors import ConfigError
from docsession.keys import Keys, Sealer
from docsession.model import ChannelRecord, SignInState

__all__ = ["SqliteRows"]

SLICE = 500
# No daemon has this in the stamp it wants, so none opens an unfinished file, whatever its name.
_NOTED = "unfinished migration"

_ENDINGS = ("", "-wal", "-shm")


class SqliteRows:
    """Implements :class:`docsession.backend.rows.Rows`."""

    def __init__(
        self,
        path: Path,
        stamp: Mapping[str, str],
        keys: Keys,
        lifetimes: Lifetimes,
        *,
        slice_of: int = SLICE,
    ) -> None:
        self._path = path
        self._building = path.with_name(f"{path.name}.migrating")
        self._stamp = dict(stamp)
        self._sealed = SealedColumns(Sealer(keys))
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
                (_NOTED, encoded(merged).decode()),
            )

    async def read(self, kind: Kind, after: str) -> tuple[Sequence[Row], str]:
        last = _key(kind, after)
        keys = ", ".join(kind.columns[: kind.keys])
        where = f"WHERE ({keys}) > ({', '.join('?' * kind.keys)})" if last else ""
        columns = ", ".join(_columns(kind))
        query = f"SELECT {columns} FROM {kind.name} {where} ORDER BY {keys} LIMIT ?"  # noqa: S608 - ours
        with self._transaction() as cursor:
            found = cursor.execute(query, (*last, self._slice)).fetchall()
            values = [self._whole(cursor, each) for each in found] if kind.name == "documents" else found
        rows = [
            Row(each, expiry(kind, each, self._lifetimes))
            for each in values
            if each is not None and self._is_readable(kind, each)
        ]
        return rows, _after(found[-1][: kind.keys]) if len(found) == self._slice else ""

    async def write(self, kind: Kind, rows: Sequence[Row]) -> None:
        with self._transaction() as cursor:
            values = [row.values for row in rows]
            if kind.name == "documents":
                values = [self._parted(*each) for each in values]
            columns = _columns(kind)
            cursor.executemany(
                f"INSERT OR REPLACE INTO {kind.name} ({', '.join(columns)})"  # noqa: S608
                f" VALUES ({', '.join('?' * len(columns))})",
                values,
            )
            if kind.name == "documents":
                self._put_parts(cursor, rows)

    # -- documents

    def _whole(self, cursor: sqlite3.Cursor, found: Values) -> Values | None:
        file_id, as_of, sealed = found
        state = self._sealed.unseal_value("document", file_id, sealed, DocumentState)
        if state is None:
            return None
        proofs = cursor.execute(
            "SELECT user_id, document_at, comments_at FROM proofs WHERE file_id = ? ORDER BY user_id",
            (file_id,),
        ).fetchall()
        comments = cursor.execute(
            "SELECT id, sealed FROM comments WHERE file_id = ? ORDER BY id", (file_id,)
        ).fetchall()
        return file_id, as_of, encoded(state), tuple(proofs), tuple(comments)

    def _parted(self, file_id: str, as_of: float, state: bytes, *_: object) -> tuple[str, float, bytes]:
        return file_id, as_of, self._sealed.seal("document", file_id, state)

    def _put_parts(self, cursor: sqlite3.Cursor, rows: Sequence[Row]) -> None:
        """After their documents, whose being replaced has deleted what was there."""
        for file_id, _, _, proofs, comments in (row.values for row in rows):
            cursor.executemany(
                "INSERT INTO proofs (file_id, user_id, document_at, comments_at) VALUES (?, ?, ?, ?)",
                [(file_id, *proof) for proof in proofs],
            )
            cursor.executemany(
                "INSERT INTO comments (file_id, id, sealed) VALUES (?, ?, ?)",
                [(file_id, *comment) for comment in comments],
            )

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

    def _is_readable(self, kind: Kind, values: Values) -> bool:
        """The other store finds in the sealed part what this one has beside it."""
        match kind.name:
            case "channels":
                return self._sealed.unseal_value("channel", values[0], values[-1], ChannelRecord) is not None
            case "sign_in_states":
                return (
                    self._sealed.unseal_value("state", values[0].hex(), values[-1], SignInState) is not None
                )
        return True

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


def _columns(kind: Kind) -> tuple[str, ...]:
    """Those of the table."""
    return ("file_id", "as_of", "sealed") if kind.name == "documents" else kind.columns


def _after(key: Values) -> str:
    return encoded([part.hex() if isinstance(part, bytes) else part for part in key]).decode()


def _key(kind: Kind, after: str) -> list[bytes | str]:
    parts = msgspec.json.decode(after, type=list[str]) if after else []
    return [bytes.fromhex(part) if kind.columns[0] == "hash" else part for part in parts]


def _last_pulse(path: Path) -> float:
    try:
        with closing(connect(path)) as connection:
            return float(connection.execute("SELECT at FROM pulse").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return 0.0  # what is wrong with it is found, and said better, by who prepares it


_fits: type[Rows] = SqliteRows
