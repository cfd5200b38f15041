"""Nodes of one process keep every promise of a bus and of leases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import MemoryBus, MemoryLeases, Switchboard
from tests.contract import bus, leases
from tests.contract.nodes import synchronous_suite


@dataclass
class MemoryNode:
    bus: MemoryBus
    leases: MemoryLeases


class MemoryWorld:
    """Time passes only while somebody waits."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.clock = Clock()
        self.board = Switchboard(self.clock)
        self.joined = 0

    async def join(self) -> MemoryNode:
        self.joined += 1
        return MemoryNode(*self.board.node(f"node-{self.joined}"))

    async def die(self, node: MemoryNode) -> None:
        self.board.remove(node.bus.node)

    async def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(100):
            came = condition()
            if await _result(came):
                return
            self.clock.advance(0.1)
        raise AssertionError("it never came true")


async def _result(came: Any) -> Any:
    return await came if hasattr(came, "__await__") else came


BusPromises = synchronous_suite("BusPromises", bus.PROMISES, MemoryWorld)
LeasesPromises = synchronous_suite("LeasesPromises", leases.PROMISES, MemoryWorld)


class SwitchboardTests(SynchronousTestCase):
    """What tests do with it."""

    def test_messages_lost(self) -> None:
        """A test says which of them arrive; nobody is told of the others."""
        clock = Clock()
        board = Switchboard(clock, deliver=lambda channel, message: message["number"] != 2)
        one, _ = board.node("one")
        two, _ = board.node("two")
        heard: list[int] = []
        two.subscribe("all", lambda message: heard.append(message["number"]))
        for number in (1, 2, 3):
            one.publish("all", {"number": number})
        self.assertEqual(heard, [])
        clock.advance(0)
        self.assertEqual(heard, [1, 3])

    def test_alone(self) -> None:
        """Each holds all it wants, and takes what it likes."""
        board = Switchboard(Clock())
        _, one = board.node("one")
        _, two = board.node("two")
        one.want("look")
        told: list[bool] = []
        two.want("look", told.append)
        self.assertFalse(two.holds("look"))
        two.alone = True
        self.assertTrue(two.holds("look"))
        self.assertEqual(told, [True])
        self.assertFalse(two.holds("other"))
        taken = [Deferred.fromCoroutine(each.take("once", 5)) for each in (one, two)]
        self.assertEqual([self.successResultOf(each) for each in taken], [True, True])
        two.alone = False
        self.assertFalse(two.holds("look"))
        self.assertEqual(told, [True, False])
