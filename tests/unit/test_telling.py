"""Who is told of a change, once and with what: tabs in step, apart, and too slow to read."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from docsession.document import Document
from docsession.history import History
from docsession.watcher import UNKNOWN, Tab, Watcher
from docsession.watching import Watching
from tests.unit.hub import FILE, FakeTab, FakeViewer, HubTestCase, comment, refused, view


class LagsWhenTold(FakeTab):
    """A page that has stopped reading: the first event is too much for it, and is dropped."""

    hub: Any

    def send_event(self, payload: bytes) -> None:
        super().send_event(payload)
        self.lagging = True
        self.raw.clear()
        self.hub.lags(self)


class TellingTestCase(HubTestCase):
    def write(self, version: int, name: str = "New", **more: Any) -> None:
        """Bob does, at once and with a fresh look."""
        now = self.world.clock.seconds()
        self.hub.written.learn(self.bob, view(version, name, as_of=now, **more))

    def document(self) -> Document:
        return self.hub._documents[FILE]

    def lagging(self, **more: Any) -> FakeTab:
        """Ann's second tab, which reads too slowly."""
        tab = self.watch(self.ann, **more)
        tab.lagging = True
        return tab

    def catch_up(self, tab: FakeTab) -> list[dict[str, Any]]:
        """What it is told then."""
        tab.lagging = False
        before = len(tab.events("document.changed"))
        self.hub.caught_up(tab)
        return tab.events("document.changed")[before:]


class InStep(TellingTestCase):
    def test_all_who_get_the_same_are_handed_over_in_one_call(self) -> None:
        handed: list[tuple[list[Any], bytes]] = []
        self.patch(self.hub._telling, "_tell_all", lambda tabs, payload: handed.append((tabs, payload)))
        tabs = [self.watch(viewer) for viewer in (self.ann, self.bob, self.ann)]
        self.write(2)
        ((told, payload),) = handed
        self.assertEqual({id(tab) for tab in told}, {id(tab) for tab in tabs})
        self.assertIn(b'"changed":["name"]', payload)

    def test_who_was_told_less_hears_of_more(self) -> None:
        ann, bob = self.watch(self.ann), self.watch(self.bob)
        self.hub.schedule.stopService()
        self.world.clock.advance(601)
        self.write(2)  # Ann's proof is too old
        self.write(3, trashed=True)
        self.hub.written.learn(self.ann, view(3, trashed=True, name="New", as_of=self.world.clock.seconds()))
        self.assertEqual(
            [event["changed"] for event in bob.events("document.changed")], [["name"], ["trashed"]]
        )
        self.assertEqual(
            [event["changed"] for event in ann.events("document.changed")], [["name", "trashed"]]
        )

    def test_nothing_is_remembered_when_all_were_told(self) -> None:
        self.watch(self.ann)
        for version in range(2, 9):
            self.write(version, f"Name {version}")
            self.assertEqual(len(self.document().history), 0)

    def test_what_nobody_is_told_for_long_is_remembered_in_few_pieces(self) -> None:
        ann = self.watch(self.ann)
        self.hub.schedule.stopService()
        self.world.clock.advance(601)
        self.write(2, trashed=True)
        for version in range(3, 300):
            self.write(version, f"Name {version}", trashed=True)
        self.assertLessEqual(len(self.document().history), 64)
        self.hub.written.learn(
            self.ann, view(299, "Name 299", trashed=True, as_of=self.world.clock.seconds())
        )
        (event,) = ann.events("document.changed")
        self.assertEqual(event["changed"], ["name", "trashed"])

    def test_who_leaves_no_longer_holds_up_that_all_were_told(self) -> None:
        self.watch(self.bob)
        ann = self.watch(self.ann)
        self.hub.schedule.stopService()
        self.world.clock.advance(601)
        self.write(2)
        self.assertEqual(self.world.counts.settlings, [])
        self.hub.forget(ann)
        self.write(3, "Newer")
        self.assertEqual(self.world.counts.settlings, [0.0])
        self.assertEqual(len(self.document().history), 0)


class Refused(TellingTestCase):
    def test_whose_look_was_refused_is_told_nothing_though_another_node_lets_them_in(self) -> None:
        ann = self.watch(self.ann, comments=True)
        self.watch(self.bob)
        self.ann.failing = refused()
        self.hub.written.access_changed(FILE)
        self.world.advance(1)
        now = self.world.clock.seconds()
        self.document().prove("ann", file=now, comments=now)  # so the other node says
        self.write(2)
        self.hub.written.learn_comment(self.bob, FILE, comment("c1"), teller=None)
        self.assertEqual(ann.raw, [])


class Lagging(TellingTestCase):
    def test_told_once_of_the_latest_state_when_it_has_caught_up(self) -> None:
        other, slow = self.watch(self.ann), self.lagging()
        self.write(2)
        self.write(3, trashed=True)
        self.assertEqual((len(other.raw), slow.raw), (2, []))
        (event,) = self.catch_up(slow)
        self.assertEqual((event["version"], event["changed"]), ("3", ["name", "trashed"]))
        self.assertEqual(self.catch_up(slow), [])
        self.write(4, "Newest", trashed=True)
        self.assertEqual([len(tab.events("document.changed")) for tab in (other, slow)], [3, 2])
        self.assertEqual(len(self.document().history), 0)

    def test_nobody_waits_for_it(self) -> None:
        self.watch(self.ann)
        slow = self.lagging()
        self.write(2)
        self.assertEqual(self.world.counts.settlings, [0.0])
        self.assertFalse(self.document().unsettled)
        self.assertEqual(len(self.document().history), 1)  # for when it has caught up
        self.hub.forget(slow)
        self.write(3, "Newer")
        self.assertEqual(len(self.document().history), 0)

    def test_the_only_tab_of_its_user(self) -> None:
        slow = self.lagging()
        self.write(2)
        self.assertEqual(slow.raw, [])
        (event,) = self.catch_up(slow)
        self.assertEqual(event["changed"], ["name"])

    def test_what_it_was_sent_before_may_be_lost_so_it_is_told_of_everything(self) -> None:
        slow = self.lagging()
        self.hub.lags(slow)
        (event,) = self.catch_up(slow)
        self.assertEqual(event["changed"], ["name"])  # all there is of the file but what never changes
        self.assertEqual(event["file"]["name"], "Plan")
        self.hub.lags(slow)
        self.write(2, "New", trashed=True)
        self.assertEqual(slow.events("document.changed")[-1]["changed"], ["name", "trashed"])

    def test_it_begins_to_lag_while_it_is_told(self) -> None:
        slow = LagsWhenTold()
        slow.hub = self.hub
        self.watch(self.ann, slow)
        others = [self.watch(self.ann), self.watch(self.bob)]
        self.write(2)
        self.write(3, "Newer")
        self.assertEqual([len(tab.raw) for tab in others], [2, 2])
        self.assertEqual(slow.raw, [])
        slow.send_event = lambda payload: slow.raw.append(payload)  # type: ignore[method-assign]
        (event,) = self.catch_up(slow)
        self.assertEqual((event["file"]["name"], event["changed"]), ("Newer", ["name"]))

    def test_it_lags_again_before_all_was_told(self) -> None:
        slow = LagsWhenTold()
        slow.hub = self.hub
        self.watch(self.ann, slow, comments=True)
        slow.lagging = True
        self.write(2)
        self.hub.written.learn_comment(self.bob, FILE, comment("c1"), teller=None)
        slow.lagging = False
        self.hub.caught_up(slow)
        self.assertTrue(slow.lagging)
        self.assertEqual(slow.raw, [])
        slow.send_event = lambda payload: slow.raw.append(payload)  # type: ignore[method-assign]
        self.assertEqual(len(self.catch_up(slow)), 1)
        self.assertEqual(len(slow.events("document.comment")), 1)

    def test_without_a_fresh_proof_it_is_told_nothing_until_somebody_has_looked(self) -> None:
        slow = self.lagging()
        self.write(2)
        self.world.version, self.world.name = 2, "New"
        self.hub.schedule.stopService()
        self.world.clock.advance(601)
        self.assertEqual(self.catch_up(slow), [])
        looks = len(self.ann.looks)
        self.hub.schedule.startService()
        self.world.advance(2)
        self.assertGreater(len(self.ann.looks), looks)
        (event,) = slow.events("document.changed")
        self.assertEqual(event["changed"], ["name"])

    def test_nobody_looks_for_who_could_not_be_told_anyway(self) -> None:
        self.lagging()
        self.hub.schedule.stopService()
        self.world.clock.advance(601)
        due = len(self.hub.schedule)
        self.write(2)
        self.assertEqual(len(self.hub.schedule), due)

    def test_whose_access_was_lost_meanwhile_hears_of_that_and_nothing_else(self) -> None:
        slow = self.lagging()
        self.write(2)
        self.hub.written.access_changed(FILE)
        self.ann.failing = refused()
        self.world.advance(5)
        self.assertEqual(slow.events("document.lost"), [{"fileId": FILE, "reason": "no_access"}])
        self.assertEqual(self.catch_up(slow), [])

    def test_what_it_writes_itself_does_not_tell_it_what_it_missed(self) -> None:
        slow = self.lagging()
        self.write(2)
        now = self.world.clock.seconds()
        self.hub.written.learn(self.ann, view(3, "New", trashed=True, as_of=now), teller=slow)
        (event,) = self.catch_up(slow)
        self.assertEqual(event["changed"], ["name", "trashed"])

    def test_it_watches_anew_and_knows_what_it_is_answered(self) -> None:
        slow = self.lagging()
        self.write(2)
        self.watch(self.ann, slow)
        self.assertEqual(self.catch_up(slow), [])

    def test_comments_wait_for_it_too(self) -> None:
        other, slow = self.watch(self.ann, comments=True), self.lagging(comments=True)
        for number in (1, 2):
            self.hub.written.learn_comment(
                self.bob, FILE, comment(f"c{number}", f"10:0{number}"), teller=None
            )
        self.assertFalse(self.document().unsettled_comments)
        self.assertEqual((len(other.raw), slow.raw), (2, []))
        self.catch_up(slow)
        told = [[event["comment"] for event in tab.events("document.comment")] for tab in (other, slow)]
        self.assertEqual(told[0], told[1])

    def test_several_documents(self) -> None:
        slow = self.lagging()
        self.watch(self.ann, slow, file_id="root")
        self.hub.lags(FakeTab())
        self.hub.caught_up(FakeTab())  # one that watches nothing
        self.assertEqual(slow.raw, [])


class AgainstAModel(SynchronousTestCase):
    """What is noted by user is what one would note by tab."""

    def test_random_histories(self) -> None:
        rng = random.Random(11)
        for _ in range(300):
            self.play(rng)

    def play(self, rng: random.Random) -> None:
        watcher, model, last = Watcher(FakeViewer(None, "ann")), dict[Tab, int](), 0  # type: ignore[arg-type]
        tabs = [FakeTab() for _ in range(4)]
        for _ in range(40):
            tab = rng.choice(tabs)
            tab.lagging = rng.random() < 0.3
            what = rng.randrange(6)
            if what == 0 or not model:
                watcher.join(tab, last, new=tab not in model, comments=False)
                model[tab] = last
            elif what == 1 and len(model) > 1:
                watcher.leave(tab)
                model.pop(tab, None)
            elif what == 2 and tab in model:
                model[tab] = rng.choice((UNKNOWN, last))
                watcher.place(tab, model[tab])
            elif what == 3:
                last += 1
            elif what == 4:
                expected: dict[int, list[Tab]] = {}
                for each in watcher.tabs:
                    if model[each] != last and not each.lagging:
                        expected.setdefault(model[each], []).append(each)
                        model[each] = last
                taken: dict[int, list[Tab]] = {}
                watcher.take_behind(last, taken)
                taken.pop(last, None)  # who knew all of it need not have been kept apart
                self.assertEqual(taken, expected)
            self.assertEqual({each: watcher.told(each) for each in watcher.tabs}, model)
            waits = any(position != last and not each.lagging for each, position in model.items())
            self.assertEqual(watcher.waits(last), waits)
            self.assertEqual(set(watcher.apart or ()) - set(watcher.tabs), set())

    def test_names_since(self) -> None:
        """Never fewer than changed since; not more, as far back as single changes are kept."""
        rng, history = random.Random(5), History()
        changes: list[frozenset[str]] = []
        for _ in range(200):
            names = frozenset(rng.sample("abcdefgh", rng.randrange(1, 3)))
            history.add(names)
            changes.append(names)
            for back in range(len(changes)):
                exact = frozenset[str]().union(*changes[len(changes) - back :])
                said = history.since(history.position - back)
                self.assertTrue(said >= exact)
                if back < 64:
                    self.assertEqual(said, exact)

    def test_which_tab_watches_what(self) -> None:
        rng, index = random.Random(7), Watching()
        users = {FakeTab(): rng.choice("ab") for _ in range(5)}
        model: set[tuple[FakeTab, str]] = set()
        for _ in range(2000):
            tab, file_id = rng.choice([*users]), rng.choice("xyz")
            if rng.random() < 0.5:
                self.assertEqual(index.add(tab, users[tab], file_id), (tab, file_id) not in model)
                model.add((tab, file_id))
            else:
                index.remove(tab, file_id)
                model.discard((tab, file_id))
            for each, user in users.items():
                watched = sorted(file for other, file in model if other is each)
                self.assertEqual((index.of(each), index.user(each)), (watched, user if watched else None))
                self.assertEqual(index.count(each, beside="x"), len(watched) - ("x" in watched))
            for user in "ab":
                self.assertEqual(index.of_user(user), {file for other, file in model if users[other] == user})
