"""The only door to Google."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import RateLimited
from docsession.google.pauses import Scope
from tests.unit.google import Door, clock


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.door = Door(self.clock)
        self.gate = self.door.gate
        self.at_google: list[Deferred[str]] = []
        self.order: list[str] = []

    def ask(self, user: str = "ann", *, poll: bool = False, **more: Any) -> Deferred[str]:
        async def work() -> str:
            self.order.append(user)
            answer: Deferred[str] = Deferred()
            self.at_google.append(answer)
            return await answer

        return Deferred.fromCoroutine(self.gate.run(user, work, poll=poll, **more))

    def pause(self, user: str | None, seconds: float, kind: str | None = None) -> None:
        self.door.pauses.begin(Scope(user, kind), least=seconds)
        self.gate.changed()

    def answer(self) -> None:
        self.at_google.pop(0).callback("done")

    def answer_all(self) -> None:
        while self.at_google:
            self.answer()

    def nothing_left(self) -> None:
        self.answer_all()
        self.assertEqual(self.gate.in_flight, 0)
        self.assertEqual((self.gate._under_way, self.gate._polls_under_way), ({}, 0))
        self.assertEqual((self.gate._media_users.in_use, self.gate.waiting), ({}, (0, 0)))
        for semaphore in (self.gate._slots, self.gate._media_slots):
            self.assertEqual((semaphore.tokens, semaphore.waiting), (semaphore.limit, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_so_many_at_once_and_no_more(self) -> None:
        asked = [self.ask(f"user {number}") for number in range(12)]
        self.assertEqual((len(self.at_google), self.gate.in_flight), (8, 8))
        self.answer()
        self.assertEqual(len(self.at_google), 8)
        self.answer_all()
        self.assertEqual([self.successResultOf(one) for one in asked], ["done"] * 12)
        self.assertEqual(self.gate.most_in_flight, 8)
        self.nothing_left()

    def test_so_many_of_one_user_and_no_more(self) -> None:
        for _ in range(6):
            self.ask("ann")
        self.ask("bob")
        self.assertEqual(len(self.at_google), 5)
        self.nothing_left()

    def test_polls_hold_at_most_three_quarters(self) -> None:
        for number in range(12):
            self.ask(f"user {number}", poll=True)
        self.assertEqual(len(self.at_google), 6)
        self.ask("a person")
        self.assertEqual(len(self.at_google), 7)
        self.nothing_left()

    def test_a_person_does_not_queue_behind_their_own_polls(self) -> None:
        for _ in range(100):
            self.ask("ann", poll=True)
        self.assertEqual(len(self.at_google), 3)
        self.ask("ann")
        self.assertEqual(len(self.at_google), 4)
        self.nothing_left()

    def test_failing_work_frees_its_slot(self) -> None:
        asked = self.ask()
        self.at_google.pop().errback(ValueError("no"))
        self.failureResultOf(asked, ValueError)
        self.nothing_left()

    def test_cancelled_at_google_waiting_or_paused_leaves_nothing(self) -> None:
        asked = [self.ask("ann", poll=bool(number % 2)) for number in range(30)]
        for one in asked:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.at_google.clear()
        self.pause("ann", 5)
        waiting = [self.ask("ann"), self.ask("ann", poll=True)]
        for one in waiting:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.nothing_left()

    def test_a_short_pause_is_waited_out(self) -> None:
        self.pause("ann", 5)
        asked = self.ask("ann")
        self.ask("bob")
        self.assertEqual(len(self.at_google), 1)
        self.clock.advance(5)
        self.assertEqual(len(self.at_google), 2)
        self.answer_all()
        self.successResultOf(asked)
        self.nothing_left()

    def test_a_long_pause_is_refused_to_a_person_with_the_time(self) -> None:
        self.pause("ann", 60)
        error = self.failureResultOf(self.ask("ann"), RateLimited).value
        self.assertEqual((error.code, error.retry_after), (1007, 60))
        self.assertEqual(self.gate.paused_for("ann"), 60)
        self.assertEqual(self.gate.paused_for("bob"), 0)
        poll = self.ask("ann", poll=True)
        self.assertNoResult(poll)
        self.clock.advance(60)
        self.answer()
        self.successResultOf(poll)
        self.nothing_left()

    def test_a_pause_of_everybody(self) -> None:
        self.pause(None, 60)
        self.failureResultOf(self.ask("ann"), RateLimited)
        self.failureResultOf(self.ask("bob"), RateLimited)

    def test_the_longer_pause_counts(self) -> None:
        self.pause("ann", 60)
        self.pause("ann", 5)
        self.pause(None, 20)
        self.assertEqual(self.gate.paused_for("ann"), 60)

    def test_who_waits_out_a_pause_holds_no_slot(self) -> None:
        for user in ("ann", "bob", "cat", "dan"):
            self.pause(user, 3600)
            for _ in range(6):
                self.ask(user, poll=True)
        # Everybody else's polls go on, and so does a person who is told at once.
        for number in range(6):
            self.ask(f"user {number}", poll=True)
        self.assertEqual(len(self.at_google), 6)
        self.failureResultOf(self.ask("ann"), RateLimited)
        self.clock.advance(3600)
        self.nothing_left()

    def test_who_waits_for_a_slot_heeds_a_pause_that_came_meanwhile(self) -> None:
        for _ in range(4):
            self.ask("ann")
        waiting = self.ask("ann")
        self.pause("ann", 30)
        self.answer()
        self.assertEqual(len(self.at_google), 3)
        self.failureResultOf(waiting, RateLimited)
        self.nothing_left()

    def test_a_person_in_line_is_told_when_the_wait_becomes_too_long(self) -> None:
        for _ in range(4):
            self.ask("ann")
        waiting = [self.ask("ann"), self.ask("ann", poll=True)]
        self.clock.advance(29)
        self.assertNoResult(waiting[0])
        self.clock.advance(1)
        self.failureResultOf(waiting[0], RateLimited)
        self.assertNoResult(waiting[1])
        self.nothing_left()

    def test_a_pause_of_one_kind(self) -> None:
        self.pause("ann", 60, "sharing")
        self.failureResultOf(self.ask("ann", kinds=("sharing",)), RateLimited)
        self.ask("ann")
        self.ask("bob", kinds=("sharing",))
        self.assertEqual(len(self.at_google), 2)
        self.nothing_left()

    def test_a_users_polls_alone(self) -> None:
        self.pause("ann", 3600, "polls")
        self.ask("ann")
        waiting = self.ask("ann", poll=True)
        self.ask("bob", poll=True)
        self.assertEqual(len(self.at_google), 2)
        self.assertEqual((self.gate.held_back("ann"), self.gate.held_back("bob")), (3600, 0))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.nothing_left()

    def test_users_in_turn(self) -> None:
        full = [self.ask(f"user {number}") for number in range(8)]
        asked = [self.ask(user) for user in ("ann", "ann", "ann", "bob", "bob", "cat")]
        del self.order[:]
        self.answer_all()
        self.assertEqual(self.order, ["ann", "bob", "cat", "ann", "bob", "ann"])
        self.assertEqual([self.successResultOf(one) for one in (*full, *asked)], ["done"] * 14)
        self.nothing_left()

    def test_sign_ins_and_refreshes_cost_nothing_and_are_bounded(self) -> None:
        async def refresh() -> str:
            answer: Deferred[str] = Deferred()
            self.at_google.append(answer)
            return await answer

        asked = [Deferred.fromCoroutine(self.gate.oauth(refresh)) for _ in range(12)]
        self.assertEqual((len(self.at_google), self.door.budget.spent_today), (8, 0))
        self.answer_all()
        self.assertEqual([self.successResultOf(one) for one in asked], ["done"] * 12)
        self.nothing_left()

    def test_downloads_have_slots_of_their_own(self) -> None:
        ends: list[Deferred[Any]] = []

        async def download(user: str) -> None:
            async with self.gate.media(user):
                ends.append(end := Deferred())
                await end

        running = [Deferred.fromCoroutine(download(user)) for user in ("ann", "ann", "bob", "cat")]
        self.assertEqual(len(ends), 2)
        self.ask("ann")
        self.assertEqual(len(self.at_google), 1)
        running[1].cancel()
        self.failureResultOf(running[1], CancelledError)
        while ends:
            ends.pop(0).callback(None)
        self.nothing_left()
        self.pause("ann", 60)
        self.failureResultOf(Deferred.fromCoroutine(download("ann")), RateLimited)
