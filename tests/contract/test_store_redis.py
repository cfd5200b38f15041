"""The store on Redis keeps every promise of a store, on a real redis-server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from docsession.backend.redis_meta import adopt_keys, read_meta
from docsession.backend.redis_store import RedisStore
from docsession.config import Backend
from docsession.errors import ConfigError, Unavailable
from docsession.keys import Keys, fingerprint
from docsession.model import CommentsRecord
from tests.contract.store import (
    ANN,
    CHANNEL,
    DOCUMENT,
    ENTRY,
    GRANT,
    KEY,
    KEYS,
    LIFETIMES,
    NOW,
    OTHER_KEYS,
    PROMISES,
    SESSION,
    STAMP,
    STATE,
    USER,
    at_once,
    prune,
)
from tests.daemon.redis_server import RedisServer, needs_redis

pytestmark = needs_redis

# Time passes for Redis by every key being so much nearer to its end.
PASS = """
local names = redis.call('KEYS', '*')
for _, name in ipairs(names) do
  local left = redis.call('PTTL', name)
  if left >= 0 then redis.call('PEXPIRE', name, left - ARGV[1]) end
end
"""


class RedisWorld:
    """Each store has a link of its own, as each node has. Times are those of one clock."""

    def __init__(self, server: RedisServer, reactor: Any) -> None:
        self.server = server
        self.clock = Clock()
        self.clock.advance(NOW)
        self._reactor = reactor
        self._links: list[Any] = []
        self._store: RedisStore | None = None
        self._keys = KEYS

    async def link(self, **settings: Any) -> Any:
        from docsession.backend.redis import Redis

        backend = Backend(**{"url": self.server.url, "answer_within": 30, **settings})
        link = Redis(backend, None, reactor=self._reactor, rng=random.Random(4))
        await link.start()
        self._links.append(link)
        return link

    async def open(self, keys: Keys = KEYS, stamp: dict[str, str] = STAMP) -> RedisStore:
        link = await self.link()
        if self._store is not None and keys is not self._keys:
            await link.do("HSET", link.key("meta"), "fingerprint", fingerprint(keys))
        store = RedisStore(link, keys, clock=self.clock, lifetimes=LIFETIMES)
        await store.open(stamp)
        self._store, self._keys = store, keys
        return store

    async def beside(self) -> RedisStore:
        store = RedisStore(await self.link(), self._keys, clock=self.clock, lifetimes=LIFETIMES)
        await store.open(STAMP)
        return store

    async def later(self, seconds: float) -> None:
        assert self._store is not None
        self.clock.advance(seconds)
        await self._links[-1].do("EVAL", PASS, 0, round(seconds * 1000))
        await prune(self._store, self.clock.seconds())

    async def close(self) -> None:
        for link in self._links:
            await link.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest_twisted.async_yield_fixture
async def world(server: RedisServer) -> AsyncIterator[RedisWorld]:
    from twisted.internet import reactor

    server.cli("flushall")
    world = RedisWorld(server, reactor)
    yield world
    await world.close()


@pytest.mark.parametrize("name", PROMISES)
@pytest_twisted.ensureDeferred
async def test_promise(name: str, world: RedisWorld) -> None:
    await PROMISES[name](world)


# -- what only a shared store meets


async def everything(link: Any) -> bytes:
    """All names and values there are."""
    words = []
    for name in await link.do("KEYS", "*"):
        kind = await link.do("TYPE", name)
        read = {
            b"string": ("GET", name),
            b"hash": ("HGETALL", name),
            b"set": ("SMEMBERS", name),
            b"zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
        }
        value = await link.do(*read[kind])
        words += [name, *(value if isinstance(value, list) else [value])]
    return b"\n".join(words)


@pytest_twisted.ensureDeferred
async def test_unreadable_without_the_keys(world: RedisWorld) -> None:
    """A stolen snapshot shows no token, no name, no session id, no sign-in state."""
    store = await world.open()
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.put_state(STATE)
    await store.save_user(USER)
    await store.save_grant(ANN, GRANT, replaces=None)
    await store.journal_begin(replace(ENTRY, outcome=b"the outcome"))
    await store.save_document(DOCUMENT, replaces=None)
    comment = {"id": "c1", "content": "what was said"}
    await store.save_comments(DOCUMENT.file_id, CommentsRecord({"c1": comment}, "marked", 1000.0))
    await store.add_channel(replace(CHANNEL, resource_id="google's own"), replaces=None)
    saved = await everything(await world.link())
    assert DOCUMENT.file_id.encode() in saved
    for secret in (
        *("google's own", SESSION.id, STATE.state, STATE.verifier, STATE.nonce, USER.email, USER.picture),
        *(GRANT.access_token, GRANT.refresh_token or "", "the outcome", DOCUMENT.file["name"]),
        *(KEY.call_id, "what was said", "marked", DOCUMENT.mark, DOCUMENT.mark.rpartition(".")[2]),
    ):
        assert secret.encode() not in saved


@pytest_twisted.ensureDeferred
async def test_nothing_stays_for_ever_but_users(world: RedisWorld) -> None:
    """Whatever is not ended by somebody ends by itself, its indexes too."""
    store = await world.open()
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.put_state(STATE)
    await store.retire_sessions(["b" * 32], until=NOW + 9000)
    await store.save_user(USER)
    await store.save_grant(ANN, GRANT, replaces=None)
    await store.journal_begin(ENTRY)
    await store.save_document(replace(DOCUMENT, doubted=1.0), replaces=None)
    for file_id in (DOCUMENT.file_id, "unknown"):
        await store.save_comments(file_id, CommentsRecord({"c1": {}}, "", 1000.0))
    await store.add_channel(CHANNEL, replaces=None)
    await store.save_spent("2026-11-25", "one", 7)
    await store.ping()
    await world.later(9001 + 2 * 86400)
    left = world.server.cli("--raw", "keys", "*").splitlines()
    names = ("meta", f"grant:{ANN}", f"user:{ANN}", "orphans")
    assert sorted(left) == sorted(f"docsession:{name}" for name in names)
    await store.delete_user(ANN)
    assert world.server.cli("--raw", "keys", "*").splitlines() == ["docsession:meta"]


@pytest_twisted.ensureDeferred
async def test_a_user_who_keeps_coming_leaves_no_trail(world: RedisWorld) -> None:
    """Indexes lose what they pointed to, though they are used again and again."""
    store = await world.open()
    for number in range(5):
        now = world.clock.seconds()
        record = replace(SESSION, id=f"{number}" * 32, issued=now, last_seen=now, user_id=ANN)
        await store.save_session(record)
        channel = replace(CHANNEL, id=f"c{number}", generation=number, expires=now + 5000)
        replaces = f"c{number - 1}" if number else None
        assert await store.add_channel(channel, replaces=replaces)
        document = replace(DOCUMENT, file_id=f"file-{number}", as_of=now, proofs={ANN: (now, 0.0)})
        await store.save_document(document, replaces=None)
        await world.later(3000)
    for index in ("sessions-of", "proofs-of", "channels-of"):
        assert world.server.cli("zcard", f"docsession:{index}:{ANN}") == "2", index


@pytest_twisted.ensureDeferred
async def test_opening_reads_none_of_it(world: RedisWorld) -> None:
    """100,000 sessions of as many users."""
    fill = """
    for i = 1, 100000 do
      local key = string.format('docsession:session:%064d', i)
      redis.call('HSET', key, 'sealed', 'x', 'issued', '1000.0', 'last_seen', '1000.0', 'user', i)
      redis.call('ZADD', 'docsession:sessions-of:' .. i, 6000, string.format('%064d', i))
      redis.call('ZADD', 'docsession:users', 6000, i)
    end
    """
    await world.open()
    world.server.cli("eval", fill, "0")
    store = await world.beside()
    link = store._redis
    assert link.commands == {"TYPE": 1, "HGETALL": 1}
    await prune(store, NOW)
    assert link.round_trips <= 4


@pytest_twisted.ensureDeferred
async def test_while_it_is_away(world: RedisWorld, tmp_path: Path) -> None:
    """All is unavailable at once, and is said to be; afterwards all works."""
    with RedisServer(tmp_path / "redis") as server:
        world.server = server
        store = await world.open()
        away: list[bool] = []
        gone, back = Deferred[None](), Deferred[None]()

        def told(now_away: bool) -> None:
            away.append(now_away)
            (gone if now_away else back).callback(None)

        store.listen(told)
        server.kill()
        await gone
        for work in (
            *(
                store.ping(),
                store.load_session("x"),
                store.save_session(SESSION),
                store.sessions_of_user(ANN),
            ),
            *(store.touch_sessions({"x": 1.0}), store.retire_sessions(["x"], 1e12), store.is_retired("x")),
            *(store.retired_among(["x"]), store.replace_session("x", SESSION, 1e12), store.put_state(STATE)),
            *(store.take_state("x"), store.load_user(ANN), store.save_user(USER), store.load_grant(ANN)),
            *(store.save_grant(ANN, GRANT, replaces=None), store.delete_user(ANN)),
            *(store.mark_orphaned(ANN, None), store.mark_orphaned(ANN, 1.0), store.orphaned_users(1.0)),
            *(store.journal_begin(ENTRY), store.journal_finish(KEY, "w1", b""), store.journal_find(KEY)),
            *(store.journal_forget(KEY, "w1"), store.load_document("x"), store.delete_document("x")),
            *(store.save_document(DOCUMENT, replaces=None), store.load_comments("x"), store.drop_proofs(ANN)),
            *(store.save_comments("x", CommentsRecord({}, "", 0.0)), store.load_channels(ANN)),
            *(
                store.add_channel(CHANNEL, replaces=None),
                store.save_channel(CHANNEL),
                store.load_channel("x"),
            ),
            *(
                store.delete_channel("x"),
                store.load_spent("2026-11-25"),
                store.save_spent("2026-11-25", "one", 1),
            ),
            prune(store, NOW),
        ):
            with pytest.raises(Unavailable):
                await work
        server.start()
        await back
        assert away == [True, False]
        await store.save_user(USER)
        assert await store.load_user(ANN) == USER


@pytest_twisted.ensureDeferred
async def test_set_back(world: RedisWorld) -> None:
    """Of two nodes that see it one gives the store another epoch, which the other finds."""
    store = await world.open()
    other = await world.beside()
    heard: list[str] = []
    store.listen(lambda away: None, lambda: heard.append("back"))
    before = store.epoch
    assert (before, other.epoch) == (before, before) != ("", "")
    await store.renew_meta()  # an older snapshot: meta is there, and its epoch the same
    await other.renew_meta()
    assert store.epoch == other.epoch != before
    again = store.epoch
    world.server.cli("flushall")
    await at_once(store.renew_meta(), other.renew_meta())
    assert store.epoch == other.epoch != again
    assert heard == []
    store.set_back("epoch of another")
    assert (heard, store.epoch) == (["back"], "epoch of another")
    # What was written again is whole.
    await (await world.beside()).ping()
    with pytest.raises(ConfigError, match="belongs to"):
        await world.open(stamp={**STAMP, "client_id": "two"})


@pytest_twisted.ensureDeferred
async def test_no_write_is_begun_in_a_journal_that_may_have_lost_it(world: RedisWorld) -> None:
    """Not until this node knows that the store has another life, and does what follows from that."""
    store, other = await world.open(), await world.beside()
    await store.journal_begin(ENTRY)
    world.server.cli("flushall")
    for one in (store, other):
        with pytest.raises(Unavailable):
            await one.journal_find(KEY)
        with pytest.raises(Unavailable):
            await one.journal_begin(ENTRY)
    await store.renew_meta()
    assert await store.journal_find(KEY) is None
    with pytest.raises(Unavailable):
        await other.journal_begin(ENTRY)
    await other.renew_meta()
    assert await other.journal_begin(ENTRY)


@pytest_twisted.ensureDeferred
async def test_a_node_may_start_right_after_all_was_lost(world: RedisWorld) -> None:
    """While those that run have written what lives with them, but not yet what the store says of itself."""
    await world.open()
    world.server.cli("flushall")
    for name in ("node:abc", "lease:x", "share:project"):
        world.server.cli("set", f"docsession:{name}", "1")
    await world.beside()


@pytest_twisted.ensureDeferred
async def test_new_keys(world: RedisWorld) -> None:
    """With the old ones behind them they are taken once no node runs; then each start goes by them."""
    store = await world.open()
    await store.save_user(USER)
    link = await world.link()
    both = Keys(signing=OTHER_KEYS.signing + KEYS.signing, sealing=OTHER_KEYS.sealing + KEYS.sealing)
    with pytest.raises(ConfigError, match="cannot be read with these keys; add the old ones behind"):
        await adopt_keys(link, OTHER_KEYS)
    await link.do("SET", link.key("node:abc"), "1")
    with pytest.raises(ConfigError, match="node:abc still runs; stop all nodes first"):
        await adopt_keys(link, both)
    assert (await read_meta(link))["fingerprint"] == fingerprint(KEYS)
    await link.do("DEL", link.key("node:abc"))
    await adopt_keys(link, both)
    new = RedisStore(link, both, clock=world.clock, lifetimes=LIFETIMES)
    await new.open(STAMP)
    assert await new.load_user(ANN) == USER
    assert new.epoch == store.epoch
    with pytest.raises(ConfigError, match="the keys of its nodes have the fingerprint"):
        await world.beside()
    await adopt_keys(link, OTHER_KEYS)  # which can read the probe by now
    await link.do("FLUSHALL")
    with pytest.raises(ConfigError, match="there is no store under 'docsession:'"):
        await adopt_keys(link, both)
