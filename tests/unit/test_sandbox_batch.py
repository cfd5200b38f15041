"""Batches: many calls in one request."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox.multipart import split
from tests.unit.sandbox_driver import ANN, BOB, CAT, Driver, Reply


class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver()
        self.plan = self.google.id_of("Autumn plan")
        self.budget = self.google.id_of("Budget")

    def begin(self, *calls: str, ids: bool = True, **more: Any) -> list[Reply | Exception]:
        parts = ""
        for place, call in enumerate(calls):
            name = f"Content-ID: <batch + {place}>\r\n" if ids else ""
            parts += f"--b\r\nContent-Type: application/http\r\n{name}\r\n{call}\r\n"
        headers = {"Content-Type": "multipart/mixed; boundary=b"}
        body = (parts + "--b--\r\n").encode()
        return self.google.begin("POST", "/batch/drive/v3", body=body, headers=headers, **more)

    def ask(self, *calls: str, **more: Any) -> list[tuple[int, Any]]:
        """Status and JSON (None for none) of each, in order."""
        (reply,) = self.begin(*calls, **more)
        assert isinstance(reply, Reply), reply
        self.assertEqual(reply.status, 200, reply.body)
        found = []
        for place, part in enumerate(split(reply.body, reply.headers["content-type"])):
            self.assertEqual(part.headers["content-type"], "application/http")
            self.assertEqual(part.headers.get("content-id"), f"<response-batch + {place}>")
            head, _, body = part.body.partition(b"\r\n\r\n")
            status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
            assert status is not None
            self.assertIn(b"Content-Length: %d" % len(body), head)
            found.append((int(status[1]), json.loads(body) if body else None))
        return found

    def get(self, file_id: str, more: str = "") -> str:
        return f"GET /drive/v3/files/{file_id}?fields=name HTTP/1.1\r\n{more}\r\n"

    def test_answers_in_the_order_of_the_calls(self) -> None:
        name = json.dumps({"name": "Renamed"})
        patch = f"PATCH /drive/v3/files/{self.plan}?fields=name HTTP/1.1\r\n"
        patch += f"Content-Type: application/json\r\n\r\n{name}"
        delete = f"DELETE /drive/v3/files/{self.plan}"
        answers = self.ask(self.get(self.plan), patch, delete, self.get("nothing"))
        self.assertEqual([status for status, _ in answers], [200, 200, 204, 404])
        self.assertEqual(answers[1], (200, {"name": "Renamed"}))
        self.assertEqual(answers[2], (204, None))
        self.assertEqual(answers[3][1]["error"]["errors"][0]["reason"], "notFound")
        self.assertNotIn(self.plan, self.google.sandbox.world.files)

    def test_content_ids(self) -> None:
        (reply,) = self.begin(self.get(self.plan), ids=False)
        assert isinstance(reply, Reply)
        self.assertNotIn(b"Content-ID", reply.body)
        body = f"--b\n\n{self.get(self.plan)}\n--b\nContent-ID: plain\n\n{self.get(self.plan)}\n--b--"
        headers = {"Content-Type": "multipart/mixed; boundary=b"}
        reply = self.google.ask("POST", "/batch/drive/v3", body=body.encode(), headers=headers)
        self.assertIn(b"\r\nContent-ID: response-plain\r\n", reply.body)

    def test_whose_token(self) -> None:
        poem = self.google.id_of("Poem, unfinished")
        own = f"Authorization: Bearer {self.google.token(CAT)}\r\n"
        answers = self.ask(self.get(poem), self.get(poem, own), who=ANN)
        self.assertEqual([status for status, _ in answers], [404, 200])
        bad = "Authorization: Bearer no\r\n"
        answers = self.ask(self.get(poem), self.get(poem, bad), who=None)
        self.assertEqual([status for status, _ in answers], [403, 401])

    def test_each_is_metered_and_held_against_the_quota(self) -> None:
        body = {"per_user_per_minute": 12, "per_project_per_minute": 1000}
        self.google.ask("PUT", "/sandbox/quota", who=None, body=body)
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        bob = f"Authorization: Bearer {self.google.token(BOB)}\r\n"
        answers = self.ask(*[self.get(self.plan)] * 3, self.get(self.budget, bob))
        self.assertEqual([status for status, _ in answers], [200, 200, 403, 200])
        told = self.google.ask("GET", "/sandbox/calls", who=None).json
        self.assertEqual(told["by_method"], {"drive.files.get": {"calls": 4, "units": 20}})
        self.assertEqual(told["by_user"][BOB], {"calls": 1, "units": 5})

    def test_a_call_that_may_not_be_in_a_batch(self) -> None:
        for call, status in (
            ("GET https://www.googleapis.com/drive/v3/files HTTP/1.1\r\n", 400),
            ("GET //example.org/drive/v3/files", 404),
            (f"GET /drive/v3/files/{self.plan}?alt=media", 400),
            (f"GET /drive/v3/files/{self.plan}/export?mimeType=text/plain", 400),
            ("POST /batch/drive/v3", 404),
            ("POST /upload/drive/v3/files?uploadType=media", 404),
            ("GET /sandbox/world", 404),
            ("GET /drive/v3/files?q=" + "x" * 8000, 414),
            ("nonsense", 400),
            ("", 400),
            ("GET /drive/v3/files HTTP/1.1\r\nnonsense\r\n\r\n", 400),
            ("GET /drive/v3/nothing", 404),
        ):
            answers = self.ask(call, self.get(self.plan))
            self.assertEqual([told for told, _ in answers], [status, 200], call[:60])

    def test_what_is_no_batch(self) -> None:
        headers = {"Content-Type": "multipart/mixed; boundary=b"}
        for body in (b"", b"x", b"--c\r\n\r\nGET / HTTP/1.1\r\n--c--"):
            refused = self.google.ask("POST", "/batch/drive/v3", body=body, headers=headers)
            self.assertEqual(refused.reason, "400 badContent")
        (refused,) = self.begin(*[self.get(self.plan)] * 101)
        assert isinstance(refused, Reply)
        self.assertEqual(refused.reason, "400 badRequest")
        self.assertEqual(len(self.ask(*[self.get(self.plan)] * 100)), 100)

    def test_faults_meet_single_calls(self) -> None:
        fault = {"match": {"file": self.plan}, "status": 503, "times": 1}
        self.google.ask("PUT", "/sandbox/faults", who=None, body=[fault])
        answers = self.ask(self.get(self.plan), self.get(self.plan))
        self.assertEqual([status for status, _ in answers], [503, 200])

    def test_it_takes_as_long_as_its_slowest(self) -> None:
        self.google.ask("PUT", "/sandbox/faults", who=None, body=[{"delay": 3, "times": 1}])
        got = self.begin(self.get(self.plan), self.get(self.plan), who=CAT)
        self.assertEqual(got, [])
        self.google.advance(3)
        self.assertEqual(len(got), 1)

    def test_a_line_that_breaks_under_one_breaks_under_all(self) -> None:
        faults = [
            {"match": {"file": self.plan}, "delay": 60},
            {"match": {"file": self.budget}, "drop": True},
        ]
        self.google.ask("PUT", "/sandbox/faults", who=None, body=faults)
        (lost,) = self.begin(self.get(self.plan), self.get(self.budget))
        self.assertIsInstance(lost, Exception)
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        self.assertEqual(self.google.ask("GET", "/sandbox/calls", who=None).json["max_in_flight"], 0)
