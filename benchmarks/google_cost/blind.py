"""What people do without docsession: pages and servers that poll, each as plainly as can be.

They really ask the sandbox, over the daemon's own HTTP client and an in-memory agent.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from benchmarks.google_cost.google import Changes, Staleness, email, file_id, passed, seed, spent
from benchmarks.google_cost.shape import LIVELY, SLOW, Day
from docsession.google.http import GoogleHttp
from docsession.google.look import OWN_FIELDS, SHARED_FIELDS
from docsession.sandbox.app import Sandbox
from docsession.sandbox.direct import DirectAgent
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
        self.agent = DirectAgent(self.sandbox.resource(), self.clock)
        self.http = GoogleHttp(self.agent, self.clock, answer_within=30, most_bytes=10**7, body_producer=Body)
        self.changes = Changes(self.sandbox, self.clock, day)
        self.staleness = Staleness()
        self.tokens = [
            self.sandbox.grants.issue(email(user), frozenset(_DRIVE)) for user in range(day.shape.users)
        ]
        self._due: list[tuple[float, int, Callable[[], None], float]] = []
        for number, (work, every) in enumerate(STRATEGIES[strategy](self)):
            heapq.heappush(self._due, (START + rng.uniform(0, every), number, work, every))
        self._round = max(every for *_, every in self._due)

    def ask(self, user: int, path: str, query: str) -> dict[str, Any]:
        """What Google answers this user."""
        answers: list[Any] = []
        url = f"{SANDBOX}/drive/v3/{path}?{query}"
        Deferred.fromCoroutine(self.http.send("GET", url, token=self.tokens[user])).addBoth(answers.append)
        (reply,) = answers
        assert reply.status == 200, reply
        return json.loads(reply.body)  # type: ignore[no-any-return]

    def run(self, *, most_calls: int, most_seconds: float) -> dict[str, Any]:
        """Whole rounds up to either, after a first one; what was spent in them, scaled to an hour."""
        a_round = sum(self._round / every for *_, every in self._due)
        rounds = max(1, int(min(most_calls / a_round, most_seconds / self._round)))
        seconds = rounds * self._round
        self._until(START + self._round)
        before = spent(self.sandbox)
        self.staleness.clear()
        self._until(START + self._round + seconds)
        found = passed(before, spent(self.sandbox), seconds)
        return found | {"window": seconds, "staleness": self.staleness.to_json()}

    def _until(self, end: float) -> None:
        while self._due[0][0] < end:
            when, number, work, every = self._due[0]
            self.changes.until(when)
            work()
            heapq.heapreplace(self._due, (when + every, number, work, every))
        self.changes.until(end)

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


def _tabs_of(day: Day, user: int) -> list[bool]:
    return [tab.visible for tab in day.tabs if tab.user == user]


# What is to be done how often.
_Works = list[tuple[Callable[[], None], float]]


def _every_tab(blind: Blind) -> _Works:
    looks = [
        _Look(tab.user, document, [tab.visible])
        for tab in blind.day.tabs
        for document in blind.day.watches[tab.user]
    ]
    return [(partial(blind.look, look), LIVELY) for look in looks]


def _each_user(blind: Blind, *, attentive: bool = False) -> _Works:
    works: _Works = []
    for user, documents in enumerate(blind.day.watches):
        tabs = _tabs_of(blind.day, user)
        every = SLOW if attentive and not any(tabs) else LIVELY
        works += [(partial(blind.look, _Look(user, document, tabs)), every) for document in documents]
    return works


def _feeds(blind: Blind) -> _Works:
    return [(_Feed(blind, user).sweep, LIVELY) for user in range(len(blind.day.watches))]


class _Feed:
    """A user's change log, and a look at each watched document that it names."""

    def __init__(self, blind: Blind, user: int) -> None:
        tabs = _tabs_of(blind.day, user)
        documents = blind.day.watches[user]
        self._blind = blind
        self._user = user
        self._looks = {file_id(document): _Look(user, document, tabs) for document in documents}
        self._token = ""

    def sweep(self) -> None:
        if not self._token:
            self._token = self._blind.ask(self._user, "changes/startPageToken", "")["startPageToken"]
            changed: Iterable[str] = self._looks
        else:
            page = {"pageToken": self._token, "pageSize": 1000, "fields": "newStartPageToken,changes(fileId)"}
            answer = self._blind.ask(self._user, "changes", urlencode(page))
            self._token = answer["newStartPageToken"]
            changed = {entry["fileId"] for entry in answer["changes"]} & self._looks.keys()
        for document in changed:
            self._blind.look(self._looks[document])


STRATEGIES: dict[str, Callable[[Blind], _Works]] = {
    "every tab polls every document": _every_tab,
    "one poll per user and document": _each_user,
    "one feed per user": _feeds,
    "one poll per user and document, with attention": partial(_each_user, attentive=True),
}
