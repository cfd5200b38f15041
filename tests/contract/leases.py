"""What leases promise wherever they are kept; each is given a :class:`tests.contract.nodes.NodesWorld`."""

from __future__ import annotations

from typing import Any

from tests.contract.nodes import NodesWorld, Promise, Told

__all__ = ["PROMISES", "holders"]

PROMISES: dict[str, Promise] = {}


def promise(check: Promise) -> Promise:
    PROMISES[check.__name__] = check
    return check


def holders(name: str, *nodes: Any) -> list[int]:
    """Which of these hold it: never two."""
    held = [number for number, node in enumerate(nodes) if node.leases.holds(name)]
    assert len(held) <= 1, held
    return held


def want(node: Any, name: str) -> Told:
    """Told from the beginning, whether it is held at once or later."""
    told = Told()
    node.leases.want(name, told)
    if node.leases.holds(name):
        assert told.changes == [], "not from inside"
        told.changes.append(True)
    return told


@promise
async def one_holder(world: NodesWorld) -> None:
    """Of those who want it one holds it, and knows."""
    nodes = [await world.join() for _ in range(3)]
    told = [want(node, "look") for node in nodes]
    await world.until(lambda: holders("look", *nodes))
    (holder,) = holders("look", *nodes)
    assert told[holder].changes == [True]
    assert [each.changes for each in told].count([]) == 2


@promise
async def not_wanted_is_not_held(world: NodesWorld) -> None:
    one = await world.join()
    assert not one.leases.holds("look")
    one.leases.drop("look")
    one.leases.seize("look")
    assert not one.leases.holds("look")


@promise
async def dropped_is_free(world: NodesWorld) -> None:
    """The next one has it; who dropped it is told nothing more."""
    one, two = await world.join(), await world.join()
    first = want(one, "look")
    await world.until(lambda: one.leases.holds("look"))
    second = want(two, "look")
    one.leases.drop("look")
    assert not one.leases.holds("look")
    await world.until(lambda: two.leases.holds("look"))
    assert (first.changes, second.changes) == ([True], [True])


@promise
async def dropped_and_wanted_again(world: NodesWorld) -> None:
    """In one turn, and before anybody has answered."""
    one, two = await world.join(), await world.join()
    want(one, "look")
    one.leases.drop("look")
    told = want(one, "look")
    await world.until(lambda: one.leases.holds("look"))
    one.leases.drop("look")
    told = want(one, "look")
    await world.until(lambda: one.leases.holds("look"))
    assert told.changes == [True]
    want(one, "other")
    one.leases.drop("other")
    want(two, "other")
    await world.until(lambda: two.leases.holds("other"))
    assert not one.leases.holds("other")


@promise
async def taken_over(world: NodesWorld) -> None:
    """What a dead node held, another holds before long."""
    one, two = await world.join(), await world.join()
    for number in range(20):
        want(one, f"look:{number}")
    await world.until(lambda: all(one.leases.holds(f"look:{number}") for number in range(20)))
    told = [want(two, f"look:{number}") for number in range(20)]
    await world.die(one)
    await world.until(lambda: all(two.leases.holds(f"look:{number}") for number in range(20)))
    assert all(each.changes[-1] for each in told)


@promise
async def seized(world: NodesWorld) -> None:
    """Whoever had it is told; it may get it back."""
    one, two = await world.join(), await world.join()
    first = want(one, "look")
    await world.until(lambda: one.leases.holds("look"))
    second = want(two, "look")
    two.leases.seize("look")
    await world.until(lambda: two.leases.holds("look") and not one.leases.holds("look"))
    await world.until(lambda: first.changes == [True, False] and second.changes == [True])
    two.leases.seize("look")  # has it
    one.leases.seize("look")
    await world.until(lambda: one.leases.holds("look") and not two.leases.holds("look"))
    two.leases.drop("look")
    assert first.changes == [True, False, True]


@promise
async def another_listener(world: NodesWorld) -> None:
    """One that is wanted once more has the new ``on_change``."""
    one, two = await world.join(), await world.join()
    want(one, "look")
    await world.until(lambda: one.leases.holds("look"))
    later = Told()
    one.leases.want("look", later)
    want(two, "look")
    two.leases.seize("look")
    await world.until(lambda: later.changes == [False])


@promise
async def taken_once(world: NodesWorld) -> None:
    """Not by two at a time, not even of one node; free again when it is given back."""
    one, two = await world.join(), await world.join()
    assert await one.leases.take("refresh:ann", 30)
    assert not await two.leases.take("refresh:ann", 30)
    assert not await one.leases.take("refresh:ann", 30)
    assert await two.leases.take("refresh:bob", 30)
    await two.leases.free("refresh:ann")  # is not theirs
    assert not await two.leases.take("refresh:ann", 30)
    await one.leases.free("refresh:ann")
    assert await two.leases.take("refresh:ann", 30)
    await one.leases.free("refresh:ann")  # is not theirs any more
    assert not await one.leases.take("refresh:ann", 30)


@promise
async def taken_for_so_long(world: NodesWorld) -> None:
    """It ends by itself; who gives back what has ended takes nothing from the next."""
    one, two, three = await world.join(), await world.join(), await world.join()
    assert await one.leases.take("refresh:ann", 0.3)

    async def taken() -> bool:
        return await two.leases.take("refresh:ann", 30)

    await world.until(taken)
    await one.leases.free("refresh:ann")
    assert not await three.leases.take("refresh:ann", 30)


@promise
async def not_alone(world: NodesWorld) -> None:
    one = await world.join()
    assert not one.leases.alone
