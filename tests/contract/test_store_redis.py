"""The store on Redis keeps every promise of a store, on a real redis-server, over as many links as there are nodes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from docsession.backend.redis_store import RedisStore
from docsession.config import Backend
from docsession.keys import Keys, fingerprint
from tests.contract.store import (
    KEYS,
    LIFETIMES,
    NOW,
    PROMISES,
    STAMP,
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
    with RedisServer(tmp_path_factory.mktemp("redis"), enable_debug_command="local") as running:
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
