"""The backend on Redis: the store and what nodes share besides, started in order and stopped in reverse."""

from __future__ import annotations

import random
import secrets as entropy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.logger import Logger

from docsession.backend.redis import Redis
from docsession.backend.redis_bus import RedisBus
from docsession.backend.redis_leases import RedisLeases
from docsession.backend.redis_presence import Presence
from docsession.backend.redis_shares import RedisShares
from docsession.backend.redis_store import RedisStore
from docsession.config import Quota
from docsession.errors import ConfigError, Unavailable
from docsession.interfaces import Backend
from docsession.keys import Sealer
from docsession.telemetry import Metrics

__all__ = ["RedisBackend"]


class RedisBackend:
    """One node's part. ``store`` is on ``redis`` too, and ``lease`` in seconds."""

    _log = Logger()

    def __init__(
        self,
        redis: Redis,
        store: RedisStore,
        sealer: Sealer,
        *,
        clock: Any,
        rng: random.Random,
        lease: float,
        quota: Quota,
    ) -> None:
        node = entropy.token_hex(8)
        self._redis = redis
        self._store = store
        self._bus = RedisBus(redis, sealer, clock, node=node)
        self._leases = RedisLeases(
            redis, self._bus, clock, rng, lasts=lease, others=lambda: self._presence.others
        )
        self._shares = RedisShares(
            redis,
            clock,
            node=node,
            project=quota.per_project_per_minute * quota.ceiling,
            user=quota.per_user_per_minute * quota.ceiling,
        )
        self._presence = Presence(
            redis,
            store,
            clock,
            node=node,
            lasts=lease,
            load=lambda: self._leases.load,
            then=self._leases.renew,
        )
        self._running: list[Callable[[], Awaitable[None]]] = []
        self.backend = Backend(store, self._bus, self._leases, self._shares, several=True)

    async def start(self, stamp: Mapping[str, str]) -> None:
        """Connect, open the store, and appear among the others. Raises :class:`ConfigError`."""
        for start, stop in (
            (self._redis.start, self._redis.stop),
            (lambda: self._store.open(stamp), self._store.close),
            (self._presence.start, self._presence.stop),
            (self._nothing, self._bus.stop),
            (self._shares.start, self._shares.stop),
            (self._nothing, self._leases.stop),
        ):
            try:
                await start()
            except Exception as error:
                await self.stop()
                if isinstance(error, Unavailable):
                    raise ConfigError(f"backend.url: Redis at {self._redis.url}: {error}") from None
                raise
            self._running.append(stop)

    async def stop(self) -> None:
        """Give back what is held, say goodbye, and disconnect."""
        while self._running:
            try:
                await self._running.pop()()
            except Exception:
                self._log.failure("a part of the backend did not stop cleanly")

    async def health(self) -> Mapping[str, str]:
        """For ``/readyz?verbose``."""
        try:
            await self._redis.do("PING")
        except Unavailable:
            return {"redis": "unavailable"}
        # One that hears nothing serves, but late: a balancer does better with another.
        return {"redis": "ok" if self._redis.connections == 2 else "unavailable"}

    def measure(self, metrics: Metrics) -> None:
        """Show the operator where it stands."""
        redis, bus, leases = self._redis, self._bus, self._leases
        metrics.watch("redis_connections", "Connections to Redis.", lambda: redis.connections)
        metrics.watch("redis_away", "1 while Redis is away.", lambda: redis.away)
        metrics.watch("redis_alone", "1 while this node goes on by itself.", lambda: leases.alone)
        metrics.watch("redis_nodes", "Nodes that run, with this one.", lambda: len(self._presence.others) + 1)
        metrics.watch_each(
            "leases",
            "Leases of this node.",
            "state",
            {"held": lambda: leases.load.held, "wanted": lambda: leases.load.wanted},
        )
        metrics.count("redis_round_trips", "Times that Redis was asked.", lambda: redis.round_trips)
        metrics.count_each("redis_commands", "Commands and scripts, by name.", "name", lambda: redis.commands)
        metrics.count_each(
            "bus_messages",
            "Messages between nodes, by what became of them.",
            "outcome",
            lambda: bus.counts,
        )

    async def _nothing(self) -> None: ...
