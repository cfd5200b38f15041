"""What each of Google's reasons means to us (google-facts, section 3.3)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from docsession.google.refusals import ACCESS_LOST, Kind, read
from tests.unit.google import refusal, reply

SLOW_USER, SLOW_ALL, FINAL = Kind.SLOW_USER, Kind.SLOW_ALL, Kind.FINAL

# status, reason, what to do, the error that a caller gets where it ends there
REASONS = [
    (400, "badRequest", FINAL, "google_rejected"),
    (400, "required", FINAL, "google_rejected"),
    (400, "invalid", FINAL, "google_rejected"),
    (400, "invalidParameter", FINAL, "google_rejected"),
    (400, "invalidSharingRequest", FINAL, "google_rejected"),
    (401, "authError", Kind.STALE_TOKEN, None),
    (403, "userRateLimitExceeded", SLOW_USER, "rate_limited"),
    (403, "rateLimitExceeded", SLOW_ALL, "rate_limited"),
    (403, "dailyLimitExceeded", Kind.NEXT_DAY, "rate_limited"),
    (403, "sharingRateLimitExceeded", Kind.SLOW_SHARING, "rate_limited"),
    (403, "subscriptionRateLimitExceeded", Kind.SLOW_CHANNELS, "rate_limited"),
    (403, "insufficientFilePermissions", FINAL, "forbidden"),
    (403, "forbidden", FINAL, "forbidden"),
    (403, "appNotAuthorizedToFile", FINAL, "forbidden"),
    (403, "insufficientPermissions", Kind.SCOPE, None),
    (403, "domainPolicy", Kind.NO_POLLS, "forbidden"),
    (403, "storageQuotaExceeded", FINAL, "forbidden"),
    (403, "fileNotDownloadable", FINAL, "forbidden"),
    (403, "exportSizeLimitExceeded", FINAL, "forbidden"),
    (403, "downloadQuotaExceeded", FINAL, "forbidden"),
    (403, "teamDriveMembershipRequired", FINAL, "forbidden"),
    (403, "fieldNotWritable", FINAL, "forbidden"),
    (404, "notFound", FINAL, "not_found"),
    (409, "conflict", FINAL, "google_rejected"),
    (410, "gone", FINAL, "google_rejected"),
    (412, "conditionNotMet", FINAL, "google_rejected"),
    (429, "rateLimitExceeded", SLOW_ALL, "rate_limited"),
    (429, "userRateLimitExceeded", SLOW_USER, "rate_limited"),
    (429, "tooManyRequests", SLOW_USER, "rate_limited"),
    (500, "internalError", Kind.WEATHER, None),
    (502, "backendError", Kind.WEATHER, None),
    (503, "backendError", Kind.WEATHER, None),
    (504, "backendError", Kind.WEATHER, None),
    (408, "requestTimeout", Kind.WEATHER, None),
    (501, "notImplemented", FINAL, "google_rejected"),
]


class RefusalTests(SynchronousTestCase):
    def test_each_reason(self) -> None:
        for status, reason, kind, error in REASONS:
            understood = read(refusal(status, reason))
            self.assertEqual((understood.kind, understood.reason), (kind, reason), (status, reason))
            if error is not None:
                self.assertEqual(understood.error().name, error, (status, reason))

    def test_what_a_user_may_not_see_any_more(self) -> None:
        self.assertEqual(ACCESS_LOST, {"notFound", "insufficientFilePermissions", "appNotAuthorizedToFile"})

    def test_the_callers_error_says_googles_own_words(self) -> None:
        error = read(refusal(400, "invalidParameter")).error()
        self.assertEqual(error.message, "No.")
        self.assertEqual((error.data["status"], error.data["reason"]), (400, "invalidParameter"))

    def test_how_long_to_wait(self) -> None:
        self.assertEqual(read(refusal(403, "userRateLimitExceeded", Retry_After="17")).patience, 17)
        self.assertEqual(read(refusal(503, "backendError", Retry_After="3")).patience, 3)
        self.assertEqual(read(refusal(403, "sharingRateLimitExceeded")).patience, 60)
        self.assertEqual(read(refusal(403, "domainPolicy")).patience, 3600)
        self.assertEqual(read(refusal(429, "rateLimitExceeded", Retry_After="99999")).patience, 3600)
        for nonsense in ("Wed, 21 Oct 2026 07:28:00 GMT", "-5", "", "soon", "nan"):
            self.assertEqual(read(refusal(429, "x", Retry_After=nonsense)).patience, 0, nonsense)

    def test_a_scope_may_be_missed_in_the_newer_place(self) -> None:
        body = {
            "error": {
                "code": 403,
                "message": "Request had insufficient authentication scopes.",
                "status": "PERMISSION_DENIED",
                "details": [{"@type": "ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}],
            }
        }
        self.assertIs(read(reply(403, body)).kind, Kind.SCOPE)

    def test_the_reason_may_be_among_several(self) -> None:
        entries = [{"reason": "forbidden"}, {"reason": "userRateLimitExceeded"}]
        self.assertIs(read(reply(403, {"error": {"errors": entries}})).kind, Kind.SLOW_USER)

    def test_whatever_the_body_it_is_understood(self) -> None:
        for body in (
            b"<html>not here</html>",
            b"",
            b"\xff\xfe",
            b"[]",
            b'"text"',
            b"[" * 5000,
            {"error": "invalid_grant"},
            {"error": None},
            {"error": {"errors": 5, "details": "x", "message": {"a": 1}}},
            {"error": {"errors": [1, None, "x"], "details": {"a": 1}}},
            {"error": {"errors": [{"reason": None}], "message": "m" * 10_000}},
        ):
            for status, kind in ((403, FINAL), (404, FINAL), (503, Kind.WEATHER), (401, Kind.STALE_TOKEN)):
                understood = read(reply(status, body))
                self.assertIs(understood.kind, kind)
                self.assertLessEqual(len(understood.message), 500)
                self.assertNotIn(understood.reason, ACCESS_LOST)
