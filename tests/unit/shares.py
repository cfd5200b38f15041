"""Shares of the quota, as a test sets them; and nodes that agree on theirs once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Parts:
    """Implements :class:`docsession.interfaces.Shares`."""

    def __init__(self) -> None:
        self.most: float | None = None
        self.users: dict[str, float] = {}
        self.polls = 1.0
        self.elsewhere = 0
        self.hurried = 0
        self.spending: Callable[[], tuple[int, Mapping[str, int]]] = lambda: (0, {})
        self.demand: Callable[[], float] = lambda: 0.0
        self.today: Callable[[], tuple[str, int]] = lambda: ("", 0)

    def project(self) -> float | None:
        return self.most

    def user(self, user_id: str) -> float | None:
        return self.users.get(user_id)

    def part_of_polls(self) -> float:
        return self.polls

    def spent_today_elsewhere(self) -> int:
        return self.elsewhere

    def hurry(self) -> None:
        self.hurried += 1

    def source(
        self,
        spending: Callable[[], tuple[int, Mapping[str, int]]],
        demand: Callable[[], float],
        today: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None:
        self.spending, self.demand, self.today = spending, demand, today


class Agreement:
    """The limits of all nodes, which together never pass the ceiling; :meth:`agree` moves them.

    No node's limit falls below what it spent in the last minute, so none is ever beyond its own.
    """

    def __init__(self, ceiling: float, nodes: int) -> None:
        self.ceiling = ceiling
        self.nodes = [Parts() for _ in range(nodes)]
        for node in self.nodes:
            node.most, node.polls = ceiling / nodes, 1 / nodes

    def agree(self, number: int) -> None:
        """This node asks anew."""
        node = self.nodes[number]
        # The dearest request must fit; the rest is parted by what nodes spend and plan, of polls no
        # more than all polls together may spend.
        floor = max(200.0, self.ceiling / len(self.nodes) / 20)
        demand = sum(each.demand() for each in self.nodes)
        fits = min(1.0, 0.75 * self.ceiling / 60 / demand) if demand else 1.0
        weights = [1.0 + each.spending()[0] + 60 * fits * each.demand() for each in self.nodes]
        rest = self.ceiling - floor * len(self.nodes)
        target = floor + rest * weights[number] / sum(weights)
        others = sum(each.most or 0.0 for each in self.nodes if each is not node)
        node.most = max(node.spending()[0], min(target, self.ceiling - others))
        node.polls = node.demand() / demand if demand else 1 / len(self.nodes)
