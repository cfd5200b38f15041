"""Limits that nodes agree on in a real Redis: never more than the ceiling, and where they are needed."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from docsession.backend.redis_script import Script
from docsession.backend.redis_share import AGREEMENT, Share
from docsession.config import Quota
from docsession.google.budget import Window
from tests.daemon.redis_nodes import RedisNode, RedisNodes
from tests.daemon.redis_server import RedisServer, needs_redis

pytestmark = needs_redis

CEILING = 1000
# The script itself, told the time instead of asking Redis.
TOLD = Script("share_told", "local now = tonumber(table.remove(ARGV))\n" + AGREEMENT)


class Plain:
    """Redis, one question after the other, without a reactor."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._file = self._socket.makefile("rb")
        self.do("SCRIPT", "LOAD", TOLD.source)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def do(self, *words: Any) -> Any:
        packed = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._socket.sendall(
            b"*%d\r\n" % len(packed) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in packed)
        )
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        assert kind != b"-", line
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        return int(rest) if kind == b":" else rest


class Spender:
    """A node: it spends when it likes, if its limit allows it."""

    def __init__(self, name: str, ahead: float) -> None:
        self.name = name
        self.ahead = ahead  # by how much its clock is wrong
        self.share = Share()
        self.window = Window()
        self.number = 0
        self.plan = 0.0
        self.alive = True
        # What is on its way, and arrives after what is asked later.
        self.late: deque[list[Any]] = deque()


class Play:
    """Time, nodes, and all that was ever spent."""

    def __init__(self, redis: Plain) -> None:
        self.redis = redis
        redis.do("FLUSHALL")
        self.now = 1_700_000_000.0
        self.nodes: list[Spender] = []
        self.spent: deque[tuple[float, int]] = deque()
        self.sum = 0

    def join(self, ahead: float) -> None:
        if len(self.living) < 6:
            self.nodes.append(Spender(f"n{len(self.nodes)}", ahead))
            self.sync(self.nodes[-1])

    @property
    def living(self) -> list[Spender]:
        return [node for node in self.nodes if node.alive]

    def question(self, node: Spender, *, leaving: bool = False) -> list[Any]:
        node.number += 1
        spent = node.window.expire(self.now + node.ahead)
        weight = -1.0 if leaving else spent + 60 * node.plan
        return node.share.ask(node.number, spent=spent, weight=weight, plan=node.plan, ceiling=CEILING)

    def arrives(self, node: Spender, question: list[Any]) -> list[Any]:
        words = [node.name, *question, f"{self.now * 1000:.0f}"]
        return list(self.redis.do("EVALSHA", TOLD.sha, 1, "share", *words)[0])

    def sync(self, node: Spender) -> None:
        node.share.take(self.arrives(node, self.question(node)))
        self.check_limits()

    def lose_answer(self, node: Spender) -> None:
        self.arrives(node, self.question(node))
        self.check_limits()

    def lose_question(self, node: Spender) -> None:
        node.late.append(self.question(node))

    def late_question(self, node: Spender) -> None:
        if node.late:
            self.arrives(node, node.late.popleft())
            self.check_limits()

    def leave(self, node: Spender) -> None:
        self.arrives(node, self.question(node, leaving=True))
        node.alive = False

    def spend(self, node: Spender, cost: int) -> bool:
        now = self.now + node.ahead
        if node.window.expire(now) + cost > node.share.limit:
            return False
        node.window.add(now, cost)
        self.spent.append((self.now, cost))
        self.sum += cost
        while self.spent[0][0] <= self.now - 60:
            self.sum -= self.spent.popleft()[1]
        assert self.sum <= CEILING, f"{self.sum} in a minute"
        return True

    def check_limits(self) -> None:
        """What Redis holds of each living node is never less than what the node goes by."""
        held = dict(zip(*[iter(self.redis.do("HGETALL", "share"))] * 2, strict=True))
        for node in self.living:
            entry = held.get(b"node:" + node.name.encode())
            if entry is not None:
                assert int(entry.split()[0]) >= node.share.limit, (node.name, entry, node.share.limit)

    def wait(self, seconds: int, greed: int, *, synced: bool = True) -> None:
        """Everybody spends what there is, in lumps."""
        for _ in range(seconds):
            self.now += 1
            for node in self.living:
                if synced:
                    self.sync(node)
                while greed and self.spend(node, greed):
                    pass

    def flush(self) -> None:
        """Redis has lost everything; those who still run come back before anybody new does."""
        if any(node.share.limit for node in self.living):
            self.redis.do("FLUSHALL")
            self.redis.do("SCRIPT", "LOAD", TOLD.source)
            for node in self.living:
                self.sync(node)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    with RedisServer(tmp_path_factory.mktemp("shares") / "redis") as server:
        plain = Plain(server.port)
        yield plain
        plain.close()


number = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("join"), st.floats(-500, 500)),
    st.tuples(st.just("die"), number),
    st.tuples(st.just("leave"), number),
    st.tuples(st.just("sync"), number),
    st.tuples(st.just("lose_answer"), number),
    st.tuples(st.just("lose_question"), number),
    st.tuples(st.just("late_question"), number),
    st.tuples(st.just("spend"), number, st.integers(1, 400)),
    st.tuples(st.just("plan"), number, st.floats(0, 100)),
    st.tuples(st.just("blink"), st.integers(1, 900)),
    st.tuples(st.just("wait"), st.integers(1, 30), st.sampled_from([0, 1, 7, 100])),
    st.tuples(st.just("outage"), st.integers(1, 200), st.sampled_from([0, 1, 7, 100])),
    st.tuples(st.just("flush")),
)


@given(st.lists(steps, max_size=60), st.integers(1, 5))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_more_than_the_ceiling(redis: Plain, played: list[Any], nodes: int) -> None:
    """Whatever is spent, lost and late; whoever comes, goes and dies; whatever their clocks say."""
    play = Play(redis)
    for each in range(nodes):
        play.join(each * 17.3)
    for what, *words in played:
        living = play.living
        if what == "join":
            play.join(words[0])
        elif what == "wait":
            play.wait(*words)
        elif what == "outage":
            play.wait(*words, synced=False)
            for node in living:
                play.sync(node)
        elif what == "blink":
            play.now += words[0] / 1000
        elif what == "flush":
            play.flush()
        elif living:
            node = living[words[0] % len(living)]
            if what == "die":
                node.alive = False
            elif what == "plan":
                node.plan = words[1]
            elif what == "spend":
                play.spend(node, words[1])
            else:
                getattr(play, what)(node)
    note(str({node.name: node.share.limit for node in play.living}))
    play.wait(3, 1)


def test_limits_follow_demand(redis: Plain) -> None:
    """From wherever it was, nearly everything is where it is needed after a few seconds; and back."""
    play = Play(redis)
    for _ in range(4):
        play.join(0)
    play.wait(2, 0)
    quiet = [node.share.limit for node in play.nodes]
    assert min(quiet) >= 50  # whoever comes first finds some
    one, two, *_ = play.nodes
    one.plan = 100.0
    play.wait(4, 0)
    assert one.share.limit > CEILING * 0.8
    one.plan = two.plan = 50.0
    play.wait(4, 0)
    assert abs(one.share.limit - two.share.limit) <= 2
    assert one.share.limit > CEILING * 0.4
    one.plan, two.plan = 0.0, 200.0
    play.wait(4, 0)
    assert two.share.limit > CEILING * 0.8
    assert one.share.plans == 200.0


def test_who_only_spends_gets_more(redis: Plain) -> None:
    """Nothing was planned: the limit doubles, and doubles again."""
    play = Play(redis)
    for _ in range(4):
        play.join(0)
    play.wait(2, 0)
    (one, *_), begun = play.nodes, play.now
    while one.share.limit < CEILING * 0.8:
        while play.spend(one, 10):
            pass
        play.wait(1, 0)
        assert play.now - begun < 10


def test_who_starts_again_is_not_left_without(redis: Plain) -> None:
    """Killed under a light load, it finds most of the quota; under a heavy one what the others leave."""
    play = Play(redis)
    play.join(0)
    play.wait(5, 0)
    play.nodes[0].alive = False
    play.join(0)
    assert play.nodes[1].share.limit >= CEILING / 8
    play = Play(redis)
    for _ in range(3):
        play.join(0)
    for node in play.nodes:
        node.plan = 20.0
    play.wait(5, 10)
    play.nodes[0].alive = False
    play.join(0)
    play.nodes[3].plan = 20.0
    play.wait(12, 10)
    play.wait(5, 10)
    assert play.nodes[3].share.limit > 0
    play.wait(120, 10)
    limits = sorted(node.share.limit for node in play.living)
    assert limits[0] > CEILING * 0.3


def test_who_left_is_not_waited_for(redis: Plain) -> None:
    """What it has not spent is anybody's, and it is not counted as a node."""
    play = Play(redis)
    play.join(0)
    play.join(0)
    one, two = play.nodes
    one.plan = two.plan = 100.0
    play.wait(5, 0)
    play.leave(one)
    play.wait(2, 0)
    assert two.share.limit >= CEILING * 0.95
    assert (two.share.nodes, two.share.plans) == (1, 100.0)


def test_a_question_that_comes_too_late(redis: Plain) -> None:
    """Redis looks at no earlier question than the last: it would hold less than the node goes by."""
    play = Play(redis)
    play.join(0)
    play.join(0)
    one, two = play.nodes
    two.plan = 100.0
    play.wait(4, 0)
    play.lose_question(one)
    small = one.share.limit
    one.plan, two.plan = 100.0, 0.0
    play.wait(4, 0)
    assert one.share.limit > small + 100
    play.late_question(one)
    play.wait(1, 0)
    assert one.share.limit > small + 100


def test_nobody_grows_after_a_loss(redis: Plain) -> None:
    """Who comes back first does not take what the others still go by; a minute later all is as ever."""
    play = Play(redis)
    for _ in range(3):
        play.join(0)
    play.nodes[0].plan = 100.0
    play.wait(5, 0)
    before = [node.share.limit for node in play.nodes]
    assert play.nodes[1].share.limit < CEILING * 0.1
    play.redis.do("FLUSHALL")
    play.redis.do("SCRIPT", "LOAD", TOLD.source)
    play.nodes[1].plan = 500.0
    play.sync(play.nodes[1])
    assert play.nodes[1].share.limit <= before[1]
    play.wait(30, 0)
    assert sum(node.share.limit for node in play.nodes) <= CEILING
    play.wait(60, 0)
    assert play.nodes[1].share.limit > CEILING * 0.5


# -- the nodes themselves


QUOTA = Quota(per_project_per_minute=10_000, per_user_per_minute=4_000, ceiling=0.8)
MOST, OF_USER = 8_000, 3_200


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[RedisNodes]:
    with RedisServer(tmp_path / "redis") as server:
        world = RedisNodes(server)
        yield world
        await world.close()


class Spending:
    """What a budget would say."""

    def __init__(self, node: RedisNode) -> None:
        self.spent = 0
        self.users: dict[str, int] = {}
        self.demand = 0.0
        self.today = ("2026-11-25", 0)
        node.shares.source(lambda: (self.spent, self.users), lambda: self.demand, lambda: self.today)


async def joined(world: RedisNodes, count: int) -> tuple[list[RedisNode], list[Spending]]:
    nodes = [await world.join(quota=QUOTA, lease=30) for _ in range(count)]
    return nodes, [Spending(node) for node in nodes]


@pytest_twisted.ensureDeferred
async def test_a_share_from_the_start(world: RedisNodes) -> None:
    (one,), _ = await joined(world, 1)
    assert MOST / 4 <= one.shares.project() <= MOST
    assert one.shares.part_of_polls() == 1
    assert one.shares.user("ann") == OF_USER / 2
    assert one.shares.spent_today_elsewhere() == 0


@pytest_twisted.ensureDeferred
async def test_who_hurries_has_more_at_once(world: RedisNodes) -> None:
    """In a few questions, one after the other; the next second is not waited for."""
    (one, two), (first, second) = await joined(world, 2)
    first.demand = 1.0
    asked = two.redis.commands["share"]
    second.spent = second_limit = int(two.shares.project())
    two.shares.hurry()
    two.shares.hurry()
    await world.until(lambda: two.shares.project() > second_limit)
    assert two.redis.commands["share"] - asked <= 4
    await world.until(lambda: two.shares.project() + one.shares.project() <= MOST)


@pytest_twisted.ensureDeferred
async def test_polls_are_divided_by_what_is_planned(world: RedisNodes) -> None:
    (one, two), (first, second) = await joined(world, 2)
    await world.until(lambda: one.shares.part_of_polls() == two.shares.part_of_polls() == 0.5)
    first.demand, second.demand = 3.0, 1.0
    await world.until(lambda: (one.shares.part_of_polls(), two.shares.part_of_polls()) == (0.75, 0.25))


@pytest_twisted.ensureDeferred
async def test_of_a_user(world: RedisNodes) -> None:
    """An even part of one half for everybody; of the other half what those need who ask."""
    (one, two), (first, second) = await joined(world, 2)
    even = OF_USER / 2 / 2
    await world.until(lambda: one.shares.user("ann") == two.shares.user("bob") == even)
    first.users = {"ann": int(even)}
    await world.until(lambda: one.shares.user("ann") > even)
    first.users = {"ann": int(OF_USER * 0.7)}
    await world.until(lambda: one.shares.user("ann") >= OF_USER * 0.74)
    second.users = {"ann": int(even)}
    assert two.shares.user("bob") == even
    await world.until(lambda: one.shares.user("ann") <= OF_USER * 0.74)
    first.users = {"ann": 10}
    await world.until(lambda: one.shares.user("ann") == even)


@pytest_twisted.ensureDeferred
async def test_what_was_spent_today(world: RedisNodes) -> None:
    """By name, in all: whoever starts again counts from nothing, and what it had spent stays."""
    (one, two), (first, second) = await joined(world, 2)
    first.today, second.today = ("2026-11-25", 500), ("2026-11-25", 70)
    await world.until(lambda: two.shares.spent_today_elsewhere() == 500)
    await world.die(one)
    again = await world.join(quota=QUOTA)
    third = Spending(again)
    third.today = ("2026-11-25", 3)
    await world.until(lambda: again.shares.spent_today_elsewhere() == 570)
    await world.until(lambda: two.shares.spent_today_elsewhere() == 503)
    second.today = ("2026-11-26", 0)
    assert two.shares.spent_today_elsewhere() == 0


@pytest_twisted.ensureDeferred
async def test_without_redis_a_share_stays(world: RedisNodes) -> None:
    (one,), (first,) = await joined(world, 1)
    first.demand = 100.0
    await world.until(lambda: one.shares.project() > MOST * 0.9)
    share = one.shares.project()
    world.server.cli("config", "set", "maxmemory", "1")
    asked = one.redis.commands["share"]
    await world.until(lambda: one.redis.commands["share"] > asked + 1)
    assert one.shares.project() == share
    world.server.kill()
    await world.until(lambda: one.redis.away)
    one.shares.hurry()
    assert one.shares.project() == share
    world.server.start()
    await world.until(lambda: not one.redis.away)
    assert one.shares.project() == share


@pytest_twisted.ensureDeferred
async def test_who_leaves_gives_back(world: RedisNodes) -> None:
    (one, two), (first, second) = await joined(world, 2)
    first.demand, second.demand = 100.0, 100.0
    await world.until(lambda: one.shares.project() > MOST * 0.4)
    await world.leave(one)
    await world.until(lambda: two.shares.project() > MOST * 0.95)
