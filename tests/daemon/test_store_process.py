"""The embedded store in its thread, under a real reactor, and in a process that is killed."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from docsession.backend.sqlite import AdbapiRunner, InlineRunner, SqliteStore
from docsession.errors import Unavailable
from docsession.keys import Keys, Sealer
from tests.contract.store import (
    ANN,
    DOCUMENT,
    ENTRY,
    KEYS,
    NOW,
    PROMISES,
    STAMP,
    USER,
    prune,
)

T = TypeVar("T")


# -- in a thread


class ThreadedWorld:
    """As the daemon has it. A crash is a copy of the file and its log."""

    def __init__(self, folder: Path, reactor: Any) -> None:
        self._folder = folder
        self._stores: list[SqliteStore] = []
        self._clock = Clock()
        self._clock.advance(NOW)
        self.reactor = reactor
        self.path = self._fresh_path()

    async def open(self, keys: Keys = KEYS, stamp: dict[str, str] = STAMP, **limits: Any) -> SqliteStore:
        if self._stores:
            before, self.path = self.path, self._fresh_path()
            for ending in ("", "-wal"):
                if (survivor := before.with_name(f"store.db{ending}")).exists():
                    shutil.copy2(survivor, self.path.parent)
        store = self.make(self.path, keys, **limits)
        await store.open(stamp)
        return store

    async def beside(self) -> SqliteStore:
        return self._stores[-1]

    async def later(self, seconds: float) -> None:
        self._clock.advance(seconds)
        await prune(self._stores[-1], self._clock.seconds())

    def make(
        self, path: Path, keys: Keys = KEYS, busy_timeout: float = 60, most_waiting: int = 1000
    ) -> SqliteStore:
        runner = AdbapiRunner(path, self.reactor, most_waiting=most_waiting)
        store = SqliteStore(path, Sealer(keys), run=runner, clock=self._clock, busy_timeout=busy_timeout)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    def _fresh_path(self) -> Path:
        path = self._folder / str(len(self._stores)) / "store.db"
        path.parent.mkdir()
        return path


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[ThreadedWorld]:
    from twisted.internet import reactor

    world = ThreadedWorld(tmp_path, reactor)
    yield world
    await world.close()


@pytest.mark.parametrize("name", PROMISES)
@pytest_twisted.ensureDeferred
async def test_promise(name: str, world: ThreadedWorld) -> None:
    await PROMISES[name](world)


@contextmanager
def locked(store_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program is in the middle of a write, until it says ROLLBACK."""
    with closing(sqlite3.connect(store_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest_twisted.ensureDeferred
async def test_the_reactor_turns_while_a_write_waits(world: ThreadedWorld) -> None:
    """Were the reactor's own thread waiting for the lock, nobody could release it."""
    store = await world.open()
    with locked(world.path) as other:
        write = Deferred.fromCoroutine(store.save_user(USER))
        await deferLater(world.reactor, 0)
        assert not write.called
        other.execute("ROLLBACK")
        await write
    assert await store.load_user(ANN) == USER


@pytest_twisted.ensureDeferred
async def test_locked_out_and_back(world: ThreadedWorld) -> None:
    """One write waits in vain; those behind it don't, reads go on, and all works again afterwards."""
    store = await world.open(busy_timeout=0.01)
    with locked(world.path) as other:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.save_user(USER)
            assert await store.load_user(ANN) is None
        other.execute("ROLLBACK")
    await store.save_user(USER)
    assert await store.load_user(ANN) == USER


@pytest_twisted.ensureDeferred
async def test_all_that_was_asked_for_is_done_before_it_closes(world: ThreadedWorld) -> None:
    store = await world.open()
    saves = [Deferred.fromCoroutine(store.save_user(replace(USER, id=str(n)))) for n in range(20)]
    await store.close()
    await gatherResults(saves)
    with pytest.raises(Unavailable):
        await store.save_user(USER)
    store = await world.open()
    assert await store.load_user("19") == replace(USER, id="19")


@pytest_twisted.ensureDeferred
async def test_who_goes_away_waits_no_longer(world: ThreadedWorld) -> None:
    """The caller is free at once; what it asked for happens in its turn, and disturbs nobody."""
    store = await world.open()
    with locked(world.path) as other:
        write = Deferred.fromCoroutine(store.save_user(USER))
        await deferLater(world.reactor, 0)
        write.cancel()
        with pytest.raises(CancelledError):
            await write
        other.execute("ROLLBACK")
    assert await store.load_user(ANN) == USER


@pytest_twisted.ensureDeferred
async def test_the_queue_is_bounded(world: ThreadedWorld) -> None:
    store = await world.open(most_waiting=3)
    with locked(world.path) as other:
        writes = [Deferred.fromCoroutine(store.save_user(USER)) for _ in range(3)]
        writes[0].cancel()  # its work still stands in the queue
        with pytest.raises(CancelledError):
            await writes[0]
        with pytest.raises(Unavailable):
            await store.ping()
        with pytest.raises(Unavailable):
            await store.load_user(ANN)
        other.execute("ROLLBACK")
        await gatherResults(writes[1:])
    await store.ping()


@pytest_twisted.ensureDeferred
async def test_nothing_begins_before_it_is_opened(world: ThreadedWorld) -> None:
    """Made before twistd forks: no thread, no file."""
    threads = threading.active_count()
    store = world.make(world.path)
    assert threading.active_count() == threads
    assert list(world.path.parent.iterdir()) == []
    await store.close()


# -- in a process that is killed


@contextmanager
def child(path: Path, task: str, turn: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.daemon.store_child", str(path), task, turn]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def opened(path: Path, look: Callable[[SqliteStore], Coroutine[Any, Any, T]]) -> T:
    """What a look at the file finds, without any thread."""

    async def visit() -> T:
        store = SqliteStore(path, Sealer(KEYS), run=InlineRunner(path), clock=Clock())
        await store.open(STAMP)
        try:
            return await look(store)
        finally:
            await store.close()

    results: list[T | Failure] = []
    Deferred.fromCoroutine(visit()).addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def test_killed_in_the_middle_of_many_writes(tmp_path: Path) -> None:
    """What was said to be saved is there, again and again over one file; nothing is there by half."""
    path = tmp_path / "store.db"
    acknowledged: dict[str, dict[str, int]] = defaultdict(dict)
    for turn, lines in enumerate((1, 2, 7, 40, 111, 250)):
        with child(path, "save", str(turn)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            said = [process.stdout.readline() for _ in range(lines)]
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()  # it may have gone on for a moment
        assert process.returncode == -signal.SIGKILL
        for line in said:
            if line.endswith("\n"):
                what, writer, number = line.split()
                acknowledged[writer][what] = int(number)
        opened(path, lambda store: check_all(store, acknowledged))
    assert sum(number + 1 for last in acknowledged.values() for number in last.values()) >= 411


async def check_all(store: SqliteStore, acknowledged: dict[str, dict[str, int]]) -> None:
    for writer, last in acknowledged.items():
        for number in range(last["begun"] + 1):
            key = replace(ENTRY.key, connection=writer, call_id=str(number))
            entry = await store.journal_find(key)
            assert entry is not None
            if number <= last.get("finished", -1):
                assert entry.outcome == str(number).encode()
        if "granted" in last:
            grant = await store.load_grant(writer)
            assert grant is not None
            assert last["granted"] <= grant.generation <= last["granted"] + 1
        # A session and the retirement of the one before it came together.
        live = await store.sessions_of_user(writer)
        if "replaced" in last:
            assert len(live) == 1
            number = int(live[0].id.rstrip("_").rpartition("-")[2])
            assert last["replaced"] <= number <= last["replaced"] + 1
            for earlier in range(number):
                assert await store.is_retired(f"{writer}-{earlier}".ljust(32, "_"))


def test_a_full_disk(tmp_path: Path) -> None:
    """Writes are unavailable, reads go on; when there is room again all works, and nothing is lost."""
    path = tmp_path / "store.db"
    with child(path, "full", "x") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = said.splitlines()
    assert lines[-1] == "writes again"
    assert "reads go on" in lines
    saved = [line.split()[1] for line in lines if line.startswith("saved ")]
    assert 50 < len(saved) < 10_000

    async def look(store: SqliteStore) -> None:
        for file_id in saved:
            assert await store.load_document(file_id) == replace(DOCUMENT, file_id=file_id)

    opened(path, look)


@pytest_twisted.ensureDeferred
async def test_what_is_asked_at_once_is_done_in_order_and_each_for_itself(world: ThreadedWorld) -> None:
    """One that fails takes nothing with it but what it has written itself."""
    await world.open()
    runner = AdbapiRunner(world.path, world.reactor)
    done: list[str] = []

    def put(cursor: sqlite3.Cursor, name: str) -> str:
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("CREATE TABLE IF NOT EXISTS order_of (name TEXT)")
        cursor.execute("INSERT INTO order_of VALUES (?)", (name,))
        if name == "c":
            raise ValueError(name)
        return name

    waiting = [Deferred.fromCoroutine(runner.run(partial(put, name=name))) for name in "abcde"]
    for one in waiting:
        one.addCallbacks(done.append, lambda failure: done.append(str(failure.value)))
    await gatherResults(waiting)
    assert done == list("abcde")
    rows = await runner.run(lambda cursor: cursor.execute("SELECT name FROM order_of").fetchall())
    assert [name for (name,) in rows] == list("abde")
    await runner.close()


@pytest_twisted.ensureDeferred
async def test_without_a_file_all_who_asked_are_told(world: ThreadedWorld) -> None:
    runner = AdbapiRunner(world.path.with_name("nothing.db"), world.reactor)
    for _ in range(2):
        asked = [Deferred.fromCoroutine(runner.run(lambda cursor: None)) for _ in range(3)]
        for one in asked:
            with pytest.raises(sqlite3.OperationalError):
                await one
    await runner.close()
