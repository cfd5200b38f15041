"""The hub alone, with people and tabs that a test moves by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession import rpc
from docsession.backend.memory import Switchboard, WholeQuota
from docsession.config import Polling
from docsession.demand import Allowance, Demand
from docsession.documents import Documents
from docsession.errors import Unavailable
from docsession.google.drive import AccessRefused
from docsession.google.look import Comments, FileView
from docsession.google.refusals import Kind, Refusal
from docsession.interfaces import Backend
from docsession.model import CommentsRecord, DocumentRecord

START = 1_000_000.0
FILE = "file-1"


def view(version: int, name: str = "Plan", *, as_of: float = START, own: Any = None, **more: Any) -> FileView:
    """A look at the file."""
    shared = {"id": FILE, "name": name, "version": str(version), **more}
    return FileView(FILE, version, shared, own or {"parents": ["root"]}, as_of)


def refused(reason: str = "notFound", status: int = 404) -> AccessRefused:
    return AccessRefused(Refusal(Kind.FINAL, status, reason, "No."))


def comment(comment_id: str, at: str = "10:00", content: str = "Why?", **more: Any) -> dict[str, Any]:
    time = f"2026-11-20T{at}:00.000Z"
    return {"id": comment_id, "createdTime": time, "modifiedTime": time, "content": content, **more}


def name_in(answer: Mapping[str, Any]) -> str:
    """The file's name in the answer to a watch."""
    return str(json.loads(rpc.encode(answer))["file"]["name"])


class FakeTab:
    """A page: what it was told."""

    def __init__(self, *, visible: bool = True) -> None:
        self.visible = visible
        self.lagging = False
        self.open = True
        self.raw: list[bytes] = []

    def send_event(self, payload: bytes) -> None:
        self.raw.append(payload)

    def notify(self, method: str, params: Any) -> None:
        self.raw.append(json.dumps({"method": method, "params": params}).encode())

    def events(self, name: str) -> list[dict[str, Any]]:
        """The params of the events of this name, in order."""
        sent = [json.loads(payload) for payload in self.raw]
        return [message["params"] for message in sent if message["method"] == name]


class FakeViewer:
    """Somebody whose looks see the world of the test, unless ``slow`` or ``failing``."""

    def __init__(self, world: World, user_id: str) -> None:
        self.id = user_id
        self.world = world
        self.failing: Exception | None = None
        self.failing_comments: Exception | None = None
        self.slow = False
        self.waiting: list[Callable[[], None]] = []
        self.gave_up = 0
        self.looks: list[tuple[str, bool]] = []
        self.comment_looks: list[str | None] = []
        self.own: dict[str, Any] = {"parents": ["root"]}

    async def look(self, file_id: str, *, poll: bool) -> FileView:
        self.looks.append((file_id, poll))
        began = self.world.clock.seconds()
        seen = self.world.version, self.world.name
        failing = self.failing
        await self._wait()
        if failing is not None:
            raise failing
        return view(*seen, as_of=began, own=dict(self.own))

    async def look_at_comments(self, file_id: str, *, since: str | None, poll: bool) -> Comments:
        self.comment_looks.append(since)
        began = self.world.clock.seconds()
        listed = tuple(
            one for one in self.world.comments.values() if since is None or one["modifiedTime"] >= since
        )
        failing = self.failing_comments
        await self._wait()
        if failing is not None:
            raise failing
        return Comments(listed, since, began)

    async def _wait(self) -> None:
        if self.slow:
            answer: Deferred[None] = Deferred()
            self.waiting.append(lambda: answer.callback(None))
            try:
                await answer
            except CancelledError:
                self.gave_up += 1
                raise

    def answer(self) -> None:
        """The oldest look that waits is answered with what it saw."""
        self.waiting.pop(0)()


class FakeStore:
    """The part of a store that the hub uses."""

    def __init__(self) -> None:
        self.records: dict[str, DocumentRecord] = {}
        self.comments: dict[str, CommentsRecord] = {}
        self.away = False

    async def load_document(self, file_id: str) -> DocumentRecord | None:
        self._here()
        return self.records.get(file_id)

    async def save_document(self, record: DocumentRecord, *, replaces: str | None) -> DocumentRecord | None:
        self._here()
        stored = self.records.get(record.file_id)
        free = stored is None or stored.mark == replaces
        kept = record if stored is None or free else stored
        doubted = record.doubted if stored is None else max(record.doubted, stored.doubted)
        proofs = dict(record.proofs if stored is None else stored.proofs)
        for user, times in record.proofs.items():
            old = proofs.get(user, (0.0, 0.0))
            proofs[user] = max(old[0], times[0]), max(old[1], times[1])
        proofs = {user: times for user, times in proofs.items() if max(times) >= doubted}
        self.records[record.file_id] = replace(kept, proofs=proofs, doubted=doubted)
        return None if free else self.records[record.file_id]

    async def delete_document(self, file_id: str) -> None:
        self._here()
        self.records.pop(file_id, None)
        self.comments.pop(file_id, None)

    async def load_comments(self, file_id: str) -> CommentsRecord | None:
        self._here()
        return self.comments.get(file_id)

    async def save_comments(self, file_id: str, record: CommentsRecord) -> None:
        self._here()
        known = self.comments.get(file_id, record)
        self.comments[file_id] = CommentsRecord(
            {**known.comments, **record.comments},
            max(known.mark, record.mark),
            max(known.looked_at, record.looked_at),
        )

    def _here(self) -> None:
        if self.away:
            raise Unavailable


class Counts:
    """What the hub counted."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, bool]] = []
        self.hints: list[str] = []
        self.settlings: list[float] = []
        self.lags: list[float] = []
        self.tellings: list[tuple[str, int]] = []
        self.beliefs = 0

    def looked(self, why: str, comments: bool) -> None:
        self.looks.append((why, comments))

    def told(self, via: str, receivers: int) -> None:
        self.tellings.append((via, receivers))

    def settled(self, seconds: float) -> None:
        self.settlings.append(seconds)

    def lagged(self, seconds: float) -> None:
        self.lags.append(seconds)

    def believed(self) -> None:
        self.beliefs += 1

    def hinted(self, outcome: str) -> None:
        self.hints.append(outcome)


class World:
    """One file, its comments, the hub, and the clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.store = FakeStore()
        self.version = 1
        self.name = "Plan"
        self.comments: dict[str, Mapping[str, Any]] = {}
        self.moved: list[str] = []
        self.rate = 1000.0
        self.held_back: dict[str, float] = {}
        self.channels: set[str] = set()
        self.counts = Counts()
        self.start()

    def start(self) -> None:
        """A hub over what is stored."""
        self.board = Switchboard(self.clock)
        self.hub = self.another_hub("one")

    def another_hub(self, name: str) -> Documents:
        """A further node's."""
        backend = Backend(self.store, *self.board.node(name), WholeQuota())  # type: ignore[arg-type]
        hub = Documents(
            backend,
            self.clock,
            random.Random(3),
            Polling(),
            Allowance(
                Demand(self.clock, lambda: self.rate),
                lambda units: units,
                held_back=lambda user_id: self.held_back.get(user_id, 0.0),
                has_channel=self.channels.__contains__,
            ),
            on_moved=self.moved.append,
            observer=self.counts,
        )
        backend.bus.on_gap(hub.compare)
        backend.bus.subscribe("all", hub.heard)
        hub.schedule.startService()
        return hub

    def rename(self, name: str) -> None:
        """Somebody does, at Google."""
        self.version += 1
        self.name = name

    def advance(self, seconds: float) -> None:
        """Second by second, as the schedule ticks."""
        whole = int(seconds)
        self.clock.pump([1.0] * whole)
        if seconds > whole:
            self.clock.advance(seconds - whole)

    def record(self) -> DocumentRecord:
        return self.store.records[FILE]


class HubTestCase(SynchronousTestCase):
    """Ann and Bob, who can look at one file."""

    def setUp(self) -> None:
        self.world = World()
        self.ann = FakeViewer(self.world, "ann")
        self.bob = FakeViewer(self.world, "bob")
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(self.hub.stop())))

    @property
    def hub(self) -> Documents:
        return self.world.hub

    def begin(
        self,
        viewer: FakeViewer,
        tab: FakeTab,
        *,
        file_id: str = FILE,
        version: str | None = None,
        comments: bool = False,
        mark: str | None = None,
    ) -> Deferred[dict[str, Any]]:
        watching: Coroutine[Any, Any, dict[str, Any]] = self.hub.watch(
            tab, viewer, file_id, version=version, comments=comments, mark=mark
        )
        return Deferred.fromCoroutine(watching)

    def watch(self, viewer: FakeViewer, tab: FakeTab | None = None, **more: Any) -> FakeTab:
        """A tab that watches."""
        tab = tab or FakeTab()
        self.successResultOf(self.begin(viewer, tab, **more))
        return tab
