"""Who watches what: users with tabs, documents, and how often these change."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

__all__ = ["CASES", "Day", "Shape", "TabPlan"]

LIVELY = 5.0
SLOW = 60.0
READ, LIST = 5, 100


@dataclass(frozen=True)
class Shape:
    """A case. ``people`` are all there are; only ``users`` of them have tabs open."""

    name: str
    people: int
    users: int
    tabs: int
    documents: int
    per_tab: int = 10
    visible: float = 0.1
    change_every: float = 600.0

    def smaller(self, times: int) -> Shape:
        """As many watchers of each document, of so many times fewer users and documents."""
        if self.users < times:
            return self
        users, documents = self.users // times, self.documents // times
        name = f"{users} users of {self.tabs} tabs each"
        return replace(self, name=name, people=self.people // times, users=users, documents=documents)


CASES = {
    "one": Shape("one user with ten tabs", 1, 1, 10, 10),
    "hundred": Shape("100 users of three tabs each", 100, 100, 3, 200),
    "active": Shape("10,000 users, of whom 5 % have three tabs each", 10_000, 500, 3, 1000),
}


@dataclass(frozen=True)
class TabPlan:
    """One tab: whose, and whether it is looked at."""

    user: int
    visible: bool


@dataclass
class Day:
    """A shape, dealt out. ``watches`` are the documents of each user, the same in all their tabs;
    ``phases`` when each document first changes, in seconds from the start."""

    shape: Shape
    watches: list[list[int]]
    tabs: list[TabPlan]
    phases: list[float]
    watchers: list[list[int]] = field(default_factory=list)

    @classmethod
    def deal(cls, shape: Shape, rng: random.Random) -> Day:
        """Everybody's documents by chance."""
        watches = [rng.sample(range(shape.documents), shape.per_tab) for _ in range(shape.users)]
        return cls.of(shape, watches, rng)

    @classmethod
    def of(cls, shape: Shape, watches: list[list[int]], rng: random.Random) -> Day:
        """Everybody's documents are given; which tabs are visible, and when changes come, is chance."""
        count = shape.users * shape.tabs
        looked_at = set(rng.sample(range(count), max(1, round(count * shape.visible))))
        tabs = [TabPlan(n // shape.tabs, n in looked_at) for n in range(count)]
        # One in each part of the interval, so that any window holds its share of the changes.
        part = shape.change_every / shape.documents
        phases = [rng.uniform(number, number + 1) * part for number in range(shape.documents)]
        rng.shuffle(phases)
        watchers: list[list[int]] = [[] for _ in range(shape.documents)]
        for user, documents in enumerate(watches):
            for document in documents:
                watchers[document].append(user)
        return cls(shape, watches, tabs, phases, watchers)

    @property
    def visible_documents(self) -> set[int]:
        """Those that somebody has before their eyes."""
        return {document for tab in self.tabs if tab.visible for document in self.watches[tab.user]}

    @property
    def watched_documents(self) -> set[int]:
        return {document for documents in self.watches for document in documents}

    def floor(self) -> float:
        """Units an hour that nothing can go below and be as fresh without push: each visible
        document once in 5 s, each hidden one once in 60 s, its comments once for each change."""
        visible, watched = len(self.visible_documents), len(self.watched_documents)
        looks = 3600 / LIVELY * visible + 3600 / SLOW * (watched - visible)
        return READ * looks + LIST * 3600 / self.shape.change_every * watched
