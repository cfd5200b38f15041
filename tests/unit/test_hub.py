"""The hub alone: whose eyes, when, and what is said; races that a whole server seldom shows."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.document import Document
from docsession.errors import GoogleUnavailable, NotFound
from docsession.model import DocumentRecord, state_mark
from tests.unit.hub import FILE, FakeTab, FakeViewer, HubTestCase, comment, name_in, refused, view


class OwnEyes(HubTestCase):
    def test_a_proof_that_has_gone_stale_is_renewed_before_anything_is_told(self) -> None:
        ann, bob = self.watch(self.ann), self.watch(self.bob)
        self.bob.slow = True  # what Bob's eyes see next is not known for a while
        self.world.advance(601)
        self.world.rename("New")
        self.world.advance(15)
        self.assertEqual([event["file"]["name"] for event in ann.events("document.changed")], ["New"])
        self.assertEqual(bob.events("document.changed"), [])
        self.bob.slow = False
        self.bob.answer()  # began long ago, so it proves nothing now
        self.assertEqual(bob.events("document.changed"), [])
        self.world.advance(15)
        self.assertEqual([event["file"]["name"] for event in bob.events("document.changed")], ["New"])
        self.assertEqual(ann.raw, bob.raw)

    def test_eyes_that_always_fail_do_not_keep_the_others_from_looking(self) -> None:
        bob = self.watch(self.bob)
        self.watch(self.ann)
        self.ann.failing = refused("domainPolicy", 403)
        self.world.advance(30)
        self.world.rename("New")
        self.world.advance(20)
        self.assertEqual(len(bob.events("document.changed")), 1)

    def test_eyes_that_hang_do_not_keep_the_others_from_looking(self) -> None:
        bob = self.watch(self.bob)
        self.watch(self.ann)
        self.ann.slow = True
        self.world.advance(30)
        self.world.rename("New")
        self.world.advance(10)
        self.assertEqual(len(bob.events("document.changed")), 1)
        self.assertEqual(len(self.ann.waiting), 1)

    def test_looks_go_round(self) -> None:
        self.watch(self.ann)
        self.watch(self.bob)
        self.world.advance(60)
        self.assertLessEqual(abs(len(self.ann.looks) - len(self.bob.looks)), 2)
        self.assertLess(len(self.ann.looks) + len(self.bob.looks), 16)

    def test_a_view_of_one_that_changed_is_told_to_that_one_alone(self) -> None:
        bob, ann = self.watch(self.bob), self.watch(self.ann)
        self.bob.own = {"parents": ["elsewhere"]}
        self.world.advance(20)
        self.assertEqual(ann.raw, [])
        self.assertEqual(bob.events("document.touched"), [{"fileId": FILE, "version": "1"}])

    def test_what_one_viewer_is_shown_otherwise_under_the_same_number_is_no_event(self) -> None:
        ann = self.watch(self.ann)
        heard: list[str] = []
        self.hub.listen(lambda via, document: heard.append(via))
        self.hub.written.learn(self.bob, view(1, "Plan as Bob sees it"))
        self.assertEqual((ann.raw, heard), ([], []))
        self.hub.written.learn(self.bob, view(2, "New"))
        self.assertEqual((len(ann.raw), heard), (1, ["peer"]))

    def test_who_moved_it_knows(self) -> None:
        tab, other = self.watch(self.ann), self.watch(self.ann)
        now = self.world.clock.seconds()
        self.hub.written.learn(self.ann, view(2, own={"parents": ["elsewhere"]}, as_of=now), teller=tab)
        self.assertEqual((len(tab.raw), len(other.events("document.touched"))), (0, 1))

    def test_permissions_written_here_make_a_look_begun_before_prove_nothing(self) -> None:
        bob = self.watch(self.bob)
        self.bob.slow = True
        self.world.advance(10)
        self.assertEqual(len(self.bob.waiting), 1)
        self.hub.written.access_changed(FILE)
        self.world.advance(1)
        self.bob.answer()
        self.hub.written.learn(self.ann, view(2, "Secret", as_of=self.world.clock.seconds()))
        self.assertEqual(bob.raw, [])
        self.assertEqual(self.world.record().proofs.get("bob"), None)
        # Asked again at once, not at the next poll.
        self.world.advance(1)
        self.assertEqual(len(self.bob.waiting), 1)

    def test_permissions_of_a_document_nobody_watches_make_stored_proofs_stale(self) -> None:
        tab = self.watch(self.bob)
        self.hub.forget(tab)
        self.assertIn("bob", self.world.record().proofs)
        self.hub.written.access_changed(FILE)
        self.bob.failing = refused()
        self.failureResultOf(self.begin(self.bob, FakeTab()), NotFound)


class Losing(HubTestCase):
    def test_a_second_look_is_made_although_another_came_too_early(self) -> None:
        tab = self.watch(self.bob)
        self.watch(self.ann)
        self.bob.failing = refused()
        self.hub.written.access_changed(FILE)
        self.world.advance(1)
        # A change makes the hub want to tell Bob before the two seconds are over.
        self.hub.written.learn(self.ann, view(2, "New"))
        self.world.advance(3)
        self.assertEqual(tab.events("document.lost"), [{"fileId": FILE, "reason": "no_access"}])
        self.assertEqual(tab.events("document.changed"), [])

    def test_weather_at_the_second_look_only_puts_it_off(self) -> None:
        tab = self.watch(self.bob)
        self.watch(self.ann)
        self.bob.failing = refused("insufficientFilePermissions", 403)
        self.hub.written.access_changed(FILE)
        self.world.advance(1)
        self.bob.failing = GoogleUnavailable(retry_after=1)
        self.world.advance(3)
        self.assertEqual(tab.events("document.lost"), [])
        self.bob.failing = refused("insufficientFilePermissions", 403)
        self.world.advance(8)
        self.assertEqual(len(tab.events("document.lost")), 1)

    def test_a_refusal_that_passes_is_no_loss(self) -> None:
        tab = self.watch(self.bob)
        self.bob.failing = refused("appNotAuthorizedToFile", 403)
        self.world.advance(6)
        self.bob.failing = None
        self.world.rename("New")
        self.world.advance(8)
        self.assertEqual(tab.events("document.lost"), [])
        self.assertEqual(len(tab.events("document.changed")), 1)

    def test_other_refusals_are_no_loss(self) -> None:
        tab = self.watch(self.bob)
        for reason, status in (("domainPolicy", 403), ("forbidden", 403), ("", 404)):
            self.bob.failing = refused(reason, status)
            self.world.advance(20)
        self.assertEqual(tab.raw, [])
        self.bob.failing = None
        self.world.rename("New")
        self.world.advance(20)
        self.assertEqual(len(tab.events("document.changed")), 1)

    def test_a_look_begun_before_the_refusal_does_not_bring_access_back(self) -> None:
        tab = self.watch(self.bob)
        self.world.advance(700)
        self.bob.slow = True
        late = self.begin(self.bob, FakeTab(), file_id="alias")  # sees it still
        self.bob.slow = False
        self.bob.failing = refused()
        looks = len(self.bob.looks)
        while len(self.bob.looks) == looks:
            self.world.advance(1)
        self.bob.answer()
        self.successResultOf(late)
        self.hub.written.learn(self.ann, view(2, "Secret", as_of=self.world.clock.seconds()))
        self.assertEqual(tab.events("document.changed"), [])
        self.world.advance(2)
        self.assertEqual(len(tab.events("document.lost")), 1)

    def test_deleted_during_a_look_it_is_not_stored_again(self) -> None:
        self.watch(self.ann)
        self.ann.slow = True
        self.world.advance(100)
        self.hub.written.deleted(FILE)
        self.ann.answer()
        self.assertEqual(self.world.store.records, {})

    def test_deleted_while_a_watch_is_set_up(self) -> None:
        self.ann.slow = True
        watching = self.begin(self.ann, FakeTab(), comments=True)
        self.ann.answer()  # the file was seen; the comments are looked at
        self.hub.written.deleted(FILE)
        self.ann.answer()
        self.failureResultOf(watching, NotFound)
        self.assertEqual(len(self.hub), 0)
        self.assertEqual(self.world.store.records, {})


class Versions(HubTestCase):
    def test_an_older_number_is_ignored_for_a_minute_and_then_believed(self) -> None:
        self.world.version, self.world.name = 9, "New"
        tab = self.watch(self.ann)
        self.world.version, self.world.name = 8, "Old"
        self.world.advance(58)
        self.assertEqual(tab.raw, [])
        self.world.advance(10)
        self.assertEqual([event["file"]["name"] for event in tab.events("document.changed")], ["Old"])

    def test_a_newer_number_in_between_starts_the_minute_again(self) -> None:
        self.world.version = 9
        tab = self.watch(self.ann)
        for _ in range(6):
            self.world.version, self.world.name = 8, "Old"
            self.world.advance(24)
            self.world.version, self.world.name = 9, "Plan"
            self.world.advance(12)
        self.assertEqual(tab.raw, [])

    def test_an_own_answer_that_is_older_than_what_is_known_does_not_count_as_told(self) -> None:
        tab = self.watch(self.ann)
        self.world.advance(601)
        self.ann.slow = True  # no fresh proof, so what Bob writes is not told yet
        self.hub.schedule.stopService()
        self.world.advance(601)
        now = self.world.clock.seconds()
        self.hub.written.learn(self.bob, view(7, "Bob's", as_of=now))
        self.assertEqual(tab.raw, [])
        # Ann's own write was done before Bob's and is answered after it.
        self.hub.written.learn(self.ann, view(6, "Ann's", as_of=now), teller=tab)
        self.assertEqual([event["file"]["name"] for event in tab.events("document.changed")], ["Bob's"])

    def test_merged_changes_name_the_union(self) -> None:
        tab = self.watch(self.ann)
        self.hub.schedule.stopService()
        self.world.advance(601)
        self.hub.written.learn(self.bob, view(2, "B"))
        self.hub.written.learn(self.bob, view(3, "B", trashed=True))
        self.hub.written.learn(self.ann, view(3, "B", trashed=True, as_of=self.world.clock.seconds()))
        (event,) = tab.events("document.changed")
        self.assertEqual(event["changed"], ["name", "trashed"])
        self.assertEqual(event["version"], "3")
        self.assertEqual(event["file"]["version"], "3")


class WorkedOut(SynchronousTestCase):
    """What is worked out from a state once is that state's."""

    def test_after_anything_that_is_learnt(self) -> None:
        rng = random.Random(3)
        document, now = Document(FILE), 1000.0
        for _ in range(500):
            now += rng.choice((1, 100))
            version, name = rng.randrange(1, 9), rng.choice(("Plan", "New"))
            if rng.random() < 0.7:
                document.learn(view(version, name, as_of=now), now=now, believe_older_after=60)
            else:
                file = {"id": FILE, "name": name, "version": str(version)}
                document.adopt(DocumentRecord(FILE, str(version), version, file, now), now=now)
            self.assertEqual(
                document.mark, state_mark(document.google_version, document.version, document.file)
            )
            self.assertEqual(msgspec.json.decode(document.encoded), document.file)

    def test_a_look_that_finds_nothing_works_out_nothing(self) -> None:
        document = Document(FILE)
        document.learn(view(1), now=1000.0, believe_older_after=60)
        mark, encoded = document.mark, document.encoded
        document.learn(view(1), now=1001.0, believe_older_after=60)
        self.assertIs(document.mark, mark)
        self.assertIs(document.encoded, encoded)


class Watching(HubTestCase):
    def test_two_tabs_at_once_are_one_look(self) -> None:
        self.ann.slow = True
        first, second = self.begin(self.ann, FakeTab()), self.begin(self.ann, FakeTab())
        self.ann.answer()
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(len(self.ann.looks), 1)

    def test_a_look_begun_before_a_write_is_not_joined(self) -> None:
        self.ann.slow = True
        first = self.begin(self.ann, FakeTab())
        self.world.rename("Mine")
        self.hub.written.learn(self.ann, view(2, "Mine"))
        second = self.begin(self.ann, FakeTab())
        self.ann.answer()
        self.assertEqual(name_in(self.successResultOf(first)), "Plan")
        self.ann.answer()
        self.assertEqual(name_in(self.successResultOf(second)), "Mine")

    def test_two_users_at_once_share_the_document(self) -> None:
        self.ann.slow = self.bob.slow = True
        first, second = self.begin(self.ann, ann := FakeTab()), self.begin(self.bob, bob := FakeTab())
        self.bob.answer()
        self.ann.answer()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(len(self.hub), 1)
        self.hub.written.learn(self.ann, view(2, "New"))
        self.assertEqual(len(ann.raw), 1)
        self.assertIs(ann.raw[0], bob.raw[0])  # encoded once

    def test_cancelled_while_it_is_set_up_leaves_nothing(self) -> None:
        for comments in (False, True):
            self.ann.slow = True
            watching = self.begin(self.ann, FakeTab(), comments=comments)
            if comments:
                self.ann.answer()
            watching.cancel()
            self.failureResultOf(watching, CancelledError)
            self.assertEqual(len(self.hub), 0)
            self.assertEqual(len(self.hub.schedule), 0)
            self.ann.waiting.clear()
            self.world.store.records.clear()

    def test_a_failed_watch_leaves_nothing(self) -> None:
        tab = FakeTab()
        self.ann.failing = refused()
        self.failureResultOf(self.begin(self.ann, tab), NotFound)
        self.ann.failing, self.ann.failing_comments = None, GoogleUnavailable(retry_after=1)
        self.failureResultOf(self.begin(self.ann, tab, comments=True), GoogleUnavailable)
        self.assertEqual((len(self.hub), self.hub.count(tab), self.hub.watched(tab)), (0, 0, []))
        looks = len(self.ann.looks)
        self.world.advance(120)
        self.assertEqual(len(self.ann.looks), looks)

    def test_let_go_of_while_somebody_else_sets_up_a_watch(self) -> None:
        tab = self.watch(self.ann)
        self.bob.slow = True
        watching = self.begin(self.bob, FakeTab())
        self.hub.forget(tab)
        self.assertEqual(len(self.hub), 0)
        self.bob.answer()
        self.assertEqual(self.successResultOf(watching)["version"], "1")
        self.assertEqual(len(self.hub), 1)
        self.assertIsNotNone(self.hub.schedule.due(("file", FILE)))

    def test_an_alias_is_the_file_it_stands_for(self) -> None:
        tab = FakeTab()
        result = self.successResultOf(self.begin(self.ann, tab, file_id="root"))
        self.assertEqual(result["fileId"], FILE)
        self.watch(self.ann, tab)
        self.assertEqual(self.hub.count(tab), 1)
        self.assertEqual([watched["fileId"] for watched in self.hub.watched(tab)], [FILE])

    def test_unwatching_what_is_not_watched_is_harmless(self) -> None:
        self.hub.unwatch(FakeTab(), "nothing")
        tab = self.watch(self.ann)
        self.hub.unwatch(FakeTab(), FILE)
        self.hub.unwatch(tab, FILE)
        self.hub.unwatch(tab, FILE)
        self.assertEqual((len(self.hub), self.hub.count(tab)), (0, 0))

    def test_a_tab_that_closes_while_it_is_told_does_not_hurt_the_others(self) -> None:
        hub = self.hub

        class Closing(FakeTab):
            def send_event(self, payload: bytes) -> None:
                hub.forget(self)

        self.watch(self.ann, Closing())
        bob = self.watch(self.bob)
        ann = self.watch(self.ann)
        self.hub.written.learn(self.bob, view(2, "New"))
        self.assertEqual((len(ann.raw), len(bob.raw)), (1, 1))


class AtOnce(HubTestCase):
    """Where nothing has to be waited for."""

    def at_once(self, viewer: FakeViewer, tab: FakeTab | None = None, **more: Any) -> dict[str, Any] | None:
        asked = {"version": None, "comments": False, "mark": None, **more}
        return self.hub.watch_at_once(tab or FakeTab(), viewer, asked.pop("file_id", FILE), **asked)

    def test_answers_as_watching_does(self) -> None:
        self.watch(self.ann, comments=True)
        self.watch(self.bob)
        tab, looks = FakeTab(), len(self.ann.looks)
        for more in ({}, {"version": "1"}, {"comments": True}, {"comments": True, "mark": ""}):
            slowly = self.successResultOf(self.begin(self.ann, FakeTab(), **more))
            self.assertEqual(self.at_once(self.ann, tab, **more), slowly)
        self.assertEqual(len(self.ann.looks), looks)
        self.assertEqual(self.hub.count(tab), 1)
        self.hub.written.learn(self.bob, view(2, "New"))
        self.assertEqual(len(tab.events("document.changed")), 1)

    def test_not_where_google_or_the_store_has_to_be_asked(self) -> None:
        self.assertIsNone(self.at_once(self.ann))  # nobody watches it
        self.watch(self.ann)
        self.assertIsNone(self.at_once(self.bob))  # no proof
        self.assertIsNone(self.at_once(self.ann, version="2"))  # the page has seen more
        self.assertIsNone(self.at_once(self.ann, comments=True))  # never looked at
        self.watch(self.ann, comments=True)
        self.assertIsNotNone(self.at_once(self.ann, comments=True))
        self.assertIsNone(self.at_once(self.ann, comments=True, mark="2030-01-01T00:00:00.000Z"))
        tab = FakeTab()
        self.hub.schedule.stopService()
        self.world.clock.advance(601)
        self.assertIsNone(self.at_once(self.ann, tab))  # the proof is too old
        self.assertEqual(self.hub.count(tab), 0)

    def test_not_once_it_was_deleted(self) -> None:
        self.watch(self.ann)
        self.hub._documents[FILE].gone = True
        self.assertIsNone(self.at_once(self.ann))


class Attention(HubTestCase):
    def looks_in(self, seconds: float) -> int:
        before = len(self.ann.looks)
        self.world.advance(seconds)
        return len(self.ann.looks) - before

    def test_visible_five_seconds_hidden_a_minute_nobody_never(self) -> None:
        tab = self.watch(self.ann)
        self.assertIn(self.looks_in(300), range(47, 66))  # 5 s and up to 20 % more or less, ticks of 1 s
        tab.visible = False
        self.hub.attention(tab)
        self.looks_in(6)
        self.assertIn(self.looks_in(290), range(4, 7))
        self.hub.forget(tab)
        self.assertEqual(self.looks_in(600), 0)

    def test_a_tab_that_turns_visible_makes_what_is_old_due_at_once(self) -> None:
        tab = self.watch(self.ann, FakeTab(visible=False))
        self.looks_in(20)
        tab.visible = True
        self.hub.attention(tab)
        self.assertEqual(self.looks_in(1), 1)

    def test_one_visible_tab_is_enough(self) -> None:
        self.watch(self.ann, FakeTab(visible=False))
        self.watch(self.ann)
        self.assertGreater(self.looks_in(60), 8)


class Restarting(HubTestCase):
    def restart(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.hub.stop()))
        self.world.start()

    def test_answered_from_the_store_while_the_proof_is_fresh(self) -> None:
        tab = self.watch(self.ann)
        self.world.advance(30)
        seen = self.hub.watched(tab)[0]["as_of"]
        self.restart()
        self.world.clock.advance(500)
        looks = len(self.ann.looks)
        result = self.successResultOf(self.begin(self.ann, FakeTab(), version="1"))
        self.assertEqual(len(self.ann.looks), looks)
        self.assertFalse(result["changed"])
        self.assertEqual(result["as_of"], seen)
        # Somebody else's proof is nobody's but theirs.
        self.successResultOf(self.begin(self.bob, FakeTab()))
        self.assertEqual(len(self.bob.looks), 1)

    def test_a_stale_proof_asks_google(self) -> None:
        self.watch(self.ann)
        self.restart()
        self.world.clock.advance(601)
        looks = len(self.ann.looks)
        self.watch(self.ann)
        self.assertEqual(len(self.ann.looks), looks + 1)

    def test_own_writes_are_not_answered_with_what_was_stored_before_them(self) -> None:
        self.hub.forget(self.watch(self.ann))
        self.world.rename("Mine")
        self.hub.written.learn(self.ann, view(2, "Mine"))
        result = self.successResultOf(self.begin(self.ann, FakeTab()))
        self.assertEqual(name_in(result), "Mine")

    def test_stopping_does_not_wait_for_a_look(self) -> None:
        self.watch(self.ann)
        self.ann.slow = True
        self.world.advance(10)
        self.assertEqual(len(self.ann.waiting), 1)
        self.successResultOf(Deferred.fromCoroutine(self.hub.stop()))
        self.assertEqual(self.ann.gave_up, 1)

    def test_without_the_store_watching_goes_on(self) -> None:
        self.world.store.away = True
        tab = self.watch(self.ann)
        self.world.rename("New")
        self.world.advance(10)
        self.assertEqual(len(tab.events("document.changed")), 1)
        self.hub.written.deleted(FILE)
        self.assertEqual(tab.events("document.lost"), [{"fileId": FILE, "reason": "deleted"}])


class CommentEyes(HubTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.comments["c1"] = comment("c1")

    def told(self, tab: FakeTab) -> list[str]:
        return [event["comment"]["content"] for event in tab.events("document.comment")]

    def test_a_change_during_a_look_is_seen_by_the_next_one_at_once(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.ann.slow = True
        self.world.version = 2
        self.world.advance(7)
        self.ann.answer()  # the file: it moved
        self.world.advance(1)
        self.assertEqual(len(self.ann.waiting), 1)  # at the comments, which do not show it yet
        self.world.comments["c2"] = comment("c2", "10:01", "New")
        self.hub.written.comments_touched(FILE)
        self.world.advance(1)
        self.ann.slow = False
        while self.ann.waiting:
            self.ann.answer()
        self.world.advance(2)
        self.assertEqual(self.told(tab), ["New"])

    def test_a_look_that_fails_is_made_again_soon(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.world.comments["c2"] = comment("c2", "10:01", "New")
        self.world.version = 2
        self.ann.failing_comments = GoogleUnavailable(retry_after=1)
        self.world.advance(10)
        self.assertEqual(self.told(tab), [])
        self.ann.failing_comments = None
        self.world.advance(10)
        self.assertEqual(self.told(tab), ["New"])

    def test_without_a_reason_they_are_looked_at_every_quarter_of_an_hour(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.world.comments["c2"] = comment("c2", "10:01", "Silent")  # no number moved
        self.world.advance(700)  # a fifth more or less
        self.assertEqual(self.told(tab), [])
        self.world.advance(400)
        self.assertEqual(self.told(tab), ["Silent"])
        self.assertEqual(len(self.ann.comment_looks), 2)
        self.assertEqual(self.ann.comment_looks[1], "2026-11-20T09:55:00.000Z")

    def test_each_needs_a_proof_of_their_own_at_the_comments(self) -> None:
        self.watch(self.ann, comments=True)
        bob = self.watch(self.bob, comments=True)
        self.assertEqual((len(self.ann.comment_looks), len(self.bob.comment_looks)), (1, 1))
        self.world.advance(601)
        self.bob.slow = True
        self.hub.written.learn_comment(self.ann, FILE, comment("c2", "10:05", "Fresh?"), teller=None)
        self.assertEqual(self.told(bob), [])
        self.bob.slow = False
        self.bob.waiting.clear()
        self.world.comments["c2"] = comment("c2", "10:05", "Fresh?")
        self.world.advance(10)
        self.assertEqual(self.told(bob), ["Fresh?"])

    def test_they_are_not_taken_for_known_when_nobody_watched_them_meanwhile(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.watch(self.bob)
        self.hub.unwatch(tab, FILE)
        self.world.comments["c2"] = comment("c2", "10:01", "Meanwhile")
        self.world.version = 2
        self.world.advance(20)
        result = self.successResultOf(self.begin(self.ann, tab, comments=True))
        self.assertEqual([one["id"] for one in result["comments"]], ["c1", "c2"])

    def test_who_does_not_watch_them_hears_nothing(self) -> None:
        self.watch(self.ann, comments=True)
        bob = self.watch(self.bob)
        self.hub.written.learn_comment(self.ann, FILE, comment("c2", "10:05"), teller=None)
        self.assertEqual(bob.raw, [])
        self.assertEqual(self.bob.comment_looks, [])

    def test_the_writer_counts_as_told_but_not_of_what_came_before(self) -> None:
        tab, other = self.watch(self.ann, comments=True), self.watch(self.ann, comments=True)
        self.hub.schedule.stopService()
        self.world.clock.advance(601)  # so nothing can be told for now
        reply = {"id": "r1", "content": "Bob's", "modifiedTime": "2026-11-20T11:00:00.000Z"}
        self.hub.written.learn_reply(self.bob, FILE, "c1", reply, teller=None)
        mine = {"id": "r2", "content": "Ann's", "modifiedTime": "2026-11-20T11:01:00.000Z"}
        self.hub.written.learn_reply(self.ann, FILE, "c1", mine, teller=tab)
        self.hub.schedule.startService()
        self.world.comments["c1"] = self.hub._documents[FILE].discussion.get("c1") or {}
        self.world.advance(3)
        for one in (tab, other):
            (event,) = one.events("document.comment")
            self.assertEqual([r["content"] for r in event["comment"]["replies"]], ["Bob's", "Ann's"])

    def test_a_reply_to_what_is_not_known_makes_a_look(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.world.comments["c9"] = comment("c9", "10:02", "Unseen")
        self.hub.written.learn_reply(self.bob, FILE, "c9", {"id": "r1", "content": "Yes"}, teller=None)
        self.world.advance(2)
        self.assertEqual(self.told(tab), ["Unseen"])

    def test_events_of_one_look_come_in_an_order_that_a_mark_can_cut(self) -> None:
        tab = self.watch(self.ann, comments=True)
        self.world.comments["z"] = comment("z", "10:10", "first")
        self.world.comments["a"] = comment("a", "10:30", "second")
        self.world.version = 2
        self.world.advance(10)
        self.assertEqual(self.told(tab), ["first", "second"])
        marks = [event["commentsMark"] for event in tab.events("document.comment")]
        # Cut between the two: the second is still after the mark of the first.
        result = self.successResultOf(self.begin(self.ann, FakeTab(), comments=True, mark=marks[0]))
        self.assertIn("a", [one["id"] for one in result["comments"]])
        self.assertLess(marks[0], marks[1])

    def test_changed_comments_make_kept_answers_untrue(self) -> None:
        self.watch(self.ann, comments=True)
        self.world.comments["c2"] = comment("c2", "10:01")
        self.world.moved.clear()
        self.world.advance(910)
        self.assertIn(FILE, self.world.moved)


class Counting(HubTestCase):
    def test_a_watch_counts_from_its_beginning_to_its_end(self) -> None:
        tab = FakeTab()
        self.ann.slow = True
        begun = self.begin(self.ann, tab)
        self.assertEqual(self.hub.count(tab), 1)
        self.assertEqual(self.hub.count(tab, beside=FILE), 0)
        self.ann.answer()
        self.successResultOf(begun)
        self.assertEqual(self.hub.count(tab), 1)
        self.hub.unwatch(tab, FILE)
        self.assertEqual(self.hub.count(tab), 0)

    def test_one_that_fails_no_longer_counts(self) -> None:
        tab = FakeTab()
        self.ann.failing = refused()
        self.failureResultOf(self.begin(self.ann, tab), NotFound)
        self.assertEqual(self.hub.count(tab), 0)
