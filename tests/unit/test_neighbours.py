"""Several hubs that watch the same document: one looks, all hear, whatever is lost between them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.unit.hub import FILE, FakeTab, FakeViewer, World, comment, refused, view

NODES = ("one", "two", "three")


class SeveralHubs(SynchronousTestCase):
    """Ann, Bob and Cat are each at a node of their own."""

    def setUp(self) -> None:
        self.world = World()
        self.hubs = {"one": self.world.hub}
        for name in NODES[1:]:
            self.hubs[name] = self.world.another_hub(name)
        self.people = {
            node: FakeViewer(self.world, who) for node, who in zip(NODES, ("ann", "bob", "cat"), strict=True)
        }
        self.lost = 0.0
        self.rng = random.Random(5)
        self.world.board.deliver = self.deliver
        self.addCleanup(self.stop)

    def deliver(self, channel: str, message: Mapping[str, Any]) -> bool:
        return self.rng.random() >= self.lost

    def stop(self) -> None:
        for hub in self.hubs.values():
            self.successResultOf(Deferred.fromCoroutine(hub.stop()))

    def watch(
        self, node: str, viewer: FakeViewer | None = None, *, visible: bool = True, **more: Any
    ) -> FakeTab:
        tab = FakeTab(visible=visible)
        asked = {"version": None, "comments": False, "mark": None, **more}
        watching = self.hubs[node].watch(tab, viewer or self.people[node], FILE, **asked)
        tab.answer = self.successResultOf(Deferred.fromCoroutine(watching))  # type: ignore[attr-defined]
        self.world.clock.advance(0)
        return tab

    def looks(self) -> int:
        return sum(len(person.looks) for person in self.people.values())

    def bob_sees(self, node: str, version: int, name: str) -> None:
        """It was renamed, and that node is the first to know, by his eyes."""
        self.world.rename(name)
        seen = view(version, name, as_of=self.world.clock.seconds())
        self.hubs[node].written.learn(self.people["two"], seen)
        self.world.clock.advance(0)

    def kill(self, node: str) -> None:
        """No goodbye."""
        hub = self.hubs.pop(node)
        self.world.board.remove(node)
        hub.schedule.stopService()
        for person in (self.people[node],):
            person.failing = refused("dead", 599)
        hub._learning.stop()


class OneLooks(SeveralHubs):
    def test_three_nodes_look_as_often_as_one(self) -> None:
        for node in NODES:
            self.watch(node)
        before = self.looks()
        self.world.advance(600)
        three = self.looks() - before
        alone = World()
        ann = FakeViewer(alone, "ann")
        hub, tab = alone.hub, FakeTab()
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(hub.stop())))
        watching = hub.watch(tab, ann, FILE, version=None, comments=False, mark=None)
        self.successResultOf(Deferred.fromCoroutine(watching))
        alone.advance(600)
        one = len(ann.looks) - 1
        self.assertTrue(0.93 <= three / one <= 1.07, (three, one))

    def test_all_are_told_by_one_look(self) -> None:
        tabs = [self.watch(node) for node in NODES]
        before = self.looks()
        self.world.rename("New")
        self.world.advance(7)
        self.assertTrue(before < self.looks() <= before + 3)
        for tab in tabs:
            (event,) = tab.events("document.changed")
            self.assertEqual((event["file"]["name"], event["version"], event["via"]), ("New", "2", "poll"))
            self.assertEqual(event["changed"], ["name"])

    def test_the_others_answer_with_how_fresh_it_is(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(100)
        fresh = {node: self.hubs[node].watched(tabs[node])[0]["as_of"] for node in NODES}
        self.assertEqual(len(set(fresh.values())), 1, fresh)

    def test_a_visible_tab_anywhere_sets_the_pace(self) -> None:
        self.watch("one", visible=False)
        self.world.advance(120)
        self.watch("two")
        self.world.advance(30)
        before = self.looks()
        self.world.advance(100)
        self.assertTrue(17 <= self.looks() - before <= 24, self.looks() - before)

    def test_everybodys_proof_stays_fresh(self) -> None:
        """Each takes a turn before anybody's proof is too old to be told of a change at once."""
        tabs = [self.watch(node) for node in NODES]
        for _ in range(8):
            self.world.advance(300)
        before = self.looks()
        self.world.rename("New")
        while self.looks() == before:
            self.world.advance(1)
        self.world.clock.advance(0)
        self.assertEqual([len(tab.events("document.changed")) for tab in tabs], [1, 1, 1])
        for person in self.people.values():
            self.assertTrue(len(person.looks) > 3, person.id)

    def test_when_the_one_who_looks_dies_another_goes_on(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(60)
        holder = self.world.board.holders[f"file:{FILE}"]
        self.kill(holder)
        self.world.rename("New")
        self.world.advance(10)
        for node in self.hubs:
            self.assertEqual(len(tabs[node].events("document.changed")), 1, node)

    def test_one_that_hangs_is_left_behind(self) -> None:
        """It holds the lease and does nothing: the others wait half an interval more."""
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(60)
        holder = self.world.board.holders[f"file:{FILE}"]
        self.hubs[holder].schedule.stopService()
        self.world.rename("New")
        self.world.advance(12)
        for node in NODES:
            if node != holder:
                self.assertEqual(len(tabs[node].events("document.changed")), 1, node)

    def test_who_leaves_hands_over(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(20)
        holder = self.world.board.holders[f"file:{FILE}"]
        self.hubs[holder].forget(tabs[holder])
        self.world.clock.advance(0)
        self.assertNotEqual(self.world.board.holders[f"file:{FILE}"], holder)
        before = self.looks()
        self.world.advance(100)
        self.assertTrue(17 <= self.looks() - before <= 24, self.looks() - before)


class Lost(SeveralHubs):
    def test_without_any_message_all_hear_all_the_same(self) -> None:
        tabs = [self.watch(node) for node in NODES]
        self.lost = 1.0
        self.world.rename("New")
        self.world.advance(20)
        for tab in tabs:
            self.assertEqual(tab.events("document.changed")[-1]["file"]["name"], "New")

    def test_some_lost_none_missed_none_told_twice(self) -> None:
        tabs = [self.watch(node) for node in NODES]
        self.lost = 0.4
        for number in range(40):
            self.world.rename(f"Name {number}")
            self.world.advance(self.rng.choice([1, 4, 9, 13]))
        self.lost = 0.0
        self.world.advance(20)
        for tab in tabs:
            versions = [int(event["version"]) for event in tab.events("document.changed")]
            self.assertEqual(versions, sorted(set(versions)))
            self.assertEqual(tab.events("document.changed")[-1]["file"]["name"], "Name 39")

    def test_a_gap_is_made_good_at_once(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(30)
        holder = self.world.board.holders[f"file:{FILE}"]
        self.lost = 1.0
        self.world.rename("New")
        self.world.advance(6)
        behind = [node for node in NODES if not tabs[node].events("document.changed")]
        self.assertTrue(behind and holder not in behind)
        looks = self.looks()
        for node in behind:
            self.world.board.buses[node].gap()
        self.world.clock.advance(0)
        self.assertEqual(self.looks(), looks)
        for node in NODES:
            self.assertEqual(len(tabs[node].events("document.changed")), 1)


class OneTruth(SeveralHubs):
    def test_the_same_public_version_everywhere(self) -> None:
        """One node sees a change, another sees only the view after it: both call it by one name."""
        tabs = [self.watch(node) for node in NODES]
        self.lost = 1.0
        self.world.rename("New")  # 2
        hub = self.hubs["one"]
        hub.written.learn(self.people["one"], view(2, "New", as_of=self.world.clock.seconds()))
        self.world.version = 3  # somebody views it
        self.hubs["two"].written.learn(self.people["two"], view(3, "New", as_of=self.world.clock.seconds()))
        self.world.clock.advance(0)
        self.lost = 0.0
        self.world.advance(30)
        watched = [self.hubs[node].watched(tab)[0]["version"] for node, tab in zip(NODES, tabs, strict=True)]
        self.assertEqual(len(set(watched)), 1, watched)
        for tab in tabs:
            self.assertEqual([event["file"]["name"] for event in tab.events("document.changed")], ["New"])

    def test_a_node_that_slept_changes_nothing(self) -> None:
        """It was stopped with an old look under way; what it then stores is refused, and it learns."""
        tabs = {node: self.watch(node) for node in NODES}
        sleeper = self.people["two"]
        sleeper.slow = True
        self.hubs["two"].written.touched(FILE)
        self.hubs["two"]._looks.viewer_due(self.hubs["two"]._documents[FILE], sleeper.id)
        self.world.advance(2)
        self.assertTrue(sleeper.waiting)
        self.lost = 1.0
        self.world.rename("New")
        self.world.advance(10)
        self.lost = 0.0
        sleeper.slow = False
        while sleeper.waiting:
            sleeper.answer()
        self.world.advance(10)
        self.assertEqual(self.world.record().file["name"], "New")
        for tab in tabs.values():
            self.assertEqual([e["file"]["name"] for e in tab.events("document.changed")], ["New"])

    def test_a_peers_write_is_told_everywhere_without_a_look(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        looks = self.looks()
        self.world.rename("Written")
        self.hubs["two"].written.learn(
            self.people["two"], view(2, "Written", as_of=self.world.clock.seconds()), teller=tabs["two"]
        )
        self.world.clock.advance(0)
        self.assertEqual(self.looks(), looks)
        self.assertEqual(tabs["two"].events("document.changed"), [])
        for node in ("one", "three"):
            (event,) = tabs[node].events("document.changed")
            self.assertEqual((event["file"]["name"], event["via"]), ("Written", "peer"))

    def test_a_write_at_a_node_where_nobody_watches(self) -> None:
        tab = self.watch("one")
        looks = self.looks()
        self.world.rename("Written")
        self.hubs["three"].written.learn(
            self.people["three"], view(2, "Written", as_of=self.world.clock.seconds())
        )
        self.world.clock.advance(0)
        self.assertEqual(self.looks(), looks)
        (event,) = tab.events("document.changed")
        self.assertEqual((event["file"]["name"], event["via"]), ("Written", "peer"))

    def test_one_who_watches_nowhere_makes_the_stored_state_stale(self) -> None:
        tab = self.watch("one")
        self.hubs["one"].forget(tab)
        self.world.clock.advance(0)
        self.world.rename("Written")
        self.hubs["three"].written.learn(self.people["three"], view(2, "Written"))
        self.assertEqual(self.world.store.records, {})

    def test_a_deletion_ends_all_watches(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.hubs["three"].written.deleted(FILE)
        self.world.clock.advance(0)
        for tab in tabs.values():
            self.assertEqual(tab.events("document.lost"), [{"fileId": FILE, "reason": "deleted"}])
        self.assertEqual(self.world.store.records, {})
        self.assertEqual([len(hub) for hub in self.hubs.values()], [0, 0, 0])

    def test_a_permission_write_makes_every_proof_stale_on_every_node(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.people["one"].failing = refused()
        self.world.clock.advance(1)
        self.hubs["three"].written.access_changed(FILE)
        self.world.clock.advance(0)
        self.bob_sees("two", 2, "Secret")
        self.assertEqual(tabs["one"].events("document.changed"), [])
        self.world.advance(6)
        self.assertEqual(tabs["one"].events("document.changed"), [])
        self.assertEqual(tabs["one"].events("document.lost"), [{"fileId": FILE, "reason": "no_access"}])
        self.assertEqual(len(tabs["three"].events("document.changed")), 1)

    def test_who_sees_it_first_after_a_permission_write_has_heard_of_that(self) -> None:
        """Its mark is as before, so nothing else would say that nobody's proof counts any more."""
        ann, bob = self.watch("one"), self.watch("one", self.people["two"])
        self.watch("three")
        self.people["one"].failing = refused()
        self.world.clock.advance(1)
        self.hubs["three"].written.access_changed(FILE)
        self.world.clock.advance(0)
        self.bob_sees("one", 2, "Secret")
        self.assertEqual((ann.events("document.changed"), len(bob.events("document.changed"))), ([], 1))
        self.world.advance(6)
        self.assertEqual(ann.events("document.changed"), [])
        self.assertEqual(ann.events("document.lost"), [{"fileId": FILE, "reason": "no_access"}])

    def test_a_permission_write_is_heard_of_though_another_state_was_stored_first(self) -> None:
        ann, bob = self.watch("one"), self.watch("one", self.people["two"])
        self.watch("three")
        self.people["one"].failing = refused()
        self.world.clock.advance(1)
        self.lost = 1.0
        self.bob_sees("one", 2, "New")
        self.lost = 0.0
        before = len(ann.events("document.changed"))
        self.hubs["three"].written.access_changed(FILE)
        self.world.clock.advance(0)
        self.bob_sees("one", 3, "Secret")
        self.assertEqual(
            (len(ann.events("document.changed")), len(bob.events("document.changed"))), (before, 2)
        )

    def test_a_proof_goes_with_its_user(self) -> None:
        """The same user at another node is not made to look again."""
        self.watch("one")
        self.world.advance(200)
        looks = self.looks()
        self.watch("two", self.people["one"])
        self.assertEqual(self.looks(), looks)


class CommentsOfAll(SeveralHubs):
    def comment_looks(self) -> int:
        return sum(len(person.comment_looks) for person in self.people.values())

    def test_one_look_at_the_comments_for_all(self) -> None:
        tabs = {node: self.watch(node, comments=True) for node in NODES}
        self.world.advance(30)
        looks = self.comment_looks()
        self.world.comments["c1"] = comment("c1")
        self.world.version += 1
        self.world.advance(15)
        self.assertEqual(self.comment_looks(), looks + 1)
        for tab in tabs.values():
            (event,) = tab.events("document.comment")
            self.assertEqual(event["comment"]["id"], "c1")

    def test_comments_are_known_where_somebody_comes_later(self) -> None:
        self.world.comments["c1"] = comment("c1")
        self.watch("one", comments=True)
        looks = self.comment_looks()
        tab = self.watch("two", self.people["one"], comments=True)
        self.assertEqual([one["id"] for one in tab.answer["comments"]], ["c1"])  # type: ignore[attr-defined]
        self.assertEqual(self.comment_looks(), looks)

    def test_a_page_that_has_seen_more_comments_makes_this_node_look(self) -> None:
        """And is not told again of what it has seen at another."""
        tabs = {node: self.watch(node, comments=True) for node in NODES}
        self.world.advance(10)
        self.lost = 1.0
        self.world.comments["c1"] = comment("c1")
        seen = self.world.board.holders[f"comments:{FILE}"]
        self.hubs[seen].written.comments_touched(FILE)
        self.world.advance(2)
        behind = next(node for node in NODES if node != seen)
        self.world.store.comments.clear()  # nor does the store know it
        (event,) = tabs[seen].events("document.comment")
        back = self.watch(behind, comments=True, mark=event["commentsMark"])
        self.assertIn("c1", [one["id"] for one in back.answer["comments"]])  # type: ignore[attr-defined]
        self.world.advance(30)
        self.assertEqual(back.events("document.comment"), [])

    def test_a_peers_comment_is_told_everywhere_at_once(self) -> None:
        tabs = {node: self.watch(node, comments=True) for node in NODES}
        written = comment("c2", "11:00", "Yes!")
        self.world.comments["c2"] = written
        self.hubs["two"].written.learn_comment(self.people["two"], FILE, written, teller=tabs["two"])
        self.world.clock.advance(0)
        self.assertEqual(tabs["two"].events("document.comment"), [])
        for node in ("one", "three"):
            (event,) = tabs[node].events("document.comment")
            self.assertEqual((event["comment"]["id"], event["via"]), ("c2", "peer"))

    def test_a_lost_message_is_made_good(self) -> None:
        tabs = {node: self.watch(node, comments=True) for node in NODES}
        self.world.advance(10)
        self.lost = 1.0
        self.world.comments["c1"] = comment("c1")
        self.world.version += 1
        self.world.advance(15)
        self.lost = 0.0
        self.world.comments["c2"] = comment("c2", "10:05")
        self.world.version += 1
        self.world.advance(15)
        for node, tab in tabs.items():
            told = sorted(event["comment"]["id"] for event in tab.events("document.comment"))
            self.assertEqual(told, ["c1", "c2"], node)

    def test_a_write_where_nobody_knows_the_comments(self) -> None:
        tab = self.watch("one", comments=True)
        self.world.advance(10)
        written = comment("c2", "11:00", "Yes!")
        self.world.comments["c2"] = written
        self.hubs["three"].written.learn_comment(self.people["three"], FILE, written, teller=None)
        self.world.advance(3)
        self.assertEqual([e["comment"]["id"] for e in tab.events("document.comment")], ["c2"])


class Hinted(SeveralHubs):
    def setUp(self) -> None:
        super().setUp()
        self.world.channels |= {"ann", "bob", "cat"}

    def test_a_hint_heard_everywhere_is_one_look(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(10)
        looks = self.looks()
        self.world.rename("New")
        for node in NODES:
            self.hubs[node].hinted(self.people[node].id)
        self.world.advance(4)
        self.assertTrue(self.looks() - looks <= 2, self.looks() - looks)
        for tab in tabs.values():
            (event,) = tab.events("document.changed")
            self.assertEqual(event["via"], "push")

    def test_a_hint_that_only_one_hears(self) -> None:
        for hinted in NODES:
            tabs = {node: self.watch(node) for node in NODES}
            self.world.advance(10)
            name = f"for {hinted}"
            self.world.rename(name)
            self.hubs[hinted].hinted(self.people[hinted].id)
            self.world.advance(4)
            for tab in tabs.values():
                self.assertEqual(tab.events("document.changed")[-1]["file"]["name"], name)


class SetBack(SeveralHubs):
    def test_what_lives_is_written_again(self) -> None:
        tabs = {node: self.watch(node, comments=True) for node in NODES}
        self.world.advance(10)
        record, comments = self.world.record(), self.world.store.comments[FILE]
        self.world.store.records.clear()
        self.world.store.comments.clear()
        for hub in self.hubs.values():
            hub.write_again()
        self.world.clock.advance(0)
        self.assertEqual(self.world.record().mark, record.mark)
        self.assertEqual(self.world.store.comments[FILE].comments, comments.comments)
        self.world.rename("New")
        self.world.advance(10)
        for tab in tabs.values():
            self.assertEqual(len(tab.events("document.changed")), 1)

    def test_an_older_state_in_the_store_is_replaced(self) -> None:
        tabs = {node: self.watch(node) for node in NODES}
        self.world.advance(10)
        older = self.world.record()
        self.world.rename("New")
        self.world.advance(10)
        self.world.store.records[FILE] = replace(older, proofs={})
        for hub in self.hubs.values():
            hub.write_again()
        self.world.advance(1)
        self.assertEqual(self.world.record().file["name"], "New")
        for tab in tabs.values():
            self.assertEqual([e["file"]["name"] for e in tab.events("document.changed")], ["New"])


class StoreAway(SeveralHubs):
    """What was learnt while the store could not be reached."""

    def back(self) -> None:
        self.world.store.away = False
        for hub in reversed(self.hubs.values()):  # who only heard first
            hub.compare()
        self.world.advance(1)

    def test_a_state_that_others_know_too_is_not_taken_for_stored(self) -> None:
        tabs = {node: self.watch(node) for node in NODES[:2]}
        self.world.advance(10)
        self.world.store.away = True
        self.world.rename("New")
        now = self.world.clock.seconds()
        for node in tabs:
            self.hubs[node].written.learn(self.people[node], view(2, "New", as_of=now))
        self.world.advance(15)  # each says what it sees
        self.assertEqual(self.world.record().version, "1")
        self.back()
        self.assertEqual(self.world.record().file["name"], "New")
        for tab in tabs.values():
            self.assertEqual([e["file"]["name"] for e in tab.events("document.changed")], ["New"])

    def test_comments_are_stored_and_told_of_when_it_is_back(self) -> None:
        tabs = {node: self.watch(node, comments=True) for node in NODES[:2]}
        self.world.advance(10)
        self.world.store.away = True
        self.hubs["one"].written.learn_comment(self.people["one"], FILE, comment("c1"), teller=tabs["one"])
        self.world.advance(1)
        self.assertEqual(tabs["two"].events("document.comment"), [])
        self.back()
        self.assertIn("c1", self.world.store.comments[FILE].comments)
        (event,) = tabs["two"].events("document.comment")
        self.assertEqual(event["comment"]["id"], "c1")
        self.assertEqual(tabs["one"].events("document.comment"), [])
