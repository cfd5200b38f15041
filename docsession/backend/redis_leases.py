"""Leases on Redis: who does what all nodes could do, for some seconds at a time.

All held and wanted ones are asked for in one call after each heartbeat, and at once what is new:
one call is under way at a time, for at most 500 of them. What is held is held by this node's own
clock from the moment when that was *asked*, so never longer than Redis has it.

While Redis is away what is held stays so until it expires. From the first that does (or, if none is held,
a lease's time after Redis went away) this node is *alone*: all it wants counts as held. That ends when
Redis has answered about all of them.
"""

from __future__ import annotations

import random
import secrets as entropy
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.backend.redis_presence import Load
from docsession.backend.redis_script import Script
from docsession.backend.redis_spread import AT_ONCE, Spread
from docsession.errors import Unavailable
from docsession.interfaces import Bus, Leases
from docsession.tasks import Alarm, Background

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["RedisLeases"]

# Clocks do not run alike: ours may be off by a twentieth while it follows a jump.
_MARGIN = 0.1
_NEVER = float("-inf")
# What is asked about one of them.
_KEEP, _SEIZE, _FREE = "keep", "seize", "free"
# Here every node hears what is free.
_ALL = "leases"

_ASK = Script(
    "lease",
    """
-- KEYS: leases. ARGV: this node, milliseconds, and what is to be done with each.
-- Returns for each: 1 held, 0 not; or the name of the one who had it.
local answers = {}
for i, key in ipairs(KEYS) do
  local what, holder = ARGV[i + 2], redis.call('GET', key)
  answers[i] = 0
  if what == 'free' then
    if holder == ARGV[1] then redis.call('DEL', key) end
  elseif not holder or holder == ARGV[1] or what == 'seize' then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    answers[i] = 1
    if holder and holder ~= ARGV[1] then answers[i] = holder end
  end
end
return answers
""",
)
_FREE_TAKEN = Script(
    "lease_free", "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"
)


@dataclass(slots=True)
class _Wish:
    """One that is wanted here. ``told``: whether ``on_change`` last heard that it is held."""

    on_change: Callable[[bool], None]
    told: bool
    until: float = _NEVER
    seize: bool = False


class RedisLeases:
    """Implements :class:`docsession.interfaces.Leases`. ``others``: what the other nodes hold and want."""

    _log = Logger()

    def __init__(
        self,
        redis: Redis,
        bus: Bus,
        clock: IReactorTime,
        rng: random.Random,
        *,
        lasts: float,
        others: Callable[[], Mapping[str, Load]],
    ) -> None:
        self._redis = redis
        self._bus = bus
        self._clock = clock
        self._lasts = lasts
        self._spread = Spread(redis, rng, node=bus.node, lasts=lasts, others=others)
        self._work = Background(self._log)
        self._wishes: dict[str, _Wish] = {}
        # What is still to be asked.
        self._todo: dict[str, str] = {}
        self._busy = self._whole = self._uneven = self._stopped = False
        # Whether the last call was answered; if not, from when on this node is alone.
        self._in_touch = True
        self._alone = False
        self._alone_at = 0.0
        self._alarm = Alarm(clock, self._look)
        # What was taken once: in whose name, and until when.
        self._taken: dict[str, tuple[str, float]] = {}
        redis.on_away(self._away)
        bus.subscribe(f"node:{bus.node}", self._heard)
        bus.subscribe(_ALL, self._heard)

    # -- what the logic asks

    @property
    def alone(self) -> bool:
        return self._alone

    def want(self, name: str, on_change: Callable[[bool], None] = lambda held: None) -> None:
        if (wish := self._wishes.get(name)) is not None:
            wish.on_change = on_change
            return
        self._wishes[name] = _Wish(on_change, told=self._alone)
        self._ask(name, _KEEP)

    def drop(self, name: str) -> None:
        wish = self._wishes.pop(name, None)
        if wish is None:
            return
        self._todo.pop(name, None)
        if self._clock.seconds() < wish.until:
            self._ask(name, _FREE)  # else, if it is being asked for just now, with the answer

    def holds(self, name: str) -> bool:
        wish = self._wishes.get(name)
        return wish is not None and (self._alone or self._clock.seconds() < wish.until)

    def seize(self, name: str) -> None:
        wish = self._wishes.get(name)
        if wish is not None and not self.holds(name):
            wish.seize = True
            self._ask(name, _SEIZE)

    async def take(self, name: str, seconds: float) -> bool:
        now = self._clock.seconds()
        if self._alone:
            return True
        token = f"{self._bus.node} {entropy.token_hex(8)}"
        if await self._redis.do("SET", self._key(name), token, "NX", "PX", round(seconds * 1000)) is None:
            return False
        self._taken = {lease: taken for lease, taken in self._taken.items() if taken[1] > now}
        self._taken[name] = (token, now + seconds)
        return True

    async def free(self, name: str) -> None:
        token, _ = self._taken.pop(name, (None, 0.0))
        if token is not None:
            await self._redis.run(_FREE_TAKEN, [self._key(name)], [token])

    # -- what the backend asks

    @property
    def load(self) -> Load:
        """How many are held and wanted here."""
        now = self._clock.seconds()
        return Load(sum(wish.until > now for wish in self._wishes.values()), len(self._wishes))

    async def renew(self) -> None:
        """Ask about all that is wanted, and see whether some of it is better held by another."""
        self._uneven = True
        self._ask_all()
        self._begin()
        await self._work.settle()

    async def stop(self) -> None:
        """Free all that is held."""
        self._stopped = True
        for name in list(self._wishes):
            self.drop(name)
        self._begin()
        await self._work.settle()
        self._alarm.off()
        for name in list(self._taken):
            try:
                await self.free(name)
            except Unavailable:
                break  # they end by themselves

    # -- asking

    def _key(self, name: str) -> str:
        return self._redis.key(f"lease:{name}")

    def _ask(self, name: str, what: str) -> None:
        if not self._todo:
            self._clock.callLater(0, self._begin)  # with all else of this turn
        self._todo[name] = what

    def _ask_all(self) -> None:
        self._whole = True
        for name, wish in self._wishes.items():
            self._todo[name] = _SEIZE if wish.seize else _KEEP

    def _begin(self) -> None:
        if not self._busy:
            self._busy = True
            self._work.spawn(self._work_off())

    async def _work_off(self) -> None:
        try:
            await self._ask_until_done()
            if self._uneven and not self._stopped:
                self._uneven = False
                await self._even_out()
            await self._ask_until_done()
        except Unavailable:
            self._out_of_touch()
        finally:
            self._busy = False

    async def _ask_until_done(self) -> None:
        while self._todo:
            asked = dict(islice(self._todo.items(), AT_ONCE))
            for name in asked:
                del self._todo[name]
            now = self._clock.seconds()
            args = [self._bus.node, round(self._lasts * 1000), *asked.values()]
            answers = await self._redis.run(_ASK, [self._key(name) for name in asked], args)
            self._answered(asked, answers, now + self._lasts * (1 - _MARGIN))
            if not self._in_touch and not self._whole:
                self._ask_all()
        self._in_touch_again()

    def _answered(self, asked: Mapping[str, str], answers: list[Any], until: float) -> None:
        robbed: dict[str, list[str]] = defaultdict(list)
        freed: list[str] = []
        for (name, what), answer in zip(asked.items(), answers, strict=True):
            if isinstance(answer, bytes):
                robbed[str(answer, "utf-8")].append(name)
            wish = self._wishes.get(name)
            if what == _FREE:
                freed.append(name)
            if wish is None:
                if answer and name not in self._todo:
                    self._todo[name] = _FREE  # dropped while it was asked for
            elif what != _FREE:
                wish.until = until if answer else _NEVER
                wish.seize = False
        for name in asked:
            self._settle(name)
        self._alarm.by(until)
        for node, names in robbed.items():
            self._tell(f"node:{node.partition(' ')[0]}", names)
        if freed:
            self._tell(_ALL, freed)

    def _tell(self, channel: str, names: list[str]) -> None:
        """Let those nodes look at once; else they would with their next heartbeat."""
        self._bus.publish(channel, {"leases": names})

    def _heard(self, message: Mapping[str, Any]) -> None:
        for name in message.get("leases", ()):
            if name in self._wishes and name not in self._todo:
                self._ask(name, _KEEP)

    async def _even_out(self) -> None:
        held = [name for name in self._wishes if self.holds(name)]
        missing = [name for name in self._wishes if not self.holds(name)]
        await self._spread.even_out(held, missing, self._given)

    def _given(self, node: str, names: list[str]) -> None:
        for name in names:
            if (wish := self._wishes.get(name)) is not None:
                wish.until = _NEVER
                self._settle(name)
        self._tell(f"node:{node}", names)

    # -- time, and Redis going away

    def _away(self, away: bool) -> None:
        if away:
            self._out_of_touch()
        elif not self._stopped:
            self._ask_all()
            self._begin()

    def _out_of_touch(self) -> None:
        self._todo.clear()
        self._whole = False
        if self._in_touch:
            self._in_touch = False
            now = self._clock.seconds()
            held = [wish.until for wish in self._wishes.values() if wish.until > now]
            self._alone_at = min(held, default=now + self._lasts)
            self._alarm.by(self._alone_at)

    def _in_touch_again(self) -> None:
        if self._redis.away or not (self._in_touch or self._whole):
            return
        self._in_touch = True
        if self._alone:
            self._alone = False
            self._settle_all()

    def _look(self) -> None:
        """Something may have expired."""
        now = self._clock.seconds()
        if not self._in_touch and not self._alone and now >= self._alone_at:
            self._alone = True
            for wish in self._wishes.values():
                wish.seize = False
        self._settle_all()
        soonest = min((wish.until for wish in self._wishes.values() if wish.until > now), default=None)
        if not self._in_touch and not self._alone:
            soonest = min(self._alone_at, soonest or self._alone_at)
        if soonest is not None:
            self._alarm.by(soonest)

    def _settle_all(self) -> None:
        for name in list(self._wishes):
            self._settle(name)

    def _settle(self, name: str) -> None:
        """Tell whoever wants it what became of it, if that is news."""
        wish = self._wishes.get(name)
        if wish is None or wish.told == (held := self.holds(name)):
            return
        wish.told = held
        try:
            wish.on_change(held)
        except Exception:
            self._log.failure("what follows a lease failed")


if TYPE_CHECKING:
    _leases: type[Leases] = RedisLeases
