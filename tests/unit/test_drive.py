"""Requests through the gate: tried again where that is safe, and never where it is not."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import (
    Forbidden,
    GoogleRejected,
    GoogleUnavailable,
    NotFound,
    NotSignedIn,
    OutcomeUnknown,
    RateLimited,
    ScopeMissing,
    TooLarge,
    Unavailable,
)
from docsession.google.drive import AccessRefused, Drive
from docsession.google.drive_request import DriveRequest, compose
from docsession.google.http import NoAnswer, NotSent
from tests.unit.google import Door, FakeAccount, FakeHttp, clock, method, refusal, reply

FILE = {"id": "f", "name": "Plan"}
GET = compose(method("files.get"), {"fileId": "f"})
UPDATE = compose(method("files.update"), {"fileId": "f", "requestBody": {"name": "Plan"}})
DELETE = compose(method("files.delete"), {"fileId": "f"})


class FakeSending:
    """What a journal would hear, in one list with what was sent."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard
        self.failing: Exception | None = None

    async def about_to_send(self) -> None:
        self.heard.append("about to send")
        if self.failing is not None:
            raise self.failing

    async def not_done(self) -> None:
        self.heard.append("not done")


class DriveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.account = FakeAccount()
        self.heard: list[str] = []
        self.sending = FakeSending(self.heard)
        self.counted: list[tuple[str, str, int]] = []

    def drive(self, *answers: Any) -> Drive:
        self.http = FakeHttp(*answers)
        self.http.on_send = lambda: self.heard.append("sent")
        self.door = Door(self.clock)
        self.gate = self.door.gate
        return Drive(
            self.http,  # type: ignore[arg-type]
            self.gate,
            self.door.slowing,
            api="https://google/",
            clock=self.clock,
            rng=random.Random(5),
            tries=4,
            on_request=lambda *counted: self.counted.append(counted),
        )

    def ask(self, request: DriveRequest, *answers: Any, **more: Any) -> Deferred[Any]:
        asked = self.drive(*answers).call(self.account, request, **more)  # type: ignore[arg-type]
        return Deferred.fromCoroutine(asked)

    def ended(self, asked: Deferred[Any], within: float = 200.0) -> Deferred[Any]:
        """Time passes until there is a result."""
        for _ in range(int(within)):
            if asked.called:
                break
            self.clock.advance(1)
        self.assertEqual(self.gate.in_flight, 0)
        return asked

    # -- what is sent

    def test_what_is_sent(self) -> None:
        self.assertEqual(self.successResultOf(self.ask(UPDATE, reply(200, FILE))), FILE)
        (sent,) = self.http.sent
        self.assertEqual((sent["method"], sent["token"], sent["json"]), ("PATCH", "t0", {"name": "Plan"}))
        self.assertEqual(
            sent["url"], "https://google/drive/v3/files/f?prettyPrint=false&supportsAllDrives=true"
        )
        self.assertNotIn("t0", sent["url"])
        self.assertEqual(self.counted, [("drive.files.update", "ok", 50)])

    def test_only_what_is_answered_with_nothing_may_be_empty(self) -> None:
        self.assertEqual(self.successResultOf(self.ask(DELETE, reply(204, b""))), {})
        self.failureResultOf(self.ask(UPDATE, reply(200, b"")), OutcomeUnknown)
        self.assertEqual(
            self.successResultOf(self.ended(self.ask(GET, reply(200, b" "), reply(200, FILE)))), FILE
        )

    def test_a_redirect_is_no_answer(self) -> None:
        moved = reply(302, b"", Location="https://elsewhere/")
        self.failureResultOf(self.ended(self.ask(GET, *[moved] * 4)), GoogleUnavailable)
        self.failureResultOf(self.ask(DELETE, moved), OutcomeUnknown)

    # -- reads

    def test_a_read_is_tried_again_after_all_that_may_pass(self) -> None:
        for bad in (
            NotSent("refused"),
            NoAnswer("cut"),
            reply(200, b"<html>"),
            reply(200, b"[1]"),
            reply(500, b"<html>"),
            refusal(503, "backendError"),
            refusal(403, "userRateLimitExceeded"),
            refusal(429, "rateLimitExceeded"),
        ):
            asked = self.ended(self.ask(GET, bad, bad, bad, reply(200, FILE)))
            self.assertEqual(self.successResultOf(asked), FILE)
            self.assertEqual(len(self.http.sent), 4)

    def test_a_read_is_given_up_with_an_error_that_says_when(self) -> None:
        for bad, error in (
            (NotSent("refused"), GoogleUnavailable),
            (NoAnswer("cut"), GoogleUnavailable),
            (reply(200, b"<html>"), GoogleUnavailable),
            (refusal(500, "backendError"), GoogleUnavailable),
            (refusal(403, "userRateLimitExceeded"), RateLimited),
        ):
            failure = self.failureResultOf(self.ended(self.ask(GET, *[bad] * 4)), error)
            self.assertGreater(failure.value.retry_after, 0)
            self.assertEqual(len(self.http.sent), 4)

    def test_what_will_not_pass_is_final(self) -> None:
        for bad, error in (
            (refusal(400, "invalid"), GoogleRejected),
            (refusal(403, "forbidden"), Forbidden),
            (refusal(403, "insufficientPermissions"), ScopeMissing),
            (refusal(404, "notFound"), NotFound),
            (refusal(410, "gone"), GoogleRejected),
            (TooLarge(5), TooLarge),
        ):
            self.failureResultOf(self.ask(GET, bad), error)
            self.assertEqual(len(self.http.sent), 1)

    def test_a_missing_scope_names_those_that_would_do(self) -> None:
        error = self.failureResultOf(self.ask(GET, refusal(403, "insufficientPermissions"))).value
        self.assertIn("https://www.googleapis.com/auth/drive.readonly", error.data["scopes"])

    def test_a_final_refusal_is_kept_whole_for_who_asks(self) -> None:
        drive = self.drive(refusal(404, "notFound"))
        asked = drive.ask(self.account, GET, poll=True)  # type: ignore[arg-type]
        refused = self.failureResultOf(Deferred.fromCoroutine(asked), AccessRefused).value.refusal
        self.assertEqual((refused.status, refused.reason), (404, "notFound"))

    def test_retry_after_is_heeded(self) -> None:
        asked = self.ask(GET, refusal(403, "userRateLimitExceeded", Retry_After="7"), reply(200, FILE))
        self.clock.advance(6.9)
        self.assertEqual(len(self.http.sent), 1)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(asked), FILE)

    def test_who_is_to_wait_longer_than_a_person_would_is_told_at_once(self) -> None:
        error = self.failureResultOf(
            self.ask(GET, refusal(429, "userRateLimitExceeded", Retry_After="30")), RateLimited
        ).value
        self.assertEqual(error.retry_after, 30)
        self.assertEqual(self.gate.paused_for("ann"), 30)
        self.assertEqual(self.gate.paused_for("bob"), 0)

    def test_a_poll_waits_it_out(self) -> None:
        asked = self.ask(
            GET, refusal(429, "rateLimitExceeded", Retry_After="30"), reply(200, FILE), poll=True
        )
        self.assertEqual(self.gate.paused_for("bob"), 30)
        self.clock.advance(29)
        self.assertNoResult(asked)
        self.clock.advance(2)
        self.assertEqual(self.successResultOf(asked), FILE)

    def test_a_poll_is_not_tried_again_in_bad_weather(self) -> None:
        for bad in (NotSent("refused"), NoAnswer("cut"), reply(503, b"")):
            self.failureResultOf(self.ask(GET, bad, poll=True), GoogleUnavailable)
            self.assertEqual(len(self.http.sent), 1)

    def test_a_poll_takes_a_new_token(self) -> None:
        self.assertEqual(
            self.successResultOf(self.ask(GET, refusal(401, "authError"), reply(200, FILE), poll=True)), FILE
        )

    def test_a_grant_whose_newest_token_is_refused_is_dead(self) -> None:
        stale = refusal(401, "authError")
        self.failureResultOf(self.ask(GET, stale, stale, poll=True), NotSignedIn)
        self.assertEqual((self.account.grant.asked, self.account.grant.refusals), ([None, "t0"], ["t1"]))

    def test_one_that_is_made_anew_is_not(self) -> None:
        self.successResultOf(self.ask(GET, refusal(401, "authError"), reply(200, FILE)))
        self.assertEqual(self.account.grant.refusals, [])

    def test_after_an_answer_the_next_pause_begins_at_the_beginning(self) -> None:
        limited = refusal(403, "userRateLimitExceeded")
        drive = self.drive(*[limited] * 3, reply(200, FILE), limited, reply(200, FILE))
        for _ in range(2):
            asked = Deferred.fromCoroutine(drive.call(self.account, GET, poll=True))  # type: ignore[arg-type]
            self.successResultOf(self.ended(asked))
        # Three refusals had brought the ceiling to eight seconds.
        waits = [seconds for _, _, seconds in self.door.told]
        self.assertEqual(len(waits), 4)
        self.assertLessEqual(waits[-1], 1)
        self.assertEqual(self.door.pauses._pauses, {})

    def test_when_google_is_away_the_log_says_so_once_a_minute(self) -> None:
        lines: list[str] = []
        drive = self.drive(*[NoAnswer("cut")] * 9)
        drive._log = Logger(observer=lambda event: lines.append(formatEvent(event)))

        def poll(times: int) -> None:
            for _ in range(times):
                asked = drive.call(self.account, GET, poll=True)  # type: ignore[arg-type]
                self.failureResultOf(Deferred.fromCoroutine(asked), GoogleUnavailable)

        poll(5)
        self.assertEqual(len(lines), 1)
        self.clock.advance(61)
        poll(2)
        self.assertEqual(len(lines), 2)
        self.assertIn("unsaid since the last such line: 4", lines[1])

    # -- writes

    def test_a_write_without_an_answer_is_not_sent_again(self) -> None:
        for bad in (
            NoAnswer("cut"),
            reply(200, b"<html>"),
            reply(500, b""),
            refusal(502, "backendError"),
            refusal(503, "backendError", Retry_After="1"),
            refusal(504, "backendError"),
            reply(408, b""),
            TooLarge(5),
        ):
            error = self.failureResultOf(self.ask(UPDATE, bad), OutcomeUnknown).value
            self.assertEqual((error.code, len(self.http.sent)), (1010, 1))

    def test_a_write_that_was_not_done_in_the_end_is_said_to_be_so(self) -> None:
        limit = refusal(429, "rateLimitExceeded", Retry_After="30")
        for answers in ([NotSent("refused")] * 4, [limit], [refusal(401, "authError")] * 2):
            self.heard.clear()
            self.failureResultOf(self.ended(self.ask(UPDATE, *answers, sending=self.sending)))
            self.assertEqual(self.heard[-1], "not done")

    def test_a_write_that_was_not_done_is_sent_again(self) -> None:
        for bad in (
            NotSent("refused"),
            refusal(401, "authError"),
            refusal(403, "userRateLimitExceeded"),
            refusal(403, "rateLimitExceeded"),
            refusal(429, "rateLimitExceeded", Retry_After="2"),
        ):
            asked = self.ended(self.ask(UPDATE, bad, reply(200, FILE)))
            self.assertEqual(self.successResultOf(asked), FILE)
            self.assertEqual(len(self.http.sent), 2)

    def test_after_a_second_try_without_an_answer_the_outcome_is_unknown(self) -> None:
        asked = self.ended(self.ask(UPDATE, NotSent("refused"), NoAnswer("cut")))
        self.failureResultOf(asked, OutcomeUnknown)

    def test_a_write_that_never_left_is_no_unknown_outcome(self) -> None:
        self.failureResultOf(self.ended(self.ask(UPDATE, *[NotSent("refused")] * 4)), GoogleUnavailable)

    def test_the_journal_hears_before_each_try_and_between_them(self) -> None:
        asked = self.ask(
            UPDATE,
            refusal(401, "authError"),
            refusal(403, "userRateLimitExceeded", Retry_After="5"),
            reply(200, FILE),
            sending=self.sending,
        )
        before = ["about to send", "sent", "not done", "about to send", "sent", "not done"]
        self.assertEqual(self.heard, before)  # and now it waits, not begun
        self.successResultOf(self.ended(asked))
        self.assertEqual(self.heard, [*before, "about to send", "sent"])

    def test_what_cannot_be_journalled_is_not_sent(self) -> None:
        self.sending.failing = Unavailable()
        self.failureResultOf(self.ask(UPDATE, sending=self.sending), Unavailable)
        self.assertEqual(self.http.sent, [])

    # -- tokens

    def test_after_a_401_a_new_token_once(self) -> None:
        asked = self.ask(GET, refusal(401, "authError"), reply(200, FILE))
        self.assertEqual(self.successResultOf(asked), FILE)
        self.assertEqual([sent["token"] for sent in self.http.sent], ["t0", "t1"])
        self.assertEqual(self.account.grant.asked, [None, "t0"])

    def test_after_a_second_401_nobody_is_signed_in(self) -> None:
        self.failureResultOf(self.ask(GET, *[refusal(401, "authError")] * 2), NotSignedIn)
        self.assertEqual(len(self.http.sent), 2)

    def test_a_401_after_bad_weather_still_gets_its_new_token(self) -> None:
        bad = refusal(503, "backendError")
        asked = self.ended(self.ask(GET, bad, bad, bad, refusal(401, "authError"), reply(200, FILE)))
        self.assertEqual(self.successResultOf(asked), FILE)

    def test_without_a_token_nothing_is_sent(self) -> None:
        self.account.grant.failing = NotSignedIn()
        self.failureResultOf(self.ask(GET), NotSignedIn)
        self.assertEqual(self.http.sent, [])

    # -- going away

    def test_cancelled_at_google_or_between_tries_nothing_more_is_sent(self) -> None:
        for answers in ([Deferred()], [NoAnswer("cut")]):
            asked = self.ask(GET, *answers)
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            self.clock.advance(100)
            self.assertEqual((len(self.http.sent), self.gate.in_flight), (1, 0))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tokens_are_in_no_counted_or_logged_word(self) -> None:
        self.ended(self.ask(GET, refusal(401, "authError"), NoAnswer("cut"), reply(200, FILE)))
        self.assertNotIn("t0", repr(self.counted))
