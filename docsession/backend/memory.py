"""What nodes share besides the store, in one process: the embedded backend is one node of it.

Tests put several nodes on one :class:`Switchboard`, and let it lose messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from docsession.interfaces import Bus, Hear, Leases, Shares

__all__ = ["MemoryBus", "MemoryLeases", "Switchboard", "WholeQuota"]


class Switchboard:
    """The nodes of one process. ``deliver(channel, message)`` says whether a message arrives."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        deliver: Callable[[str, Mapping[str, Any]], bool] = lambda channel, message: True,
    ) -> None:
        self.clock = clock
        self.deliver = deliver
        self.buses: dict[str, MemoryBus] = {}
        self.leases: dict[str, MemoryLeases] = {}
        # Who holds each lease; and until when, where it was taken once.
        self.holders: dict[str, str] = {}
        self.taken: dict[str, tuple[str, float]] = {}

    def node(self, name: str) -> tuple[MemoryBus, MemoryLeases]:
        """A further node."""
        self.buses[name] = MemoryBus(self, name)
        self.leases[name] = MemoryLeases(self, name)
        return self.buses[name], self.leases[name]

    def remove(self, name: str) -> None:
        """It died: what it held is free."""
        self.buses.pop(name, None)
        dead = self.leases.pop(name)
        for lease in list(dead.wanted):
            dead.drop(lease)
        self.taken = {lease: taken for lease, taken in self.taken.items() if taken[0] != name}

    def give(self, lease: str) -> None:
        """To somebody who wants it, if nobody holds it."""
        if lease in self.holders:
            return
        for name, leases in self.leases.items():
            if lease in leases.wanted:
                self.holders[lease] = name
                leases.wanted[lease](True)
                return


class MemoryBus:
    """Implements :class:`docsession.interfaces.Bus`; messages arrive in a later turn of the reactor."""

    def __init__(self, switchboard: Switchboard, node: str) -> None:
        self._switchboard = switchboard
        self._node = node
        self._hear: dict[str, Hear] = {}
        self._gap: list[Callable[[], None]] = []

    @property
    def node(self) -> str:
        return self._node

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        board = self._switchboard
        if board.buses.get(self._node) is not self:
            return  # it is dead, or cut off
        for bus in list(board.buses.values()):
            if bus is not self and channel in bus._hear and board.deliver(channel, message):
                board.clock.callLater(0, bus.arrived, channel, {**message, "node": self._node})

    def arrived(self, channel: str, message: Mapping[str, Any]) -> None:
        """A message comes in."""
        hear = self._hear.get(channel)
        if hear is not None and self._switchboard.buses.get(self._node) is self:
            hear(message)

    def subscribe(self, channel: str, hear: Hear) -> None:
        self._hear[channel] = hear

    def unsubscribe(self, channel: str) -> None:
        self._hear.pop(channel, None)

    async def listeners(self, channel: str) -> int:
        return sum(bus is not self and channel in bus._hear for bus in self._switchboard.buses.values())

    async def is_alive(self, node: str) -> bool:
        return node in self._switchboard.buses

    def on_gap(self, call: Callable[[], None]) -> None:
        self._gap.append(call)

    def gap(self) -> None:
        """Messages may have been missed."""
        for call in self._gap:
            call()


class MemoryLeases:
    """Implements :class:`docsession.interfaces.Leases`."""

    def __init__(self, switchboard: Switchboard, node: str) -> None:
        self._switchboard = switchboard
        self._node = node
        self.wanted: dict[str, Callable[[bool], None]] = {}
        self._alone = False

    @property
    def alone(self) -> bool:
        return self._alone

    @alone.setter
    def alone(self, alone: bool) -> None:
        """What others hold of what is wanted here is held here too, or is not any more."""
        if alone == self._alone:
            return
        self._alone = alone
        for name, on_change in list(self.wanted.items()):
            if self._switchboard.holders.get(name) != self._node:
                on_change(alone)

    def want(self, name: str, on_change: Callable[[bool], None] = lambda held: None) -> None:
        self.wanted[name] = on_change
        self._switchboard.holders.setdefault(name, self._node)

    def drop(self, name: str) -> None:
        self.wanted.pop(name, None)
        if self._switchboard.holders.get(name) == self._node:
            del self._switchboard.holders[name]
            self._switchboard.give(name)

    def holds(self, name: str) -> bool:
        return name in self.wanted and (self.alone or self._switchboard.holders.get(name) == self._node)

    def seize(self, name: str) -> None:
        board = self._switchboard
        former = board.holders.get(name)
        if name not in self.wanted or former == self._node:
            return
        board.holders[name] = self._node
        if former is not None:
            board.leases[former].wanted[name](False)
        self.wanted[name](True)

    async def take(self, name: str, seconds: float) -> bool:
        board = self._switchboard
        now = board.clock.seconds()
        if board.taken.get(name, ("", 0.0))[1] > now and not self.alone:
            return False
        board.taken = {lease: taken for lease, taken in board.taken.items() if taken[1] > now}
        board.taken[name] = (self._node, now + seconds)
        return True

    async def free(self, name: str) -> None:
        if self._switchboard.taken.get(name, ("", 0.0))[0] == self._node:
            del self._switchboard.taken[name]


class WholeQuota:
    """Implements :class:`docsession.interfaces.Shares` where there is no other node."""

    def project(self) -> float | None:
        return None

    def user(self, user_id: str) -> float | None:
        return None

    def part_of_polls(self) -> float:
        return 1.0

    def spent_today_elsewhere(self) -> int:
        return 0

    def hurry(self) -> None: ...

    def source(
        self,
        spending: Callable[[], tuple[int, Mapping[str, int]]],
        demand: Callable[[], float],
        today: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None: ...


if TYPE_CHECKING:
    _bus: type[Bus] = MemoryBus
    _leases: type[Leases] = MemoryLeases
    _shares: type[Shares] = WholeQuota
