"""A store is moved whole, goes on where it stopped, and is compared; here from one file into another."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.rows import Kind, Row
from docsession.backend.sqlite import InlineRunner, SqliteStore
from docsession.backend.sqlite_rows import SqliteRows
from docsession.config import Sessions as Lifetimes
from docsession.errors import ConfigError, Unavailable
from docsession.keys import Sealer
from docsession.migration import Comparison, Migration, Stopped
from tests.contract.store import KEYS, STAMP
from tests.storing import AT, contents, fill

T = TypeVar("T")
LIFETIMES = Lifetimes()


class Told:
    """Whether to go on: for so many slices."""

    def __init__(self, slices: int) -> None:
        self.left = slices

    def __call__(self) -> bool:
        self.left -= 1
        return self.left >= 0


class MigrationTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="docsession-migration-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("old", "new"):
            (self.folder / name).mkdir()
        self.old = self.folder / "old" / "docsession.sqlite"
        self.new = self.folder / "new" / "docsession.sqlite"
        self.clock = Clock()
        self.clock.advance(AT)
        self.said: list[str] = []

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def filled(self, people: int = 3) -> None:
        async def work() -> None:
            store = self.store(self.old)
            await store.open(STAMP)
            await fill(store, people=people)
            await store.close()

        self.result(work())

    def store(self, path: Path) -> SqliteStore:
        return SqliteStore(path, Sealer(KEYS), run=InlineRunner(path), clock=self.clock)

    def source(self, slice_of: int = 2) -> SqliteRows:
        return SqliteRows(self.old, STAMP, KEYS, LIFETIMES, slice_of=slice_of)

    def target(self, stamp: dict[str, str] = STAMP) -> SqliteRows:
        return SqliteRows(self.new, stamp, KEYS, LIFETIMES, slice_of=3)

    def migration(self, target: SqliteRows | None = None, slices: int = 10**9) -> Migration:
        return Migration(
            self.source(), target or self.target(), self.clock, self.said.append, go_on=Told(slices)
        )

    def move(self, target: SqliteRows | None = None, slices: int = 10**9) -> list[Comparison]:
        return self.result(self.migration(target, slices).run())

    def refused(self, target: SqliteRows | None = None) -> str:
        failure = self.failureResultOf(Deferred.fromCoroutine(self.migration(target).run()))
        failure.trap(ConfigError)
        return str(failure.value)

    def rows(self, path: Path) -> dict[str, set[Any]]:
        return contents(path, KEYS)

    def change(self, path: Path, command: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            assert connection.execute(command).rowcount
            connection.commit()

    def test_all_of_it_arrives(self) -> None:
        self.filled(5)
        before = self.rows(self.old)
        found = self.move()
        self.assertTrue(all(each.equal for each in found))
        counts = {name: len(rows) for name, rows in before.items() if name not in ("proofs", "comments")}
        self.assertEqual({each.kind: each.source.count for each in found}, counts)
        self.assertTrue(all(before.values()), "something of every kind")
        self.assertEqual(self.rows(self.new), before)
        self.assertEqual(self.rows(self.old), before)
        self.assertEqual(
            {each.name for each in self.new.parent.iterdir()}, {"docsession.sqlite", "docsession.sqlite.lock"}
        )

        async def use() -> None:
            store = self.store(self.new)
            await store.open(STAMP)
            for number in range(5):
                assert (await store.load_session(f"session-of-{number:022d}")) is not None
                document = await store.load_document(f"file-{number}")
                assert document is not None and len(document.proofs) == 2
                assert await store.load_comments(f"file-{number}") is not None
            await store.close()

        self.result(use())

    def test_it_goes_on_where_it_stopped(self) -> None:
        """Stopped anywhere, any number of times: nothing is missing, and nothing is moved from the start."""
        self.filled(5)
        before = self.rows(self.old)
        for slices in (0, 1, 2, 3, 5, 8, 7):
            failure = self.failureResultOf(Deferred.fromCoroutine(self.migration(slices=slices).run()))
            failure.trap(Stopped)
            self.assertFalse(self.new.exists())
        self.assertIn("users: 3 moved", self.said)  # the other two were moved before
        del self.said[:]
        self.assertTrue(all(each.equal for each in self.move()))
        self.assertEqual(self.rows(self.new), before)
        self.assertFalse([line for line in self.said if line.startswith(("users", "grants", "sessions"))])

    def test_a_changed_source_is_moved_anew(self) -> None:
        """A daemon that ran in between may have deleted what was moved already."""
        self.filled(5)
        self.failureResultOf(Deferred.fromCoroutine(self.migration(slices=9).run())).trap(Stopped)
        self.clock.advance(1)

        async def use() -> None:
            store = self.store(self.old)
            await store.open(STAMP)
            await store.delete_user(f"{0:021d}")
            await store.close()

        self.result(use())
        self.assertTrue(all(each.equal for each in self.move()))
        self.assertEqual(self.rows(self.new), self.rows(self.old))
        self.assertEqual(len(self.rows(self.new)["users"]), 4)

    def test_a_difference_is_found(self) -> None:
        """One value of one row is enough; then the target is nobody's, and the next time begins anew."""
        self.filled(3)

        class Forgetful(SqliteRows):
            async def write(self, kind: Kind, rows: Any) -> None:
                if kind.name == "retired":
                    rows = [Row((row.values[0], row.values[1] + 0.5), row.expires) for row in rows]
                await super().write(kind, rows)

        found = self.move(Forgetful(self.new, STAMP, KEYS, LIFETIMES))
        self.assertEqual([each.kind for each in found if not each.equal], ["retired"])
        self.assertFalse(self.new.exists())
        self.assertTrue(all(each.equal for each in self.move()))
        self.assertEqual(self.rows(self.new), self.rows(self.old))

    def test_what_has_expired_is_left_out(self) -> None:
        """By the times in the rows and the lifetimes; proofs and comments go with their document."""
        self.filled(3)
        self.change(self.old, "UPDATE sessions SET last_seen = last_seen - 31 * 86400 WHERE user_id IS NULL")
        self.change(self.old, "UPDATE documents SET as_of = as_of - 31 * 86400 WHERE file_id = 'file-2'")
        self.change(self.old, "UPDATE journal SET begun = begun - 86401 WHERE outcome IS NULL")
        self.change(self.old, f"UPDATE channels SET expires = {AT} WHERE id = 'channel-0'")
        found = {each.kind: each for each in self.move()}
        self.assertTrue(all(each.equal for each in found.values()))
        counts = {name: each.target.count for name, each in found.items()}
        self.assertEqual(counts["sessions"], 3)
        self.assertEqual(counts["documents"], 2)
        self.assertEqual((counts["journal"], counts["channels"]), (1, 2))
        self.assertEqual(len(self.rows(self.new)["proofs"]), 4)
        self.assertEqual(len(self.rows(self.new)["comments"]), 3)

    def test_what_no_key_opens_is_left_out(self) -> None:
        """Where it would have to be opened; it counts as absent where it is, too."""
        self.filled(3)
        for table in ("documents", "channels", "sign_in_states", "grants"):
            self.change(
                self.old,
                f"UPDATE {table} SET sealed = x'00' WHERE rowid = 1"
                if table == "documents"
                else f"UPDATE {table} SET sealed = x'00' WHERE 1 = 1",
            )
        found = {each.kind: each for each in self.move()}
        self.assertTrue(all(each.equal for each in found.values()))
        counts = {name: each.target.count for name, each in found.items()}
        self.assertEqual(counts["documents"], 2)
        self.assertEqual((counts["channels"], counts["sign_in_states"], counts["grants"]), (0, 0, 3))

    def test_what_expires_while_it_is_compared(self) -> None:
        """It is compared once more, and not counted on either side."""
        self.filled(3)
        clock = self.clock

        class Slow(SqliteRows):
            reads = 0

            async def read(self, kind: Kind, after: str) -> Any:
                if kind.name == "sign_in_states":
                    type(self).reads += 1
                    if self.reads == 2:  # the first is of the moving
                        clock.advance(501)
                return await super().read(kind, after)

        target = self.target()
        source = Slow(self.old, STAMP, KEYS, LIFETIMES)
        found = {
            each.kind: each for each in self.result(Migration(source, target, clock, self.said.append).run())
        }
        self.assertTrue(all(each.equal for each in found.values()))
        self.assertEqual(found["sign_in_states"].source.count, 0)

    def test_what_is_there_is_not_touched(self) -> None:
        self.filled(1)
        self.new.write_text("something")
        self.assertIn("is there already", self.refused())
        self.assertEqual(self.new.read_text(), "something")

    def test_a_daemon_keeps_it_out(self) -> None:
        self.filled(1)
        for path in (self.old, self.new):
            daemon = self.store(path)
            self.result(daemon.open(STAMP))
            self.assertIn("in use by process", self.refused())
            self.result(daemon.close())
            if path is self.new:
                path.unlink()

    def test_no_daemon_begins_with_a_half(self) -> None:
        """Not even one whose file was given the right name by hand."""
        self.filled(5)
        self.failureResultOf(Deferred.fromCoroutine(self.migration(slices=9).run())).trap(Stopped)
        half = self.new.with_name("docsession.sqlite.migrating")
        half.rename(self.new)
        store = self.store(self.new)
        failure = self.failureResultOf(Deferred.fromCoroutine(store.open(STAMP)))
        failure.trap(ConfigError)
        self.assertIn("unfinished migration", str(failure.value))

    def test_what_is_no_source(self) -> None:
        self.assertIn("there is no store", self.refused())
        self.old.write_text("this is no database" * 100)
        self.assertIn("cannot be used as a store", self.refused())
        self.old.unlink()
        self.filled(1)
        other = Migration(
            SqliteRows(self.old, {**STAMP, "client_id": "another"}, KEYS, LIFETIMES),
            self.target(),
            self.clock,
            self.said.append,
        )
        failure = self.failureResultOf(Deferred.fromCoroutine(other.run()))
        failure.trap(ConfigError)
        self.assertIn("belongs to", str(failure.value))

    def test_it_lets_go(self) -> None:
        """Whatever became of it, a daemon can start again afterwards."""
        self.filled(1)

        class Broken(SqliteRows):
            async def write(self, kind: Kind, rows: Any) -> None:
                raise Unavailable

        broken = Broken(self.new, STAMP, KEYS, LIFETIMES)
        self.failureResultOf(Deferred.fromCoroutine(self.migration(broken).run())).trap(Unavailable)
        self.move()
        store = self.store(self.old)
        self.result(store.open(STAMP))
        self.result(store.close())
