"""Several nodes in one process, each with connections of its own to one real redis-server."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.task import deferLater

from docsession.config import Backend, Quota, Sessions
from docsession.keys import Keys, Sealer
from tests.contract.store import KEYS, STAMP
from tests.daemon.redis_server import RedisServer

__all__ = ["LEASE", "RedisNode", "RedisNodes"]

LEASE = 0.5
# However slow the machine is.
BOUND = 60.0


class RedisNode:
    """One node: everything but the logic."""

    def __init__(self, url: str, number: int, settings: dict[str, Any]) -> None:
        from twisted.internet import reactor

        from docsession.backend.redis import Redis
        from docsession.backend.redis_backend import RedisBackend
        from docsession.backend.redis_store import RedisStore

        keys: Keys = settings.get("keys", KEYS)
        self.redis = Redis(
            Backend(url=url, answer_within=settings.get("answer_within", 30)),
            None,
            reactor=reactor,
            rng=random.Random(number),
        )
        self.store = RedisStore(self.redis, keys, clock=reactor, lifetimes=Sessions())
        self.whole = RedisBackend(
            self.redis,
            self.store,
            Sealer(keys),
            clock=reactor,
            rng=random.Random(number),
            lease=settings.get("lease", LEASE),
            quota=settings.get("quota", Quota()),
        )
        self.set_back = 0
        self.store.listen(lambda away: None, self._set_back)
        self.bus = self.whole.backend.bus
        self.leases = self.whole.backend.leases
        self.shares: Any = self.whole.backend.shares
        self.dead = False

    def _set_back(self) -> None:
        self.set_back += 1


class RedisNodes:
    """A :class:`tests.contract.nodes.NodesWorld`."""

    def __init__(self, server: RedisServer) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = server
        self.nodes: list[RedisNode] = []

    async def join(self, **settings: Any) -> RedisNode:
        node = RedisNode(self.server.url, len(self.nodes), settings)
        self.nodes.append(node)
        await node.whole.start(STAMP)
        return node

    async def die(self, node: RedisNode) -> None:
        """Its connections break, and it makes no other."""
        node.dead = True
        await node.redis.stop()

    async def leave(self, node: RedisNode) -> None:
        node.dead = True
        await node.whole.stop()

    async def close(self) -> None:
        for node in self.nodes:
            await node.whole.stop()

    async def until(self, condition: Callable[[], Any]) -> None:
        give_up = self.reactor.seconds() + BOUND
        while True:
            came = condition()
            if await came if hasattr(came, "__await__") else came:
                return
            assert self.reactor.seconds() < give_up, "it never came true"
            await deferLater(self.reactor, 0.01)
