"""Nodes on a real Redis keep every promise of a bus and of leases, also while Redis fails them."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from docsession.backend.redis_presence import Load
from docsession.backend.redis_spread import Spread
from docsession.errors import Unavailable
from docsession.telemetry import Metrics
from tests.contract import bus, leases
from tests.contract.nodes import Told
from tests.daemon.redis_nodes import RedisNode, RedisNodes
from tests.daemon.redis_server import RedisServer, needs_redis

pytestmark = needs_redis


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with RedisServer(tmp_path / "redis") as running:
        yield running


@pytest_twisted.async_yield_fixture
async def world(server: RedisServer) -> AsyncIterator[RedisNodes]:
    world = RedisNodes(server)
    yield world
    await world.close()


@pytest.mark.parametrize("name", bus.PROMISES)
@pytest_twisted.ensureDeferred
async def test_bus(name: str, world: RedisNodes) -> None:
    await bus.PROMISES[name](world)


@pytest.mark.parametrize("name", leases.PROMISES)
@pytest_twisted.ensureDeferred
async def test_leases(name: str, world: RedisNodes) -> None:
    await leases.PROMISES[name](world)


LONG = 600.0
# None of these may wait for a heartbeat.
AT_ONCE = ("one_holder", "dropped_is_free", "dropped_and_wanted_again", "seized", "another_listener")


class SlowNodes(RedisNodes):
    """Their next heartbeat is minutes away."""

    async def join(self, **settings: Any) -> RedisNode:
        return await super().join(lease=LONG, **settings)


@pytest_twisted.async_yield_fixture
async def slow(server: RedisServer) -> AsyncIterator[SlowNodes]:
    world = SlowNodes(server)
    yield world
    await world.close()


@pytest.mark.parametrize("name", AT_ONCE)
@pytest_twisted.ensureDeferred
async def test_leases_move_at_once(name: str, slow: SlowNodes) -> None:
    await leases.PROMISES[name](slow)


@pytest_twisted.ensureDeferred
async def test_who_leaves_frees_all_at_once(slow: SlowNodes, server: RedisServer) -> None:
    one, two = await slow.join(), await slow.join()
    for number in range(1200):  # more than one call is for
        one.leases.want(f"look:{number}")
    await slow.until(lambda: one.leases.load.held == 1200)
    for number in range(1200):
        two.leases.want(f"look:{number}")
    assert await one.leases.take("refresh", LONG)
    await slow.leave(one)
    await slow.until(lambda: two.leases.load.held == 1200)
    assert await two.leases.take("refresh", LONG)
    assert not await two.bus.is_alive(one.bus.node)
    # In calls of 500, and not one for each.
    assert one.redis.commands["lease"] <= 8
    await slow.leave(two)
    assert server.cli("keys", "docsession:lease:*") == "docsession:lease:refresh" or not server.cli(
        "keys", "docsession:lease:*"
    )


# -- messages


@pytest_twisted.ensureDeferred
async def test_people_are_sealed(world: RedisNodes) -> None:
    """What is sent about a user is of no use to who can only read Redis, or write to it."""
    one, two = await world.join(), await world.join()
    ann, bob = await bus.hears(world, two, "user:ann"), await bus.hears(world, two, "user:bob")
    doc = await bus.hears(world, two, "document:f")
    seen: list[tuple[str, bytes]] = []
    two.redis.on_message(lambda channel, payload: seen.append((channel, payload)))
    one.bus.publish("user:ann", {"session": "secret"})
    one.bus.publish("document:f", {"version": "7"})
    await world.until(lambda: ann.messages and doc.messages)
    (channel, payload), (_, plain) = seen
    assert channel == "docsession:user:ann"
    assert b"secret" not in payload
    assert b'"version":"7"' in plain
    forged = {
        "docsession:user:bob": [payload, plain, b"", b"\xff"],
        "docsession:document:f": [
            payload,
            b"",
            b"\xff",
            b"[]",
            b'{"node":7}',
            b'{"x":"y"}',
            b'{"x":' * 60_000,
        ],
    }
    for name, payloads in forged.items():
        for each in payloads:
            await one.redis.do("PUBLISH", name, each)
    one.bus.publish("user:bob", {"last": True})
    one.bus.publish("document:f", {"last": True})
    await world.until(lambda: bob.messages and len(doc.messages) == 2)
    assert bob.messages == [{"last": True, "node": one.bus.node}]
    assert len(ann.messages) == 1
    assert two.bus.counts["unreadable"] == 11


@pytest_twisted.ensureDeferred
async def test_too_many_at_once(world: RedisNodes) -> None:
    """What is too much is dropped; all are told afterwards, and once is enough for that."""
    one, two = await world.join(), await world.join()
    heard = await bus.hears(world, two, "document:f")
    gaps: list[str] = []
    one.bus.on_gap(lambda: gaps.append("one"))
    two.bus.on_gap(lambda: gaps.append("two"))
    one.bus.publish("document:f", {"text": "x" * 70_000})
    for number in range(1500):
        one.bus.publish("document:f", {"number": number})
    await world.until(lambda: "one" in gaps and "two" in gaps)
    assert one.bus.counts["dropped"] == 501
    assert [each["number"] for each in heard.messages] == list(range(1000))
    one.bus.publish("document:f", {"number": "again"})
    await world.until(lambda: heard.messages[-1]["number"] == "again")
    assert sorted(gaps) == ["one", "two"]
    one.bus.publish("document:f", {"number": 1})
    await world.until(lambda: heard.messages[-1]["number"] == 1)


@pytest_twisted.ensureDeferred
async def test_many_subscriptions_are_one_command(world: RedisNodes, server: RedisServer) -> None:
    node = await world.join()

    def calls(command: str) -> int:
        found = re.search(rf"cmdstat_{command}:calls=(\d+)", server.cli("info", "commandstats"))
        return int(found[1]) if found else 0

    async def hearing() -> int:
        return int((await node.redis.do("PUBSUB", "NUMSUB", "docsession:document:2999"))[1])

    before = calls("subscribe")
    for number in range(3000):
        node.bus.subscribe(f"document:{number}", lambda message: None)
    await world.until(hearing)
    assert calls("subscribe") - before == 1
    before = calls("unsubscribe")
    for number in range(3000):
        node.bus.unsubscribe(f"document:{number}")

    async def deaf() -> bool:
        return not await hearing()

    await world.until(deaf)
    assert calls("unsubscribe") - before == 1


@pytest_twisted.ensureDeferred
async def test_a_gap_after_a_restart(world: RedisNodes, server: RedisServer) -> None:
    """Messages may have been missed; subscriptions are there again when that is said."""
    one, two = await world.join(), await world.join()
    heard = await bus.hears(world, two, "document:f")
    gaps: list[str] = []
    one.bus.on_gap(lambda: gaps.append("one"))
    two.bus.on_gap(lambda: gaps.append("two"))
    server.kill()
    await world.until(lambda: one.redis.away and two.redis.away)
    assert gaps == []
    one.bus.publish("document:f", {"number": 1})
    with pytest.raises(Unavailable):
        await one.bus.listeners("document:f")
    with pytest.raises(Unavailable):
        await one.bus.is_alive(two.bus.node)
    server.start()
    await world.until(lambda: {"one", "two"} <= set(gaps) and not one.redis.away)
    one.bus.publish("document:f", {"number": 2})
    await world.until(lambda: heard.messages)
    assert [message.get("number") for message in heard.messages] == [2]
    assert one.bus.counts["dropped"] == 1


@pytest_twisted.ensureDeferred
async def test_a_gap_without_a_word_lost(world: RedisNodes, server: RedisServer) -> None:
    """Who was cut off cannot know what others said."""
    (one,) = [await world.join()]
    gaps: list[bool] = []
    one.bus.on_gap(lambda: gaps.append(one.redis.connections > 0))
    server.cli("client", "kill", "type", "pubsub")
    await world.until(lambda: gaps)
    assert one.bus.counts["dropped"] == 0


# -- leases without Redis


async def alone_and_back(world: RedisNodes, begin: Any, end: Any, **settings: Any) -> None:
    """Each holds all it wants once nothing else can be known; afterwards one of them does."""
    nodes = [await world.join(**settings) for _ in range(3)]
    names = [f"look:{number}" for number in range(12)]
    told = {(node, name): leases.want(node, name) for node in nodes for name in names}
    await world.until(lambda: all(leases.holders(name, *nodes) for name in names))
    await world.until(lambda: even(nodes))
    first = {name: nodes[leases.holders(name, *nodes)[0]] for name in names}
    before = {key: list(each.changes) for key, each in told.items()}
    begin()
    await world.until(lambda: all(node.leases.alone for node in nodes))
    assert all(node.leases.holds(name) for node in nodes for name in names)
    late = Told()
    nodes[0].leases.want("late", late)
    assert nodes[0].leases.holds("late")
    assert await nodes[0].leases.take("refresh", LONG)
    assert await nodes[1].leases.take("refresh", LONG)
    assert not nodes[0].leases.holds("unwanted")
    for (node, name), each in told.items():
        # Without a moment in which its holder did not hold it, had all gone well before.
        if first[name] is node and before[node, name] == [True]:
            assert each.changes[-1]
        else:
            assert each.changes[len(before[node, name]) :][-1:] in ([], [True])
        assert each.changes[-1]
    end()
    await world.until(lambda: not any(node.leases.alone for node in nodes))
    await world.until(lambda: all(leases.holders(name, *nodes) for name in names))
    for (node, name), each in told.items():
        assert each.changes[-1] == node.leases.holds(name)
    assert nodes[0].leases.holds("late")
    assert late.changes == []
    assert await nodes[0].leases.take("refresh", LONG)
    assert not await nodes[1].leases.take("refresh", LONG)


def even(nodes: list[RedisNode], *, within: int = 1) -> bool:
    held = [node.leases.load.held for node in nodes]
    return max(held) - min(held) <= within and sum(held) == max(node.leases.load.wanted for node in nodes)


@pytest_twisted.ensureDeferred
async def test_redis_is_stopped(world: RedisNodes, server: RedisServer) -> None:
    await alone_and_back(world, server.kill, server.start)


@pytest_twisted.ensureDeferred
async def test_redis_is_paused(world: RedisNodes, server: RedisServer) -> None:
    await alone_and_back(world, server.hold, server.let_go, answer_within=0.5)


@pytest_twisted.ensureDeferred
async def test_clients_are_paused(world: RedisNodes, server: RedisServer) -> None:
    """It ends by itself: then what was asked meanwhile may still be done."""
    await alone_and_back(
        world, lambda: server.cli("client", "pause", "3000"), lambda: None, answer_within=0.5
    )


@pytest_twisted.ensureDeferred
async def test_redis_refuses_to_write(world: RedisNodes, server: RedisServer) -> None:
    """It is there, but of no use."""
    await alone_and_back(
        world,
        lambda: server.cli("config", "set", "maxmemory", "1"),
        lambda: server.cli("config", "set", "maxmemory", "0"),
    )


@pytest_twisted.ensureDeferred
async def test_cut_off_alone(world: RedisNodes, server: RedisServer) -> None:
    """One that does not reach Redis goes on by itself; the others share what it had."""
    nodes = [await world.join() for _ in range(2)]
    for node in nodes:
        leases.want(node, "look")
    await world.until(lambda: leases.holders("look", *nodes))
    (holder,) = leases.holders("look", *nodes)
    lost, other = nodes[holder], nodes[1 - holder]
    await world.die(lost)
    await world.until(lambda: other.leases.holds("look"))
    assert not other.leases.alone
    # Of one that is gone nothing is kept.
    await world.until(lambda: lost.bus.node not in server.cli("hkeys", "docsession:nodes"))


@pytest_twisted.ensureDeferred
async def test_only_its_own_is_freed(world: RedisNodes, server: RedisServer) -> None:
    (one,) = [await world.join()]
    one.leases.want("look")
    await world.until(lambda: one.leases.holds("look"))
    server.cli("set", "docsession:lease:look", "stranger")
    one.leases.drop("look")
    await one.whole.stop()
    assert server.cli("get", "docsession:lease:look") == "stranger"


# -- who holds how many


async def beats(world: RedisNodes, nodes: list[RedisNode], count: int) -> None:
    """So many heartbeats later of each."""
    due = [node.redis.commands["heartbeat"] + count for node in nodes]
    await world.until(
        lambda: all(node.redis.commands["heartbeat"] >= then for node, then in zip(nodes, due, strict=True))
    )


@pytest_twisted.ensureDeferred
async def test_work_spreads_as_nodes_come_and_go(world: RedisNodes) -> None:
    names = [f"look:{number}" for number in range(60)]
    nodes = [await world.join()]
    told = [leases.want(nodes[0], name) for name in names]
    await world.until(lambda: nodes[0].leases.load.held == 60)
    for _ in range(2):
        nodes.append(await world.join())
        told += [leases.want(nodes[-1], name) for name in names]
    await world.until(lambda: even(nodes, within=2))

    # It stays as it is: the same hold the same, many heartbeats later.
    await beats(world, nodes, 4)
    moves = sum(len(each.changes) for each in told)
    await beats(world, nodes, 9)
    assert sum(len(each.changes) for each in told) - moves <= 4
    assert even(nodes, within=4)
    await world.leave(nodes.pop())
    await world.until(lambda: even(nodes, within=3))


@pytest_twisted.ensureDeferred
async def test_only_what_another_wants_is_given(world: RedisNodes) -> None:
    one, two = await world.join(), await world.join()
    for number in range(40):
        one.leases.want(f"own:{number}")
    one.leases.want("both:1")
    one.leases.want("both:2")
    await world.until(lambda: one.leases.load.held == 42)
    two.leases.want("both:1")
    two.leases.want("both:2")
    await world.until(lambda: two.leases.load.held == 2)
    assert one.leases.load.held == 40


@pytest_twisted.ensureDeferred
async def test_only_its_own_is_given_and_is_counted_at_once(world: RedisNodes, server: RedisServer) -> None:
    (one,) = [await world.join(lease=LONG)]
    spread = Spread(
        one.redis, random.Random(1), node="one", lasts=LONG, others=lambda: {"two": Load(held=0, wanted=9)}
    )
    for name in ("a", "b", "c"):
        server.cli("set", f"docsession:lease:{name}", "three" if name == "b" else "one")
        server.cli("set", f"docsession:lease::{name}", "two")
    given: list[tuple[str, list[str]]] = []
    await spread.even_out([*"bac", *"defghijk"], [], lambda node, names: given.append((node, sorted(names))))
    assert given == [("two", ["a", "c"])]
    assert [server.cli("get", f"docsession:lease:{name}") for name in "abc"] == ["two", "three", "two"]
    assert server.cli("hmget", "docsession:nodes", "held:one", "held:two").split() == ["-2", "2"]
    assert server.cli("exists", "docsession:lease::a") == "0"


# -- what a node says of itself, and of the store


@pytest_twisted.ensureDeferred
async def test_everything_is_gone(world: RedisNodes, server: RedisServer) -> None:
    """All nodes hear of it, once; and the store has one other epoch for all of them."""
    nodes = [await world.join() for _ in range(3)]
    for node in nodes:
        node.leases.want("look")
    before = nodes[0].store.epoch
    server.cli("flushall")
    await world.until(lambda: all(node.set_back for node in nodes))
    await world.until(lambda: leases.holders("look", *nodes))
    await beats(world, nodes, 5)
    assert [node.set_back for node in nodes] == [1, 1, 1]
    assert len({node.store.epoch for node in nodes}) == 1
    assert nodes[0].store.epoch != before


@pytest_twisted.ensureDeferred
async def test_an_older_snapshot(world: RedisNodes, server: RedisServer) -> None:
    nodes = [await world.join() for _ in range(2)]
    await world.until(lambda: min(node.redis.commands["heartbeat"] for node in nodes) > 4)
    before = nodes[0].store.epoch
    server.cli("hset", "docsession:meta", "tick", "1")
    await world.until(lambda: all(node.set_back for node in nodes))
    await world.until(lambda: len({node.store.epoch for node in nodes}) == 1)
    assert nodes[0].store.epoch != before
    # A restart that has lost nothing is none of that.
    await beats(world, nodes, 5)
    assert [node.set_back for node in nodes] == [1, 1]


@pytest_twisted.ensureDeferred
async def test_another_node_saw_it_first(world: RedisNodes, server: RedisServer) -> None:
    """The count is further than ever, but of another life."""
    (one,) = [await world.join()]
    server.cli("hset", "docsession:meta", "tick", "1000", "epoch", "other")
    await world.until(lambda: one.set_back)
    assert one.store.epoch == "other"
    await beats(world, [one], 3)
    assert one.set_back == 1


@pytest_twisted.ensureDeferred
async def test_a_loss_is_seen_as_soon_as_redis_is_back(slow: SlowNodes, server: RedisServer) -> None:
    (one,) = [await slow.join()]
    server.kill()
    await slow.until(lambda: one.redis.away)
    server.start()
    await slow.until(lambda: one.set_back)
    assert server.cli("hget", "docsession:meta", "epoch") == one.store.epoch


@pytest_twisted.ensureDeferred
async def test_health_and_metrics(world: RedisNodes, server: RedisServer) -> None:
    node = await world.join()
    other = await world.join()
    metrics = Metrics()
    node.whole.measure(metrics)
    node.leases.want("look")
    await world.until(lambda: node.leases.holds("look"))
    heard = await bus.hears(world, node, "all")
    other.bus.publish("all", {})
    await world.until(lambda: heard.messages)
    assert await node.whole.health() == {"redis": "ok"}

    def served() -> dict[str, float]:
        lines = [line.rsplit(" ", 1) for line in metrics.text().decode().splitlines() if line[0] != "#"]
        return {name.removeprefix("docsession_"): float(value) for name, value in lines}

    await world.until(lambda: served()["redis_nodes"] == 3)
    shown = served()
    assert (shown["redis_connections"], shown["redis_away"], shown["redis_alone"]) == (2, 0, 0)
    assert (shown['leases{state="held"}'], shown['leases{state="wanted"}']) == (1, 1)
    assert shown['redis_commands_total{name="heartbeat"}'] >= 1
    assert shown['bus_messages_total{outcome="heard"}'] == 1
    assert shown["redis_round_trips_total"] >= 3
    server.kill()
    await world.until(lambda: node.redis.away)
    assert await node.whole.health() == {"redis": "unavailable"}
    assert served()["redis_away"] == 1
