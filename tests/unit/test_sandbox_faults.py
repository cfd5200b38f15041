"""Faults to order: errors, delays, silence, lost connections, answers lost after the deed."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.sandbox_driver import ANN, BOB, Driver, Reply


class FaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver()
        self.plan = self.google.id_of("Autumn plan")

    def order(self, *faults: dict[str, Any]) -> None:
        answer = self.google.ask("PUT", "/sandbox/faults", who=None, body=list(faults))
        self.assertEqual(answer.status, 200, answer.body)

    def left(self) -> list[Any]:
        return self.google.ask("GET", "/sandbox/faults", who=None).json  # type: ignore[no-any-return]

    def rename(self, name: str) -> list[Reply | Exception]:
        return self.google.begin("PATCH", f"/drive/v3/files/{self.plan}", body={"name": name})

    def name(self) -> str:
        return self.google.sandbox.world.files[self.plan].name

    def test_a_status_and_a_reason_a_number_of_times(self) -> None:
        self.order(
            {
                "match": {"method": "drive.files.list"},
                "reason": "rateLimitExceeded",
                "times": 2,
                "retry_after": 7,
            }
        )
        for _ in range(2):
            refused = self.google.drive("GET", "files")
            self.assertEqual(refused.reason, "403 rateLimitExceeded")
            self.assertEqual(refused.json["error"]["errors"][0]["domain"], "usageLimits")
            self.assertEqual(refused.headers["retry-after"], "7")
            self.assertEqual(self.google.drive("GET", "about", fields="user").status, 200)
        self.assertEqual(self.google.drive("GET", "files").status, 200)
        self.assertEqual(self.left(), [])

    def test_until_cleared(self) -> None:
        self.order({"status": 503})
        for _ in range(3):
            self.assertEqual(self.google.drive("GET", "files").reason, "503 backendError")
        self.google.ask("DELETE", "/sandbox/faults", who=None)
        self.assertEqual(self.google.drive("GET", "files").status, 200)

    def test_only_who_and_what_is_named(self) -> None:
        self.order({"match": {"user": BOB, "file": self.plan, "method": "drive.*"}, "status": 500})
        self.assertEqual(self.google.drive("GET", f"files/{self.plan}", who=BOB).status, 500)
        self.assertEqual(
            self.google.drive("GET", f"files/{self.plan}/comments", who=BOB, fields="*").status, 500
        )
        self.assertEqual(self.google.drive("GET", "files", who=BOB).status, 200)
        self.assertEqual(self.google.drive("GET", f"files/{self.plan}", who=ANN).status, 200)

    def test_a_body_to_order(self) -> None:
        self.order(
            {"status": 502, "body": "<html>Bad Gateway</html>", "times": 1}, {"status": 200, "body": {"a": 1}}
        )
        self.assertEqual(self.google.drive("GET", "files").body, b"<html>Bad Gateway</html>")
        self.assertEqual(self.google.drive("GET", "files").json, {"a": 1})

    def test_a_delay(self) -> None:
        self.order({"delay": 3, "times": 1})
        got = self.rename("Late")
        self.assertEqual((got, self.name()), ([], "Autumn plan"))
        self.google.advance(3)
        (reply,) = got
        assert isinstance(reply, Reply)
        self.assertEqual((reply.status, self.name()), (200, "Late"))

    def test_silence(self) -> None:
        self.order({"hang": True, "times": 1})
        got = self.rename("Never")
        self.google.advance(3600)
        self.assertEqual((got, self.name()), ([], "Autumn plan"))
        self.assertEqual(self.google.ask("GET", "/sandbox/calls", who=None).json["max_in_flight"], 1)

    def test_a_lost_connection(self) -> None:
        self.order({"drop": True, "times": 1})
        (lost,) = self.rename("Never")
        self.assertIsInstance(lost, Exception)
        self.assertEqual(self.name(), "Autumn plan")

    def test_the_answer_is_lost_after_the_deed(self) -> None:
        self.order({"after": True, "times": 1})
        (lost,) = self.rename("Done")
        self.assertIsInstance(lost, Exception)
        self.assertEqual(self.name(), "Done")
        self.order({"after": True, "status": 500, "times": 1})
        (reply,) = self.rename("Done again")
        assert isinstance(reply, Reply)
        self.assertEqual((reply.status, self.name()), (500, "Done again"))

    def test_the_oauth_endpoints_have_faults_too(self) -> None:
        self.order({"match": {"method": "oauth2.token.refresh"}, "reason": "invalid_grant"})
        body = b"grant_type=refresh_token&refresh_token=x&client_id=c&client_secret=s"
        got = self.google.treq.request(
            "POST",
            "http://127.0.0.1:8766/token",
            data=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        self.google.treq.flush()
        response = self.successResultOf(got)
        self.assertEqual(response.code, 400)
        self.assertEqual(
            self.successResultOf(self.google.treq.json_content(response))["error"], "invalid_grant"
        )

    def test_orders_that_make_no_sense(self) -> None:
        for fault in (
            {"state": 500},
            {"status": 9},
            {"status": 500, "times": 0},
            {},
            {"match": {"who": 1}},
            {"delay": -1},
        ):
            answer = self.google.ask("PUT", "/sandbox/faults", who=None, body=[fault])
            self.assertEqual((answer.status, answer.json["error"]["name"]), (400, "bad_request"), fault)
        self.assertEqual(self.left(), [])

    def test_the_connection_of_a_silent_call_ends_and_it_is_no_longer_in_flight(self) -> None:
        self.order({"hang": True, "times": 1})
        got = self.google.treq.request("GET", "http://127.0.0.1:8766/drive/v3/files")
        self.google.treq.flush()
        got.cancel()
        self.google.treq.flush()
        self.failureResultOf(got)
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        self.assertEqual(self.google.ask("GET", "/sandbox/calls", who=None).json["max_in_flight"], 0)
