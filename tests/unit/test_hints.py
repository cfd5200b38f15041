"""What a push notification makes due."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from docsession.document import Document, Watcher
from docsession.hints import Hints
from tests.unit.google import clock


class FakeWatcher:
    def __init__(self, user_id: str) -> None:
        self.id = user_id


class HintTests(SynchronousTestCase):
    """Documents by name, each watched by those whose names are given."""

    def setUp(self) -> None:
        self.clock = clock()
        self.documents: dict[str, Document] = {}
        self.looked: list[str] = []
        self.heard: list[str] = []
        self.changed: set[str] = set()
        self.channels = {"ann", "bob", "cat", "dan"}
        self.stretch = 1.0
        self.hints = Hints(
            self.clock,
            watched_by=lambda user: [d for d in self.documents.values() if user in d.watchers],
            look=self.look,
            has_channel=self.channels.__contains__,
            stretch=lambda: self.stretch,
            on_hint=self.heard.append,
        )
        self.addCleanup(self.hints.stop)

    def document(self, name: str, *watchers: str) -> Document:
        document = self.documents[name] = Document(name)
        document.as_of = self.clock.seconds() - 10
        document.watchers = {user: Watcher(FakeWatcher(user)) for user in watchers}  # type: ignore[arg-type]
        return document

    def look(self, document: Document) -> None:
        self.looked.append(document.id)
        document.as_of = self.clock.seconds()
        if document.id in self.changed:
            self.changed.discard(document.id)
            document.bumped_at = self.clock.seconds()
            self.hints.moved(document)

    def pass_(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))

    def test_what_all_who_were_told_have_in_common_comes_first(self) -> None:
        for number in range(10):
            self.document(f"anns {number}", "ann", "dan")
            self.document(f"bobs {number}", "bob", "dan")
        self.document("common", "ann", "bob", "cat")
        self.changed.add("common")
        for user in ("ann", "bob", "cat"):
            self.hints.hint(user)
        self.pass_(5)
        self.assertEqual(self.looked, ["common"])
        self.assertEqual(self.heard, ["found"] * 3)

    def test_alone_all_are_looked_at_twice_as_many_each_second(self) -> None:
        for number in range(12):
            self.document(f"d{number}", "ann").bumped_at = 100.0 - number
        self.hints.hint("ann")
        lengths = []
        for _ in range(6):
            self.pass_(1)
            lengths.append(len(self.looked))
        self.assertEqual(lengths[:4], [1, 3, 9, 12])
        self.assertEqual(self.looked[:3], ["d0", "d1", "d2"])  # the liveliest first
        self.assertEqual(self.heard, ["not_found"])

    def test_a_replica_that_has_not_heard_is_asked_once_more(self) -> None:
        self.document("d", "ann")
        self.hints.hint("ann")
        self.pass_(1)
        self.assertEqual(self.looked, ["d"])
        self.changed.add("d")  # now it shows
        self.pass_(5)
        self.assertEqual((self.looked, self.heard), (["d", "d"], ["not_found", "found"]))

    def test_once_and_no_more(self) -> None:
        self.document("d", "ann")
        self.hints.hint("ann")
        self.pass_(120)
        self.assertEqual(self.looked, ["d", "d"])

    def test_what_was_found_ends_the_search(self) -> None:
        for number in range(12):
            self.document(f"d{number}", "ann").bumped_at = 100.0 - number
        self.changed.add("d1")
        self.hints.hint("ann")
        self.pass_(10)
        self.assertLessEqual(len(self.looked), 3)
        self.assertEqual(self.heard, ["found"])

    def test_a_change_just_seen_explains_one_hint(self) -> None:
        document = self.document("d", "ann")
        self.document("e", "ann")
        self.hints.moved(document)
        self.clock.advance(9)
        self.hints.hint("ann")
        self.assertEqual((self.looked, self.heard), ([], ["explained"]))
        self.hints.hint("ann")  # that is another change's
        self.pass_(10)
        self.assertEqual(set(self.looked), {"d", "e"})

    def test_so_many_changes_explain_so_many_hints(self) -> None:
        document = self.document("d", "ann")
        self.hints.moved(document, 3)
        for _ in range(3):
            self.hints.hint("ann")
        self.pass_(5)
        self.assertEqual((self.looked, self.heard), ([], ["explained"] * 3))

    def test_a_change_seen_long_ago_explains_nothing(self) -> None:
        self.hints.moved(self.document("d", "ann"))
        self.clock.advance(11)
        self.hints.hint("ann")
        self.pass_(5)
        self.assertIn("d", self.looked)

    def test_what_a_search_found_explains_its_own_hints_only(self) -> None:
        self.document("d", "ann", "bob")
        self.changed.add("d")
        self.hints.hint("ann")
        self.pass_(1)
        self.hints.hint("bob")  # late, and explained
        self.hints.hint("ann")  # of another change
        self.assertEqual(self.heard, ["found", "explained"])
        self.pass_(5)
        self.assertEqual(self.heard[2:3], ["not_found"])

    def test_where_google_tells_nobody_nothing_is_remembered(self) -> None:
        self.channels.clear()
        self.hints.moved(self.document("d", "ann"))
        self.assertEqual(self.hints._past, {})

    def test_a_peers_write_explains_it(self) -> None:
        document = self.document("d", "ann", "bob")
        self.hints.hint("ann")
        self.hints.moved(document)
        self.pass_(5)
        self.assertEqual((self.looked, self.heard), ([], ["found"]))

    def test_bursts_are_one(self) -> None:
        self.document("d", "ann")
        for _ in range(100):
            self.hints.hint("ann")
        self.pass_(1.5)
        self.assertEqual(self.looked, ["d"])
        self.assertEqual(self.heard.count("merged"), 99)

    def test_a_hint_in_the_middle_begins_anew(self) -> None:
        for number in range(3):
            self.document(f"d{number}", "ann")
        self.hints.hint("ann")
        self.pass_(1)
        self.changed.add(self.looked[0])  # it changes after it was looked at
        self.hints.hint("ann")
        self.pass_(10)
        self.assertEqual(self.changed, set())

    def test_hints_about_files_nobody_watches_cost_less_and_less(self) -> None:
        self.document("d", "ann")
        for _ in range(600):
            self.hints.hint("ann")
            self.pass_(1)
        self.assertLessEqual(len(self.looked), 5 + 10)
        self.changed.add("d")
        self.pass_(62)
        self.assertEqual(self.changed, set())  # the last hint came after the last look

    def test_a_user_who_watches_nothing(self) -> None:
        self.hints.hint("ann")
        self.pass_(5)
        self.assertEqual((self.looked, self.heard), ([], ["not_found"]))

    def test_a_hint_that_never_came_is_counted(self) -> None:
        document = self.document("d", "ann", "bob")
        document.bumped_at = self.clock.seconds()
        self.hints.seen_unasked(document)
        self.hints.seen_unasked(document)
        self.clock.advance(29)
        self.assertEqual(self.heard, [])
        self.clock.advance(1)
        self.assertEqual(self.heard, ["missed"])

    def test_a_late_one_is_none_that_was_missed(self) -> None:
        document = self.document("d", "ann", "bob")
        self.hints.moved(document)
        self.hints.seen_unasked(document)
        self.clock.advance(5)
        self.hints.hint("bob")
        self.clock.advance(60)
        self.assertEqual(self.heard, ["explained"])
        self.hints.seen_unasked(document)  # and one that came a while before
        self.clock.advance(60)
        self.assertNotIn("missed", self.heard)

    def test_who_left_is_searched_for_no_more(self) -> None:
        self.document("d", "ann")
        self.hints.hint("ann")
        self.hints.forget("ann")
        self.pass_(5)
        self.assertEqual((self.looked, self.hints._past), ([], {}))
