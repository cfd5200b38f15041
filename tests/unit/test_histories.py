"""The checker of histories finds what is wrong: one doctored history for each thing it watches over."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from docsession.times import rfc3339
from tests.histories import History, Page, State, Truth, complaints, listing_key

START = 1_795_000_000.0
ANN, BOB = "ann@example.com", "bob@example.com"
PLAN = {"id": "plan", "name": "Plan", "mimeType": "text/plain", "trashed": False}
RENAMED = PLAN | {"name": "Plan B"}
COMMENT = {
    "id": "c1",
    "createdTime": "2026-11-18T10:00:00.000Z",
    "modifiedTime": "2026-11-18T10:00:00.000Z",
    "author": {"displayName": "Bob", "photoLink": "http://x/bob"},
    "content": "Why?",
    "replies": [],
}
LISTING = {"q": "trashed = false"}


class Written(SynchronousTestCase):
    """A history in which all is well; each test changes one thing."""

    def setUp(self) -> None:
        self.now = START
        self.ids = 0
        self.history = History("ann-1", ANN)
        self.truth = Truth(START + 1000)
        self.truth.states["plan"] = [State(START - 10, 3, PLAN)]
        for user in (ANN, BOB):
            self.truth.access["plan", user] = [(START - 10, True)]
        self.truth.comments["plan"] = {"c1": COMMENT}
        self.truth.listings[ANN, listing_key(LISTING)] = {"files": [{"id": "plan"}]}
        self.history.add(self.now, "open", {"user": ANN})

    # -- what happens

    def call(self, method: str, params: dict[str, Any], result: Any = None, error: Any = None) -> None:
        self.ids += 1
        self.history.add(self.now, "call", {"id": self.ids, "method": method, "params": params})
        said = {"error": error} if error is not None else {"result": result}
        self.history.add(self.now, "answer", {"jsonrpc": "2.0", "id": self.ids, **said})

    def watch(self, *, comments: bool = False, version: str = "3", **file: Any) -> None:
        result: dict[str, Any] = {
            "fileId": "plan",
            "version": version,
            "changed": True,
            "file": PLAN | {"version": version} | file,
            "as_of": rfc3339(self.now),
        }
        if comments:
            result |= {"comments": [COMMENT], "commentsMark": COMMENT["modifiedTime"]}
        self.call("documents.watch", {"fileId": "plan", "comments": comments}, result)

    def event(self, method: str, **params: Any) -> None:
        self.now += 1
        self.history.add(self.now, "event", {"jsonrpc": "2.0", "method": method, "params": params})

    def changed(self, **other: Any) -> None:
        params: dict[str, Any] = {
            "fileId": "plan",
            "version": "4",
            "file": RENAMED | {"version": "4"},
            "changed": ["name"],
            "via": "poll",
            "seen_at": rfc3339(self.now),
        }
        self.event("document.changed", **params | other)

    def commented(self, **other: Any) -> None:
        comment = COMMENT | {"content": "Why not?", "modifiedTime": "2026-11-18T11:00:00.000Z"}
        params: dict[str, Any] = {
            "fileId": "plan",
            "comment": comment,
            "commentsMark": comment["modifiedTime"],
            "via": "poll",
            "seen_at": rfc3339(self.now),
        }
        self.event("document.comment", **params | other)

    def renamed(self) -> None:
        """At Google."""
        self.truth.states["plan"].append(State(self.now, 4, RENAMED))

    def lost(self, reason: str = "no_access") -> None:
        self.event("document.lost", fileId="plan", reason=reason)

    def loses(self, user: str = ANN) -> None:
        """At Google."""
        self.truth.access["plan", user].append((self.now, False))

    def listing(self) -> None:
        data = {"files": [{"id": "plan"}], "nextPageToken": "one"}
        self.call("listings.watch", LISTING, {"listing": "l1", "data": data, "as_of": rfc3339(self.now)})

    def listed(self, *ids: str) -> None:
        data = {"files": [{"id": each} for each in ids], "nextPageToken": "another"}
        self.event("listing.changed", listing="l1", data=data, as_of=rfc3339(self.now))

    # -- what is said of it

    def complains(self, rule: str, *words: str) -> None:
        found = complaints([self.history], self.truth)
        self.assertEqual([each.rule for each in found], [rule], [str(each) for each in found])
        for word in words:
            self.assertIn(word, str(found[0]))

    def is_well(self) -> None:
        self.assertEqual([str(each) for each in complaints([self.history], self.truth)], [])


class Well(Written):
    """What is allowed."""

    def test_all_kinds_of_events(self) -> None:
        self.watch(comments=True)
        self.listing()
        self.renamed()
        self.changed()
        self.commented()
        self.truth.comments["plan"] = {
            "c1": COMMENT | {"content": "Why not?", "modifiedTime": "2026-11-18T11:00:00.000Z"}
        }
        self.event("document.touched", fileId="plan", version="4")
        self.event("session.degraded", reason="google_unavailable", retry_after=5)
        self.event("session.recovered")
        self.is_well()

    def test_a_loss(self) -> None:
        self.watch()
        self.loses()
        self.lost()
        self.is_well()

    def test_watched_again_after_a_loss(self) -> None:
        self.watch()
        self.loses()
        self.lost()
        self.truth.access["plan", ANN].append((self.now, True))
        self.watch()
        self.is_well()

    def test_a_view_moves_no_version(self) -> None:
        self.watch()
        self.truth.states["plan"].append(State(self.now, 9, PLAN))
        self.is_well()

    def test_there_and_back_between_two_looks(self) -> None:
        self.watch()
        self.truth.states["plan"] += [State(self.now, 4, RENAMED), State(self.now, 5, PLAN)]
        self.is_well()

    def test_who_writes_knows(self) -> None:
        """A write's answer tells its own page; nothing else has to."""
        self.watch(comments=True)
        self.renamed()
        self.call(
            "drive.files.update",
            {"fileId": "plan", "requestBody": {"name": "Plan B"}},
            {"data": RENAMED | {"version": "4", "kind": "drive#file"}},
        )
        reply = {"id": "r1", "content": "So!", "createdTime": "2026-11-18T12:00:00.000Z", "action": "resolve"}
        reply |= {"modifiedTime": "2026-11-18T12:00:00.000Z"}
        self.call("drive.replies.create", {"fileId": "plan", "commentId": "c1"}, {"data": reply})
        there = {"replies": [reply], "resolved": True, "modifiedTime": reply["modifiedTime"]}
        self.truth.comments["plan"] = {"c1": COMMENT | there}
        self.is_well()

    def test_who_is_away_is_told_nothing(self) -> None:
        self.watch()
        self.history.add(self.now, "close", {"code": None})
        self.renamed()
        self.is_well()

    def test_a_mark_brings_what_changed(self) -> None:
        """A page that comes back with a mark keeps what it has; without one it drops it."""
        self.watch(comments=True)
        page = Page()
        for entry in self.history.entries:
            page.take(entry)
        self.assertEqual(list(page.documents["plan"].comments or ()), ["c1"])
        for mark, left in (({"commentsMark": "2026"}, ["c1", "c2"]), ({}, ["c2"])):
            params = {"fileId": "plan", "comments": True} | mark
            self.call(
                "documents.watch",
                params,
                {
                    "fileId": "plan",
                    "version": "3",
                    "file": PLAN,
                    "commentsMark": "",
                    "comments": [{"id": "c2"}],
                },
            )
            for entry in self.history.entries[-2:]:
                page.take(entry)
            self.assertEqual(list(page.documents["plan"].comments or ()), left)


class Forms(Written):
    """Events that are not as the protocol says."""

    def setUp(self) -> None:
        super().setUp()
        self.watch(comments=True)
        self.truth.comments["plan"] = {"c1": COMMENT}
        self.renamed()

    def test_unknown_event(self) -> None:
        self.changed()
        self.event("document.moved", fileId="plan")
        self.complains("well_formed", "document.moved")

    def test_missing_param(self) -> None:
        self.changed(seen_at=None)
        found = {each.rule for each in complaints([self.history], self.truth)}
        self.assertEqual(found, {"well_formed"})

    def test_strange_param(self) -> None:
        self.changed(etag="x")
        self.complains("well_formed", "etag")

    def test_unknown_via(self) -> None:
        self.changed(via="guess")
        self.complains("well_formed", "guess")

    def test_seen_in_the_future(self) -> None:
        self.changed(seen_at=rfc3339(self.now + 60))
        self.complains("well_formed", "seen_at")

    def test_two_versions_in_one_event(self) -> None:
        self.changed(file=RENAMED | {"version": "3"})
        found = [each.rule for each in complaints([self.history], self.truth)]
        self.assertIn("well_formed", found)

    def test_changed_names_nothing(self) -> None:
        self.changed(changed=[])
        found = {each.rule for each in complaints([self.history], self.truth)}
        self.assertEqual(found, {"well_formed"})

    def test_changed_names_too_little(self) -> None:
        self.changed(changed=["trashed"])
        self.complains("well_formed", "'name'")

    def test_answer_with_a_method(self) -> None:
        self.changed()
        self.history.add(self.now, "event", {"jsonrpc": "2.0", "method": "session.recovered", "id": 1})
        self.complains("well_formed", "no JSON-RPC notification")


class Eyes(Written):
    """What only one viewer's look shows."""

    def test_in_a_watch(self) -> None:
        self.watch(capabilities={"canEdit": True})
        self.complains("own_eyes", "file.capabilities")

    def test_in_a_change(self) -> None:
        self.watch()
        self.renamed()
        self.changed(file=RENAMED | {"version": "4", "parents": ["root"]})
        self.complains("own_eyes", "file.parents")

    def test_in_the_person(self) -> None:
        self.watch()
        self.truth.states["plan"].append(State(self.now, 4, RENAMED | {"lastModifyingUser": {"me": True}}))
        person = {"lastModifyingUser": {"me": True}}
        self.changed(file=RENAMED | {"version": "4"} | person, changed=["name", "lastModifyingUser"])
        self.complains("own_eyes", "lastModifyingUser.me")

    def test_in_a_reply(self) -> None:
        self.watch(comments=True)
        reply = {"id": "r1", "author": {"displayName": "Bob", "me": False}}
        comment = COMMENT | {"replies": [reply]}
        self.truth.comments["plan"] = {"c1": comment}
        self.commented(comment=comment)
        self.complains("own_eyes", "comment.author.me")


class Twice(Written):
    """What was told before."""

    def test_version(self) -> None:
        self.watch()
        self.renamed()
        self.changed()
        self.changed()
        self.complains("told_once", "version 4")

    def test_version_of_the_watch(self) -> None:
        self.watch()
        self.changed(version="3", file=PLAN | {"version": "3"})
        self.complains("told_once", "version 3")

    def test_own_write(self) -> None:
        self.watch()
        self.renamed()
        self.call("drive.files.update", {"fileId": "plan"}, {"data": RENAMED | {"version": "4"}})
        self.changed()
        self.complains("told_once")

    def test_comment(self) -> None:
        self.watch(comments=True)
        self.commented(comment=COMMENT | {"resolved": False})
        self.complains("told_once", "c1")

    def test_listing(self) -> None:
        self.listing()
        self.listed("plan")
        self.complains("told_once", "l1")


class Watchers(Written):
    """What is not watched, or not any more."""

    def test_never_watched(self) -> None:
        self.event("document.touched", fileId="plan", version="3")
        self.complains("told_to_watchers")

    def test_unwatched(self) -> None:
        self.watch()
        self.call("documents.unwatch", {"fileId": "plan"}, {})
        self.changed()
        self.complains("told_to_watchers")

    def test_after_the_loss(self) -> None:
        self.watch()
        self.renamed()
        self.loses()
        self.lost()
        self.changed()
        self.complains("told_to_watchers", "document.changed")

    def test_lost_twice(self) -> None:
        self.watch()
        self.loses()
        self.lost()
        self.lost()
        self.complains("told_to_watchers", "document.lost")

    def test_on_a_new_socket(self) -> None:
        self.watch()
        self.renamed()
        self.history.add(self.now, "close", {"code": None})
        self.history.add(self.now, "open", {"user": ANN})
        self.changed()
        self.complains("told_to_watchers")

    def test_listing(self) -> None:
        self.listed("plan")
        self.complains("told_to_watchers", "l1")


class Access(Written):
    """Who may know what."""

    def test_a_loss_that_is_none(self) -> None:
        self.watch()
        self.loses(BOB)
        self.lost()
        self.complains("losses_are_true", ANN)

    def test_a_loss_of_long_ago(self) -> None:
        self.watch()
        self.loses()
        self.truth.access["plan", ANN].append((self.now + 1, True))
        self.now += 60
        self.lost()
        self.complains("losses_are_true")

    def test_a_loss_that_nobody_told(self) -> None:
        self.watch()
        self.loses()
        self.complains("true_at_the_end", "it was not told")

    def test_told_after_a_proof(self) -> None:
        self.watch()
        self.loses()
        self.now += 700
        self.renamed()
        self.changed()
        self.lost()
        self.complains("nothing_after_a_proof", "701 s")

    def test_told_within_a_proof(self) -> None:
        self.watch()
        self.loses()
        self.now += 500
        self.renamed()
        self.changed()
        self.lost()
        self.is_well()

    def test_watched_after_a_proof(self) -> None:
        self.loses()
        self.now += 700
        self.watch()
        self.lost()
        self.complains("nothing_after_a_proof")

    def test_a_comment_after_a_proof(self) -> None:
        self.watch(comments=True)
        self.loses()
        self.now += 700
        self.commented()
        self.lost()
        self.complains("nothing_after_a_proof")


class Ends(Written):
    """What was told last is what is so."""

    def test_another_state(self) -> None:
        self.watch()
        self.renamed()
        found = complaints([self.history], self.truth)
        self.assertEqual({each.rule for each in found}, {"true_at_the_end"})
        self.assertIn("name is 'Plan B' and not 'Plan'", str(found[0]))

    def test_a_version_that_showed_something_else(self) -> None:
        self.watch()
        self.truth.states["plan"].append(State(self.now, 4, RENAMED))
        self.changed(version="5", file=RENAMED | {"version": "5"})
        self.complains("true_at_the_end", "version 5")

    def test_a_comment_is_missing(self) -> None:
        self.watch(comments=True)
        self.truth.comments["plan"] = {"c1": COMMENT, "c2": COMMENT | {"id": "c2"}}
        self.complains("true_at_the_end", "comment c2")

    def test_a_comment_is_too_many(self) -> None:
        self.watch(comments=True)
        self.truth.comments["plan"] = {"c1": {"id": "c1", "deleted": True}}
        self.complains("true_at_the_end", "comment c1")

    def test_comments_that_it_does_not_watch(self) -> None:
        self.watch()
        self.truth.comments["plan"] = {}
        self.is_well()

    def test_a_listing(self) -> None:
        self.listing()
        self.listed()
        self.complains("true_at_the_end", "listing l1")
