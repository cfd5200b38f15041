"""Live listings: kept true by the feed, by peers and by looks; alone, and through the server."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import Switchboard
from docsession.belonging import FOLDER
from docsession.config import Polling
from docsession.demand import Allowance, Demand
from docsession.errors import GoogleUnavailable, TooLarge
from docsession.google.cache import Cached, cached
from docsession.google.drive import AccessRefused
from docsession.google.drive_request import DriveRequest, Policy, find_method, prepare
from docsession.google.feed import Feed, Sweep
from docsession.google.refusals import Kind, Refusal
from docsession.listings import Listings
from tests.support import Stack, Tab
from tests.unit.hub import FakeTab

ANN, BOB = "ann@example.com", "bob@example.com"


def listing(**params: Any) -> DriveRequest:
    return prepare(find_method("drive.files.list"), params, Policy())


class FakeFeed:
    """A log whose sweeps find what the test puts in."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.sweeps = 0
        self.next = Sweep({}, lost=False)
        self.done_with: list[Sweep] = []
        self.failing: Exception | None = None
        self.token: str | None = "1"

    async def begin(self) -> None:
        self.begun += 1

    def end(self) -> None:
        self.ended += 1

    async def sweep(self) -> Sweep:
        self.sweeps += 1
        if self.failing is not None:
            raise self.failing
        found, self.next = self.next, Sweep({}, lost=False)
        return found

    def done(self, sweep: Sweep) -> None:
        self.done_with.append(sweep)
        self.token = sweep.token or self.token


class ListingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.feed = FakeFeed()
        self.answer: dict[str, Any] = {"files": [{"id": "a", "name": "A"}]}
        self.failing: Exception | None = None
        self.slow = False
        self.without_ids = False
        self.waiting: list[Callable[[], None]] = []
        self.reads: list[tuple[DriveRequest, bool]] = []
        self.changed: list[str] = []
        ids = iter(f"listing-{number}" for number in range(100))
        self.has_channel = False
        self.board = Switchboard(self.clock)
        _, self.leases = self.board.node("one")
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.written: list[Any] = []
        self.rate = 1000.0
        self.demand = Demand(self.clock, lambda: self.rate)
        self.lost: list[bool] = []
        self.outcomes: list[str] = []
        self.causes: list[str] = []
        self.listings = Listings(
            "ann",
            self.feed,  # type: ignore[arg-type]
            self.clock,
            random.Random(1),
            Polling(jitter=0),
            Allowance(self.demand, lambda units: units, has_channel=lambda user_id: self.has_channel),
            self.leases,
            lambda kind, **fields: self.said.append((kind, fields)),
            read=self.read,
            on_changed=self.changed.append,
            on_lost=lambda: self.lost.append(True),
            on_written=self.written.append,
            new_id=lambda: next(ids),
            on_sweep=self.outcomes.append,
            on_run=self.causes.append,
        )
        self.listings.startService()
        self.addCleanup(self.listings.stopService)

    async def read(self, request: DriveRequest, *, poll: bool) -> Cached:
        self.reads.append((request, poll))
        began, data = self.clock.seconds(), json.dumps(self.answer).encode()
        files = frozenset(str(file["id"]) for file in self.answer["files"] if not self.without_ids)
        failing = self.failing
        if self.slow:
            answered: Deferred[None] = Deferred()
            self.waiting.append(lambda: answered.callback(None))
            await answered
        if failing is not None:
            raise failing
        return cached(data, began, files, "ann")

    def begin(self, tab: FakeTab, **params: Any) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self.listings.watch(tab, listing(**params)))

    def watch(self, **params: Any) -> tuple[FakeTab, str]:
        tab = FakeTab()
        return tab, str(self.successResultOf(self.begin(tab, **params))["listing"])

    def names(self, tab: FakeTab) -> list[list[str]]:
        return [[f["name"] for f in e["data"]["files"]] for e in tab.events("listing.changed")]

    def sweep_finds(self, *files: str, lost: bool = False) -> None:
        self.feed.next = Sweep({file: {} for file in files}, lost)
        self.clock.advance(60)

    def test_the_same_params_share_one(self) -> None:
        first, second = self.watch(q="a", pageSize=5), self.watch(pageSize=5, q="a")
        other = self.watch(q="b", pageSize=5)
        self.assertEqual(first[1], second[1])
        self.assertNotEqual(first[1], other[1])
        self.assertEqual(len(self.listings), 2)

    def test_first_the_token_then_the_reading_and_that_for_a_person(self) -> None:
        self.watch()
        self.assertEqual(self.feed.begun, 1)
        self.assertEqual([poll for _, poll in self.reads], [False])

    def test_an_entry_runs_it_again_and_a_difference_is_told(self) -> None:
        tab, _ = self.watch()
        self.sweep_finds("a")
        self.assertEqual((len(self.reads), self.names(tab), self.changed), (2, [], ["a"]))
        self.answer = {"files": [{"id": "a", "name": "B"}]}
        self.sweep_finds("a")
        self.assertEqual(self.names(tab), [["B"]])
        self.assertEqual([poll for _, poll in self.reads], [False, True, True])

    def test_only_those_run_that_could_hold_what_was_touched(self) -> None:
        self.answer = {"files": [{"id": "shown", "name": "Shown"}]}
        self.watch(q="'folder' in parents and trashed = false")
        for file_id, file, runs in (
            ("other", {"parents": ["elsewhere"], "trashed": False}, 0),
            ("other", {"parents": ["folder"], "trashed": True}, 0),
            ("other", None, 0),
            ("other", {"parents": ["folder"], "trashed": False}, 1),
            ("shown", {"parents": ["elsewhere"]}, 1),
            ("shown", None, 1),
        ):
            before = len(self.reads)
            self.feed.next = Sweep({file_id: file}, lost=False)
            self.clock.advance(60)
            self.assertEqual(len(self.reads) - before, runs, (file_id, file))

    def test_however_much_happens_it_runs_once_in_a_gap(self) -> None:
        self.watch()
        for _ in range(40):
            self.listings.touched({"a": {}})
            self.clock.advance(0.5)
        self.assertLessEqual(len(self.reads), 1 + 6)
        self.clock.advance(5)
        before = len(self.reads)
        self.clock.advance(50)
        self.assertEqual(len(self.reads), before)

    def test_what_the_user_wrote_is_read_at_once(self) -> None:
        self.watch()
        for runs in (2, 3, 4):
            self.listings.all_touched(at_once=True)
            self.assertEqual(len(self.reads), runs)

    def test_with_a_channel_it_is_swept_seldom_and_when_a_hint_says_so(self) -> None:
        self.has_channel = True
        self.watch()
        self.clock.pump([5] * 118)
        self.assertEqual(self.feed.sweeps, 0)
        self.clock.pump([5] * 4)
        self.assertEqual(self.feed.sweeps, 1)
        for _ in range(20):
            self.listings.hinted()
        self.clock.advance(5)
        self.assertEqual(self.feed.sweeps, 2)
        for _ in range(20):
            self.listings.hinted()
            self.clock.advance(1)
        self.assertLessEqual(self.feed.sweeps, 2 + 5)

    def test_when_the_channel_ends_it_is_swept_again_within_two_intervals(self) -> None:
        self.has_channel = True
        self.watch()
        self.clock.pump([5] * 30)
        self.has_channel = False
        self.clock.pump([5] * 2)
        self.assertEqual(self.feed.sweeps, 1)

    def test_a_hint_during_a_sweep_makes_one_more(self) -> None:
        self.watch()
        waiting: Deferred[None] = Deferred()

        async def slow() -> Sweep:
            self.feed.sweeps += 1
            if self.feed.sweeps == 1:
                await waiting
            return Sweep({}, lost=False)

        self.feed.sweep = slow  # type: ignore[method-assign]
        self.clock.advance(60)
        self.listings.hinted()
        self.clock.advance(5)
        self.assertEqual(self.feed.sweeps, 1)
        waiting.callback(None)
        self.clock.advance(5)
        self.assertEqual(self.feed.sweeps, 2)

    def test_a_hint_without_a_listing_is_nothing(self) -> None:
        self.listings.hinted()
        self.clock.advance(100)
        self.assertEqual((self.feed.sweeps, self.clock.getDelayedCalls()), (0, []))

    def test_beyond_the_budget_it_is_swept_less_often(self) -> None:
        self.watch()
        self.assertApproximates(self.demand.planned, 100 / 60, 0.01)
        self.rate = 100 / 180
        self.clock.pump([5] * 120)
        self.assertApproximates(self.feed.sweeps, 600 / 180, 1)

    def test_what_was_found_is_acted_on_before_the_token_moves(self) -> None:
        self.watch()
        found = self.feed.next = Sweep({f"file {number}": {} for number in range(10_000)}, False, "9")
        acted_on: list[int] = []
        self.feed.done = lambda sweep: acted_on.append(len(self.changed))  # type: ignore[method-assign]
        self.clock.advance(60)
        self.assertEqual((len(found.files), acted_on, self.outcomes), (10_000, [10_000], ["ok"]))
        self.assertEqual(len(self.reads), 2)

    def test_a_lost_token_makes_everything_due(self) -> None:
        self.watch()
        self.sweep_finds(lost=True)
        self.assertEqual((len(self.reads), self.lost, self.outcomes), (2, [True], ["lost"]))

    def test_what_no_log_tells_of_is_run_on_the_timer(self) -> None:
        for params in (
            {"corpora": "allDrives", "includeItemsFromAllDrives": True},
            {"includeItemsFromAllDrives": True},
            {"spaces": "appDataFolder"},
        ):
            tab, listing_id = self.watch(**params)
            before = len(self.reads)
            self.clock.pump([5] * 25)
            self.assertEqual(len(self.reads) - before, 2, params)
            self.listings.unwatch(tab, listing_id)

    def test_a_folder_may_take_along_what_lies_in_it(self) -> None:
        self.watch(q="'folder' in parents and trashed = false")
        self.feed.next = Sweep({"above": {"mimeType": FOLDER, "trashed": True, "parents": ["x"]}}, lost=False)
        self.clock.advance(60)
        self.assertEqual(len(self.reads), 2)
        self.feed.next = Sweep({"folder": None}, lost=False)
        self.clock.advance(60)
        self.assertEqual(len(self.reads), 3)

    def test_what_nothing_is_heard_of_is_read_again_some_time(self) -> None:
        self.watch()
        self.clock.pump([5] * (880 // 5))
        self.assertEqual((len(self.reads), self.causes), (1, []))
        self.clock.pump([5] * (120 // 5))
        self.assertEqual((len(self.reads), self.causes), (2, ["timer"]))

    def test_a_page_after_the_first_moves_with_what_is_before_it(self) -> None:
        self.watch(q="trashed = false", pageToken="second")
        self.listings.touched({"on the first": {"trashed": True}})
        self.assertEqual(len(self.reads), 2)

    def test_an_empty_listing_is_run_for_what_could_come_in(self) -> None:
        self.answer = {"files": []}
        for mask in ({}, {"fields": "files"}, {"fields": "files(id,name)"}, {"fields": "*"}):
            before = len(self.reads)
            tab, listing_id = self.watch(q="trashed = true", **mask)
            self.listings.touched({"a": {"trashed": False}})
            self.assertEqual(len(self.reads) - before, 1, mask)
            self.listings.touched({"a": {"trashed": True}})
            self.assertEqual(len(self.reads) - before, 2, mask)
            self.listings.unwatch(tab, listing_id)

    def test_what_is_touched_while_a_listing_is_first_read_is_not_missed(self) -> None:
        self.watch(q="other")
        for touch in (
            lambda: self.listings.touched({"b": {}}),
            lambda: self.listings.all_touched(at_once=True),
            lambda: self.sweep_finds("b"),
        ):
            self.answer = {"files": []}
            self.slow = True
            tab = FakeTab()
            beginning = self.begin(tab)
            self.slow = False
            self.answer = {"files": [{"id": "b", "name": "B"}]}
            touch()
            self.waiting.pop()()
            self.successResultOf(beginning)
            self.clock.advance(5)
            self.assertEqual(self.names(tab), [["B"]])
            self.listings.forget(tab)

    def test_a_shared_drive_that_came_or_went_runs_those_that_may_show_it(self) -> None:
        self.watch(includeItemsFromAllDrives=True)
        self.watch()
        self.clock.advance(30)
        self.listings.hinted()
        self.feed.next = Sweep({}, lost=False, drives=True)
        self.clock.advance(0)
        self.assertEqual((len(self.reads), self.causes, self.lost), (3, ["feed"], []))

    def test_what_is_gathered_is_read_once(self) -> None:
        self.watch()
        with self.listings.gathered():
            self.listings.touched({"a": {}})
            with self.listings.gathered():
                self.listings.all_touched(at_once=True)
            self.listings.touched({"a": {}})
            self.assertEqual(len(self.reads), 1)
        self.assertEqual(len(self.reads), 2)
        self.clock.advance(30)
        self.assertEqual(len(self.reads), 2)

    def test_a_person_waits_for_the_own_write_and_for_nothing_else(self) -> None:
        self.watch()
        self.listings.all_touched(at_once=True)
        self.clock.advance(10)
        self.listings.touched({"a": {}})
        self.assertEqual([poll for _, poll in self.reads], [False, False, True])
        self.assertEqual(self.causes, ["write", "touched"])

    def test_also_with_a_channel_a_failed_sweep_is_soon_done_again(self) -> None:
        self.has_channel = True
        self.watch()
        self.feed.failing = GoogleUnavailable(retry_after=1)
        self.listings.hinted()
        self.clock.pump([5] * 2)
        self.assertEqual(self.outcomes, ["failed"])
        self.feed.failing = None
        self.clock.pump([5] * 13)
        self.assertEqual(self.outcomes, ["failed", "ok"])

    def test_ten_thousand_files_are_handed_on_in_turns(self) -> None:
        self.watch(q="trashed = true")
        self.feed.next = Sweep({f"file {number}": {"trashed": False} for number in range(10_000)}, False)
        most, turns, late = 0, 0, self.clock.callLater

        def counted(delay: float, *more: Any, **named: Any) -> Any:
            nonlocal most, turns
            if delay == 0:
                turns, most = turns + 1, max(most, len(self.changed) - sum(self.parts))
                self.parts.append(len(self.changed) - sum(self.parts))
            return late(delay, *more, **named)

        self.parts: list[int] = []
        self.clock.callLater = counted  # type: ignore[method-assign]
        self.clock.advance(60)
        self.assertEqual((len(self.changed), len(self.reads)), (10_000, 1))
        self.assertEqual(most, 500)
        self.assertEqual(turns, 20)

    def test_a_tab_counts_its_listings_from_their_beginning(self) -> None:
        self.slow = True
        tab = FakeTab()
        beginning = self.begin(tab)
        self.assertEqual((self.listings.count(tab), self.listings.count(FakeTab())), (1, 0))
        beginning.cancel()
        self.failureResultOf(beginning)
        self.assertEqual((self.listings.count(tab), len(self.listings)), (0, 0))
        self.assertEqual((self.feed.ended, self.clock.getDelayedCalls()), (1, []))

    def test_nothing_found_nothing_read(self) -> None:
        self.watch()
        self.sweep_finds()
        self.assertEqual((len(self.reads), self.feed.sweeps), (1, 1))

    def test_another_page_token_is_no_change(self) -> None:
        self.answer["nextPageToken"] = "one"
        tab, _ = self.watch()
        self.answer["nextPageToken"] = "two"
        self.sweep_finds("a")
        self.assertEqual((len(self.reads), self.names(tab)), (2, []))

    def test_a_lost_token_runs_all_of_them(self) -> None:
        tab, _ = self.watch()
        self.answer = {"files": []}
        self.sweep_finds(lost=True)
        self.assertEqual(self.names(tab), [[]])

    def test_a_failed_sweep_is_done_again(self) -> None:
        self.watch()
        self.feed.failing = GoogleUnavailable(retry_after=1)
        self.clock.advance(60)
        self.feed.failing = None
        self.sweep_finds("a")
        self.assertEqual((self.feed.sweeps, self.feed.ended, len(self.reads)), (2, 0, 2))

    def test_a_run_that_fails_is_made_up_for(self) -> None:
        tab, _ = self.watch()
        self.answer = {"files": [{"id": "a", "name": "B"}]}
        self.failing = GoogleUnavailable(retry_after=1)
        self.sweep_finds("a")
        self.assertEqual(self.names(tab), [])
        self.failing = None
        self.sweep_finds()
        self.assertEqual(self.names(tab), [["B"]])
        self.sweep_finds()
        self.assertEqual(len(self.reads), 3)

    def test_swept_only_while_one_is_watched(self) -> None:
        tab, one = self.watch(q="a")
        other, _ = self.watch(q="b")
        self.listings.unwatch(tab, one)
        self.clock.advance(60)
        self.assertEqual((self.feed.sweeps, self.feed.ended), (1, 0))
        self.listings.forget(other)
        self.assertEqual((self.feed.ended, len(self.listings), self.clock.getDelayedCalls()), (1, 0, []))
        self.watch(q="c")
        self.clock.advance(60)
        self.assertEqual(self.feed.sweeps, 2)

    def test_a_failed_watch_leaves_nothing(self) -> None:
        self.failing = GoogleUnavailable(retry_after=1)
        self.failureResultOf(self.begin(FakeTab()), GoogleUnavailable)
        self.assertEqual((len(self.listings), self.feed.ended, self.clock.getDelayedCalls()), (0, 1, []))

    def test_the_end_of_one_does_not_take_the_token_of_one_that_begins(self) -> None:
        tab, one = self.watch(q="a")
        self.slow = True
        beginning = self.begin(FakeTab(), q="b")
        self.listings.unwatch(tab, one)
        self.assertEqual(self.feed.ended, 0)
        self.waiting.pop()()
        self.successResultOf(beginning)

    def test_what_comes_while_it_runs_makes_one_more_run(self) -> None:
        tab, _ = self.watch()
        self.slow = True
        self.listings.all_touched(at_once=True)
        self.answer = {"files": [{"id": "a", "name": "B"}]}
        self.listings.touched({"a": None})
        self.listings.touched({"a": None})
        self.waiting.pop()()
        self.assertEqual((self.names(tab), self.waiting), ([], []))
        self.clock.advance(5)
        self.waiting.pop()()
        self.assertEqual((self.names(tab), len(self.reads)), ([["B"]], 3))

    def test_an_own_write_while_it_runs_makes_one_more_at_once(self) -> None:
        self.watch()
        self.slow = True
        self.listings.all_touched(at_once=True)
        self.listings.all_touched(at_once=True)
        self.listings.touched({"a": None})
        self.waiting.pop()()
        self.assertEqual((len(self.waiting), len(self.reads)), (1, 3))

    def test_a_reading_begun_earlier_that_comes_later_takes_nothing_back(self) -> None:
        tab, _ = self.watch()
        self.slow = True
        late = FakeTab()
        beginning = self.begin(late)
        self.clock.advance(1)
        self.answer = {"files": [{"id": "a", "name": "B"}]}
        self.listings.all_touched(at_once=True)
        self.waiting.pop(1)()
        self.assertEqual(self.names(tab), [["B"]])
        self.waiting.pop(0)()  # shows the old name: it is read once more
        self.waiting.pop(0)()
        self.assertEqual(json.loads(bytes(self.successResultOf(beginning)["data"]))["files"][0]["name"], "B")
        self.assertEqual(self.names(tab), [["B"]])
        self.assertEqual(late.raw, [])

    def test_a_look_runs_those_that_hold_the_file(self) -> None:
        self.watch()
        self.listings.touched({"b": None})
        self.assertEqual(len(self.reads), 1)
        self.listings.touched({"a": None})
        self.assertEqual(len(self.reads), 2)

    def test_without_ids_in_the_answer_any_file_may_be_in_it(self) -> None:
        self.without_ids = True
        tab, _ = self.watch(fields="files(name)", q="trashed = true")
        self.answer = {"files": [{"name": "B"}]}
        self.listings.touched({"whatever": None})
        self.assertEqual(self.names(tab), [["B"]])

    def test_on_a_shared_drive_it_is_run_on_the_timer(self) -> None:
        tab, _ = self.watch(corpora="drive", driveId="d", includeItemsFromAllDrives=True)
        self.watch()
        self.answer = {"files": [{"id": "a", "name": "B"}]}
        self.sweep_finds()
        self.assertEqual((self.names(tab), len(self.reads)), ([["B"]], 3))

    def test_stopped_there_is_nothing_left(self) -> None:
        self.watch()
        self.slow = True
        self.listings.all_touched(at_once=True)
        self.listings.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.feed.ended, 1)


class FakeDrive:
    """Answers of Drive's, one after the other; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def ask(self, account: object, request: DriveRequest, **_: Any) -> Any:
        self.asked.append({"method": request.method.id, **dict(request.query)})
        answer = self.answers.pop(0)
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call(self, account: object, request: DriveRequest, **more: Any) -> Any:
        try:
            return await self.ask(account, request, **more)
        except AccessRefused as refused:
            raise refused.refusal.error() from None


def refused(status: int, reason: str = "invalid") -> AccessRefused:
    return AccessRefused(Refusal(Kind.FINAL, status, reason, "No."))


class FeedTests(SynchronousTestCase):
    def feed(self, *answers: Any) -> tuple[Feed, FakeDrive]:
        drive = FakeDrive({"startPageToken": "5"}, *answers)
        feed = Feed(drive, object())  # type: ignore[arg-type]
        self.successResultOf(Deferred.fromCoroutine(feed.begin()))
        return feed, drive

    def sweep(self, feed: Feed) -> Sweep:
        return self.successResultOf(Deferred.fromCoroutine(feed.sweep()))

    def test_it_reads_on_over_an_empty_page(self) -> None:
        feed, drive = self.feed(
            {"changes": [{"fileId": "a"}], "nextPageToken": "6"},
            {"changes": [], "nextPageToken": "7"},
            {"changes": [{"fileId": "b", "removed": True}, {"fileId": "a"}], "newStartPageToken": "9"},
            {"changes": [], "newStartPageToken": "9"},
        )
        found = self.sweep(feed)
        self.assertEqual(found, Sweep({"a": None, "b": None}, lost=False, token="9", since="5"))
        feed.done(found)
        self.assertEqual(self.sweep(feed), Sweep({}, lost=False, token="9", since="9"))
        self.assertEqual([asked.get("pageToken") for asked in drive.asked], [None, "5", "6", "7", "9"])

    def test_a_sweep_that_fails_on_any_page_is_done_again_from_its_beginning(self) -> None:
        feed, drive = self.feed(
            {"changes": [{"fileId": "a"}], "nextPageToken": "6"},
            GoogleUnavailable(retry_after=1),
            {"changes": [{"fileId": "a"}], "nextPageToken": "6"},
            {"changes": [{"fileId": "b"}], "newStartPageToken": "7"},
        )
        self.failureResultOf(Deferred.fromCoroutine(feed.sweep()), GoogleUnavailable)
        self.assertEqual(set(self.sweep(feed).files), {"a", "b"})
        self.assertEqual([asked.get("pageToken") for asked in drive.asked], [None, "5", "6", "5", "6"])

    def test_a_token_that_google_does_not_know_is_replaced(self) -> None:
        for status in (400, 404, 410):
            feed, drive = self.feed(
                refused(status), {"startPageToken": "20"}, {"changes": [], "newStartPageToken": "21"}
            )
            lost = self.sweep(feed)
            self.assertTrue(lost.lost)
            self.assertEqual(drive.asked[-1]["method"], "drive.changes.getStartPageToken")
            feed.done(lost)
            self.assertFalse(self.sweep(feed).lost)
            self.assertEqual(drive.asked[-1]["pageToken"], "20")

    def test_where_the_new_token_cannot_be_had_the_loss_is_told_later(self) -> None:
        feed, _ = self.feed(refused(410), GoogleUnavailable(retry_after=1), {"startPageToken": "20"})
        self.failureResultOf(Deferred.fromCoroutine(feed.sweep()), GoogleUnavailable)
        self.assertTrue(self.sweep(feed).lost)

    def test_other_refusals_leave_the_token(self) -> None:
        feed, drive = self.feed(refused(403, "domainPolicy"), {"changes": [], "newStartPageToken": "5"})
        error = self.failureResultOf(Deferred.fromCoroutine(feed.sweep())).value
        self.assertEqual(error.name, "forbidden")
        self.sweep(feed)
        self.assertEqual(drive.asked[-1]["pageToken"], "5")

    def test_a_refused_beginning_is_an_error_with_a_name(self) -> None:
        feed = Feed(FakeDrive(refused(403, "domainPolicy")), object())  # type: ignore[arg-type]
        error = self.failureResultOf(Deferred.fromCoroutine(feed.begin())).value
        self.assertEqual(error.name, "forbidden")

    def test_of_two_that_begin_at_once_the_earlier_token_is_kept(self) -> None:
        first: Deferred[Any] = Deferred()
        second: Deferred[Any] = Deferred()
        drive = FakeDrive(first, second, {"changes": [], "newStartPageToken": "9"})
        feed = Feed(drive, object())  # type: ignore[arg-type]
        beginnings = [Deferred.fromCoroutine(feed.begin()) for _ in range(2)]
        first.callback({"startPageToken": "5"})
        second.callback({"startPageToken": "8"})
        for beginning in beginnings:
            self.successResultOf(beginning)
        self.sweep(feed)
        self.assertEqual(drive.asked[-1]["pageToken"], "5")

    def test_an_entry_of_a_shared_drive_is_no_loss_and_one_of_nothing_is(self) -> None:
        for entry, drives, lost in (
            ({"changeType": "drive", "driveId": "team", "removed": True}, True, False),
            ({"driveId": "team"}, True, False),
            ({"removed": False}, False, True),
        ):
            feed, _ = self.feed({"changes": [entry], "newStartPageToken": "6"})
            sweep = self.sweep(feed)
            self.assertEqual((sweep.files, sweep.drives, sweep.lost), ({}, drives, lost))

    def test_an_entry_that_says_nothing_of_its_file_does_not_say_that_it_is_gone(self) -> None:
        feed, _ = self.feed(
            {
                "changes": [{"fileId": "a", "removed": False}, {"fileId": "b", "removed": True}],
                "newStartPageToken": "6",
            }
        )
        self.assertEqual(self.sweep(feed).files, {"a": {}, "b": None})

    def test_a_page_that_is_too_large_would_be_too_large_again(self) -> None:
        feed, drive = self.feed(
            TooLarge(1), {"startPageToken": "20"}, {"changes": [], "newStartPageToken": "21"}
        )
        self.assertTrue(self.sweep(feed).lost)
        self.sweep(feed)
        self.assertEqual(drive.asked[-1]["pageToken"], "20")

    def test_a_log_without_end_is_given_up(self) -> None:
        endless = [{"changes": [], "nextPageToken": str(number)} for number in range(6, 106)]
        feed, _ = self.feed(*endless, {"startPageToken": "7"})
        self.assertTrue(self.sweep(feed).lost)

    def test_a_page_that_leads_back_to_itself_is_read_a_few_times(self) -> None:
        back = {"changes": [], "nextPageToken": "5"}
        feed, _ = self.feed(*[back] * 4, {"changes": [{"fileId": "a"}], "newStartPageToken": "6"})
        sweep = self.sweep(feed)
        self.assertEqual((sweep.files, sweep.lost), ({"a": None}, False))
        feed, drive = self.feed(*[back] * 5, {"startPageToken": "7"})
        self.assertTrue(self.sweep(feed).lost)
        self.assertEqual([asked.get("pageToken") for asked in drive.asked], [None, *"55555", None])

    def test_a_loss_is_remembered_until_it_was_acted_on_whoever_begins_meanwhile(self) -> None:
        feed, _ = self.feed(
            refused(410),
            GoogleUnavailable(retry_after=1),
            {"startPageToken": "20"},
            {"changes": [], "newStartPageToken": "21"},
            {"changes": [], "newStartPageToken": "21"},
            {"changes": [], "newStartPageToken": "21"},
        )
        self.failureResultOf(Deferred.fromCoroutine(feed.sweep()), GoogleUnavailable)
        self.successResultOf(Deferred.fromCoroutine(feed.begin()))  # another listing begins
        self.assertTrue(self.sweep(feed).lost)
        lost = self.sweep(feed)
        self.assertTrue(lost.lost)
        feed.done(lost)
        self.assertFalse(self.sweep(feed).lost)

    def test_whoever_ends_it_has_no_loss_to_remember(self) -> None:
        feed, _ = self.feed(
            refused(410),
            GoogleUnavailable(retry_after=1),
            {"startPageToken": "20"},
            {"changes": [], "newStartPageToken": "21"},
        )
        self.failureResultOf(Deferred.fromCoroutine(feed.sweep()), GoogleUnavailable)
        feed.end()
        self.successResultOf(Deferred.fromCoroutine(feed.begin()))
        self.assertFalse(self.sweep(feed).lost)

    def test_the_token_moves_when_all_was_acted_on(self) -> None:
        feed, drive = self.feed(*[{"changes": [], "newStartPageToken": "9"}] * 3)
        sweep = self.sweep(feed)
        self.sweep(feed)
        feed.done(sweep)
        self.sweep(feed)
        self.assertEqual([asked.get("pageToken") for asked in drive.asked], [None, "5", "5", "9"])

    def test_what_changes_again_while_pages_are_read_counts_as_it_was_last(self) -> None:
        feed, _ = self.feed(
            {
                "changes": [{"fileId": "a", "file": {"name": "Old"}}, {"fileId": "b", "file": {}}],
                "nextPageToken": "6",
            },
            {
                "changes": [{"fileId": "a", "file": {"name": "New"}}, {"fileId": "b", "removed": True}],
                "newStartPageToken": "7",
            },
        )
        self.assertEqual(self.sweep(feed).files, {"a": {"name": "New", "driveId": ""}, "b": None})

    def test_what_moved_away_and_is_still_seen_is_there(self) -> None:
        entry = {"fileId": "a", "removed": True, "file": {"driveId": "team"}}
        feed, drive = self.feed({"changes": [entry], "newStartPageToken": "7"})
        self.assertEqual(self.sweep(feed).files, {"a": {"driveId": "team"}})
        self.assertEqual(drive.asked[-1]["includeCorpusRemovals"], "true")

    def test_nonsense_moves_nothing(self) -> None:
        for answer in (
            {"changes": []},
            {"changes": [], "nextPageToken": ""},
            {"changes": [], "newStartPageToken": 7},
            {"changes": None, "newStartPageToken": "7"},
            {"changes": ["a"], "newStartPageToken": "7"},
        ):
            feed, drive = self.feed(answer, {"changes": [], "newStartPageToken": "5"})
            self.failureResultOf(Deferred.fromCoroutine(feed.sweep()), GoogleUnavailable)
            self.sweep(feed)
            self.assertEqual(drive.asked[-1]["pageToken"], "5", answer)

    def test_of_very_many_files_only_the_ids_are_kept(self) -> None:
        pages = [
            {
                "changes": [{"fileId": f"{page} {n}", "file": {"name": "A"}} for n in range(1000)],
                **({"nextPageToken": str(page)} if page < 131 else {"newStartPageToken": "9"}),
            }
            for page in range(110, 132)
        ]
        feed, _ = self.feed(*pages)
        files = self.sweep(feed).files
        self.assertEqual((len(files), sum(1 for file in files.values() if file)), (22_000, 20_000))

    def test_it_asks_for_the_tokens_that_it_needs(self) -> None:
        feed, drive = self.feed({"changes": [], "newStartPageToken": "5"})
        self.sweep(feed)
        self.assertIn("nextPageToken", drive.asked[-1]["fields"])
        self.assertIn("newStartPageToken", drive.asked[-1]["fields"])
        self.assertEqual(drive.asked[-1]["supportsAllDrives"], "true")


class ThroughTheServer(SynchronousTestCase):
    def setUp(self) -> None:
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        self.talk = self.stack.file("Talk for the shops")

    def tab(self, email: str, **params: Any) -> Tab:
        tab = self.stack.signed_in_tab(email)
        params = {"q": "trashed=false", "orderBy": "name", "fields": "files(id,name)"} | params
        tab.call("listings.watch", **params)
        return tab

    def said(self, tab: Tab) -> list[set[str]]:
        return [{file["name"] for file in event["data"]["files"]} for event in tab.events("listing.changed")]

    def create(self, name: str) -> None:
        self.stack.as_person(ANN, "POST", "/drive/v3/files", {"name": name})

    def test_by_the_feed(self) -> None:
        ann = self.tab(ANN)
        self.create("A new one")
        self.stack.advance(46)
        self.assertEqual(self.said(ann), [])
        self.stack.advance(32)  # a minute, a fifth more or less, and what is due is seen every 5 s
        self.assertEqual(len(self.said(ann)), 1)
        self.assertIn("A new one", self.said(ann)[0])
        self.stack.advance(130)
        self.assertEqual(len(self.said(ann)), 1)

    def test_by_an_own_write_at_once_in_all_tabs(self) -> None:
        ann = self.tab(ANN)
        other = self.stack.tab(ann.identity)
        other.call("listings.watch", q="trashed=false", orderBy="name", fields="files(id,name)")
        ann.call("drive.files.create", requestBody={"name": "A new one"})
        self.assertIn("A new one", self.said(other)[0])
        self.assertEqual(ann.events(), other.events())

    def test_by_a_peers_write_to_a_watched_document_and_by_a_look(self) -> None:
        ann = self.tab(ANN)
        bob = self.stack.signed_in_tab(BOB)
        bob.call("documents.watch", fileId=self.talk)
        bob.call("drive.files.update", fileId=self.talk, requestBody={"name": "A talk of Bob's"})
        self.assertIn("A talk of Bob's", self.said(ann)[-1])
        self.stack.as_person(BOB, "PATCH", f"/drive/v3/files/{self.talk}", {"name": "A talk at Google"})
        self.stack.advance(7)
        self.assertIn("A talk at Google", self.said(ann)[-1])
        self.assertEqual(len(self.said(ann)), 2)

    def test_what_does_not_show_is_no_event(self) -> None:
        ann = self.tab(ANN)
        for _ in range(2):
            self.stack.control("POST", "/sandbox/view", {"email": ANN, "file": self.talk})
            self.stack.advance(60)
        self.assertEqual(self.said(ann), [])
        self.assertGreater(self.stack.calls()["drive.files.list"], 1)

    def test_a_lost_token_loses_nothing(self) -> None:
        for status in (400, 404, 410):
            ann = self.tab(ANN)
            self.create(f"Amid {status}")
            self.stack.faults(
                {"match": {"method": "drive.changes.list"}, "times": 1, "status": status, "reason": "invalid"}
            )
            self.stack.advance(61)
            self.assertIn(f"Amid {status}", self.said(ann)[-1])
            ann.lose()

    def test_bad_weather_loses_nothing(self) -> None:
        ann = self.tab(ANN)
        self.create("A storm")
        self.stack.faults({"match": {"method": "drive.changes.list"}, "status": 503})
        self.stack.advance(120)
        self.assertEqual(self.said(ann), [])
        self.stack.faults()
        self.stack.advance(120)
        self.assertIn("A storm", self.said(ann)[-1])

    def test_nobody_watches_nothing_is_asked(self) -> None:
        ann = self.tab(ANN)
        listed = ann.call("listings.watch", q="trashed=true")
        ann.call("listings.unwatch", listing=listed["listing"])
        ann.lose()
        before = self.stack.calls()
        self.stack.advance(200)
        self.assertEqual(self.stack.calls(), before)

    def test_a_listing_that_google_refuses_leaves_nothing(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        error = ann.refused("listings.watch", q="no such query")
        self.assertEqual(error["data"]["name"], "google_rejected")
        before = self.stack.calls()
        self.stack.advance(200)
        self.assertEqual(self.stack.calls(), before)
