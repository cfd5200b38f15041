"""What people do without docsession: pages and servers that poll, each as plainly as can be.

They really ask the sandbox, over the daemon's own HTTP client and an in-memory agent.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from benchmarks.google_cost.google import Changes, Staleness, email, file_id, seed, spent
from benchmarks.google_cost.shape import LIVELY, SLOW, Day
from docsession.google.http import GoogleHttp
from docsession.google.look import OWN_FIELDS, SHARED_FIELDS
from docsession.sandbox.app import Sandbox
from tests.support import SANDBOX, START, Body

__all__ = ["STRATEGIES", "Blind"]

_DRIVE = ["https://www.googleapis.com/auth/drive"]
_LOOK = urlencode({"fields": f"{SHARED_FIELDS},{OWN_FIELDS}", "supportsAllDrives": "true"})


@dataclass
class _Look:
    """One who polls one document: a tab, or a server for a user's tabs. ``tabs`` hear of it."""

    user: int
    document: int
    tabs: list[bool]
    version: int = 0


class Blind:
    """A day under one of these strategies."""

    def __init__(self, day: Day, strategy: str, rng: Any) -> None:
        self.day = day
        self.clock = MemoryReactorClock()
        self.clock.advance(START)
        self.sandbox = Sandbox(self.clock, base_url=SANDBOX, world=seed(day), rng=rng)
        self.agent = RequestTraversalAgent(self.sandbox.resource())
        self.http = GoogleHttp(self.agent, self.clock, answer_within=30, most_bytes=10**7, body_producer=Body)
        self.changes = Changes(self.sandbox, self.clock, day)
        self.staleness = Staleness()
        self.tokens = [
            self.sandbox.grants.issue(email(user), frozenset(_DRIVE)) for user in range(day.shape.users)
        ]
        self._due: list[tuple[float, int, Callable[[], float]]] = []
        for number, work in enumerate(STRATEGIES[strategy](self)):
            heapq.heappush(self._due, (self.clock.seconds() + rng.uniform(0, LIVELY), number, work))

    def ask(self, user: int, path: str, query: str) -> dict[str, Any]:
        """What Google answers this user."""
        answers: list[Any] = []
        url = f"{SANDBOX}/drive/v3/{path}?{query}"
        Deferred.fromCoroutine(self.http.send("GET", url, token=self.tokens[user])).addBoth(answers.append)
        self.agent.flush()
        (reply,) = answers
        assert reply.status == 200, reply
        return json.loads(reply.body)  # type: ignore[no-any-return]

    def run(self, seconds: float) -> dict[str, Any]:
        """So long, after a first round; what was spent in it, scaled to an hour."""
        self._until(self.clock.seconds() + 2 * LIVELY)
        before = spent(self.sandbox)
        self.staleness.clear()
        self._until(self.clock.seconds() + seconds)
        after = spent(self.sandbox)
        return per_hour(before, after, seconds) | {"staleness": self.staleness.to_json()}

    def _until(self, end: float) -> None:
        while self._due[0][0] <= end:
            when, number, work = heapq.heappop(self._due)
            self.clock.advance(max(0.0, when - self.clock.seconds()))
            self.changes.due()
            heapq.heappush(self._due, (when + work(), number, work))
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def look(self, look: _Look) -> None:
        """The document, and its comments where it moved."""
        file = self.ask(look.user, f"files/{file_id(look.document)}", _LOOK)
        version = int(file["version"])
        if version == look.version:
            return
        if look.version:
            since = {"startModifiedTime": file["modifiedTime"], "includeDeleted": "true", "fields": "*"}
            self.ask(look.user, f"files/{file_id(look.document)}/comments", urlencode(since))
            for visible in look.tabs:
                self.staleness.add(visible, self.clock.seconds() - self.changes.last[look.document])
        look.version = version


def per_hour(before: dict[str, Any], after: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What was spent between the two, scaled to an hour."""
    none = {"calls": 0, "units": 0}
    rates = {
        name: {what: round((sums[what] - before.get(name, none)[what]) * 3600 / seconds) for what in none}
        for name, sums in after.items()
    }
    return {**rates.pop("total"), "by_method": rates, "window": seconds}


def _tabs_of(day: Day, user: int) -> list[bool]:
    return [tab.visible for tab in day.tabs if tab.user == user]


def _every_tab(blind: Blind) -> list[Callable[[], float]]:
    def poll(look: _Look) -> float:
        blind.look(look)
        return LIVELY

    looks = [
        _Look(tab.user, document, [tab.visible])
        for tab in blind.day.tabs
        for document in blind.day.watches[tab.user]
    ]
    return [lambda look=look: poll(look) for look in looks]  # type: ignore[misc]


def _each_user(blind: Blind, *, attentive: bool = False) -> list[Callable[[], float]]:
    def poll(look: _Look) -> float:
        blind.look(look)
        return SLOW if attentive and not any(look.tabs) else LIVELY

    looks = [
        _Look(user, document, _tabs_of(blind.day, user))
        for user, documents in enumerate(blind.day.watches)
        for document in documents
    ]
    return [lambda look=look: poll(look) for look in looks]  # type: ignore[misc]


def _feeds(blind: Blind) -> list[Callable[[], float]]:
    def sweep(user: int, looks: dict[str, _Look], state: dict[str, str]) -> float:
        if "token" not in state:
            state["token"] = str(blind.ask(user, "changes/startPageToken", "")["startPageToken"])
            for look in looks.values():
                blind.look(look)
            return LIVELY
        page = {"pageToken": state["token"], "pageSize": 1000, "fields": "newStartPageToken,changes(fileId)"}
        answer = blind.ask(user, "changes", urlencode(page))
        state["token"] = answer["newStartPageToken"]
        for changed in {entry["fileId"] for entry in answer["changes"]} & looks.keys():
            blind.look(looks[changed])
        return LIVELY

    made = []
    for user, documents in enumerate(blind.day.watches):
        tabs = _tabs_of(blind.day, user)
        looks = {file_id(document): _Look(user, document, tabs) for document in documents}
        state: dict[str, str] = {}
        made.append(lambda user=user, looks=looks, state=state: sweep(user, looks, state))
    return made


STRATEGIES: dict[str, Callable[[Blind], list[Callable[[], float]]]] = {
    "every tab polls every document": _every_tab,
    "one poll per user and document": _each_user,
    "one feed per user": _feeds,
    "one poll per user and document, with attention": lambda blind: _each_user(blind, attentive=True),
}
