"""What Google does now and then that is no fault: lags, odd pages, forgotten tokens, broken lines."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.sandbox_driver import ANN, Driver, Reply

SEED = {
    "files": [
        {"name": "Plan", "owner": ANN, "text": "one"},
        {"name": "Note.txt", "type": "text/plain", "owner": ANN, "text": "one"},
    ]
}


class HabitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver(SEED)
        self.plan, self.note = self.google.id_of("Plan"), self.google.id_of("Note.txt")

    def behave(self, **habits: Any) -> Reply:
        return self.google.ask("PUT", "/sandbox/habits", who=None, body=habits)

    def edit(self, file: str, text: str) -> None:
        body = {"email": ANN, "file": file, "text": text}
        self.assertEqual(self.google.ask("POST", "/sandbox/edit", who=None, body=body).status, 200)

    def version(self, file: str) -> int:
        return int(self.google.drive("GET", f"files/{file}", fields="version").json["version"])

    def test_what_is_typed_in_an_editor_shows_later(self) -> None:
        self.behave(editor_lag=180)
        token, before = self.google.start_token(), self.version(self.plan)
        self.edit(self.plan, "two")
        self.edit(self.note, "two")
        self.assertEqual(self.version(self.plan), before)
        self.assertEqual(self.google.changes(token)[0], [("Note.txt", False)])
        self.google.advance(180)
        self.assertEqual(self.version(self.plan), before + 1)
        self.assertEqual({name for name, _ in self.google.changes(token)[0]}, {"Note.txt", "Plan"})

    def test_a_file_that_is_gone_by_then(self) -> None:
        self.behave(editor_lag=180)
        self.edit(self.plan, "two")
        self.google.drive("DELETE", f"files/{self.plan}")
        self.google.advance(180)
        self.assertNotIn(self.plan, self.google.sandbox.world.files)

    def test_a_replica_that_has_not_heard(self) -> None:
        self.behave(stale=[{"file": self.note, "times": 2}])
        before = self.version(self.note)
        self.edit(self.note, "two")
        self.assertEqual([self.version(self.note) for _ in range(3)], [before, before, before + 1])
        self.assertEqual(self.behave(stale=[{"file": "nothing"}]).status, 404)

    def test_empty_pages_that_go_on(self) -> None:
        token = self.google.start_token()
        self.edit(self.note, "two")
        self.behave(empty_pages=2)
        page = self.google.drive("GET", "changes", pageToken=token).json
        self.assertEqual((page["changes"], "newStartPageToken" in page), ([], False))
        self.assertEqual(self.google.changes(page["nextPageToken"])[0], [("Note.txt", False)])

    def test_tokens_that_are_lost(self) -> None:
        for status, reason in ((400, "400 invalid"), (404, "404 notFound"), (410, "410 gone")):
            token = self.google.start_token()
            self.behave(lost_tokens=status)
            self.assertEqual(self.google.drive("GET", "changes", pageToken=token).reason, reason)
            self.assertEqual(self.google.changes(self.google.start_token())[0], [])

    def test_what_cannot_be_is_refused(self) -> None:
        for bad in ({"editor_lag": -1}, {"lost_tokens": 500}, {"stale": [{"file": self.note, "times": 0}]}):
            self.assertEqual(self.behave(**bad).status, 400)
        self.behave(editor_lag=5)
        shown = self.google.ask("GET", "/sandbox/habits", who=None).json
        self.assertEqual(shown, {"editor_lag": 5.0, "empty_pages": 0, "stale": []})

    def test_a_line_that_breaks_in_the_middle_of_an_answer(self) -> None:
        fault = {"match": {"method": "drive.files.get"}, "cut": True, "times": 1}
        self.google.ask("PUT", "/sandbox/faults", who=None, body=[fault])
        (broken,) = self.google.begin(
            "GET", f"/drive/v3/files/{self.note}", token=self.google.token(ANN)
        ) or [None]
        self.assertNotIsInstance(broken, Reply)
        self.assertEqual(self.google.drive("GET", f"files/{self.note}").status, 200)

    def test_every_reason_in_its_envelope(self) -> None:
        for reason, status, domain in (
            ("subscriptionRateLimitExceeded", 403, "usageLimits"),
            ("sharingRateLimitExceeded", 403, "global"),
            ("storageQuotaExceeded", 403, "global"),
            ("exportSizeLimitExceeded", 403, "global"),
            ("invalidSharingRequest", 400, "global"),
        ):
            self.google.ask("PUT", "/sandbox/faults", who=None, body=[{"reason": reason, "times": 1}])
            refused = self.google.drive("GET", f"files/{self.note}")
            self.assertEqual(refused.status, status)
            self.assertEqual(refused.json["error"]["errors"][0]["domain"], domain)
