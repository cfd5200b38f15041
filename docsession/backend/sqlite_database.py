"""One store file while it is in use: transactions, and what is said when it is away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from docsession.backend.sqlite_runner import Interaction, Runner
from docsession.backend.sqlite_schema import FileLock, prepare
from docsession.errors import ConfigError, Unavailable

__all__ = ["Database"]

T = TypeVar("T")

# Troubles of the file or the machine under it, by SQLite's primary codes. Any other is a bug of
# ours, and must not be explained away as "try again".
_TROUBLES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


class Database:
    """Reads and writes as whole transactions. A trouble with the file is :class:`Unavailable`.

    ``busy_timeout`` is how long a write waits, in seconds, for another program that has locked the
    file. It is waited for once: until a write succeeds again, those behind it don't wait, so that
    reads are not stuck in a queue of hopeless writes.
    """

    log = Logger()

    def __init__(self, path: Path, run: Runner, *, busy_timeout: float) -> None:
        self._path = path
        self._runner = run
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._patience = round(busy_timeout * 1000)
        self._file: tuple[int, int] | None = None
        self._away = False
        self.on_away: Callable[[bool], None] = lambda away: None

    async def open(self, stamp: Mapping[str, str], *, now: float) -> None:
        """Raises :class:`ConfigError`; then nothing stays open or locked."""
        try:
            await self._runner.call(lambda: self._take(stamp, now))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._runner.close()
        self._lock.release()

    async def read(self, interaction: Interaction[T]) -> T:
        def transaction(cursor: sqlite3.Cursor) -> T:
            cursor.execute("BEGIN")
            return interaction(cursor)

        return await self._run(transaction)

    async def write(self, interaction: Interaction[T]) -> T:
        """All of it or nothing; on disk when this returns."""

        def transaction(cursor: sqlite3.Cursor) -> T:
            self._check_in_place()
            cursor.execute(f"PRAGMA busy_timeout = {0 if self._away else self._patience}")
            cursor.execute("BEGIN IMMEDIATE")
            return interaction(cursor)

        result = await self._run(transaction)
        if self._away:
            self._away = False
            self.log.info("the store is back")
            self.on_away(False)
        return result

    async def _run(self, interaction: Interaction[T]) -> T:
        try:
            return await self._runner.run(interaction)
        except sqlite3.DatabaseError as error:
            # The low byte is the kind; the rest says more exactly where it happened.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _TROUBLES:
                raise
            raise self._gone(error) from error
        except OSError as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> Unavailable:
        if not self._away:
            self._away = True
            self.log.error("the store is away: {reason}", reason=str(error))
            self.on_away(True)
        return Unavailable()

    def _take(self, stamp: Mapping[str, str], now: float) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
            prepare(self._path, stamp, now=now)
            self._file = _identity(self._path)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be used as a store: {error}") from None

    def _check_in_place(self) -> None:
        """A file that was moved or deleted would take writes until the last process closes it."""
        if _identity(self._path) != self._file:
            raise FileNotFoundError(f"{self._path} is not the file that was opened")


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
