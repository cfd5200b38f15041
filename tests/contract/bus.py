"""What any bus between nodes promises; each promise is given a :class:`tests.contract.nodes.NodesWorld`."""

from __future__ import annotations

from tests.contract.nodes import Heard, NodesWorld, Promise

__all__ = ["PROMISES"]

PROMISES: dict[str, Promise] = {}


def promise(check: Promise) -> Promise:
    PROMISES[check.__name__] = check
    return check


async def hears(world: NodesWorld, node, channel, others=0):  # type: ignore[no-untyped-def]
    """Subscribe, and wait until that is so for everybody."""
    heard = Heard()
    node.bus.subscribe(channel, heard)
    witness = await world.join()

    async def known() -> bool:
        return await witness.bus.listeners(channel) == others + 1

    await world.until(known)
    return heard


@promise
async def delivery(world: NodesWorld) -> None:
    """A message reaches every other node that hears its channel, in order, and says who sent it."""
    one, two, three = await world.join(), await world.join(), await world.join()
    second, third = await hears(world, two, "document:f"), await hears(world, three, "document:f", 1)
    for number in range(5):
        one.bus.publish("document:f", {"number": number, "text": "ü\n"})
    await world.until(lambda: len(second.messages) == len(third.messages) == 5)
    assert second.messages == third.messages
    assert second.messages[3] == {"number": 3, "text": "ü\n", "node": one.bus.node}


@promise
async def names(world: NodesWorld) -> None:
    """Each node has a name of its own."""
    nodes = [await world.join() for _ in range(3)]
    assert len({node.bus.node for node in nodes}) == 3


@promise
async def no_echo(world: NodesWorld) -> None:
    """Who sends a message does not hear it, and a message's own ``node`` counts for nothing."""
    one, two = await world.join(), await world.join()
    own, other = await hears(world, one, "all"), await hears(world, two, "all", 1)
    one.bus.publish("all", {"node": two.bus.node, "what": 1})
    two.bus.publish("all", {"what": 2})
    await world.until(lambda: own.messages and other.messages)
    assert own.messages == [{"node": two.bus.node, "what": 2}]
    assert other.messages == [{"node": one.bus.node, "what": 1}]


@promise
async def channels_apart(world: NodesWorld) -> None:
    """One listener for each channel; of others nothing is heard."""
    one, two = await world.join(), await world.join()
    ann, bob = await hears(world, two, "user:ann"), await hears(world, two, "user:bob")
    one.bus.publish("user:eve", {"what": 0})
    one.bus.publish("user:bob", {"what": 1})
    await world.until(lambda: bob.messages)
    assert ann.messages == []
    instead = Heard()
    two.bus.subscribe("user:bob", instead)
    one.bus.publish("user:bob", {"what": 2})
    await world.until(lambda: instead.messages)
    assert len(bob.messages) == 1


@promise
async def unsubscribing(world: NodesWorld) -> None:
    """What is not heard any more is not counted either, and can be heard again."""
    one, two = await world.join(), await world.join()
    heard = await hears(world, two, "document:f")
    other = await hears(world, two, "document:g")
    two.bus.unsubscribe("document:f")
    two.bus.unsubscribe("document:never")

    async def nobody() -> bool:
        return not await one.bus.listeners("document:f")

    await world.until(nobody)
    one.bus.publish("document:f", {})
    one.bus.publish("document:g", {})
    await world.until(lambda: other.messages)
    assert heard.messages == []
    heard = await hears(world, two, "document:f")
    one.bus.publish("document:f", {})
    await world.until(lambda: heard.messages)


@promise
async def back_and_forth_in_one_turn(world: NodesWorld) -> None:
    """The last word counts."""
    one, two = await world.join(), await world.join()
    heard = await hears(world, two, "document:f")
    two.bus.unsubscribe("document:f")
    two.bus.subscribe("document:f", heard)
    two.bus.subscribe("document:g", Heard())
    two.bus.unsubscribe("document:g")
    await hears(world, two, "document:h")
    assert await one.bus.listeners("document:g") == 0
    one.bus.publish("document:f", {})
    await world.until(lambda: heard.messages)


@promise
async def counting_listeners(world: NodesWorld) -> None:
    """Other nodes are counted, this one never."""
    one, two, three = await world.join(), await world.join(), await world.join()
    await hears(world, one, "user:ann")
    assert await one.bus.listeners("user:ann") == 0
    await hears(world, two, "user:ann", 1)
    await hears(world, three, "user:ann", 2)
    assert await one.bus.listeners("user:ann") == 2
    assert await one.bus.listeners("user:bob") == 0


@promise
async def living(world: NodesWorld) -> None:
    """A node is alive until it dies."""
    one, two = await world.join(), await world.join()
    assert await one.bus.is_alive(one.bus.node)
    assert await one.bus.is_alive(two.bus.node)
    assert not await one.bus.is_alive("nobody")
    await world.die(two)

    async def gone() -> bool:
        return not await one.bus.is_alive(two.bus.node)

    await world.until(gone)


@promise
async def the_dead_hear_nothing(world: NodesWorld) -> None:
    """Nor are they counted as listeners."""
    one, two = await world.join(), await world.join()
    await hears(world, two, "document:f")
    await world.die(two)

    async def nobody() -> bool:
        return not await one.bus.listeners("document:f")

    await world.until(nobody)
