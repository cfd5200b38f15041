"""What is asked of Google about channels, and what its refusals mean."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from docsession.google.channel_calls import ChannelCalls, NotOpened, NotStopped
from docsession.google.drive import Drive
from docsession.google.http import NoAnswer, NotSent
from docsession.google.pauses import Scope
from docsession.google.refusals import CHANNELS
from docsession.model import ChannelRecord
from tests.unit.google import Door, FakeAccount, FakeHttp, clock, refusal, reply
from tests.unit.push import SIGNER

ADDRESS = "https://docs.example.org/api/drive/notifications"
RECORD = ChannelRecord("c1", "ann", 1, "opening", 1_000_000.0, 1_604_800.0)
OPEN = ChannelRecord("c1", "ann", 1, "live", 1_000_000.0, 1_604_800.0, "resource")
ANSWER = {"kind": "api#channel", "id": "c1", "resourceId": "7axk6UsP7Nf", "expiration": "1086400000"}


class CallCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.http = FakeHttp()
        self.door = Door(self.clock)
        self.account: Any = FakeAccount("ann")
        drive = Drive(
            self.http,  # type: ignore[arg-type]
            self.door.gate,
            self.door.slowing,
            api="https://www.googleapis.com",
            clock=self.clock,
            rng=random.Random(1),
            tries=4,
        )
        self.calls = ChannelCalls(
            drive,
            SIGNER,
            self.clock,
            address=ADDRESS,
            held_back=lambda: self.door.pauses.left(None, (CHANNELS,)),
        )
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def open(self, *answers: Any) -> Deferred[Any]:
        self.http.answers.extend(answers)
        return Deferred.fromCoroutine(self.calls.open(self.account, RECORD, "660"))

    def refused(self, *answers: Any) -> NotOpened:
        error = self.failureResultOf(self.open(*answers), NotOpened).value
        assert isinstance(error, NotOpened)
        return error

    def stop(self, *answers: Any) -> Deferred[None]:
        self.http.answers.extend(answers)
        return Deferred.fromCoroutine(self.calls.stop(self.account, OPEN))


class Open(CallCase):
    def test_token(self) -> None:
        self.http.answers = [reply(body={"startPageToken": "660"})]
        token = Deferred.fromCoroutine(self.calls.start_token(self.account))
        self.assertEqual(self.successResultOf(token), "660")
        url = urlsplit(self.http.sent[0]["url"])
        self.assertEqual(url.path, "/drive/v3/changes/startPageToken")
        self.assertEqual(parse_qs(url.query)["supportsAllDrives"], ["true"])

    def test_token_that_is_none(self) -> None:
        self.http.answers = [reply(body={})]
        self.failureResultOf(Deferred.fromCoroutine(self.calls.start_token(self.account)), NotOpened)

    def test_opened(self) -> None:
        opened = self.successResultOf(self.open(reply(body=ANSWER)))
        self.assertEqual((opened.resource_id, opened.expires), ("7axk6UsP7Nf", 1_086_400.0))
        (sent,) = self.http.sent
        url = urlsplit(sent["url"])
        self.assertEqual((sent["method"], url.path), ("POST", "/drive/v3/changes/watch"))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.assertEqual((query["pageToken"], query["supportsAllDrives"]), ("660", "true"))
        self.assertEqual(query["includeItemsFromAllDrives"], "true")
        self.assertEqual(
            sent["json"],
            {
                "id": "c1",
                "type": "web_hook",
                "address": ADDRESS,
                "token": SIGNER.token("c1"),
                "expiration": "1604800000",
            },
        )

    def test_its_end(self) -> None:
        """Google's word, but never later than asked; without one, an hour."""
        for said, end in (("1700000000000", 1_604_800.0), (None, 1_003_600.0), ("x", 1_003_600.0)):
            opened = self.successResultOf(self.open(reply(body=ANSWER | {"expiration": said})))
            self.assertEqual(opened.expires, end)

    def test_nonsense(self) -> None:
        self.assertTrue(self.refused(reply(body={"id": "c1"})).perhaps)

    def test_too_many(self) -> None:
        """It concerns everybody, for minutes, and is not sent again by itself."""
        error = self.refused(refusal(403, "subscriptionRateLimitExceeded", domain="usageLimits"))
        self.assertEqual((error.reason, error.everybody), ("subscriptionRateLimitExceeded", True))
        self.assertTrue(error.least >= 120)
        self.assertEqual(len(self.http.sent), 1)

    def test_our_address(self) -> None:
        for reason in ("webhookUrlUnauthorized", "push.webhookUrlUnauthorized", "push.webhookUrlNotHttps"):
            error = self.refused(refusal(400, reason))
            self.assertEqual((error.reason, error.everybody), (reason.removeprefix("push."), True))
        said = [event for event in self.events if "push does not work" in str(event.get("log_format"))]
        self.assertEqual([(event["log_level"].name, event["url"]) for event in said], [("error", ADDRESS)])
        self.clock.advance(61)
        self.refused(refusal(400, "webhookUrlUnauthorized"))
        said = [event for event in self.events if "push does not work" in str(event.get("log_format"))]
        self.assertEqual(said[-1]["count"], 2)

    def test_taken(self) -> None:
        for reason in ("channelIdNotUnique", "push.channelIdNotUnique"):
            self.assertTrue(self.refused(refusal(400, reason)).another_id)

    def test_nobody_knows(self) -> None:
        for answer in (NoAnswer("x"), reply(503), reply(200, b"<html>")):
            error = self.refused(answer)
            self.assertEqual((error.reason, error.perhaps), ("outcome_unknown", True))

    def test_this_user(self) -> None:
        for answers, reason in (
            ([NotSent("x")], "google_unavailable"),
            ([refusal(403, "insufficientPermissions")], "scope_missing"),
            ([refusal(401, "authError"), refusal(401, "authError")], "not_signed_in"),
            ([refusal(404, "notFound")], "notFound"),
        ):
            error = self.refused(*answers)
            self.assertEqual((error.reason, error.everybody, error.perhaps), (reason, False, False))

    def test_a_stale_token(self) -> None:
        self.successResultOf(self.open(refusal(401, "authError"), reply(body=ANSWER)))
        self.assertEqual([sent["token"] for sent in self.http.sent], ["t0", "t1"])

    def test_a_turn_that_does_not_come(self) -> None:
        """It was never sent, so it is known that nothing was opened."""
        self.door.pauses.begin(Scope(), least=900.0)
        opening = self.open()
        self.clock.advance(59)
        self.assertNoResult(opening)
        self.clock.advance(2)
        error = self.failureResultOf(opening, NotOpened).value
        assert isinstance(error, NotOpened)
        self.assertEqual((error.reason, error.perhaps), ("too_slow", False))
        self.clock.advance(2000)
        self.assertEqual(self.http.sent, [])

    def test_an_answer_that_does_not_come(self) -> None:
        opening = self.open(Deferred())
        self.clock.advance(61)
        error = self.failureResultOf(opening, NotOpened).value
        assert isinstance(error, NotOpened)
        self.assertTrue(error.perhaps)


class Stop(CallCase):
    def test_stopped(self) -> None:
        self.successResultOf(self.stop(reply(204, b"")))
        (sent,) = self.http.sent
        self.assertEqual((sent["method"], urlsplit(sent["url"]).path), ("POST", "/drive/v3/channels/stop"))
        self.assertEqual(sent["json"], {"id": "c1", "resourceId": "resource"})

    def test_gone_already(self) -> None:
        for status in (404, 410):
            self.successResultOf(self.stop(refusal(status, "notFound")))

    def test_the_grant_is_dead(self) -> None:
        error = self.failureResultOf(self.stop(refusal(401, "x"), refusal(401, "x")), NotStopped).value
        self.assertTrue(error.hopeless)  # type: ignore[attr-defined]

    def test_not_ours(self) -> None:
        error = self.failureResultOf(self.stop(refusal(403, "forbidden")), NotStopped).value
        self.assertTrue(error.hopeless)  # type: ignore[attr-defined]

    def test_google_is_away(self) -> None:
        for answer in (NoAnswer("x"), NotSent("x"), reply(503)):
            error = self.failureResultOf(self.stop(answer), NotStopped).value
            self.assertFalse(error.hopeless)  # type: ignore[attr-defined]
