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

    def test_every_reason_of_googles_comes_as_google_writes_it(self) -> None:
        limits = "userRateLimitExceeded rateLimitExceeded dailyLimitExceeded subscriptionRateLimitExceeded"
        globally = (
            "sharingRateLimitExceeded insufficientFilePermissions forbidden appNotAuthorizedToFile"
            " insufficientPermissions domainPolicy storageQuotaExceeded numChildrenInNonRootLimitExceeded"
            " teamDriveFileLimitExceeded activeItemCreationLimitExceeded myDriveHierarchyDepthLimitExceeded"
            " teamDriveHierarchyTooDeep fileNotDownloadable fileNotExportable exportSizeLimitExceeded"
            " downloadQuotaExceeded cannotDownloadAbusiveFile teamDriveMembershipRequired"
            " cannotModifyInheritedTeamDrivePermission teamDrivesParentLimit fieldNotWritable"
        )
        bad = "badRequest required invalid invalidParameter invalidSharingRequest"
        expected = dict.fromkeys(f"{limits} accessNotConfigured".split(), (403, "usageLimits"))
        expected |= dict.fromkeys(globally.split(), (403, "global"))
        expected |= dict.fromkeys(bad.split(), (400, "global"))
        expected |= {"authError": (401, "global"), "notFound": (404, "global"), "gone": (410, "global")}
        expected |= {"internalError": (500, "global"), "backendError": (503, "global")}
        for reason, (status, domain) in expected.items():
            self.order({"reason": reason})
            answer = self.google.drive("GET", f"files/{self.plan}")
            (item,) = answer.json["error"]["errors"]
            told = answer.status, answer.json["error"]["code"], item["reason"], item["domain"]
            self.assertEqual(told, (status, status, reason, domain))

    def test_what_comes_with_some_of_them(self) -> None:
        self.order({"reason": "authError"})
        answer = self.google.drive("GET", f"files/{self.plan}")
        self.assertEqual(answer.json["error"]["status"], "UNAUTHENTICATED")
        self.assertIn("invalid_token", answer.headers["www-authenticate"])
        self.order({"reason": "insufficientPermissions"})
        answer = self.google.drive("GET", f"files/{self.plan}")
        (detail,) = answer.json["error"]["details"]
        self.assertEqual(detail["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        self.order({"reason": "notFound"})
        answer = self.google.drive("GET", f"files/{self.plan}")
        self.assertEqual(answer.json["error"]["message"], f"File not found: {self.plan}.")

    def test_a_rate_limit_with_and_without_a_hint(self) -> None:
        for more in ({}, {"retry_after": 3}):
            self.order({"status": 429, "reason": "rateLimitExceeded", **more})
            answer = self.google.drive("GET", "files")
            self.assertEqual(answer.reason, "429 rateLimitExceeded")
            self.assertEqual(answer.json["error"]["code"], 429)
            self.assertEqual(answer.headers.get("retry-after"), "3" if more else None)

    def test_a_reason_under_another_status(self) -> None:
        self.order({"status": 410, "reason": "invalid"})
        answer = self.google.drive("GET", "files")
        self.assertEqual((answer.reason, answer.json["error"]["code"]), ("410 invalid", 410))

    def test_a_page_in_the_place_of_json(self) -> None:
        self.order({"status": 502, "body": "<html>Bad Gateway</html>"})
        answer = self.google.drive("GET", "files")
        self.assertEqual(answer.headers["content-type"], "text/html; charset=UTF-8")
        self.order({"status": 200, "body": '{"files": ['})
        answer = self.google.drive("GET", "files")
        self.assertEqual((answer.status, answer.body), (200, b'{"files": ['))
        self.assertIn("json", answer.headers["content-type"])

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
