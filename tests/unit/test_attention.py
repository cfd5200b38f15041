"""How often what is looked at, and what a hint does to it: the hub with a clock."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred

from docsession.config import Polling
from docsession.errors import GoogleUnavailable
from tests.unit.hub import FILE, FakeTab, FakeViewer, HubTestCase, comment, view


class Intervals(HubTestCase):
    def looks_in(self, seconds: float) -> int:
        before = len(self.ann.looks) + len(self.bob.looks)
        self.world.advance(seconds)
        return len(self.ann.looks) + len(self.bob.looks) - before

    def test_a_quiet_document_is_looked_at_less_often(self) -> None:
        self.watch(self.ann)
        lively = self.looks_in(600)
        self.looks_in(600)
        slower = self.looks_in(600)
        self.looks_in(1200)
        slowest = self.looks_in(600)
        self.assertApproximates(lively, 109, 10)
        self.assertApproximates(slower, 600 / 12.5, 12)
        self.assertApproximates(slowest, 600 / 20, 8)

    def test_a_change_makes_it_lively_again(self) -> None:
        tab = self.watch(self.ann)
        self.looks_in(3600)
        self.world.rename("New")
        self.looks_in(30)
        self.assertEqual(len(tab.events("document.changed")), 1)
        self.assertApproximates(self.looks_in(100), 18, 4)

    def test_so_does_somebody_who_turns_to_it(self) -> None:
        tab = self.watch(self.ann, FakeTab(visible=False))
        self.looks_in(3600)
        tab.visible = True
        self.hub.attention(tab)
        self.assertApproximates(self.looks_in(100), 18, 4)

    def test_a_visible_one_whose_watchers_are_told_is_looked_at_once_a_minute(self) -> None:
        self.world.channels |= {"ann", "bob"}
        self.watch(self.ann)
        self.watch(self.bob)
        self.assertApproximates(self.looks_in(1200), 20, 3)  # however quiet it is
        self.world.channels.discard("bob")
        self.hub.channel_changed("bob")
        self.looks_in(6)
        self.assertGreater(self.looks_in(100), 8)

    def test_a_hidden_one_every_five_minutes(self) -> None:
        self.world.channels |= {"ann"}
        self.watch(self.ann, FakeTab(visible=False))
        self.assertApproximates(self.looks_in(6000), 20, 4)

    def test_beyond_the_budget_intervals_stretch(self) -> None:
        self.watch(self.ann)
        self.assertApproximates(self.looks_in(100), 18, 4)
        self.world.rate = 0.1  # units a second: one look in fifty seconds
        self.looks_in(60)
        self.assertApproximates(self.looks_in(500), 10, 2)
        self.world.rate = 1000.0
        self.looks_in(60)
        self.assertApproximates(self.looks_in(100), 18, 4)

    def test_nobody_looks_in_the_name_of_who_is_held_back(self) -> None:
        self.watch(self.ann)
        self.watch(self.bob)
        self.world.held_back["ann"] = 3600.0
        before = len(self.ann.looks)
        self.assertApproximates(self.looks_in(100), 18, 4)
        self.assertEqual(len(self.ann.looks), before)
        self.world.held_back["bob"] = 50.0
        self.looks_in(10)
        self.assertEqual(self.looks_in(35), 0)

    def test_after_the_last_watcher_nothing_is_planned(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.hub.forget(tab)
        self.assertEqual((self.looks_in(2000), len(self.hub.schedule)), (0, 0))
        self.assertEqual(self.hub._learning._demand.planned, 0)

    def test_an_hour_that_jumps_makes_one_look_not_seven_hundred(self) -> None:
        tab = self.watch(self.ann)
        self.world.rename("New")
        before = len(self.ann.looks)
        self.world.clock.advance(3600)
        self.world.advance(2)
        self.assertLessEqual(len(self.ann.looks) - before, 2)
        self.assertEqual(len(tab.events("document.changed")), 1)

    def test_why_each_look_is_made(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.world.advance(7)
        tab.visible = False
        self.hub.attention(tab)
        self.world.advance(140)
        self.world.rename("New")
        self.hub.written.touched(FILE)
        self.world.advance(2)
        counted = [why for why, _ in self.world.counts.looks]
        self.assertEqual(counted[0], "visible")
        self.assertEqual(counted[-2:], ["touched", "comments_moved"])
        self.assertIn("hidden", counted)
        self.assertEqual(self.world.counts.settlings, [0.0])

    def test_who_joins_many_others_does_not_make_anybody_ask_about_all_of_them(self) -> None:
        asked: list[str] = []
        self.world.channels |= {f"user-{number}" for number in range(50)}
        allowance = self.hub._learning._intervals
        self.patch(allowance, "_has_channel", lambda user: asked.append(user) or user in self.world.channels)
        for number in range(50):
            self.watch(FakeViewer(self.world, f"user-{number}"), FakeTab(visible=False))
        self.assertLess(len(asked), 200)

    def test_many_who_come_back_at_once_bring_no_look_forward(self) -> None:
        people = [FakeViewer(self.world, f"user-{number}") for number in range(100)]
        for person in people:
            self.watch(person)
        self.successResultOf(Deferred.fromCoroutine(self.hub.stop()))
        self.world.start()
        self.world.clock.advance(300)
        before = sum(len(person.looks) for person in people)
        for person in people:
            self.watch(person)
        due = self.hub.schedule.due(("file", FILE))
        self.assertGreater(due or 0, self.world.clock.seconds() + 0.5)
        self.assertEqual(sum(len(person.looks) for person in people), before)

    def test_one_who_joins_visibly_where_all_were_hidden_makes_it_due_sooner(self) -> None:
        hidden = [self.watch(self.ann, FakeTab(visible=False)), self.watch(self.bob, FakeTab(visible=False))]
        self.assertLessEqual(self.looks_in(30), 1)
        self.hub.forget(hidden[0])
        self.watch(self.ann)
        self.assertApproximates(self.looks_in(100), 18, 4)

    def test_one_who_leaves_no_longer_counts(self) -> None:
        self.watch(self.ann, FakeTab(visible=False))
        seen = [self.watch(self.bob), self.watch(self.ann)]
        for tab in seen:
            self.hub.forget(tab)
        self.looks_in(10)
        self.assertApproximates(self.looks_in(290), 5, 2)

    def test_one_without_a_channel_who_joins_or_leaves(self) -> None:
        self.world.channels |= {"ann"}
        self.watch(self.ann)
        bob = self.watch(self.bob)  # Google tells nobody of what Bob could hear of
        self.looks_in(10)
        self.assertApproximates(self.looks_in(100), 18, 4)
        self.hub.forget(bob)
        self.looks_in(10)
        self.assertApproximates(self.looks_in(600), 10, 3)

    def test_a_channel_that_ends_without_a_word_is_noticed_at_the_next_look(self) -> None:
        self.world.channels |= {"ann"}
        self.watch(self.ann)
        self.looks_in(10)
        self.world.channels.clear()
        self.looks_in(80)
        self.assertApproximates(self.looks_in(100), 18, 4)

    def test_what_is_remembered_of_all_who_watch_is_what_one_would_count(self) -> None:
        rng = random.Random(9)
        self.hub.schedule.stopService()
        self.watch(self.bob, FakeTab(visible=False))
        document, intervals = self.hub._documents[FILE], self.hub._learning._intervals
        people = [FakeViewer(self.world, user) for user in "xyz"]
        tabs = {FakeTab(visible=False): rng.choice(people) for _ in range(6)}
        for _ in range(600):
            tab, what = rng.choice([*tabs]), rng.randrange(4)
            if what == 0:
                self.watch(tabs[tab], tab, comments=rng.random() < 0.3)
            elif what == 1:
                self.hub.forget(tab)
            elif what == 2:
                tab.visible = rng.random() < 0.3
                self.hub.attention(tab)
            else:
                user = rng.choice([*people, self.bob]).id
                self.world.channels ^= {user}
                self.hub.channel_changed(user)
            watchers = document.watchers.values()
            self.assertEqual(intervals.visible(document), any(watcher.visible for watcher in watchers))
            self.assertEqual(intervals.announced(document), self.world.channels >= {*document.watchers})
            self.assertEqual(document.wants_comments, any(watcher.comments for watcher in watchers))

    def test_defaults(self) -> None:
        polling = Polling()
        self.assertEqual((polling.visible, polling.hidden), (5, 60))
        self.assertEqual((polling.visible_with_push, polling.hidden_with_push), (60, 300))


class Hinted(HubTestCase):
    """Ann and Bob have channels at Google."""

    def setUp(self) -> None:
        super().setUp()
        self.world.channels |= {"ann", "bob"}

    def test_a_hint_brings_a_change_within_a_second(self) -> None:
        tab = self.watch(self.ann)
        self.world.advance(30)
        self.world.rename("New")
        before = len(self.ann.looks)
        self.hub.hinted("ann")
        self.world.advance(2)
        (event,) = tab.events("document.changed")
        self.assertEqual((event["via"], event["file"]["name"]), ("push", "New"))
        self.assertEqual(len(self.ann.looks) - before, 1)
        self.assertEqual(self.world.counts.hints, ["found"])

    def test_both_watchers_hints_are_one_look(self) -> None:
        tabs = [self.watch(self.ann), self.watch(self.bob)]
        self.world.advance(30)
        self.world.rename("New")
        before = len(self.ann.looks) + len(self.bob.looks)
        self.hub.hinted("ann")
        self.world.advance(2)
        self.hub.hinted("bob")  # late
        self.world.advance(2)
        self.assertEqual(len(self.ann.looks) + len(self.bob.looks) - before, 1)
        self.assertEqual([len(tab.events("document.changed")) for tab in tabs], [1, 1])
        self.assertEqual(self.world.counts.hints, ["found", "explained"])

    def test_a_peers_write_explains_the_hint_it_makes(self) -> None:
        tab = self.watch(self.ann)
        self.watch(self.bob)
        self.world.rename("Bobs")
        before = len(self.ann.looks) + len(self.bob.looks)
        self.hub.written.learn(self.bob, view(2, "Bobs", as_of=self.world.clock.seconds()))
        self.hub.hinted("ann")
        self.hub.hinted("bob")
        self.world.advance(5)
        self.assertEqual(len(self.ann.looks) + len(self.bob.looks) - before, 0)
        self.assertEqual(len(tab.events("document.changed")), 1)

    def test_a_hint_that_did_not_come_is_counted_and_the_change_is_not_lost(self) -> None:
        tab = self.watch(self.ann)
        self.world.rename("New")
        self.world.advance(110)
        self.assertEqual(len(tab.events("document.changed")), 1)
        self.assertEqual(self.world.counts.hints, ["missed"])

    def test_where_somebody_has_no_channel_nothing_is_missed(self) -> None:
        self.world.channels.discard("bob")
        self.watch(self.ann)
        self.watch(self.bob)
        self.world.rename("New")
        self.world.advance(110)
        self.assertEqual(self.world.counts.hints, [])

    def test_a_hint_for_a_comment(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.world.comments["c1"] = comment("c1")
        self.world.version += 1
        self.hub.hinted("ann")
        self.world.advance(3)
        self.assertEqual([event["comment"]["id"] for event in tab.events("document.comment")], ["c1"])

    def test_failing_looks_leave_the_rest_to_ordinary_ones(self) -> None:
        tab = self.watch(self.ann)
        self.ann.failing = GoogleUnavailable(retry_after=1)
        self.world.rename("New")
        self.hub.hinted("ann")
        self.world.advance(5)
        self.ann.failing = None
        self.world.advance(120)
        self.assertEqual(len(tab.events("document.changed")), 1)


class Viewers(HubTestCase):
    """However many watch, one look serves all, and each proof is its user's own."""

    def test_looks_do_not_grow_with_watchers(self) -> None:
        counts = {}
        for many in (1, 10, 100):
            viewers = [FakeViewer(self.world, f"u{many}-{n}") for n in range(many)]
            tabs = [self.watch(viewer) for viewer in viewers]
            self.world.advance(5)
            before = sum(len(viewer.looks) for viewer in viewers)
            self.world.advance(300)
            counts[many] = sum(len(viewer.looks) for viewer in viewers) - before
            for tab in tabs:
                self.hub.forget(tab)
            self.world.advance(10)
        self.assertApproximates(counts[10], counts[1], 8)
        self.assertApproximates(counts[100], counts[1], 8)
