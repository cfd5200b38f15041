"""Makes a store file, brings an older one up to date, and refuses what is not ours to touch.

All of it blocks: it runs in the store's thread, before the first transaction. The schema is a
row of scripts, ``sqlite_schema_<N>.sql``; a new file is made by all of them in order, an older one
gets those it lacks, after a copy of it was put aside.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

from twisted.logger import Logger

from docsession.backend.sqlite_runner import connect
from docsession.errors import ConfigError

__all__ = ["SCRIPTS", "FileLock", "prepare", "sync_directory"]

log = Logger()

OLDEST_SQLITE = (3, 37, 0)  # the first with STRICT tables
APPLICATION_ID = 0x646F6373  # set by schema 1: "docs"


def _scripts() -> tuple[str, ...]:
    folder = resources.files("docsession.backend")
    found: list[str] = []
    while (script := folder / f"sqlite_schema_{len(found) + 1}.sql").is_file():
        found.append(script.read_text(encoding="utf-8"))
    return tuple(found)


SCRIPTS = _scripts()


class FileLock:
    """Held from open to close, so that two daemons never share a store.

    It lies in a file of its own, which is never removed: to remove it is how two processes
    would come to hold a lock each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises :class:`ConfigError` when another has it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            os.close(file)
            raise ConfigError(f"{self._path.with_suffix('')}: already in use by process {holder}") from None
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def prepare(path: Path, stamp: Mapping[str, str], *, now: float, scripts: Sequence[str] = SCRIPTS) -> None:
    """Leave a store of this schema and stamp at ``path``, or raise :class:`ConfigError`."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigError(f"SQLite 3.37 or later is needed; this Python has {sqlite3.sqlite_version}")
    try:
        _clear_up(path)
        if not path.exists():
            _create(path, stamp, scripts)
        with closing(connect(path)) as connection:
            _check_sound(path, connection)
            version = _version(path, connection, newest=len(scripts))
            _check_stamp(path, connection, stamp)
            if version < len(scripts):
                _upgrade(path, connection, version, scripts)
            with _transaction(connection):  # a disk that takes no writes is found out now
                connection.execute("UPDATE pulse SET at = ?", (now,))
            for file in (path, _beside(path, "-wal"), _beside(path, "-shm")):
                _keep_private(file)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{path}: cannot be used as a store: {error}") from None


def _create(path: Path, stamp: Mapping[str, str], scripts: Sequence[str]) -> None:
    """Make it under another name first: a file with the right name is always whole."""
    log_file = _beside(path, "-wal")
    if log_file.exists():
        # SQLite would play the log of the lost file into the new one.
        raise ConfigError(f"{path}: missing, but {log_file.name} is there; bring it back, or remove both")
    with _temporary(path) as temporary:
        with closing(connect(temporary)) as connection:
            _apply(connection, 0, scripts)
            with _transaction(connection):
                connection.executemany("INSERT INTO stamp VALUES (?, ?)", stamp.items())
        os.rename(temporary, path)
    sync_directory(path.parent)


def _upgrade(path: Path, connection: sqlite3.Connection, version: int, scripts: Sequence[str]) -> None:
    backup = _beside(path, f".schema-{version}")
    with _temporary(path) as temporary:
        with closing(sqlite3.connect(temporary)) as copy:
            connection.backup(copy)
        os.replace(temporary, backup)
    sync_directory(path.parent)
    log.info(
        "upgrading the store from schema {older} to {newer}; a copy is in {backup}",
        older=version,
        newer=len(scripts),
        backup=str(backup),
    )
    _apply(connection, version, scripts)


def _apply(connection: sqlite3.Connection, version: int, scripts: Sequence[str]) -> None:
    """Run the scripts after ``version``, each in one transaction with the change of the number."""
    for number, script in enumerate(scripts[version:], start=version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}")
            connection.execute("UPDATE version SET version = ?", (number,))
            connection.commit()
        except BaseException:
            connection.rollback()
            raise


def _check_sound(path: Path, connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ConfigError(f"{path}: is damaged ({' '.join(verdict.split())}); restore a backup")


def _version(path: Path, connection: sqlite3.Connection, *, newest: int) -> int:
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise ConfigError(f"{path}: is a database, but not a store of docsession")
    (version,) = connection.execute("SELECT max(version) FROM version").fetchone()
    if version > newest:
        raise ConfigError(
            f"{path}: has schema {version}, newer than this program's {newest}; upgrade docsession"
        )
    return int(version)


def _check_stamp(path: Path, connection: sqlite3.Connection, stamp: Mapping[str, str]) -> None:
    stored = dict(connection.execute("SELECT name, value FROM stamp ORDER BY name"))
    if stored != dict(stamp):
        raise ConfigError(
            f"{path}: belongs to {_spelled(stored)}, the configuration to {_spelled(stamp)};"
            " use another state directory"
        )


def _spelled(stamp: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(stamp.items()))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _clear_up(path: Path) -> None:
    """Remove what a start that was killed left: perhaps a copy as large as the store."""
    for leftover in path.parent.iterdir():
        if leftover.name.startswith(_temporary_prefix(path)):
            leftover.unlink()


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}-"


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """An empty file beside ``path``, mode 0600; gone afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=_temporary_prefix(path), dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for leftover in (name, f"{name}-wal", f"{name}-shm", f"{name}-journal"):
            Path(leftover).unlink(missing_ok=True)


def _keep_private(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return
    if mode & 0o077:
        log.warn("{file} could be read by others; it is 0600 now", file=str(file))
        file.chmod(0o600)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
