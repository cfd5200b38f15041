"""Several nodes that spend of one quota: together they stay below it, and poll as one would."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from docsession.config import Quota
from docsession.errors import RateLimited
from tests.nodes import Nodes as Servers
from tests.stack.support import store_away
from tests.support import Stack
from tests.unit.google import Door, clock
from tests.unit.shares import Agreement, Parts

QUOTA = Quota(per_project_per_minute=6000, per_user_per_minute=1500, per_day=0)
CEILING = 4800
# An answer of Google's takes so long.
TAKES = 0.2


class Nodes:
    """Gates over one quota. ``sent`` is (when, node, units) of all that left."""

    def __init__(self, count: int, quota: Quota = QUOTA) -> None:
        self.clock: Clock = clock()
        self.agreement = Agreement(quota.per_project_per_minute * quota.ceiling, count)
        self.doors = [
            Door(self.clock, quota, self.agreement.nodes[number], in_flight=64, per_user=64)
            for number in range(count)
        ]
        self.sent: list[tuple[float, int, int]] = []
        self.answered: list[tuple[int, bool]] = []
        self.refused: list[int] = []
        self.away: set[int] = set()
        self.planned = [0.0] * count
        for number, door in enumerate(self.doors):
            self.agreement.nodes[number].source(door.budget.spending, lambda n=number: self.planned[n])

    def ask(self, node: int, user: str, units: int, *, poll: bool) -> None:
        async def work() -> None:
            self.sent.append((self.clock.seconds(), node, units))
            await deferLater(self.clock, TAKES)

        async def run() -> None:
            try:
                await self.doors[node].gate.run(user, work, units=units, poll=poll)
            except RateLimited:
                self.refused.append(node)
            else:
                self.answered.append((node, poll))

        Deferred.fromCoroutine(run())

    def advance(self, seconds: float, each: Callable[[], Any] = lambda: None) -> None:
        """In tenths of a second; each node asks for its limit once a second, not all at one moment."""
        for step in range(round(seconds * 10)):
            each()
            node = step % 10
            if node < len(self.doors) and node not in self.away:
                self.agreement.agree(node)
            self.clock.advance(0.1)

    def units(self, node: int | None = None, *, since: float = 0.0) -> int:
        return sum(
            units for when, sender, units in self.sent if when >= since and (node is None or sender == node)
        )

    def most_in_a_minute(self) -> int:
        """The highest sum in any sixty seconds."""
        most = spent = first = 0
        for when, _, units in self.sent:
            spent += units
            while self.sent[first][0] <= when - 60:
                spent -= self.sent[first][2]
                first += 1
            most = max(most, spent)
        return most


@pytest.mark.parametrize("count", [2, 3, 5])
def test_an_overload_that_wanders_never_passes_the_ceiling(count: int) -> None:
    nodes, rng = Nodes(count), random.Random(count)
    for half_minute in range(12):
        heavy = rng.randrange(count)

        def load(heavy: int = heavy) -> None:
            for node in range(count):
                for _ in range(4 if node == heavy else rng.random() < 0.3):
                    units = rng.choice([5, 5, 50, 100, 200])
                    poll = rng.random() < 0.5
                    if nodes.doors[node].gate.waiting[poll] < 20:
                        nodes.ask(node, f"user {rng.randrange(40)}", units, poll=poll)

        if half_minute == 6:
            nodes.away = {0}  # and keeps what it had
        nodes.advance(30, load)
    assert nodes.most_in_a_minute() <= CEILING
    # And what there is, is used.
    assert nodes.units(since=nodes.clock.seconds() - 60) > CEILING * 0.7


def test_a_person_waits_for_a_share_that_moves_and_not_for_the_minute() -> None:
    nodes = Nodes(3)
    nodes.advance(5)
    for _ in range(400):
        nodes.ask(0, "ann", 5, poll=False)
        nodes.ask(0, "bob", 5, poll=False)
    nodes.advance(10)
    # Of 4,800 each had 1,600 at first; the two users' own ceilings are 1,200 each.
    assert nodes.units(0) > 2300
    assert nodes.most_in_a_minute() <= CEILING


def test_a_person_is_served_beside_nodes_that_poll_all_they_can() -> None:
    nodes = Nodes(3)
    nodes.planned = [200.0, 200.0, 0.0]

    def polls() -> None:
        for node in (0, 1):
            if nodes.doors[node].gate.waiting[1] < 20:
                nodes.ask(node, f"user {node}", 5, poll=True)

    nodes.advance(120, polls)
    before = nodes.clock.seconds()
    for _ in range(5):
        nodes.ask(2, "cid", 5, poll=False)
    nodes.advance(3)
    assert nodes.units(2, since=before) == 25
    assert not nodes.refused


@pytest.mark.parametrize("count", [1, 2, 4])
def test_together_they_poll_as_one_would(count: int) -> None:
    nodes = Nodes(count)
    nodes.planned = [100.0 * (number + 1) for number in range(count)]
    parts = [want / sum(nodes.planned) for want in nodes.planned]
    turn = 0

    def polls() -> None:
        nonlocal turn
        for _ in range(2):
            node = next(n for n in range(count) if turn % 100 < round(100 * sum(parts[: n + 1])))
            turn += 7
            if nodes.doors[node].gate.waiting[1] < 20:
                nodes.ask(node, f"user {turn % 40}", 5, poll=True)

    nodes.advance(240, polls)
    seconds = 120
    polled = nodes.units(since=nodes.clock.seconds() - seconds)
    assert polled == pytest.approx(CEILING * 0.75 / 60 * seconds, rel=0.05)
    assert sum(door.budget.poll_rate() for door in nodes.doors) == pytest.approx(60, rel=0.05)
    assert nodes.most_in_a_minute() <= CEILING * 0.75 + 5


def test_where_there_is_one_node_a_store_that_is_away_stretches_nothing() -> None:
    with Stack(direct=True) as stack:
        economy = stack.assembly.economy
        economy.troubles.store(True)
        with store_away(stack):
            stack.advance(30)
            assert economy.demand.stretch == 1
            assert set(economy.troubles.of(None)) == {"store_unavailable"}
        economy.troubles.store(False)


def test_what_a_node_spends_and_plans_is_what_its_shares_are_told() -> None:
    parts: dict[str, Parts] = {}
    with Servers(2, shares=lambda name: parts.setdefault(name, Parts())) as nodes:
        one, two = nodes.running
        tab = one.signed_in_tab("ann@example.com")
        tab.call("documents.watch", fileId=nodes.file("Talk for the shops"))
        spent, by_user = parts[one.name].spending()
        assert spent == sum(by_user.values()) > 0
        assert list(by_user) == [tab.connection.user_id]
        assert parts[one.name].today()[1] == spent
        assert parts[one.name].demand() > 0
        assert (parts[two.name].spending(), parts[two.name].demand()) == ((0, {}), 0.0)
        nodes.advance(130)
        # Each has stored its own, and knows the other's.
        budgets = [node.assembly.economy.budget for node in nodes.running]
        assert budgets[0].spent_today > 0
        assert abs(budgets[1].spent_by_all - budgets[0].spent_today) < 200
