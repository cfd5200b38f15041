"""That this node runs, told to Redis every few seconds; and what Redis tells of itself and of the others.

One script does both. With it goes a count of all such calls, kept beside the rest of the store:
where it is not there, or not further than it was, the store has lost what it had.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession.backend.redis_script import Script
from docsession.errors import Unavailable

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["Load", "Presence"]

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


class Presence:
    """The heartbeat. ``renew_meta`` writes anew what the store says of itself, after a loss;
    ``on_set_back`` hears that there was one; ``then`` is awaited after each beat, done or not."""

    _log = Logger()

    def __init__(
        self,
        redis: Redis,
        clock: IReactorTime,
        *,
        node: str,
        lasts: float,
        load: Callable[[], Load],
        renew_meta: Callable[[], Awaitable[object]],
        on_set_back: Callable[[], None],
        then: Callable[[], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._node = node
        self._lasts = lasts
        self._load = load
        self._renew_meta = renew_meta
        self._on_set_back = on_set_back
        self._then = then
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round()))
        self._loop.clock = clock
        self._tick = 0
        self._epoch: str | None = None
        self.others: Mapping[str, Load] = {}

    async def start(self) -> None:
        """Raises :class:`Unavailable`: then nothing was begun."""
        await self._beat()
        self._loop.start(self._lasts * EVERY, now=False)

    async def stop(self) -> None:
        """Nobody is to take this node for a living one."""
        running = self._loop.deferred if self._loop.running else None
        if self._loop.running:
            self._loop.stop()
        if running is not None:
            await running
        of_all = [f"{what}:{self._node}" for what in ("at", "held", "wanted")]
        try:
            await self._redis.do_all([("DEL", self._key()), ("HDEL", self._redis.key("nodes"), *of_all)])
        except Unavailable:
            self._log.debug("this node could not say goodbye")

    def _key(self) -> str:
        return self._redis.key(f"node:{self._node}")

    async def _round(self) -> None:
        try:
            await self._beat()
        except Unavailable:
            pass
        except Exception:  # or the loop would end
            self._log.failure("the heartbeat failed")
        try:
            await self._then()
        except Exception:
            self._log.failure("what follows a heartbeat failed")

    async def _beat(self) -> None:
        load = self._load()
        others, *meta = await self._redis.run(
            _BEAT,
            [self._key(), self._redis.key("nodes"), self._redis.key("meta")],
            [self._node, round(self._lasts * 1000), load.held, load.wanted],
        )
        self.others = {str(name, "utf-8"): Load(int(held), int(wanted)) for name, held, wanted in others}
        tick, epoch = (int(meta[0]), str(meta[1], "utf-8")) if meta else (0, self._epoch)
        if epoch == self._epoch and tick <= self._tick:
            await self._renew_meta()
            # Whoever is the first to see it gives it another epoch, and all go by that.
            tick, epoch = 0, None
        lost = self._epoch is not None and epoch != self._epoch
        self._tick, self._epoch = tick, epoch
        if lost:
            self._log.warn("Redis has lost what it had, or some of it: what is live is written again")
            self._on_set_back()
