"""Who is told what of troubles, and when they are over."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from docsession.troubles import Troubles
from tests.unit.google import clock


class FakeListener:
    def __init__(self, user_id: str | None) -> None:
        self.user_id = user_id
        self.trouble: str | None = None
        self.heard: list[tuple[str, Any]] = []

    def notify(self, method: str, params: Any) -> None:
        self.heard.append((method.removeprefix("session."), params.get("reason")))


class TroubleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.stretch = 1.0
        self.ann, self.bob, self.nobody = (FakeListener(user) for user in ("ann", "bob", None))
        self.troubles = Troubles(
            self.clock, listeners=lambda: [self.ann, self.bob, self.nobody], stretch=lambda: self.stretch
        )
        self.troubles.start()
        self.addCleanup(self.troubles.stop)

    def test_a_users_limit_is_told_to_that_user_alone(self) -> None:
        self.troubles.limited("ann", "userRateLimitExceeded", 20)
        self.assertEqual((self.ann.heard, self.bob.heard), ([("degraded", "google_rate_limited")], []))
        self.clock.pump([1] * 26)
        self.assertEqual(self.ann.heard[1:], [("recovered", None)])
        self.assertEqual(self.troubles.of("ann"), {})

    def test_a_short_pause_is_no_news(self) -> None:
        self.troubles.limited("ann", "userRateLimitExceeded", 4)
        self.assertEqual(self.ann.heard, [])

    def test_a_limit_that_comes_again_when_its_pause_ends_is_one_trouble(self) -> None:
        for pause in (8, 20, 2, 30, 1, 17):  # short ones, too
            self.troubles.limited("ann", "userRateLimitExceeded", pause)
            self.clock.pump([1] * (pause + 2))  # until the next try, which is refused
        self.assertEqual(self.ann.heard, [("degraded", "google_rate_limited")])
        self.clock.pump([1] * 10)
        self.assertEqual(self.ann.heard[1:], [("recovered", None)])

    def test_everybodys_limit_is_told_to_all_once(self) -> None:
        self.troubles.limited("ann", "userRateLimitExceeded", 100)
        self.troubles.limited(None, "rateLimitExceeded", 20)
        self.troubles.limited(None, "rateLimitExceeded", 30)
        self.assertEqual(len(self.ann.heard), 1)
        self.assertEqual(self.nobody.heard, [("degraded", "google_rate_limited")])
        self.clock.pump([1] * 40)
        self.assertEqual((len(self.ann.heard), len(self.bob.heard)), (1, 2))

    def test_google_is_away_after_failures_in_a_row(self) -> None:
        for _ in range(10):
            self.troubles.weather(False, 5)
        self.assertEqual(self.bob.heard, [])  # all at once: perhaps a moment only
        self.clock.advance(5)
        self.troubles.weather(False, 5)
        self.assertEqual(self.bob.heard, [("degraded", "google_unavailable")])
        self.clock.pump([10] * 30)
        self.assertEqual(len(self.bob.heard), 1)
        self.troubles.weather(True, 0)
        self.assertEqual(self.bob.heard[1:], [("recovered", None)])

    def test_one_answer_between_failures_is_enough(self) -> None:
        for _ in range(20):
            self.troubles.weather(False, 5)
            self.clock.advance(5)
            self.troubles.weather(True, 0)
        self.assertEqual(self.bob.heard, [])

    def test_the_worst_is_told_and_all_is_well_after_the_last(self) -> None:
        self.troubles.limited(None, "rateLimitExceeded", 60)
        self.troubles.store(True)
        self.troubles.store(False)
        self.clock.pump([1] * 70)
        said = ["google_rate_limited", "store_unavailable", "google_rate_limited", None]
        self.assertEqual([reason for _, reason in self.ann.heard], said)

    def test_who_opens_in_the_middle_hears_of_it(self) -> None:
        self.troubles.store(True)
        late = FakeListener("cat")
        self.troubles.tell(late)
        self.troubles.tell(late)
        self.assertEqual(late.heard, [("degraded", "store_unavailable")])

    def test_stretched_intervals(self) -> None:
        self.stretch = 2.5
        self.clock.advance(5)
        self.stretch = 1.8  # not yet: it would come and go
        self.clock.advance(5)
        self.assertEqual(self.ann.heard, [("degraded", "google_rate_limited")])
        self.stretch = 1.2
        self.clock.advance(5)
        self.assertEqual(self.ann.heard[1:], [("recovered", None)])

    def test_a_domain_that_forbids(self) -> None:
        self.troubles.limited("bob", "domainPolicy", 3600)
        self.assertEqual(self.bob.heard, [("degraded", "google_forbids")])
        self.assertEqual(self.troubles.counts("google_forbids"), 1)
