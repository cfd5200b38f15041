"""That this node runs, told to Redis every few seconds; and what Redis tells of itself and of the others.

One script does both. With it goes a count of all such calls, kept beside the rest of the store:
where it is not there, or not further than it was, the store has lost what it had.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.backend.redis_script import Script
from docsession.errors import Unavailable
from docsession.tasks import Alarm, Background

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["Life", "Load", "Presence"]

# Of the time for which it is believed: so that one may be lost.
EVERY = 0.3

_BEAT = Script(
    "heartbeat",
    """
-- KEYS: this node's key, all nodes, meta. ARGV: this node, milliseconds, held, wanted.
local node, lasts = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], 1, 'PX', lasts)
redis.call('HSET', KEYS[2], 'at:' .. node, now, 'held:' .. node, ARGV[3], 'wanted:' .. node, ARGV[4])
redis.call('PEXPIRE', KEYS[2], lasts * 2)
local others = {}
local known = redis.call('HGETALL', KEYS[2])
for i = 1, #known, 2 do
  local name = string.match(known[i], '^at:(.*)$')
  if name and now - known[i + 1] > lasts then
    redis.call('HDEL', KEYS[2], 'at:' .. name, 'held:' .. name, 'wanted:' .. name)
  elseif name and name ~= node then
    others[#others + 1] = {name, redis.call('HGET', KEYS[2], 'held:' .. name),
                           redis.call('HGET', KEYS[2], 'wanted:' .. name)}
  end
end
if redis.call('EXISTS', KEYS[3]) == 0 then return {others} end
return {others, redis.call('HINCRBY', KEYS[3], 'tick', 1), redis.call('HGET', KEYS[3], 'epoch') or ''}
""",
)


@dataclass(frozen=True, slots=True)
class Load:
    """How many leases a node holds, and how many it wants."""

    held: int
    wanted: int


class Life(Protocol):
    """What the store knows of its own loss; see :class:`docsession.backend.redis_store.RedisStore`."""

    @property
    def epoch(self) -> str: ...
    async def renew_meta(self) -> None: ...
    def set_back(self, epoch: str | None = None) -> None: ...


class Presence:
    """The heartbeat. ``load`` goes with it; ``then`` is awaited after each, answered or not."""

    _log = Logger()

    def __init__(
        self,
        redis: Redis,
        life: Life,
        clock: IReactorTime,
        *,
        node: str,
        lasts: float,
        load: Callable[[], Load],
        then: Callable[[], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._life = life
        self._clock = clock
        self._node = node
        self._lasts = lasts
        self._load = load
        self._then = then
        self._alarm = Alarm(clock, self._ring)
        self._work = Background(self._log)
        self._busy = self._running = False
        self._tick = 0
        self.others: Mapping[str, Load] = {}
        redis.on_away(self._away)

    async def start(self) -> None:
        """Raises :class:`Unavailable`: then nothing was begun."""
        await self._beat()
        self._running = True
        self._next()

    async def stop(self) -> None:
        """Nobody is to take this node for a living one."""
        self._running = False
        self._alarm.off()
        await self._work.settle()
        counts = [f"{what}:{self._node}" for what in ("at", "held", "wanted")]
        try:
            await self._redis.do_all([("DEL", self._key()), ("HDEL", self._redis.key("nodes"), *counts)])
        except Unavailable:
            self._log.debug("this node could not say goodbye")

    def _key(self) -> str:
        return self._redis.key(f"node:{self._node}")

    def _away(self, away: bool) -> None:
        if not away and self._running:
            self._alarm.by(self._clock.seconds())

    def _next(self) -> None:
        if self._running:
            self._alarm.by(self._clock.seconds() + self._lasts * EVERY)

    def _ring(self) -> None:
        if not self._busy:
            self._busy = True
            self._work.spawn(self._round())

    async def _round(self) -> None:
        try:
            await self._beat()
        except Unavailable:
            pass
        finally:
            try:
                await self._then()
            finally:
                self._busy = False
                self._next()

    async def _beat(self) -> None:
        load = self._load()
        others, *meta = await self._redis.run(
            _BEAT,
            [self._key(), self._redis.key("nodes"), self._redis.key("meta")],
            [self._node, round(self._lasts * 1000), load.held, load.wanted],
        )
        self.others = {str(name, "utf-8"): Load(int(held), int(wanted)) for name, held, wanted in others}
        tick, epoch = (int(meta[0]), str(meta[1], "utf-8")) if meta else (0, self._life.epoch)
        if epoch != self._life.epoch:
            self._lost(tick, epoch)  # and another node has seen it before
        elif tick <= self._tick:
            await self._life.renew_meta()
            self._lost(0, None)
        else:
            self._tick = tick

    def _lost(self, tick: int, epoch: str | None) -> None:
        self._tick = tick
        self._log.warn("Redis has lost what it had, or some of it: what is live is written again")
        self._life.set_back(epoch)
