"""One user's listings on several nodes: one of them sweeps the log, and none misses anything."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import Switchboard
from docsession.config import Polling
from docsession.demand import Allowance, Demand
from docsession.errors import GoogleUnavailable
from docsession.google.cache import Cached, cached
from docsession.google.drive_request import DriveRequest
from docsession.google.feed import Sweep
from docsession.listings import LISTING_KINDS, Listings
from docsession.user_channel import UserChannel
from tests.unit.hub import FakeTab
from tests.unit.test_listings import listing

EVERY = 60.0


class Log:
    """What happened, in order; a token is how much of it was read. ``lagging``: so much of it Google's
    replicas do not show yet."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.sweeps: list[str] = []
        self.forgotten = False
        self.lagging = 0
        self.failing = False


class LogFeed:
    """Implements the feed over a :class:`Log`."""

    def __init__(self, log: Log, node: str) -> None:
        self.log = log
        self.node = node
        self.token: str | None = None

    async def begin(self) -> None:
        self.token = self.token or str(len(self.log.entries))

    def end(self) -> None:
        self.token = None

    async def sweep(self) -> Sweep:
        self.log.sweeps.append(self.node)
        if self.log.failing:
            raise GoogleUnavailable("it rains", retry_after=1)
        if self.log.forgotten or self.token is None:
            self.log.forgotten = False
            self.token = str(len(self.log.entries))
            return Sweep({}, lost=True)
        shown = self.log.entries[: len(self.log.entries) - self.log.lagging]
        found = shown[int(self.token) :]
        token = str(max(int(self.token), len(shown)))
        return Sweep({file_id: {} for file_id in found}, False, token, since=self.token)

    def done(self, sweep: Sweep) -> None:
        if sweep.token is not None and self.token is not None:
            self.token = sweep.token


class NodeOf:
    """One node on which the user is live."""

    def __init__(self, case: Case, name: str) -> None:
        self.name = name
        self.bus, self.leases = case.board.node(name)
        self.of_users = UserChannel(self.bus)
        self.demand = Demand(case.clock, lambda: 1000.0, alone=lambda: self.leases.alone)
        self.feed = LogFeed(case.log, name)
        self.reads = 0
        self.changed: list[str] = []
        self.lost = 0
        self.written: list[Any] = []
        self.causes: list[str] = []
        self.case = case
        self.listings = Listings(
            "ann",
            self.feed,  # type: ignore[arg-type]
            case.clock,
            random.Random(name),
            Polling(jitter=0),
            Allowance(self.demand, lambda units: units, has_channel=lambda user_id: case.has_channel),
            self.leases,
            lambda kind, **fields: self.of_users.say("ann", kind, **fields),
            read=self.read,
            on_changed=self.changed.append,
            on_lost=self.all_lost,
            on_written=self.written.append,
            new_id=lambda: "the listing",
            on_run=self.causes.append,
        )
        for kind in LISTING_KINDS:
            self.of_users.on(kind, lambda user_id, message, kind=kind: self.listings.heard(kind, message))  # type: ignore[misc]
        self.bus.on_gap(self.listings.missed)
        self.of_users.open("ann")
        self.listings.startService()

    def all_lost(self) -> None:
        self.lost += 1

    async def read(self, request: DriveRequest, *, poll: bool) -> Cached:
        self.reads += 1
        data = json.dumps({"files": [{"id": "a", "n": len(self.case.log.entries)}]}).encode()
        return cached(data, self.case.clock.seconds(), frozenset({"a"}), "ann")

    def watch(self, **params: Any) -> FakeTab:
        tab = FakeTab()
        Deferred.fromCoroutine(self.listings.watch(tab, listing(**params)))
        return tab

    def die(self) -> None:
        """Without a word."""
        self.case.dead.append(self)
        self.listings._sweeping._loop.stop()
        self.listings._work.cancel()
        self.case.board.remove(self.name)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.log = Log()
        self.has_channel = False
        self.deaf = False
        self.said: list[Mapping[str, Any]] = []
        self.dead: list[NodeOf] = []
        self.board = Switchboard(self.clock, deliver=self.deliver)
        self.one, self.two = NodeOf(self, "one"), NodeOf(self, "two")
        self.addCleanup(self.stop)

    def stop(self) -> None:
        for node in (self.one, self.two):
            if node not in self.dead:
                node.listings.stopService()

    def deliver(self, channel: str, message: Mapping[str, Any]) -> bool:
        self.said.append(json.loads(json.dumps(message)))
        return not self.deaf

    def advance(self, seconds: float) -> None:
        self.clock.pump([1.0] * round(seconds))

    def happens(self, *files: str) -> None:
        self.log.entries += files or ("a",)

    def both(self) -> tuple[FakeTab, FakeTab]:
        tabs = self.one.watch(), self.two.watch()
        self.advance(1)
        return tabs


class Sweeps(Case):
    def test_one_sweeps_and_both_act(self) -> None:
        tabs = self.both()
        for number in range(1, 6):
            self.happens("a", f"b{number}")
            self.advance(EVERY + 5)
            self.assertEqual(self.log.sweeps, ["one"] * number)
            self.assertEqual([len(tab.events("listing.changed")) for tab in tabs], [number, number])
        self.assertEqual(self.one.changed, self.two.changed)
        self.assertEqual(self.one.feed.token, self.two.feed.token)

    def test_who_comes_later_catches_up_once(self) -> None:
        self.one.watch()
        self.happens("before")
        self.two.watch()
        for _ in range(4):
            self.happens()
            self.advance(EVERY + 5)
        self.assertEqual(sorted(self.log.sweeps), ["one"] * 4 + ["two"])
        self.assertEqual(self.two.feed.token, self.one.feed.token)

    def test_a_message_that_was_lost(self) -> None:
        self.both()
        self.happens("lost to two")
        self.deaf = True
        self.advance(EVERY + 5)
        self.deaf = False
        self.assertNotIn("lost to two", self.two.changed)
        self.advance(EVERY)  # nothing happened since
        self.assertIn("lost to two", self.two.changed)
        self.assertEqual(self.log.sweeps.count("two"), 1)
        self.happens("c")
        self.advance(EVERY)
        self.assertEqual((self.log.sweeps.count("two"), self.two.changed[-1]), (1, "c"))

    def test_a_replica_behind_loses_nothing(self) -> None:
        """Who catches up sees less than the other has seen, and is given that."""
        self.both()
        self.happens("lost to two")
        self.deaf = True
        self.advance(EVERY + 5)
        self.deaf = False
        self.happens("seen by one")
        swept = self.one.feed.sweep

        async def sweep() -> Sweep:
            found = await swept()
            self.log.lagging = 1  # of what two will be shown
            return found

        self.one.feed.sweep = sweep  # type: ignore[method-assign]
        self.advance(EVERY)
        self.assertEqual(self.two.feed.token, "2")
        self.assertEqual(set(self.two.changed), {"lost to two", "seen by one"})

    def test_catching_up_that_fails_is_done_the_next_time(self) -> None:
        self.one.watch()
        self.happens("before")
        self.two.watch()
        self.happens("b")
        swept = self.one.feed.sweep

        async def sweep() -> Sweep:
            found = await swept()
            self.log.failing = True
            return found

        self.one.feed.sweep = sweep  # type: ignore[method-assign]
        self.advance(EVERY + 5)
        self.assertEqual(self.two.feed.token, "1")
        self.log.failing, self.one.feed.sweep = False, swept  # type: ignore[method-assign]
        self.advance(EVERY)
        self.assertEqual((self.two.feed.token, set(self.two.changed)), ("2", {"b"}))

    def test_a_large_finding_is_swept_by_each(self) -> None:
        self.both()
        self.happens(*(f"file {number:06d}" for number in range(4000)))
        self.advance(EVERY + 5)
        self.assertLess(max(len(json.dumps(message)) for message in self.said), 1000)
        self.assertEqual(len(self.two.changed), 4000)
        self.assertEqual(self.log.sweeps, ["one", "two"])
        self.advance(EVERY)
        self.assertEqual(self.log.sweeps, ["one", "two", "one"])

    def test_a_token_that_google_forgot(self) -> None:
        self.both()
        self.log.forgotten = True
        self.happens("in between")
        self.advance(EVERY + 5)
        self.assertEqual((self.one.lost, self.two.lost, self.log.sweeps), (1, 1, ["one"]))
        self.assertEqual((self.one.causes, self.two.causes), (["lost"], ["lost"]))
        self.happens("c")
        self.advance(EVERY)
        self.assertEqual((self.log.sweeps, self.two.changed), (["one", "one"], ["c"]))

    def test_a_hint_is_the_sweepers(self) -> None:
        self.has_channel = True
        self.both()
        self.happens()
        for node in (self.one, self.two):
            node.listings.hinted()
        self.advance(10)
        self.assertEqual(self.log.sweeps, ["one"])
        self.assertEqual((self.one.changed, self.two.changed), (["a"], ["a"]))

    def test_without_a_listing_what_is_watched_is_touched(self) -> None:
        self.one.watch()
        self.happens("a")
        self.advance(EVERY + 5)
        self.assertEqual((self.two.changed, self.log.sweeps), (["a"], ["one"]))


class Hands(Case):
    def test_the_next_sweeps_at_once_from_its_own_token(self) -> None:
        self.has_channel = True
        self.both()
        self.advance(10)
        self.happens("told to nobody")
        self.one.die()
        self.advance(2)
        self.assertEqual((self.log.sweeps, self.two.changed), (["two"], ["told to nobody"]))
        self.advance(590)
        self.assertEqual(self.log.sweeps, ["two"])

    def test_the_first_to_have_it_does_not(self) -> None:
        """On Redis that is heard a moment after it was asked for."""
        self.both()
        self.board.leases["one"].wanted["feed:ann"](True)
        self.advance(10)
        self.assertEqual(self.log.sweeps, [])

    def test_who_no_longer_watches_leaves_it_to_the_other(self) -> None:
        tab, _ = self.both()
        self.happens()
        self.advance(EVERY + 5)
        self.one.listings.forget(tab)
        self.happens("b")
        self.advance(EVERY + 5)
        self.assertEqual(self.two.changed[-1], "b")
        self.assertEqual(self.one.changed[-1], "b")  # told: it may be watched there
        self.assertEqual(set(self.log.sweeps[1:]), {"two"})

    def test_demand_is_the_sweepers(self) -> None:
        tab, _ = self.both()
        self.advance(10)
        self.assertAlmostEqual(self.one.demand.planned, 100 / 60)
        self.assertEqual(self.two.demand.planned, 0)
        self.one.listings.forget(tab)
        self.advance(10)
        self.assertEqual(self.one.demand.planned, 0)
        self.assertAlmostEqual(self.two.demand.planned, 100 / 60)

    def test_alone_each_sweeps_four_times_as_seldom(self) -> None:
        self.both()
        self.deaf = True
        for node in (self.one, self.two):
            node.leases.alone = True
        self.advance(20 * EVERY)
        for name in ("one", "two"):
            self.assertIn(self.log.sweeps.count(name), (5, 6))
        self.happens("before they meet")
        for node in (self.one, self.two):
            node.leases.alone = False
            node.bus.gap()
        self.deaf = False
        self.advance(10)
        self.assertIn("before they meet", self.one.changed)
        self.assertIn("before they meet", self.two.changed)
        self.log.sweeps.clear()
        self.advance(5 * EVERY)
        self.assertEqual(set(self.log.sweeps), {"one"})
        self.assertIn(len(self.log.sweeps), (4, 5))

    def test_after_a_gap_both_read_their_logs(self) -> None:
        self.both()
        self.happens("x")
        self.two.bus.gap()
        self.advance(6)
        self.assertEqual((self.log.sweeps, self.two.changed), (["two"], ["x"]))


class Others(Case):
    def test_what_the_user_writes_runs_the_others_at_once(self) -> None:
        self.both()
        self.one.listings.touched({"a": {"name": "A", "big": "x" * 100_000}}, at_once=True)
        self.assertEqual(self.one.causes, ["write"])
        self.clock.advance(0)
        self.assertEqual(self.two.causes, ["write"])
        self.assertEqual(self.two.written, [{"a": {"name": "A"}}])
        self.two.listings.all_touched(at_once=True)
        self.clock.advance(0)
        self.assertEqual((self.one.causes, self.one.written), (["write", "write"], [None]))

    def test_what_a_look_found_is_every_nodes_own(self) -> None:
        self.both()
        self.one.listings.touched({"a": {"name": "A"}})
        self.clock.advance(0)
        self.assertEqual(self.said, [])

    def test_what_no_log_tells_of_runs_by_one_nodes_timer(self) -> None:
        for node in (self.one, self.two):
            node.watch(driveId="d", corpora="drive", includeItemsFromAllDrives=True)
        self.advance(3 * EVERY + 20)
        self.assertEqual((self.one.causes, self.two.causes), (["timer"] * 3, ["timer"] * 3))
        self.assertEqual([m["kind"] for m in self.said].count("timer"), 3)
