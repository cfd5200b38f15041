"""What the parts of the store on Redis have in common: the link, the sealing, and how long things last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from docsession.backend.redis_script import Script
from docsession.backend.sealing import SealedColumns
from docsession.config import Sessions

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["LUA", "SLICE", "Part", "text"]

SLICE = 500  # what one script goes through at most: others get their turn in between

LUA = """
local P = KEYS[1]
-- Keep an index as long as what was last put into it, at least. (PEXPIRE knows GT from Redis 7 on.)
local function keep(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end
local function milliseconds(seconds)
  return string.format('%.0f', seconds * 1000)
end
"""
"""What many scripts begin with. They are given the prefix as their only key, and make the names of
the others from what they find."""


class Part:
    """A group of keys; :class:`~docsession.backend.redis_store.RedisStore` is made of these."""

    def __init__(self, redis: Redis, sealed: SealedColumns, clock: IReactorTime, lifetimes: Sessions) -> None:
        self._redis = redis
        self._sealed = sealed
        self._clock = clock
        self._lifetimes = lifetimes

    async def _run(self, script: Script, *args: Any) -> Any:
        return await self._redis.run(script, [self._redis.key("")], args)

    def _left(self, until: float) -> int:
        """Milliseconds until then; not one is left of what is past."""
        return max(0, round((until - self._clock.seconds()) * 1000))


def text(data: bytes) -> str:
    return data.decode("utf-8")
