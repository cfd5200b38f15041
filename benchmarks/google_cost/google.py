"""The sandbox with a day's people and documents in it, and the changes that happen there."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.task import Clock

from benchmarks.google_cost.shape import Day
from docsession.sandbox.app import Sandbox

__all__ = ["Changes", "Staleness", "email", "file_id", "passed", "rng_of", "seed", "spent"]


def email(user: int) -> str:
    return f"person{user:05}@example.com"


def file_id(document: int) -> str:
    return f"1document{document:05}xxxxxxxxxxxxxxxxxxx"


def seed(day: Day) -> dict[str, Any]:
    """A seed for the sandbox: each document belongs to its first watcher, the others may write."""
    people = [{"email": email(user), "name": f"Person {user}"} for user in range(day.shape.users)]
    files = []
    for document, watchers in enumerate(day.watchers):
        owner = email(watchers[0] if watchers else 0)
        shared = {email(user): "writer" for user in watchers if email(user) != owner}
        files.append(
            {"name": f"Document {document}", "id": file_id(document), "owner": owner, "shared": shared}
        )
    return {"people": people, "files": files}


def spent(sandbox: Sandbox) -> dict[str, dict[str, int]]:
    """Calls and units so far: in all, and by method of Drive."""
    counted = sandbox.calls.to_json()
    by_method = {name: sums for name, sums in counted["by_method"].items() if name.startswith("drive.")}
    total = {what: sum(sums[what] for sums in by_method.values()) for what in ("calls", "units")}
    return {"total": total, **by_method}


def passed(
    before: dict[str, dict[str, int]], after: dict[str, dict[str, int]], seconds: float = 3600.0
) -> dict[str, Any]:
    """What was spent between the two, scaled to an hour from so many seconds."""
    none = {"calls": 0, "units": 0}
    rates = {
        name: {what: round((sums[what] - before.get(name, none)[what]) * 3600 / seconds) for what in none}
        for name, sums in after.items()
    }
    total = rates.pop("total")
    return {**total, "by_method": {name: sums for name, sums in rates.items() if sums["calls"]}}


@dataclass
class Changes:
    """Edits at Google, each document in its own turn. ``last`` is when each was changed last."""

    sandbox: Sandbox
    clock: Clock
    day: Day
    last: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = self.clock.seconds()
        self._due = [(start + phase, document) for document, phase in enumerate(self.day.phases)]
        heapq.heapify(self._due)

    def before(self, when: float) -> list[int]:
        """Documents that were not changed since then."""
        return [document for document in range(self.day.shape.documents) if self.last.get(document, 0) < when]

    def until(self, end: float) -> None:
        """Let time pass until then, and make each change at its own moment, not at a later one."""
        while self._due[0][0] <= end:
            when, document = self._due[0]
            self._advance(when)
            file = self.sandbox.world.files[file_id(document)]
            owner = self.sandbox.world.owner_of(file)
            assert owner is not None
            self.sandbox.world.touch(file, owner, modified=self.sandbox.world.now())
            self.last[document] = self.clock.seconds()
            heapq.heapreplace(self._due, (when + self.day.shape.change_every, document))
        self._advance(end)

    def _advance(self, when: float) -> None:
        self.clock.advance(max(0.0, when - self.clock.seconds()))


class Staleness:
    """Seconds from a change at the sandbox to a tab being told, by whether the tab is visible."""

    def __init__(self) -> None:
        self._seen: dict[bool, list[float]] = {True: [], False: []}

    def add(self, visible: bool, seconds: float) -> None:
        self._seen[visible].append(seconds)

    def clear(self) -> None:
        for seen in self._seen.values():
            seen.clear()

    def to_json(self) -> dict[str, Any]:
        return {name: _spread(self._seen[key]) for name, key in (("visible", True), ("hidden", False))}


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "median": round(ordered[len(ordered) // 2], 1),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "worst": round(ordered[-1], 1),
        "count": len(ordered),
    }


def rng_of(seed_number: int, *what: str) -> random.Random:
    """Randomness of its own for each part, so that one does not move the other."""
    return random.Random(f"{seed_number} {' '.join(what)}")
