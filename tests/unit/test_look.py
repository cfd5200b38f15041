"""One look: what all who may see a document see alike, and what only the viewer sees."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import GoogleUnavailable
from docsession.google.drive_request import DriveRequest
from docsession.google.look import Looker, shared_comment, view_of
from tests.unit.google import clock

SEEN: dict[str, Any] = {
    "kind": "drive#file",
    "id": "f",
    "name": "Plan",
    "version": "10",
    "mimeType": "text/plain",
    "modifiedTime": "2026-11-20T10:00:00.000Z",
    "lastModifyingUser": {
        "displayName": "Ann",
        "photoLink": "https://p",
        "me": True,
        "emailAddress": "ann@example.com",
        "permissionId": "1",
    },
    "parents": ["folder"],
    "permissionIds": ["1", "2"],
    "permissions": [{"emailAddress": "bob@example.com"}],
    "capabilities": {"canEdit": True},
    "viewedByMe": True,
    "starred": True,
    "owners": [{"me": True}],
}


class FakeDrive:
    def __init__(self, clock: Clock, *answers: Any) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.asked: list[DriveRequest] = []

    async def ask(self, account: object, request: DriveRequest, *, poll: bool = False) -> Any:
        self.asked.append(request)
        self.clock.advance(3)
        return self.answers.pop(0)


class Views(SynchronousTestCase):
    def test_shared_and_own_are_parted(self) -> None:
        view = view_of(SEEN, 5.0)
        self.assertEqual((view.file_id, view.google_version, view.as_of), ("f", 10, 5.0))
        self.assertEqual(view.shared["lastModifyingUser"], {"displayName": "Ann", "photoLink": "https://p"})
        self.assertEqual(
            view.shared.keys(), {"id", "name", "version", "mimeType", "modifiedTime", "lastModifyingUser"}
        )
        self.assertEqual(view.own.keys(), {"parents", "permissionIds", "capabilities"})

    def test_versions_are_numbers(self) -> None:
        self.assertGreater(
            view_of(SEEN, 0).google_version, view_of(SEEN | {"version": "9"}, 0).google_version
        )

    def test_comments_do_not_say_who_looks(self) -> None:
        author = {"displayName": "Bob", "me": True, "emailAddress": "bob@example.com", "kind": "drive#user"}
        reply = {"id": "r", "author": author, "action": "resolve", "content": "Yes", "kind": "drive#reply"}
        comment = {"id": "c", "author": author, "replies": [reply], "kind": "drive#comment", "resolved": True}
        self.assertEqual(
            shared_comment(comment),
            {
                "id": "c",
                "author": {"displayName": "Bob"},
                "resolved": True,
                "replies": [
                    {"id": "r", "author": {"displayName": "Bob"}, "action": "resolve", "content": "Yes"}
                ],
            },
        )


class Looking(SynchronousTestCase):
    def looker(self, *answers: Any) -> Looker:
        self.clock = clock()
        self.drive = FakeDrive(self.clock, *answers)
        return Looker(self.drive, self.clock)  # type: ignore[arg-type]

    def comments(self, *answers: Any, since: str | None = None) -> Deferred[Any]:
        looking = self.looker(*answers).comments(object(), "f", since=since, poll=True)  # type: ignore[arg-type]
        return Deferred.fromCoroutine(looking)

    def file(self, answer: Any) -> Deferred[Any]:
        looking = self.looker(answer).file(object(), "f", poll=True)  # type: ignore[arg-type]
        return Deferred.fromCoroutine(looking)

    def test_it_is_as_old_as_when_it_began(self) -> None:
        view = self.successResultOf(self.file(SEEN))
        self.assertEqual(view.as_of, self.clock.seconds() - 3)
        comments = self.successResultOf(self.comments({"comments": []}))
        self.assertEqual(comments.as_of, self.clock.seconds() - 3)

    def test_it_asks_for_what_it_parts_and_for_all_drives(self) -> None:
        self.successResultOf(self.file(SEEN))
        query = dict(self.drive.asked[0].query)
        for name in ("version", "headRevisionId", "capabilities", "parents", "trashed"):
            self.assertIn(name, query["fields"])
        self.assertNotIn("emailAddress", query["fields"])
        self.assertEqual(query["supportsAllDrives"], "true")

    def test_comments_are_read_to_the_last_page(self) -> None:
        found = self.successResultOf(
            self.comments(
                {"comments": [{"id": "a"}], "nextPageToken": "2"},
                {"comments": [], "nextPageToken": "3"},
                {"comments": [{"id": "b"}]},
                since="2026-11-20T10:00:00.000Z",
            )
        )
        self.assertEqual([one["id"] for one in found.comments], ["a", "b"])
        queries = [dict(asked.query) for asked in self.drive.asked]
        self.assertEqual([query.get("pageToken") for query in queries], [None, "2", "3"])
        for query in queries:
            self.assertEqual(query["includeDeleted"], "true")
            self.assertEqual(query["startModifiedTime"], "2026-11-20T10:00:00.000Z")

    def test_nonsense_is_weather_and_no_bug(self) -> None:
        for answer in ({}, {"id": "f"}, {"id": "f", "version": "ten"}, {"version": "1"}):
            self.failureResultOf(self.file(answer), GoogleUnavailable)
        for answer in (
            {"comments": None},
            {"comments": {"id": "a"}},
            {"comments": [5]},
            {"comments": [{"content": "no id"}]},
            {"comments": [{"id": "a", "replies": 5}]},
            {"comments": [{"id": "a", "replies": [None]}]},
        ):
            self.failureResultOf(self.comments(answer), GoogleUnavailable)
