"""How fast new connections are let in."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.web.turnstile import Turnstile, with_room


class Listener:
    """A listening port with a queue, that is looked at whenever the test says so."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.numberAccepts = 100
        self.reading = True
        self.waiting = 0
        self.accepted = 0
        self.turnstile = turnstile

    def stopReading(self) -> None:
        assert self.reading
        self.reading = False

    def startReading(self) -> None:
        assert not self.reading
        self.reading = True

    def look(self) -> None:
        """As the reactor does when somebody waits. What is begun is finished, held back or not."""
        for _ in range(min(self.numberAccepts, self.waiting) if self.reading else 0):
            self.waiting -= 1
            self.accepted += 1
            self.turnstile.one_came()


class TurnstileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.turnstile = Turnstile(self.clock, 100)
        self.listener = Listener(self.turnstile)
        self.turnstile.guard(self.listener)

    def pass_(self, seconds: float) -> int:
        """How many come in within that time."""
        before = self.listener.accepted
        for _ in range(round(seconds * 1000)):
            self.listener.look()
            self.clock.advance(0.001)
        return self.listener.accepted - before

    def test_a_herd_comes_in_at_the_rate_and_nobody_is_left_outside(self) -> None:
        self.listener.waiting = 1000
        self.assertApproximates(self.pass_(1), 105, 2)
        for _ in range(8):
            self.assertApproximates(self.pass_(1), 100, 2)
        self.pass_(1)
        self.assertEqual(self.listener.waiting, 0)
        self.assertEqual(self.turnstile.passed, 1000)

    def test_who_comes_at_less_than_the_rate_never_waits(self) -> None:
        for _ in range(100):
            self.listener.waiting += 1
            self.pass_(0.011)
            self.assertEqual(self.listener.waiting, 0)
        self.assertEqual(self.turnstile.held_seconds, 0)

    def test_a_few_at_once_are_let_in_at_once(self) -> None:
        for _ in range(5):
            self.listener.waiting = 5
            self.listener.look()
            self.assertEqual(self.listener.waiting, 0)
            self.clock.advance(0.2)

    def test_what_one_look_let_in_beyond_the_rate_is_made_up_for(self) -> None:
        self.listener.numberAccepts = 100
        self.listener.waiting = 300
        self.listener.look()
        self.assertEqual(self.listener.accepted, 100)
        self.assertFalse(self.listener.reading)
        self.assertEqual(self.pass_(0.85), 0)
        self.assertApproximates(self.pass_(1), 100, 11)

    def test_after_a_rest_one_look_lets_in_no_more_than_may_come(self) -> None:
        self.assertEqual(self.listener.numberAccepts, 5)
        self.listener.numberAccepts = 100
        self.listener.waiting = 100
        self.listener.look()
        self.listener.waiting = 100
        self.pass_(1)
        self.assertLessEqual(self.listener.numberAccepts, 2)

    def test_one_can_see_that_it_holds_back(self) -> None:
        self.listener.waiting = 20
        self.pass_(0.02)
        self.assertTrue(self.turnstile.holds)
        self.assertApproximates(self.turnstile.held_seconds, 0.02, 0.002)
        self.pass_(1)
        self.assertFalse(self.turnstile.holds)
        self.assertApproximates(self.turnstile.held_seconds, 0.16, 0.01)

    def test_a_rate_below_one_a_second_is_kept_too(self) -> None:
        self.turnstile = Turnstile(self.clock, 0.5)
        self.listener = Listener(self.turnstile)
        self.turnstile.guard(self.listener)
        self.listener.waiting = 100
        self.assertApproximates(self.pass_(20), 10, 1)

    def test_once_stopped_it_touches_the_listener_no_more(self) -> None:
        self.listener.waiting = 100
        self.pass_(0.1)
        self.turnstile.stop()
        self.clock.advance(10)
        self.assertFalse(self.listener.reading)
        self.turnstile.one_came()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_a_listener_it_only_counts(self) -> None:
        turnstile = Turnstile(self.clock, 1)
        for _ in range(10):
            turnstile.one_came()
        self.assertEqual((turnstile.passed, turnstile.holds), (10, False))


class RoomTests(SynchronousTestCase):
    def test_an_endpoint_gets_a_queue_unless_it_has_one(self) -> None:
        for endpoint in (
            "tcp:8765",
            "tcp:8765:127.0.0.1",
            r"tcp6:8765:interface=\:\:1",
            "unix:/run/d.sock:mode=660",
            "ssl:443:privateKey=a.pem",
        ):
            self.assertEqual(with_room(endpoint), f"{endpoint}:backlog=4096")
        for endpoint in (
            "tcp:8765:backlog=10:interface=127.0.0.1",
            "tcp:8765:127.0.0.1:10",
            "unix:/run/d.sock:660:10",
            "systemd:domain=INET:index=0",
        ):
            self.assertEqual(with_room(endpoint), endpoint)
