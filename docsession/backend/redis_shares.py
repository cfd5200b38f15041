"""What of Google's quota is this node's, asked of Redis once a second, and at once when somebody waits.

How limits are agreed on is in :mod:`docsession.backend.redis_share`. For the whole project there is one. Of a
user's quota every node may spend an even part of one half without asking; of the other half those
nodes have limits where the user spends much. (When a node joins, even parts become smaller: for a minute
a user may pass the ceiling by what the new one gave out of its part.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.backend.redis_share import AGREE, Share
from docsession.errors import Unavailable
from docsession.interfaces import Shares
from docsession.tasks import Alarm, Background

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["RedisShares"]

EVERY = 1.0
# However many hurry.
_LEAST_APART = 0.05
# Somebody who waits for room counts as much as a quarter of an even part, and for so long.
_HURRIED = 5.0
# Of a user's even part: with more than this a limit is agreed on, with less than that no more.
_MUCH, _LITTLE = 0.5, 0.25
# To give back less than this part of the ceiling can wait for the next time.
_WORTH_GIVING = 0.01
_AT_ONCE = 100
# What is spent of the day moves slowly.
_DAY_EVERY = 5.0
_DAY_KEPT = 3 * 86400 * 1000


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked about one share."""

    name: str
    share: Share
    spent: int
    weight: float
    plan: float
    ceiling: int


class RedisShares:
    """Implements :class:`docsession.interfaces.Shares`. ``project`` and ``user``: a minute's ceilings."""

    _log = Logger()

    def __init__(self, redis: Redis, clock: IReactorTime, *, node: str, project: float, user: float) -> None:
        self._redis = redis
        self._clock = clock
        self._node = node
        self._ceiling = int(project)
        self._ceiling_of_user = int(user)
        self._work = Background(self._log)
        self._alarm = Alarm(clock, self._ring)
        self._busy = self._again = self._stopped = False
        self._asked_at = float("-inf")
        self._hurried_until = float("-inf")
        self._number = 0
        self._project = Share()
        self._users: dict[str, Share] = {}
        self._part_of_polls = 1.0
        self._spending: Callable[[], tuple[int, Mapping[str, int]]] = lambda: (0, {})
        self._demand: Callable[[], float] = lambda: 0.0
        self._today: Callable[[], tuple[str, int]] = lambda: ("", 0)
        self._told_today: tuple[str, int] = ("", 0)
        self._day_at = float("-inf")
        self._elsewhere: tuple[str, int] = ("", 0)
        redis.on_away(self._away)

    # -- what the budget asks

    def project(self) -> float | None:
        return self._project.limit

    def user(self, user_id: str) -> float | None:
        share = self._users.get(user_id)
        return self._even_part() + (0 if share is None else share.limit)

    def part_of_polls(self) -> float:
        return self._part_of_polls

    def spent_today_elsewhere(self) -> int:
        day, spent = self._elsewhere
        return spent if day == self._today()[0] else 0

    def source(
        self,
        spending: Callable[[], tuple[int, Mapping[str, int]]],
        demand: Callable[[], float],
        today: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None:
        """``today``: which day it is in California, and what was spent of it here."""
        self._spending, self._demand, self._today = spending, demand, today

    def hurry(self) -> None:
        """Somebody waits for room."""
        now = self._clock.seconds()
        self._hurried_until = now + _HURRIED
        self._soon(now)

    # -- what the backend asks

    async def start(self) -> None:
        """Raises :class:`Unavailable`."""
        await self._agree()
        self._alarm.by(self._clock.seconds() + EVERY)

    async def stop(self) -> None:
        """What this node has not spent is free at once."""
        self._stopped = True
        self._alarm.off()
        await self._work.settle()
        try:
            await self._agree(leaving=True)
        except Unavailable:
            self._log.debug("this node's share of the quota could not be given back")

    # -- asking

    def _even_part(self) -> int:
        return self._ceiling_of_user // 2 // self._project.nodes

    def _away(self, away: bool) -> None:
        if not away:
            self._soon(self._clock.seconds())

    def _soon(self, now: float) -> None:
        if self._busy:
            self._again = True
        elif not self._stopped:
            self._alarm.by(max(now, self._asked_at + _LEAST_APART))

    def _ring(self) -> None:
        if self._busy or self._stopped:
            return
        self._busy = True
        self._work.spawn(self._round())

    async def _round(self) -> None:
        self._again = False
        try:
            if self._redis.away:  # nothing is asked: what one has, one has
                self._asked_at = self._clock.seconds()
            else:
                await self._agree()
                await self._tell_day()
        except Unavailable:
            pass
        finally:
            self._busy = False
            if not self._stopped:
                now = self._clock.seconds()
                self._alarm.by(max(now + _LEAST_APART, self._asked_at + EVERY))
                eager = self._again or self._project.spare > self._ceiling * _WORTH_GIVING
                if eager and not self._redis.away:
                    self._soon(now)

    async def _agree(self, *, leaving: bool = False) -> None:
        now = self._asked_at = self._clock.seconds()
        spent, by_user = self._spending()
        self._choose(by_user)
        project, even = self._project, self._even_part()
        plan = 0.0 if leaving else self._demand()
        weight = spent + 60 * plan
        if now < self._hurried_until:
            weight = max(weight, self._ceiling / project.nodes / 4)
        questions = [_Question("project", project, spent, weight, plan, self._ceiling)]
        for user, share in self._users.items():
            of_user = by_user.get(user, 0)
            beyond = max(0, of_user - even)
            questions.append(
                _Question(f"user:{user}", share, beyond, of_user, 0.0, self._ceiling_of_user // 2)
            )
        for first in range(0, len(questions), _AT_ONCE):
            await self._ask(questions[first : first + _AT_ONCE], leaving=leaving)
        planned = project.plans
        self._part_of_polls = plan / planned if planned > 0 else 1 / project.nodes

    def _choose(self, by_user: Mapping[str, int]) -> None:
        """For whom a limit is worth agreeing on."""
        even = self._even_part()
        for user, spent in by_user.items():
            if spent > even * _MUCH and user not in self._users:
                self._users[user] = Share()
        for user in [user for user in self._users if by_user.get(user, 0) < even * _LITTLE]:
            del self._users[user]

    async def _ask(self, questions: list[_Question], *, leaving: bool) -> None:
        self._number += 1
        args: list[object] = [self._node]
        for each in questions:
            args += each.share.ask(
                self._number,
                spent=each.spent,
                weight=-1.0 if leaving else each.weight,
                plan=each.plan,
                ceiling=each.ceiling,
            )
        keys = [self._redis.key(f"share:{each.name}") for each in questions]
        try:
            answers = await self._redis.run(AGREE, keys, args)
        except Unavailable:
            if not self._redis.away:  # it has refused, and did nothing
                for each in questions:
                    each.share.refused()
            raise
        for each, answer in zip(questions, answers, strict=True):
            each.share.take(answer)

    async def _tell_day(self) -> None:
        """Each node under its own name, in all and not in steps: so nothing is counted twice."""
        now, today = self._clock.seconds(), self._today()
        if not today[0] or now - self._day_at < _DAY_EVERY:
            return
        self._day_at = now
        key = self._redis.key(f"share:spent:{today[0]}")
        commands: list[tuple[object, ...]] = [("HGETALL", key)]
        if today != self._told_today and today[1]:
            commands += [("HSET", key, self._node, today[1]), ("PEXPIRE", key, _DAY_KEPT)]
        known = (await self._redis.do_all(commands))[0]
        self._told_today = today
        others = zip(known[::2], known[1::2], strict=True)
        self._elsewhere = (today[0], sum(int(spent) for node, spent in others if node != self._node.encode()))


if TYPE_CHECKING:
    _shares: type[Shares] = RedisShares
