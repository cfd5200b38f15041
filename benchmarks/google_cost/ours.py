"""The same day with docsession: the real assembly, with connections in memory that record."""

from __future__ import annotations

import json
import random
from typing import Any

from benchmarks.google_cost.blind import per_hour
from benchmarks.google_cost.google import Changes, Staleness, email, file_id, seed, spent
from benchmarks.google_cost.shape import Day
from tests.support import FakeWire, Stack, Tab

__all__ = ["Ours"]

STEP = 0.5


class _Wire(FakeWire):
    """Keeps no messages, only what they say: which version of which document, and when."""

    def __init__(self, ours: Ours, visible: bool) -> None:
        super().__init__()
        self._ours = ours
        self._visible = visible
        self.versions: dict[str, str] = {}
        self.doubled = 0

    def send(self, payload: bytes) -> None:
        message = json.loads(payload)
        if "method" not in message:
            self.sent.append(message)
        elif message["method"] == "document.changed":
            changed = message["params"]
            self.doubled += self.versions.get(changed["fileId"]) == changed["version"]
            self.versions[changed["fileId"]] = changed["version"]
            self._ours.told(changed["fileId"], self._visible)


class Ours:
    """A day with docsession. ``toml`` is its configuration."""

    def __init__(self, day: Day, rng: random.Random, toml: str = "") -> None:
        self.day = day
        self.stack = Stack(toml, world=seed(day), rng=rng)
        self.changes = Changes(self.stack.sandbox, self.stack.clock, day)
        self.staleness = Staleness()
        self._document_of = {file_id(document): document for document in range(day.shape.documents)}
        self.wires: list[_Wire] = []
        opened_at = spent(self.stack.sandbox)
        identities = [self.stack.sign_in(email(user)) for user in range(day.shape.users)]
        for plan in day.tabs:
            tab = Tab(self.stack, identities[plan.user], wire=(wire := _Wire(self, plan.visible)))
            self.wires.append(wire)
            tab.open(visible=plan.visible)
            for document in day.watches[plan.user]:
                answer = self._watch(tab, file_id(document))
                wire.versions[answer["fileId"]] = answer["version"]
            wire.sent.clear()
        self.opening = per_hour(opened_at, spent(self.stack.sandbox), 3600)

    def _watch(self, tab: Tab, document: str) -> dict[str, Any]:
        while True:
            asked = tab.start("documents.watch", fileId=document, comments=True)
            while (answer := tab.answer(asked)) is None:
                self.stack.advance(STEP)
            if "result" in answer:
                return answer["result"]  # type: ignore[no-any-return]
            # A small quota: as a page does, it waits for as long as it is told.
            self.stack.advance(answer["error"]["data"]["retry_after"], step=1.0)

    def told(self, changed: str, visible: bool) -> None:
        document = self._document_of[changed]
        if document in self.changes.last:
            self.staleness.add(visible, self.stack.clock.seconds() - self.changes.last[document])

    def run(self, seconds: float, *, warm_up: float) -> dict[str, Any]:
        """So long, after a warm-up; what was spent in it, scaled to an hour."""
        self.advance(warm_up)
        before = spent(self.stack.sandbox)
        self.staleness.clear()
        self.advance(seconds)
        after = spent(self.stack.sandbox)
        opening = {name: self.opening[name] for name in ("calls", "units")}
        return per_hour(before, after, seconds) | {
            "staleness": self.staleness.to_json(),
            "opening": opening,
            "doubled": sum(wire.doubled for wire in self.wires),
        }

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.stack.clock.advance(STEP)
            self.changes.due()
            self.stack.flush()

    def close(self) -> None:
        self.stack.close()
