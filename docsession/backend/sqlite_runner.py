"""Where SQLite's blocking calls are made: in one thread of their own, or (unit tests) inline.

Either way there is one connection and one transaction at a time, in the order of asking.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from docsession.errors import Unavailable

__all__ = ["AdbapiRunner", "InlineRunner", "Runner", "connect"]

T = TypeVar("T")
Interaction = Callable[[sqlite3.Cursor], T]

WAL_SIZE_LIMIT = 16 * 1024 * 1024


class Runner(Protocol):
    """Runs what blocks. Whatever the work raises is raised to the caller."""

    async def run(self, interaction: Interaction[T]) -> T:
        """Run with a cursor, then commit; where it raises, roll back."""

    async def call(self, work: Callable[[], T]) -> T:
        """Run what needs the file but not the connection, such as making it."""

    async def close(self) -> None:
        """Finish what was asked for, close the connection, take nothing more."""


class InlineRunner:
    """Blocks the caller: for unit tests, which have no thread and no reactor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def run(self, interaction: Interaction[T]) -> T:
        _refuse_if(self._closed)
        if self._connection is None:
            self._connection = connect(self._path)
        return _transact(self._connection, interaction)

    async def call(self, work: Callable[[], T]) -> T:
        _refuse_if(self._closed)
        return work()

    async def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class AdbapiRunner:
    """One thread with one connection, both begun at first use (so after ``twistd`` has forked).

    A caller that is cancelled waits no longer; what it asked for is done all the same.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads, *, most_waiting: int = 20_000) -> None:
        self._path = path
        self._reactor = reactor
        self._most_waiting = most_waiting
        self._waiting = 0
        self._pool: ConnectionPool | None = None
        self._batch: _Batch | None = None
        self._closed = False

    async def run(self, interaction: Interaction[T]) -> T:
        pool = self._started()
        asked: Deferred[T] = Deferred()
        if self._batch is None or not self._batch.add(interaction, asked):
            self._batch = batch = _Batch(self._reactor)
            batch.add(interaction, asked)
            pool.runWithConnection(batch.work).addBoth(batch.over)
        return await self._counted(asked)

    async def call(self, work: Callable[[], T]) -> T:
        pool = self._started()
        self._batch = None  # what is asked for later is done later
        return await self._counted(deferToThreadPool(self._reactor, pool.threadpool, work))

    async def close(self) -> None:
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        # The last closing of a connection writes the log back into the file, which may take a
        # while: let the thread do it. Then joining the thread does not hold up the reactor.
        await deferToThreadPool(self._reactor, pool.threadpool, _close_connections, pool)
        pool.close()

    def _started(self) -> ConnectionPool:
        _refuse_if(self._closed)
        if self._waiting >= self._most_waiting:
            raise Unavailable("the store has too much to do")
        if self._pool is None:
            self._pool = ConnectionPool(
                "sqlite3",
                _address(self._path),
                **_OPTIONS,
                cp_openfun=_set_up,
                cp_min=1,
                cp_max=1,
                cp_reactor=self._reactor,
            )
        return self._pool

    def _counted(self, work: Deferred[T]) -> Deferred[T]:
        """Waits for the work and can be cancelled, while the work goes on and still counts."""
        self._waiting += 1
        waiter: Deferred[T] = Deferred()

        def done(result: T | Failure) -> None:
            self._waiting -= 1
            waiter.callback(result)  # a Failure is passed on as one

        work.addBoth(done)
        return waiter


class _Batch:
    """What was asked for while the thread was busy: it takes one after the other, and the reactor is
    woken once for all that is done by then. Going to and fro costs more than reading a row."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lock = Lock()
        self._asked: deque[tuple[Interaction[Any], Deferred[Any]]] = deque()
        self._done: deque[tuple[Deferred[Any], Any]] = deque()
        self._woken = False
        self._ended = False

    def add(self, interaction: Interaction[Any], asked: Deferred[Any]) -> bool:
        """False where the thread has left already."""
        with self._lock:
            if not self._ended:
                self._asked.append((interaction, asked))
            return not self._ended

    def work(self, connection: sqlite3.Connection) -> None:
        """In the thread."""
        while (next_ := self._next()) is not None:
            interaction, asked = next_
            try:
                result: Any = _transact(connection, interaction)
            except BaseException:
                result = Failure()
            self._done.append((asked, result))
            # Told before it is looked at: what comes in between is seen, or wakes anew.
            if not self._woken:
                self._woken = True
                self._reactor.callFromThread(self._deliver)

    def over(self, result: object) -> None:
        """The thread has left. A Failure: there was no connection."""
        self._deliver()
        while isinstance(result, Failure) and (next_ := self._next()) is not None:
            next_[1].errback(result)

    def _next(self) -> tuple[Interaction[Any], Deferred[Any]] | None:
        with self._lock:
            if self._asked:
                return self._asked.popleft()
            self._ended = True
            return None

    def _deliver(self) -> None:
        self._woken = False
        while self._done:
            asked, result = self._done.popleft()
            asked.callback(result)  # a Failure is passed on as one


def connect(path: Path) -> sqlite3.Connection:
    """Open a file that is there, set up as we always have it."""
    connection: sqlite3.Connection = sqlite3.connect(_address(path), **_OPTIONS)
    _set_up(connection)
    return connection


# The closing of adbapi's pool and our own thread differ, hence check_same_thread; transactions
# are begun by us (isolation_level None), so that a write takes its lock first and never half-way.
_OPTIONS: dict[str, Any] = {"uri": True, "isolation_level": None, "check_same_thread": False}


def _address(path: Path) -> str:
    # mode=rw: a store that has vanished must not come back as an empty one.
    return f"{path.absolute().as_uri()}?mode=rw"


def _set_up(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # every commit is on disk before it is said
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT}")
    except BaseException:
        connection.close()
        raise


def _with_cursor(connection: sqlite3.Connection, interaction: Interaction[T]) -> T:
    with closing(connection.cursor()) as cursor:
        return interaction(cursor)


def _transact(connection: sqlite3.Connection, interaction: Interaction[T]) -> T:
    """As adbapi does it."""
    try:
        result = _with_cursor(connection, interaction)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result


def _close_connections(pool: ConnectionPool) -> None:
    for connection in list(pool.connections.values()):
        pool.disconnect(connection)


def _refuse_if(closed: bool) -> None:
    if closed:
        raise Unavailable("the store is closed")
