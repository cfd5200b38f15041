"""Who holds clearly more leases than another gives some to it: how many, which, and to whom.

Each looks only at pairs. The one with fewer marks some of those it waits for, at most half of what
lies between it and the one with most; the one with more gives at most a quarter of what lies
between the two. So none is given more than it lacks, whoever gives at the same time, and what
lies between two is left alone once it is small.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from docsession.backend.redis_presence import Load
from docsession.backend.redis_script import Script

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["AT_ONCE", "Spread", "lacking", "room"]

# So many keys' worth of leases in one call.
AT_ONCE = 500
# Less than this between two, or less than this part of what the richer one has, is even.
_EVEN, _EVEN_PART = 2, 0.1

_MARK = Script(
    "lease_mark",
    """
-- KEYS: marks. ARGV: this node, milliseconds.
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
""",
)

_GIVE = Script(
    "lease_give",
    """
-- KEYS: all nodes, then each lease with its mark.
-- ARGV: this node, milliseconds, then nodes with how many may be given to each.
-- Returns the given: which of KEYS, to whom.
local room, given = {}, {}
for i = 3, #ARGV, 2 do room[ARGV[i]] = tonumber(ARGV[i + 1]) end
for i = 2, #KEYS, 2 do
  local node = redis.call('GET', KEYS[i + 1])
  if node and (room[node] or 0) > 0 and redis.call('GET', KEYS[i]) == ARGV[1] then
    redis.call('SET', KEYS[i], node, 'PX', ARGV[2])
    redis.call('DEL', KEYS[i + 1])
    -- So that the next one who looks does not give as if nothing had been given.
    redis.call('HINCRBY', KEYS[1], 'held:' .. node, 1)
    redis.call('HINCRBY', KEYS[1], 'held:' .. ARGV[1], -1)
    room[node] = room[node] - 1
    given[#given + 1] = {i, node}
  end
end
return given
""",
)


def room(own: int, others: Mapping[str, Load]) -> dict[str, int]:
    """How many of our own may be given to which others."""
    return {
        name: max(1, (own - load.held) // 4)
        for name, load in others.items()
        if load.held < load.wanted and _uneven(own, load.held)
    }


def lacking(own: int, others: Mapping[str, Load]) -> int:
    """How many of those that others hold are to be marked as waited for."""
    most = max((load.held for load in others.values()), default=0)
    return max(1, (most - own) // 2) if _uneven(most, own) else 0


def _uneven(more: int, less: int) -> bool:
    return more - less >= max(_EVEN, _EVEN_PART * more)


class Spread:
    """One node's part in it. ``others``: what the other nodes hold and want."""

    def __init__(
        self,
        redis: Redis,
        rng: random.Random,
        *,
        node: str,
        lasts: float,
        others: Callable[[], Mapping[str, Load]],
    ) -> None:
        self._redis = redis
        self._rng = rng
        self._args = [node, round(lasts * 1000)]
        self._others = others

    async def even_out(
        self, held: list[str], missing: list[str], given: Callable[[str, list[str]], None]
    ) -> None:
        """Give away some of those held, or mark some of those missing. ``given`` hears what went to whom.

        May raise :class:`docsession.errors.Unavailable`.
        """
        others = self._others()
        if to_give := room(len(held), others):
            await self._give(held, to_give, given)
        elif most := lacking(len(held), others):
            marked = self._rng.sample(missing, min(most, AT_ONCE, len(missing)))
            if marked:
                await self._redis.run(_MARK, [self._mark(name) for name in marked], self._args)

    async def _give(
        self, held: list[str], to_give: dict[str, int], given: Callable[[str, list[str]], None]
    ) -> None:
        self._rng.shuffle(held)
        while held and to_give:
            some, held = held[: AT_ONCE // 2], held[AT_ONCE // 2 :]
            keys = [key for name in some for key in (self._redis.key(f"lease:{name}"), self._mark(name))]
            args = [word for pair in to_give.items() for word in pair]
            answer = await self._redis.run(_GIVE, [self._redis.key("nodes"), *keys], [*self._args, *args])
            moved: dict[str, list[str]] = defaultdict(list)
            for key, taker in answer:
                moved[str(taker, "utf-8")].append(some[int(key) // 2 - 1])
            for node, names in moved.items():
                to_give[node] -= len(names)
                given(node, names)
            to_give = {node: left for node, left in to_give.items() if left > 0}

    def _mark(self, name: str) -> str:
        return self._redis.key(f"lease::{name}")
