"""The embedded store keeps every promise of a store, and stands up to what befalls a file."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import astuple, replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.sealing import encoded
from docsession.backend.sqlite import InlineRunner, SqliteStore
from docsession.backend.sqlite_runner import connect
from docsession.backend.sqlite_schema import SCRIPTS, prepare
from docsession.errors import ConfigError, Unavailable
from docsession.keys import Keys, Sealer
from tests.contract.store import (
    ANN,
    CHANNEL,
    COMMENTS,
    DOCUMENT,
    ENTRY,
    GRANT,
    KEY,
    KEYS,
    NOW,
    OTHER_KEYS,
    SESSION,
    STAMP,
    STATE,
    USER,
    prune,
    synchronous_suite,
)

T = TypeVar("T")


class SqliteWorld:
    """A crash is a copy: another store gets the file and its log as they are, and nothing else."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self._case = case
        self.path: Path | None = None
        self.clock = Clock()
        self.clock.advance(NOW)
        self._last: SqliteStore | None = None

    async def open(self, keys: Keys = KEYS, stamp: dict[str, str] = STAMP) -> SqliteStore:
        folder = temporary_folder(self._case)
        path = folder / "store.db"
        if self.path is not None:
            for ending in ("", "-wal"):
                if (survivor := self.path.with_name(f"store.db{ending}")).exists():
                    shutil.copy2(survivor, folder)
        store = sqlite_store(self._case, path, keys, self.clock)
        await store.open(stamp)
        self.path = path
        self._last = store
        return store

    async def beside(self) -> SqliteStore:
        assert self._last is not None
        return self._last

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await prune(await self.beside(), self.clock.seconds())


def temporary_folder(case: SynchronousTestCase) -> Path:
    folder = tempfile.mkdtemp(prefix="docsession-store-")
    case.addCleanup(shutil.rmtree, folder)
    return Path(folder)


def sqlite_store(
    case: SynchronousTestCase, path: Path, keys: Keys = KEYS, clock: Clock | None = None
) -> SqliteStore:
    run = InlineRunner(path)
    store = SqliteStore(path, Sealer(keys), run=run, clock=clock or Clock(), busy_timeout=0.01)
    case.addCleanup(lambda: case.successResultOf(Deferred.fromCoroutine(store.close())))
    return store


StorePromises = synchronous_suite(SqliteWorld)


class FileTest(SynchronousTestCase):
    """A store with its runner at hand, to make trouble through."""

    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.path = self.folder / "state" / "store.db"
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def store(self, keys: Keys = KEYS) -> SqliteStore:
        return sqlite_store(self, self.path, keys)

    def opened(self, keys: Keys = KEYS) -> SqliteStore:
        store = self.store(keys)
        self.now(store.open(STAMP))
        return store

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Coroutine[Any, Any, Any], error: type[Exception]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(work), error).value)

    def sql(self, *commands: str) -> list[Any]:
        """Done by another program."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return [connection.execute(command).fetchall() for command in commands]

    def logged(self) -> list[str]:
        return [event["log_format"] for event in self.events if "docsession" in event["log_namespace"]]


class OpeningTests(FileTest):
    """What is and what is not taken for a store."""

    def test_private(self) -> None:
        """Only the owner may read anything of it, whatever the umask."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.now(self.opened().save_user(USER))
        modes = {file.name: file.stat().st_mode & 0o777 for file in self.path.parent.iterdir()}
        names = ("store.db", "store.db-shm", "store.db-wal", "store.db.lock")
        self.assertEqual(modes, dict.fromkeys(names, 0o600))
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)

    def test_made_private(self) -> None:
        """One that was restored with a loose mode is tightened."""
        self.now(self.opened().close())
        self.path.chmod(0o644)
        self.now(self.opened().save_user(USER))
        modes = {file.stat().st_mode & 0o777 for file in self.path.parent.iterdir()}
        self.assertEqual(modes, {0o600})

    def test_unreadable_without_the_keys(self) -> None:
        """A stolen file shows no token, no name, no session id, no sign-in state."""
        store = self.opened()
        self.now(store.save_session(replace(SESSION, user_id=ANN)))
        self.now(store.put_state(STATE))
        self.now(store.save_user(USER))
        self.now(store.save_grant(ANN, GRANT, replaces=None))
        self.now(store.journal_begin(replace(ENTRY, outcome=b"the outcome")))
        self.now(store.save_document(DOCUMENT, replaces=None))
        self.now(store.add_channel(replace(CHANNEL, resource_id="google's own"), replaces=None))
        saved = b"".join(file.read_bytes() for file in self.path.parent.iterdir())
        self.assertIn(DOCUMENT.file_id.encode(), saved)
        for secret in (
            *("google's own", SESSION.id, STATE.state, STATE.verifier, STATE.nonce, USER.email, USER.picture),
            *(
                GRANT.access_token,
                GRANT.refresh_token or "",
                "the outcome",
                DOCUMENT.file["name"],
                KEY.call_id,
            ),
        ):
            self.assertNotIn(secret.encode(), saved)

    def test_one_daemon_only(self) -> None:
        first = self.opened()
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertEqual(message, f"{self.path}: already in use by process {os.getpid()}")
        self.now(first.ping())  # and was not disturbed
        self.now(first.close())
        self.opened()

    def test_a_failed_start_locks_nobody_out(self) -> None:
        self.now(self.opened().close())
        self.refused(self.store().open({**STAMP, "client_id": "two"}), ConfigError)
        self.opened()

    def test_newer_schema(self) -> None:
        self.now(self.opened().close())
        self.sql("UPDATE version SET version = 1000")
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertIn("schema 1000, newer than this program's", message)

    def test_not_a_database(self) -> None:
        self.path.parent.mkdir()
        self.path.write_bytes(b"dear diary\n" * 1000)
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertEqual(message, f"{self.path}: cannot be used as a store: file is not a database")

    def test_somebody_elses_database(self) -> None:
        self.path.parent.mkdir()
        self.sql("CREATE TABLE version (version INTEGER)")
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertIn("not a store of docsession", message)
        self.path.write_bytes(b"")
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertIn("not a store of docsession", message)

    def test_damaged(self) -> None:
        """Spoilt anywhere, it is refused in one line, or nothing that it holds was hit."""
        store = self.opened()
        for number in range(40):
            self.now(store.save_document(replace(DOCUMENT, file_id=f"file-{number}"), replaces=None))
        self.now(store.close())
        whole = self.path.read_bytes()
        refusals = 0
        for start in range(0, len(whole), 4096):
            self.path.write_bytes(whole[:start] + b"\x5a" * 4096 + whole[start + 4096 :])
            store = self.store()
            opening = Deferred.fromCoroutine(store.open(STAMP))
            if failure := getattr(opening, "result", None):
                refusals += 1
                self.failureResultOf(opening, ConfigError)
                self.assertNotIn("\n", failure.getErrorMessage())
            self.now(store.close())
        self.assertEqual(refusals, len(whole) // 4096)
        self.path.write_bytes(whole[:-4096])
        self.refused(self.store().open(STAMP), ConfigError)

    def test_only_the_log_is_left(self) -> None:
        """A new file beside the log of a lost one would be given the lost one's pages."""
        store = self.opened()
        self.now(store.save_user(USER))
        log = self.path.with_name("store.db-wal").read_bytes()
        self.now(store.close())
        self.path.unlink()
        self.path.with_name("store.db-wal").write_bytes(log)
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertIn("store.db-wal is there", message)
        self.assertFalse(self.path.exists())

    def test_no_place(self) -> None:
        self.path.parent.write_text("a file where the directory should be")
        message = self.refused(self.store().open(STAMP), ConfigError)
        self.assertIn(str(self.path), message)
        self.assertNotIn("\n", message)

    def test_odd_names(self) -> None:
        """What means something in an address means nothing in a path."""
        self.path = self.folder / "50% of it?mode=memory#1" / "store & all.db"
        self.now(self.opened().save_user(USER))
        self.assertTrue(self.path.exists())

    def test_nothing_else_is_left_behind(self) -> None:
        self.now(self.opened().close())
        self.assertEqual({file.name for file in self.path.parent.iterdir()}, {"store.db", "store.db.lock"})

    def test_saved_means_on_disk(self) -> None:
        """SQLite's own words for it: a log that is synced at every commit."""
        self.opened()
        with closing(connect(self.path)) as connection:
            found = {
                name: connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
        self.assertEqual(found, {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1})

    def test_closed(self) -> None:
        store = self.opened()
        self.now(store.close())
        self.now(store.close())
        self.refused(store.save_user(USER), Unavailable)
        self.refused(store.load_user(ANN), Unavailable)


class UpgradeTests(FileTest):
    """From each schema to the next, and to later ones, which are made up."""

    SECOND = "ALTER TABLE users ADD COLUMN nickname TEXT;\nUPDATE users SET nickname = 'x';"

    def setUp(self) -> None:
        super().setUp()
        store = self.opened()
        self.now(store.save_user(USER))
        self.now(store.close())

    def prepare(self, *later: str) -> None:
        prepare(self.path, STAMP, now=5.0, scripts=(*SCRIPTS, *later))

    def test_upgraded_with_a_copy(self) -> None:
        self.prepare(self.SECOND, "CREATE TABLE third (x INTEGER) STRICT;")
        count = len(SCRIPTS)
        rows = self.sql("SELECT version FROM version", "SELECT nickname FROM users", "SELECT * FROM third")
        self.assertEqual(rows, [[(count + 2,)], [("x",)], []])
        backup = self.path.with_name(f"store.db.schema-{count}")
        self.assertEqual(backup.stat().st_mode & 0o777, 0o600)
        # The copy is a whole store of the schema before.
        backup.rename(self.path)
        self.assertEqual(self.now(self.opened().load_user(ANN)), USER)

    def test_from_the_first(self) -> None:
        """A store of schema 1 keeps what it has, and takes channels."""
        self.path.unlink()
        prepare(self.path, STAMP, now=5.0, scripts=SCRIPTS[:1])
        self.sql("INSERT INTO retired VALUES (x'00', 1e12)")
        store = self.opened()
        self.assertTrue(self.now(store.add_channel(CHANNEL, replaces=None)))
        self.assertEqual(self.now(store.load_channels(ANN)), [CHANNEL])
        self.assertEqual(self.sql("SELECT version FROM version", "SELECT hash FROM retired")[1], [(b"\0",)])
        self.assertTrue(self.path.with_name("store.db.schema-1").exists())

    def test_from_the_second(self) -> None:
        """A write that was under way is still known; documents take comments."""
        self.path.unlink()
        prepare(self.path, STAMP, now=5.0, scripts=SCRIPTS[:2])
        columns = "hash, socket, begun, outcome"
        key = hashlib.sha256(encoded(list(astuple(KEY)))).hexdigest()
        self.sql(f"INSERT INTO journal ({columns}) VALUES (x'{key}', 'w1', 1000.0, NULL)")
        store = self.opened()
        self.assertEqual(self.now(store.journal_find(KEY)), ENTRY)
        self.now(store.save_document(DOCUMENT, replaces=None))
        self.now(store.save_comments(DOCUMENT.file_id, COMMENTS))
        self.assertEqual(self.now(store.load_comments(DOCUMENT.file_id)), COMMENTS)

    def test_new_ones_are_made_by_all_scripts(self) -> None:
        self.path.unlink()
        self.prepare(self.SECOND)
        self.assertEqual(self.sql("SELECT nickname FROM users"), [[]])
        self.assertEqual(list(self.path.parent.glob("*.schema-*")), [])

    def test_no_need(self) -> None:
        self.prepare()
        self.assertEqual(list(self.path.parent.glob("*.schema-*")), [])

    def test_a_new_one_is_all_or_nothing(self) -> None:
        self.path.unlink()
        with self.assertRaises(ConfigError):
            self.prepare("INSERT INTO nowhere VALUES (1);")
        self.assertEqual([file.name for file in self.path.parent.iterdir()], ["store.db.lock"])

    def test_what_a_killed_start_left_is_cleared_up(self) -> None:
        leftover = self.path.with_name(".store.db-abcdefgh")
        leftover.write_bytes(b"half a copy")
        self.prepare()
        self.assertFalse(leftover.exists())

    def test_all_or_nothing(self) -> None:
        """An upgrade that fails leaves the file as it was, and the next start tries again."""
        with self.assertRaises(ConfigError):
            self.prepare(self.SECOND + "\nINSERT INTO nowhere VALUES (1);")
        self.assertEqual(self.now(self.opened().load_user(ANN)), USER)
        self.assertNotIn("nickname", str(self.sql("SELECT sql FROM sqlite_master")))

    def test_another_stamp_is_not_upgraded(self) -> None:
        with self.assertRaises(ConfigError):
            prepare(self.path, {"issuer": "other"}, now=5.0, scripts=(*SCRIPTS, self.SECOND))
        self.opened()


class TroubleTests(FileTest):
    """While it is in use."""

    def setUp(self) -> None:
        super().setUp()
        self.runner = InlineRunner(self.path)
        self.running = SqliteStore(self.path, Sealer(KEYS), run=self.runner, clock=Clock(), busy_timeout=0.01)
        self.addCleanup(lambda: self.now(self.running.close()))
        self.now(self.running.open(STAMP))
        self.now(self.running.save_session(SESSION))
        self.events.clear()

    def pragma(self, text: str) -> list[Any]:
        """Done to the store's own connection."""
        return self.now(self.runner.run(lambda cursor: cursor.execute(f"PRAGMA {text}").fetchall()))

    def assert_away_then_back(self, heal: Callable[[], object]) -> None:
        """Writes are refused, reads go on; healed, both work; it is said once each."""
        for _ in range(3):
            self.refused(self.running.save_document(DOCUMENT, replaces=None), Unavailable)
            self.refused(self.running.ping(), Unavailable)
            self.assertEqual(self.now(self.running.load_session(SESSION.id)), SESSION)
        heal()
        self.now(self.running.save_document(DOCUMENT, replaces=None))
        self.now(self.running.ping())
        self.assertEqual(self.now(self.running.load_document(DOCUMENT.file_id)), DOCUMENT)
        self.assertEqual(self.logged(), ["the store is away: {reason}", "the store is back"])

    def test_locked(self) -> None:
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.assert_away_then_back(lambda: other.execute("ROLLBACK"))

    def test_the_lock_is_waited_for_once(self) -> None:
        """Not by each of a long queue of writes, behind which reads would starve."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waits = []
            for _ in range(3):
                self.refused(self.running.ping(), Unavailable)
                waits.append(self.pragma("busy_timeout"))
        self.assertEqual(waits, [[(10,)], [(0,)], [(0,)]])
        self.now(self.running.ping())
        self.now(self.running.ping())
        self.assertEqual(self.pragma("busy_timeout"), [(10,)])

    def test_full(self) -> None:
        self.pragma("max_page_count = 1")  # that is: no more than there are
        big = replace(DOCUMENT, file={"name": "x" * 100_000})
        self.refused(self.running.save_document(big, replaces=None), Unavailable)
        self.assertIsNone(self.now(self.running.load_document(DOCUMENT.file_id)))
        self.now(self.running.touch_sessions({SESSION.id: 2000.0}))  # there is room for this
        self.pragma("max_page_count = 100000")
        self.now(self.running.save_document(big, replaces=None))
        self.assertEqual(self.now(self.running.load_document(DOCUMENT.file_id)), big)

    def test_read_only(self) -> None:
        self.pragma("query_only = ON")
        self.assert_away_then_back(lambda: self.pragma("query_only = OFF"))

    def test_moved_away(self) -> None:
        """Writes to a file without a name would be lost, so they are not taken."""
        elsewhere = self.path.with_name("elsewhere")
        self.path.rename(elsewhere)
        self.assert_away_then_back(lambda: elsewhere.rename(self.path))

    def test_never_made_anew_behind_its_back(self) -> None:
        """Where the file has gone, a connection does not put an empty one in its place."""
        missing = self.path.with_name("missing.db")
        self.assertRaises(sqlite3.OperationalError, connect, missing)
        self.assertFalse(missing.exists())

    def test_another_in_its_place(self) -> None:
        original = self.path.with_name("original")
        self.path.rename(original)
        shutil.copy(original, self.path)
        self.assert_away_then_back(lambda: original.rename(self.path))

    def test_damaged_while_in_use(self) -> None:
        def corrupt(cursor: sqlite3.Cursor) -> None:
            cursor.execute("PRAGMA writable_schema = ON")
            cursor.execute("UPDATE sqlite_schema SET rootpage = 1 WHERE name = 'users'")
            cursor.execute("PRAGMA writable_schema = RESET")

        self.now(self.runner.run(corrupt))
        self.refused(self.running.load_user(ANN), Unavailable)

    def test_a_bug_is_not_called_unavailable(self) -> None:
        self.sql("DROP TABLE users")
        self.refused(self.running.load_user(ANN), sqlite3.OperationalError)
        self.now(self.running.ping())

    def test_a_transaction_is_all_or_nothing(self) -> None:
        new = replace(SESSION, id="n" * 32)
        self.sql("CREATE TRIGGER stop BEFORE INSERT ON sessions BEGIN SELECT raise(ABORT, 'stop'); END")
        self.refused(self.running.replace_session(SESSION.id, new, until=9000.0), sqlite3.IntegrityError)
        self.assertEqual(self.now(self.running.load_session(SESSION.id)), SESSION)
        self.assertFalse(self.now(self.running.is_retired(SESSION.id)))
        self.sql("DROP TRIGGER stop")
        self.now(self.running.replace_session(SESSION.id, new, until=9000.0))
        self.assertEqual(self.now(self.running.load_session(new.id)), new)


class SealingTests(FileTest):
    """Each sealed column belongs to its row, and to the keys."""

    def test_moved_to_another_row(self) -> None:
        """Who can write the file but lacks the keys cannot lend Ann's grant to Bob."""
        store = self.opened()
        self.now(store.save_grant(ANN, GRANT, replaces=None))
        self.sql("INSERT INTO grants SELECT 'bob', sealed FROM grants")
        self.assertIsNone(self.now(store.load_grant("bob")))
        self.assertEqual(self.now(store.load_grant(ANN)), GRANT)

    def test_moved_to_another_table(self) -> None:
        store = self.opened()
        self.now(store.save_user(USER))
        self.sql("INSERT INTO grants SELECT user_id, sealed FROM users")
        self.assertIsNone(self.now(store.load_grant(ANN)))

    def test_unreadable_is_counted_and_said_once(self) -> None:
        store = self.opened()
        self.now(store.save_user(USER))
        self.now(store.save_grant(ANN, GRANT, replaces=None))
        self.now(store.close())
        self.events.clear()
        store = self.opened(OTHER_KEYS)
        for _ in range(3):
            self.assertIsNone(self.now(store.load_user(ANN)))
        self.assertIsNone(self.now(store.load_grant(ANN)))
        self.assertEqual(store.unreadable, {"user": 3, "grant": 1})
        kinds = [event["kind"] for event in self.events if "kind" in event]
        self.assertEqual(kinds, ["user", "grant"])

    def test_of_another_shape(self) -> None:
        """Sealed by us, but not a value this program knows."""
        store = self.opened()
        blob = Sealer(KEYS).seal(b'{"id": 5}', about=f"user {ANN}")
        self.sql(f"INSERT INTO users VALUES ('{ANN}', x'{blob.hex()}')")
        self.assertIsNone(self.now(store.load_user(ANN)))
