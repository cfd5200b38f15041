"""The comments of a document: what is news, where a page left off, and through the whole server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from docsession.discussion import Discussion, later, overlap
from tests.support import Stack, Tab
from tests.unit.hub import comment

ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"
T = 1_000_000.0


def ids(comments: Any) -> list[str]:
    return [str(one["id"]) for one in comments]


class DiscussionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.discussion = Discussion()
        self.discussion.learn([comment("a", "10:00"), comment("b", "11:00")], T, whole=True)

    def test_the_same_again_is_no_news(self) -> None:
        again = [comment("a", "10:00"), comment("b", "11:00", resolved=False, deleted=False, replies=[])]
        self.assertEqual(self.discussion.learn(again, T + 1, whole=True), [])

    def test_new_changed_and_missing_are_news(self) -> None:
        changed = self.discussion.learn(
            [comment("a", "11:30", "Better"), comment("c", "12:00")], T + 1, whole=True
        )
        self.assertEqual(changed, ["a", "c", "b"])
        self.assertEqual(self.discussion.get("b"), {"id": "b", "deleted": True})
        self.assertEqual(ids(self.discussion.whole()), ["a", "c"])

    def test_a_look_at_what_changed_says_nothing_of_the_rest(self) -> None:
        self.assertEqual(self.discussion.learn([comment("b", "11:00")], T + 1, whole=False), [])
        self.assertEqual(ids(self.discussion.whole()), ["a", "b"])

    def test_what_was_written_here_during_a_look_is_not_missing_from_it(self) -> None:
        empty = Discussion()
        empty.learn([], T, whole=True)
        self.assertEqual(empty.learn_one(comment("c", "12:00"), T + 2), ["c"])
        self.assertEqual(empty.learn([], T + 1, whole=True), [])
        self.assertEqual(ids(empty.whole()), ["c"])

    def test_a_deletion_is_told_once_and_nothing_brings_the_comment_back(self) -> None:
        self.assertEqual(self.discussion.learn_one({"id": "a", "deleted": True}, T + 2), ["a"])
        stale = self.discussion.learn([comment("a", "10:00"), comment("b", "11:00")], T + 1, whole=True)
        googles = self.discussion.learn([comment("a", "12:00", "", deleted=True)], T + 3, whole=False)
        self.assertEqual((stale, googles), ([], []))
        self.assertEqual(ids(self.discussion.whole()), ["b"])

    def test_an_older_state_is_no_news(self) -> None:
        self.discussion.learn_one(comment("a", "12:00", "Newer"), T + 1)
        self.assertEqual(self.discussion.learn([comment("a", "10:00")], T + 2, whole=False), [])

    def test_a_reply_that_was_deleted_here_does_not_come_back_with_a_look_begun_before(self) -> None:
        reply = {"id": "r", "content": "Yes", "createdTime": "2026-11-20T12:00:00.000Z"}
        with_reply = comment("a", "12:00", replies=[reply])
        self.discussion.learn([with_reply], T + 1, whole=False)
        without = self.discussion.with_reply("a", {"id": "r", "deleted": True})
        assert without is not None
        self.assertEqual(self.discussion.learn_one(without, T + 3), ["a"])
        self.assertEqual(self.discussion.learn([with_reply], T + 2, whole=False), [])

    def test_what_is_written_here_does_not_move_the_mark(self) -> None:
        # Else something that happened before it, and no look has seen yet, would never be seen.
        mark = self.discussion.mark
        self.discussion.learn_one(comment("c", "15:00"), T + 1)
        self.assertEqual(self.discussion.mark, mark)
        self.assertEqual(self.discussion.mark_after("c"), mark)
        self.assertEqual(ids(self.discussion.since(mark)), ["b", "c"])

    def test_since_a_mark_deletions_are_included(self) -> None:
        mark = self.discussion.mark
        self.discussion.learn_one({"id": "a", "deleted": True}, T + 1)
        self.assertEqual(self.discussion.since(mark), [{"id": "a", "deleted": True}, comment("b", "11:00")])

    def test_a_mark_that_is_none_brings_everything(self) -> None:
        for mark in ("", "yesterday", "0001-01-01T00:00:00Z"):
            self.assertEqual(ids(self.discussion.since(mark)), ["a", "b"], mark)

    def test_replies(self) -> None:
        reply = {"id": "r", "content": "Yes", "modifiedTime": "2026-11-20T12:00:00.000Z", "action": "resolve"}
        resolved = self.discussion.with_reply("a", reply)
        assert resolved is not None
        self.assertTrue(resolved["resolved"])
        self.assertEqual(resolved["modifiedTime"], reply["modifiedTime"])
        self.discussion.learn_one(resolved, T)
        reopened = self.discussion.with_reply("a", {"id": "s", "action": "reopen"})
        assert reopened is not None
        self.assertFalse(reopened["resolved"])
        self.assertIsNone(self.discussion.with_reply("unknown", reply))

    def test_times(self) -> None:
        self.assertEqual(overlap("2026-11-20T12:00:00.000Z"), "2026-11-20T11:55:00.000Z")
        self.assertIsNone(overlap(""))
        self.assertEqual(later("", "2026-11-20T12:00:00Z"), "2026-11-20T12:00:00Z")
        self.assertEqual(later("2026-11-20T12:00:00Z", "nonsense"), "2026-11-20T12:00:00Z")


class CommentsThroughTheServer(SynchronousTestCase):
    def setUp(self) -> None:
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        self.plan = self.stack.file("Autumn plan")  # Ann's; Bob may write, Cat comment

    def tab(self, email: str, **watch: Any) -> tuple[Tab, dict[str, Any]]:
        tab = self.stack.signed_in_tab(email)
        return tab, tab.call("documents.watch", fileId=self.plan, comments=True, **watch)

    def at_google(self, who: str, method: str, path: str = "", body: Any = None) -> Any:
        separator = "&" if "?" in path else "?"
        return self.stack.as_person(
            who, method, f"/drive/v3/files/{self.plan}/comments{path}{separator}fields=*", body
        )

    def news(self, tab: Tab) -> list[dict[str, Any]]:
        """The comments of the events since the last time."""
        events = tab.events("document.comment")
        told = getattr(tab, "told", 0)
        tab.told = len(events)  # type: ignore[attr-defined]
        return [event["comment"] for event in events[told:]]

    def test_everything_that_happens_to_them_at_google_is_an_event(self) -> None:
        ann, result = self.tab(ANN)
        self.assertEqual(len(result["comments"]), 2)
        new = self.at_google(BOB, "POST", body={"content": "New"})["id"]
        self.stack.advance(8)
        (one,) = self.news(ann)
        self.assertEqual((one["content"], one["author"]["displayName"]), ("New", "Bob Baker"))
        self.assertNotIn("me", one["author"])
        self.at_google(BOB, "PATCH", f"/{new}", {"content": "Newer"})
        self.stack.advance(8)
        self.assertEqual([one["content"] for one in self.news(ann)], ["Newer"])
        reply = self.at_google(CAT, "POST", f"/{new}/replies", {"content": "Yes"})["id"]
        self.stack.advance(8)
        self.assertEqual([one["replies"][0]["content"] for one in self.news(ann)], ["Yes"])
        self.at_google(BOB, "POST", f"/{new}/replies", {"content": "Done", "action": "resolve"})
        self.stack.advance(8)
        self.assertEqual([one["resolved"] for one in self.news(ann)], [True])
        self.at_google(CAT, "DELETE", f"/{new}/replies/{reply}")
        self.stack.advance(8)
        self.assertEqual(len(self.news(ann)), 1)
        self.at_google(BOB, "DELETE", f"/{new}")
        self.stack.advance(8)
        self.assertEqual([(one["id"], one["deleted"]) for one in self.news(ann)], [(new, True)])
        self.stack.advance(30)
        self.assertEqual(self.news(ann), [])

    def test_everything_a_peer_does_is_an_event_without_google_and_never_twice(self) -> None:
        ann, _ = self.tab(ANN)
        bob, _ = self.tab(BOB)
        other = self.stack.tab(bob.identity)
        other.call("documents.watch", fileId=self.plan, comments=True)
        self.stack.assembly.documents.schedule.stopService()
        asked = self.stack.calls()["drive.comments.list"]

        def told() -> list[dict[str, Any]]:
            first, second = self.news(ann), self.news(other)
            self.assertEqual(first, second)
            self.assertEqual(self.news(bob), [])
            return first

        new = bob.call("drive.comments.create", fileId=self.plan, requestBody={"content": "New"}, fields="id")
        comment_id = new["data"]["id"]
        self.assertEqual([one["content"] for one in told()], ["New"])
        bob.call(
            "drive.comments.update",
            fileId=self.plan,
            commentId=comment_id,
            requestBody={"content": "Newer"},
            fields="id",
        )
        self.assertEqual([one["content"] for one in told()], ["Newer"])
        reply = bob.call(
            "drive.replies.create",
            fileId=self.plan,
            commentId=comment_id,
            requestBody={"content": "Done", "action": "resolve"},
            fields="id",
        )["data"]["id"]
        (one,) = told()
        self.assertEqual((one["resolved"], one["replies"][0]["content"]), (True, "Done"))
        bob.call(
            "drive.replies.update",
            fileId=self.plan,
            commentId=comment_id,
            replyId=reply,
            requestBody={"content": "Done!"},
            fields="id",
        )
        self.assertEqual([one["replies"][0]["content"] for one in told()], ["Done!"])
        bob.call("drive.replies.delete", fileId=self.plan, commentId=comment_id, replyId=reply)
        self.assertEqual([one["replies"] for one in told()], [[]])
        bob.call("drive.comments.delete", fileId=self.plan, commentId=comment_id)
        self.assertEqual([(one["id"], one["deleted"]) for one in told()], [(comment_id, True)])
        self.assertEqual(self.stack.calls()["drive.comments.list"], asked)
        # The polls that follow find what is known.
        self.stack.assembly.documents.schedule.startService()
        self.stack.advance(30)
        self.assertEqual([self.news(tab) for tab in (ann, bob, other)], [[], [], []])

    def test_a_mark_brings_what_changed_since_deletions_included(self) -> None:
        ann, result = self.tab(ANN)
        kept, gone = (one["id"] for one in result["comments"])
        ann.lose()
        self.stack.advance(3600, step=60)
        author = {"The photographs are in.": CAT}.get(
            next(one["content"] for one in result["comments"] if one["id"] == gone), BOB
        )
        self.at_google(author, "DELETE", f"/{gone}")
        new = self.at_google(BOB, "POST", body={"content": "New"})["id"]
        back = self.stack.tab(ann.identity)
        brought = back.call(
            "documents.watch", fileId=self.plan, comments=True, commentsMark=result["commentsMark"]
        )
        deleted = {one["id"]: one.get("deleted", False) for one in brought["comments"]}
        self.assertEqual((deleted[gone], deleted[new]), (True, False))
        self.assertGreater(brought["commentsMark"], result["commentsMark"])
        # Without a mark they are the whole truth.
        whole = back.call("documents.watch", fileId=self.plan, comments=True)
        self.assertEqual({one["id"] for one in whole["comments"]}, {kept, new})

    def test_who_watches_without_them_hears_nothing_and_costs_nothing(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        result = ann.call("documents.watch", fileId=self.plan)
        self.assertNotIn("comments", result)
        bob = self.stack.signed_in_tab(BOB)
        bob.call("drive.comments.create", fileId=self.plan, requestBody={"content": "New"})
        self.stack.advance(20)
        self.assertEqual(ann.events("document.comment"), [])
        self.assertNotIn("drive.comments.list", self.stack.calls())

    def test_a_view_makes_a_look_at_them_but_no_event(self) -> None:
        ann, _ = self.tab(ANN)
        self.stack.control("POST", "/sandbox/view", {"email": BOB, "file": self.plan})
        self.stack.advance(20)
        self.assertEqual(ann.events(), [])
        self.assertEqual(self.stack.calls()["drive.comments.list"], 2)
