"""How long Google is left alone after which refusal, and who."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import WholeQuota
from docsession.config import Quota
from docsession.google.budget import Budget, next_midnight
from docsession.google.pauses import Pauses, Scope
from docsession.google.refusals import Kind, Refusal
from tests.unit.google import Door, clock


class PauseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.pauses = Pauses(self.clock, random.Random(4))

    def again(self, scope: Scope) -> float:
        """The pause passes, and the next request is refused too."""
        self.clock.advance(self.pauses.left(scope.user_id, () if scope.kind is None else (scope.kind,)))
        return self.pauses.begin(scope, sent_at=self.clock.seconds())

    def test_full_jitter_under_a_doubling_ceiling(self) -> None:
        waits = [[self.again(Scope(f"user {n}")) for _ in range(9)] for n in range(200)]
        for step, ceiling in enumerate((1, 2, 4, 8, 16, 32, 64, 64, 64)):
            column = [row[step] for row in waits]
            self.assertLessEqual(max(column), ceiling)
            self.assertGreater(max(column), ceiling * 0.9)
            self.assertLess(min(column), ceiling * 0.1)

    def test_what_was_sent_before_the_pause_says_nothing_new(self) -> None:
        sent_at = self.clock.seconds()
        self.clock.advance(0.5)
        wait = self.pauses.begin(Scope("ann"), sent_at=sent_at)
        for _ in range(10):
            self.assertEqual(self.pauses.begin(Scope("ann"), sent_at=sent_at), wait)
        self.assertEqual(self.pauses.begin(Scope("ann"), least=20, sent_at=sent_at), 20)
        self.clock.advance(30)
        self.assertEqual(self.pauses.begin(Scope("ann"), sent_at=sent_at), 0)

    def test_after_an_answer_it_begins_at_the_beginning(self) -> None:
        scope = Scope("ann")
        for _ in range(6):
            self.again(scope)
        self.pauses.went_well("ann")  # an answer to what was sent before does not end it
        self.assertGreater(self.pauses.left("ann"), 0)
        self.clock.advance(64)
        self.pauses.went_well("ann")
        self.assertLessEqual(self.pauses.begin(scope, sent_at=self.clock.seconds()), 1)

    def test_an_old_one_is_forgotten(self) -> None:
        for number in range(50):
            self.pauses.begin(Scope(f"user {number}"))
        self.clock.advance(300)
        self.pauses.begin(Scope("ann"))
        self.assertEqual(len(self.pauses._pauses), 1)


class SlowingTests(SynchronousTestCase):
    """The table of Google's guide: who slows down, for how long, who is told."""

    def setUp(self) -> None:
        self.clock = clock()
        self.door = Door(self.clock)

    def refused(self, kind: Kind, reason: str, patience: float = 0.0) -> float:
        refusal = Refusal(kind, 403, reason, "No.", patience)
        return self.door.slowing.refused(refusal, "ann", self.clock.seconds())

    def left(self, user: str, *kinds: str) -> float:
        return self.door.pauses.left(user, kinds)

    def test_this_user(self) -> None:
        wait = self.refused(Kind.SLOW_USER, "userRateLimitExceeded", 17)
        self.assertEqual((wait, self.left("ann"), self.left("bob")), (17, 17, 0))
        self.assertEqual(self.door.told, [("ann", "userRateLimitExceeded", 17)])

    def test_everybody_and_less_from_now_on(self) -> None:
        before = self.door.budget.poll_rate()
        self.refused(Kind.SLOW_ALL, "rateLimitExceeded", 20)
        self.assertEqual((self.left("ann"), self.left("bob")), (20, 20))
        self.assertEqual(self.door.told, [(None, "rateLimitExceeded", 20)])
        self.assertLess(self.door.budget.poll_rate(), before)

    def test_until_midnight_in_california(self) -> None:
        self.refused(Kind.NEXT_DAY, "dailyLimitExceeded")
        now = self.clock.seconds()
        self.assertApproximates(self.left("bob"), next_midnight(now) - now, 1)

    def test_sharing_alone(self) -> None:
        self.refused(Kind.SLOW_SHARING, "sharingRateLimitExceeded", 60)
        self.assertEqual(
            (self.left("ann"), self.left("ann", "sharing"), self.left("bob", "sharing")), (0, 60, 0)
        )

    def test_channels_alone_and_nobody_is_told(self) -> None:
        self.refused(Kind.SLOW_CHANNELS, "subscriptionRateLimitExceeded", 120)
        self.assertEqual((self.left("bob"), self.left("bob", "channels")), (0, 120))
        self.assertEqual(self.door.told, [])

    def test_this_users_polls(self) -> None:
        self.refused(Kind.NO_POLLS, "domainPolicy", 3600)
        self.assertEqual((self.left("ann"), self.door.gate.held_back("ann")), (0, 3600))
        self.assertEqual(self.door.told, [("ann", "domainPolicy", 3600)])

    def test_what_is_nobodys_fault(self) -> None:
        for kind in (Kind.FINAL, Kind.SCOPE, Kind.STALE_TOKEN):
            self.assertEqual(self.refused(kind, "forbidden"), 0)
        self.assertEqual((self.left("ann"), self.door.told), (0, []))

    # -- several nodes

    def heard(self) -> Door:
        """Another node, which has heard all that was said."""
        other = Door(self.clock)
        for message in self.door.said:
            other.slowing.heard(message)
        return other

    def test_what_holds_for_the_whole_project_holds_on_every_node(self) -> None:
        self.refused(Kind.SLOW_ALL, "rateLimitExceeded", 20)
        for _ in range(10):  # what was sent before says nothing new
            self.refused(Kind.SLOW_ALL, "rateLimitExceeded", 20)
        self.assertEqual(len(self.door.said), 1)
        other = self.heard()
        self.assertEqual((other.pauses.left("bob"), other.told), (20, [(None, "rateLimitExceeded", 20)]))
        self.assertLess(other.budget.poll_rate(), Budget(self.clock, Quota(), WholeQuota()).poll_rate())
        self.assertEqual(other.said, [])

    def test_channels_on_every_node(self) -> None:
        self.refused(Kind.SLOW_CHANNELS, "subscriptionRateLimitExceeded", 120)
        other = self.heard()
        self.assertEqual((other.pauses.left("bob"), other.pauses.left("bob", ("channels",))), (0, 120))

    def test_one_users_limit_is_said_to_nobody(self) -> None:
        self.refused(Kind.SLOW_USER, "userRateLimitExceeded", 17)
        self.refused(Kind.NO_POLLS, "domainPolicy", 3600)
        self.assertEqual(self.door.said, [])

    def test_a_pause_that_was_heard_of_is_like_one_of_ones_own(self) -> None:
        self.refused(Kind.SLOW_ALL, "rateLimitExceeded", 20)
        other = self.heard()
        self.clock.advance(5)
        refusal = Refusal(Kind.SLOW_ALL, 403, "rateLimitExceeded", "No.", 0)
        wait = other.slowing.refused(refusal, "bob", self.clock.seconds() - 6)
        self.assertEqual((wait, other.said), (15, []))
        # Sent before it began, and refused when it was over: that says nothing new.
        self.clock.advance(20)
        self.assertEqual(other.slowing.refused(refusal, "bob", self.clock.seconds() - 30), 0)
