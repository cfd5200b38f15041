"""A store is moved between a file and a real redis-server, both ways: whole, resumable, and compared."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_twisted
from msgspec.structs import replace
from twisted.internet.task import Clock

from docsession.backend.redis_rows import RedisRows
from docsession.backend.redis_store import RedisStore
from docsession.backend.rows import KINDS, Kind, Row, Rows
from docsession.backend.sqlite import InlineRunner, SqliteStore
from docsession.backend.sqlite_rows import SqliteRows
from docsession.config import Backend
from docsession.config import Sessions as Lifetimes
from docsession.errors import ConfigError
from docsession.keys import Keys, Sealer
from docsession.migration import Comparison, Migration, Stopped
from docsession.model import CommentsRecord, JournalKey, SessionRecord
from tests.contract.store import KEYS, OTHER_KEYS, STAMP
from tests.daemon.redis_server import RedisServer, needs_redis
from tests.storing import AT, contents, fill

pytestmark = needs_redis

LIFETIMES = Lifetimes()


class World:
    """Two files and a Redis between."""

    def __init__(self, server: RedisServer, folder: Path, reactor: Any) -> None:
        self.server = server
        self.old = folder / "old" / "docsession.sqlite"
        self.new = folder / "new" / "docsession.sqlite"
        self.clock = Clock()
        self.clock.advance(AT)
        self.said: list[str] = []
        self._reactor = reactor
        self._links: list[Any] = []

    def link(self, **settings: Any) -> Any:
        from docsession.backend.redis import Redis

        backend = Backend(**{"url": self.server.url, "answer_within": 30, **settings})
        self._links.append(Redis(backend, None, reactor=self._reactor, rng=random.Random(4)))
        return self._links[-1]

    async def close(self) -> None:
        for link in self._links:
            await link.stop()

    def file(self, path: Path, keys: Keys = KEYS) -> SqliteRows:
        return SqliteRows(path, STAMP, keys, LIFETIMES, slice_of=4)

    def redis(self, keys: Keys = KEYS, stamp: dict[str, str] = STAMP, **settings: Any) -> RedisRows:
        return RedisRows(self.link(**settings), stamp, keys, LIFETIMES, self.clock, slice_of=3)

    async def move(self, source: Rows, target: Rows, slices: int = 10**9) -> list[Comparison]:
        left = iter(range(slices))
        go_on = lambda: next(left, None) is not None  # noqa: E731
        return await Migration(source, target, self.clock, self.said.append, go_on=go_on).run()

    async def in_file(self, people: int = 5) -> None:
        self.old.parent.mkdir(exist_ok=True)
        store = SqliteStore(self.old, Sealer(KEYS), run=InlineRunner(self.old), clock=self.clock)
        await store.open(STAMP)
        await fill(store, people=people)
        await store.close()

    async def store(self) -> RedisStore:
        """As a daemon opens it."""
        link = self.link()
        await link.start()
        store = RedisStore(link, KEYS, clock=self.clock, lifetimes=LIFETIMES)
        await store.open(STAMP)
        return store

    def names(self) -> set[str]:
        return set(self.server.cli("keys", "*").split())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest_twisted.async_yield_fixture
async def world(server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    from twisted.internet import reactor

    server.cli("flushall")
    world = World(server, tmp_path, reactor)
    yield world
    await world.close()


async def refusal(work: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        await work
    return str(refused.value)


@pytest_twisted.ensureDeferred
async def test_there_and_back_it_is_the_same(world: World) -> None:
    """In all kinds, to the last value; and daemons find on Redis what they would have written."""
    await world.in_file()
    before = contents(world.old, KEYS)
    assert all(before.values())
    assert all(each.equal for each in await world.move(world.file(world.old), world.redis()))
    store = await world.store()
    for number in range(5):
        session = await store.load_session(f"session-of-{number:022d}")
        assert session == SessionRecord(f"session-of-{number:022d}", AT - 10.25, AT - 0.1, f"{number:021d}")
        assert [each.id for each in await store.sessions_of_user(f"{number:021d}")] == [session.id]
        assert await store.is_retired(f"retired-of-{number:022d}")
        grant = await store.load_grant(f"{number:021d}")
        assert grant is not None and grant.access_token == f"ya29.{number}"
        assert not await store.save_grant(f"{number:021d}", grant, replaces=None)
        document = await store.load_document(f"file-{number}")
        assert document is not None and len(document.proofs) == 2
        assert await store.save_document(document, replaces=document.mark) is None
        comments = await store.load_comments(f"file-{number}")
        assert comments is not None and len(comments.comments) == number
        assert [each.generation for each in await store.load_channels(f"{number:021d}")] == [1]
        entry = await store.journal_find(JournalKey(session.id, "tab", str(number), f"{number:064d}"))
        assert entry is not None and (entry.socket, entry.node) == ("socket", "node-1")
        assert (entry.outcome is None) == (number % 2 == 0)
    assert sorted(await store.orphaned_users(AT)) == [f"{number:021d}" for number in (1, 3)]
    assert await store.load_spent("2027-01-15") == {"node-1": 123_456, "node-2": 123_456}
    assert all(each.equal for each in await world.move(world.redis(), world.file(world.new)))
    assert contents(world.new, KEYS) == before


@pytest_twisted.ensureDeferred
async def test_daemons_go_on_with_it(world: World) -> None:
    """What replaces something finds what it replaces; what goes takes with it what it should."""
    await world.in_file()
    await world.move(world.file(world.old), world.redis())
    store = await world.store()
    grant = await store.load_grant(f"{1:021d}")
    assert grant is not None
    assert await store.save_grant(f"{1:021d}", replace(grant, generation=2), replaces=1)
    await store.save_comments("file-3", CommentsRecord({}, "older", AT - 6))
    comments = await store.load_comments("file-3")
    assert comments is not None and comments.mark != "older"
    await store.save_comments("file-3", CommentsRecord({}, "newer", AT - 4))
    comments = await store.load_comments("file-3")
    assert comments is not None and comments.mark == "newer"
    await store.retire_sessions([f"session-of-{2:022d}"], AT + 100)
    assert await store.take_state(f"state-{2:037d}") is None
    assert await store.take_state(f"state-{3:037d}") is not None
    await store.delete_user(f"{4:021d}")
    assert await store.load_channel("channel-4") is None
    document = await store.load_document("file-4")
    assert document is not None and set(document.proofs) == {"somebody"}


@pytest_twisted.ensureDeferred
async def test_a_key_that_is_found_twice_counts_once(world: World) -> None:
    """As happens where Redis moves its keys about while they are gone through."""
    await world.in_file()
    await world.move(world.file(world.old), world.redis())

    class Twice(RedisRows):
        before: ClassVar[list[str]] = []

        async def _scanned(self, beginning: str, cursor: str) -> tuple[str, list[str]]:
            after, names = await super()._scanned(beginning, cursor)
            again = [name for name in self.before if name.startswith(beginning)]
            type(self).before = names
            return after, names + again

    source = Twice(world.link(), STAMP, KEYS, LIFETIMES, world.clock, slice_of=3)
    found = await world.move(source, world.file(world.new))
    assert all(each.equal for each in found)
    assert contents(world.new, KEYS) == contents(world.old, KEYS)


@pytest_twisted.ensureDeferred
async def test_all_that_ends_by_itself_has_its_time(world: World) -> None:
    """What stays for good is what stays for good in a store of daemons."""
    await world.in_file()
    await world.move(world.file(world.old), world.redis())
    prefix = "docsession:"
    stays = {
        name.removeprefix(prefix).partition(":")[0]
        for name in world.names()
        if world.server.cli("pttl", name) == "-1"
    }
    assert stays == {"meta", "user", "grant", "users", "orphans"}
    for name, seconds in (
        (f"document:file-{1}", LIFETIMES.idle - 50.75),
        (f"proofs:file-{1}", LIFETIMES.idle - 50.75),
        (f"comments:file-{1}", LIFETIMES.idle - 50.75),
        ("channel:channel-1", 5000.5),
        (f"channels-of:{1:021d}", 5000.5),
        (f"proofs-of:{1:021d}", LIFETIMES.idle - 50.75),
    ):
        left = int(world.server.cli("pttl", prefix + name)) / 1000
        assert seconds - 60 < left <= seconds, name


@pytest.mark.parametrize("way", ["to redis", "to sqlite"])
@pytest_twisted.ensureDeferred
async def test_it_goes_on_where_it_stopped(way: str, world: World) -> None:
    """Any number of times; meanwhile no daemon takes what there is for a store."""
    await world.in_file()
    if way == "to sqlite":
        await world.move(world.file(world.old), world.redis())

    async def some(slices: int) -> list[Comparison]:
        if way == "to redis":
            return await world.move(world.file(world.old), world.redis(), slices)
        return await world.move(world.redis(), world.file(world.new), slices)

    for slices in (0, 1, 2, 5, 9) if way == "to redis" else (0, 1, 7, 90, 110):  # (Redis has empty ones)
        with pytest.raises(Stopped):
            await some(slices)
        if way == "to redis":
            assert "in use by something else" in await refusal(world.store())
        else:
            assert not world.new.exists()
    del world.said[:]
    assert all(each.equal for each in await some(10**9))
    assert "users: 5 moved" not in world.said
    if way == "to redis":
        await world.move(world.redis(), world.file(world.new))
    assert contents(world.new, KEYS) == contents(world.old, KEYS)


@pytest_twisted.ensureDeferred
async def test_a_doubt_goes_with_its_document(world: World) -> None:
    """On Redis it may be younger than what is sealed; in a file it is sealed."""
    await world.in_file(people=1)
    await world.move(world.file(world.old), world.redis())
    store = await world.store()
    document = await store.load_document("file-0")
    assert document is not None
    doubting = replace(document, version="x", proofs={}, doubted=AT - 20.75)
    assert await store.save_document(doubting, replaces="another") is not None
    known = await store.load_document("file-0")
    assert known == replace(document, doubted=AT - 20.75, proofs={f"{0:021d}": (AT - 20.5, 0.0)})
    assert all(each.equal for each in await world.move(world.redis(), world.file(world.new)))
    back = SqliteStore(world.new, Sealer(KEYS), run=InlineRunner(world.new), clock=world.clock)
    await back.open(STAMP)
    assert await back.load_document("file-0") == known
    await back.close()


@pytest_twisted.ensureDeferred
async def test_another_redis_process_has_its_keys_in_another_order(world: World) -> None:
    """A place to go on from is of the process that named it: else keys would be left out."""
    await world.in_file(people=12)
    await world.move(world.file(world.old), world.redis())
    source = RedisRows(world.link(), STAMP, KEYS, LIFETIMES, world.clock, slice_of=60)
    await source.open_source()
    users = KINDS[0]
    first, after = await source.read(users, "")
    assert first and after
    rest, _ = await source.read(users, after)
    assert not {row.values[0] for row in rest} & {row.values[0] for row in first}
    again, _ = await source.read(users, f"another-run {after.partition(' ')[2]}")
    assert again == first


@pytest_twisted.ensureDeferred
async def test_a_changed_source_is_moved_anew(world: World) -> None:
    """A daemon ran on the file in between: what was moved of it is thrown away."""
    await world.in_file()
    with pytest.raises(Stopped):
        await world.move(world.file(world.old), world.redis(), 9)
    world.clock.advance(1)
    store = SqliteStore(world.old, Sealer(KEYS), run=InlineRunner(world.old), clock=world.clock)
    await store.open(STAMP)
    await store.delete_user(f"{0:021d}")
    await store.close()
    assert all(each.equal for each in await world.move(world.file(world.old), world.redis()))
    assert f"docsession:user:{0:021d}" not in world.names()
    assert "docsession:migration" not in world.names()


@pytest_twisted.ensureDeferred
async def test_a_difference_is_found(world: World) -> None:
    await world.in_file()

    class Forgetful(RedisRows):
        async def write(self, kind: Kind, rows: Any) -> None:
            if kind.name == "orphans":
                rows = [Row((row.values[0], row.values[1] + 0.5)) for row in rows]
            await super().write(kind, rows)

    target = Forgetful(world.link(), STAMP, KEYS, LIFETIMES, world.clock)
    found = await world.move(world.file(world.old), target)
    assert [each.kind for each in found if not each.equal] == ["orphans"]
    assert "docsession:meta" not in world.names()
    assert all(each.equal for each in await world.move(world.file(world.old), world.redis()))


@pytest_twisted.ensureDeferred
async def test_what_is_there_is_not_touched(world: World) -> None:
    """Neither another store, nor anything else under the prefix; under another it does not matter."""
    await world.in_file()
    world.server.cli("set", "docsession:something", "mine")
    before = world.names()
    assert "is in use, there is something" in await refusal(world.move(world.file(world.old), world.redis()))
    assert world.names() == before
    await world.move(world.file(world.old), world.redis(prefix="other[x]*:"))
    said = await refusal(world.move(world.file(world.old), world.redis(prefix="other[x]*:")))
    assert "there is a store already" in said
    assert world.server.cli("get", "docsession:something") == "mine"
    assert "there is no store" in await refusal(world.move(world.redis(), world.file(world.new)))
    found = await world.move(world.redis(prefix="other[x]*:"), world.file(world.new))
    assert all(each.equal for each in found)


@pytest_twisted.ensureDeferred
async def test_a_daemon_keeps_it_out(world: World) -> None:
    await world.in_file()
    world.server.cli("set", "docsession:node:abc", "1")
    assert "node:abc runs" in await refusal(world.move(world.file(world.old), world.redis()))
    world.server.cli("del", "docsession:node:abc")
    await world.move(world.file(world.old), world.redis())
    world.server.cli("set", "docsession:node:abc", "1")
    assert "node:abc runs" in await refusal(world.move(world.redis(), world.file(world.new)))


@pytest_twisted.ensureDeferred
async def test_whose_store_it_is(world: World) -> None:
    await world.in_file()
    await world.move(world.file(world.old), world.redis())
    other = {**STAMP, "client_id": "another"}
    assert "belongs to" in await refusal(world.move(world.redis(stamp=other), world.file(world.new)))
    said = await refusal(world.move(world.redis(keys=OTHER_KEYS), world.file(world.new, OTHER_KEYS)))
    assert "fingerprint" in said


@pytest_twisted.ensureDeferred
async def test_ten_thousand_sessions(world: World) -> None:
    """In slices of the size that the command uses."""
    await world.in_file(people=1)
    rows = [
        Row((number.to_bytes(32, "big"), b"sealed", AT - number / 7, AT, f"user-{number % 1000}"))
        for number in range(10_000)
    ]
    into = SqliteRows(world.new, STAMP, KEYS, LIFETIMES)
    world.new.parent.mkdir()
    await into.open_target("the test")
    sessions = KINDS[2]
    for start in range(0, len(rows), 500):
        await into.write(sessions, rows[start : start + 500])
    await into.finish()
    await into.close()
    target = RedisRows(world.link(), STAMP, KEYS, LIFETIMES, world.clock)
    found = {
        each.kind: each for each in await world.move(SqliteRows(world.new, STAMP, KEYS, LIFETIMES), target)
    }
    assert found["sessions"].equal
    assert found["sessions"].target.count == 10_000
    assert await (await world.store()).load_session("nobody") is None
    back = world.new.with_name("back.sqlite")
    source = RedisRows(world.link(), STAMP, KEYS, LIFETIMES, world.clock)
    await world.move(source, SqliteRows(back, STAMP, KEYS, LIFETIMES))
    assert contents(back, KEYS) == contents(world.new, KEYS)
