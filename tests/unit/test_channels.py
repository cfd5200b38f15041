"""A push channel's whole life: opened, renewed, taken up again, refused, stopped, late."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.google.channel import SILENCE, Event, State, after
from docsession.google.channel_calls import NotOpened
from docsession.google.channel_pace import AT_ONCE
from docsession.google.channel_person import GRACE
from docsession.google.channels import LEAVE_WITHIN
from tests.unit.push import AWAY, DEAD, LIFE, LIMIT, TAKEN, UNKNOWN, Push, started


class States(SynchronousTestCase):
    """The machine, as it is drawn."""

    def test_ways(self) -> None:
        ways = {
            (state.name, event.name): after(state, event).name
            for state in State
            for event in Event
            if after(state, event) is not state and event is not Event.EXPIRED
        }
        self.assertEqual(
            ways,
            {
                ("OPENING", "ANSWERED"): "LIVE",
                ("OPENING", "HEARD"): "LIVE",
                ("OPENING", "REFUSED"): "GONE",
                ("OPENING", "UNANSWERED"): "BURIED",
                ("OPENING", "UNWANTED"): "BURIED",
                ("LIVE", "UNWANTED"): "LEAVING",
                ("LEAVING", "STOPPED"): "BURIED",
                ("LEAVING", "GIVEN_UP"): "BURIED",
                ("BURIED", "ANSWERED"): "LEAVING",
            },
        )
        self.assertEqual({after(state, Event.EXPIRED) for state in State}, {State.GONE})


class PushCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.push = Push()
        self.addCleanup(self.push.stop)
        self.calls, self.store = self.push.calls, self.push.store

    def live(self, user: str = "ann") -> bool:
        return self.push.channels.is_live(user)

    def opened(self, user: str = "ann") -> str:
        """A user with a live channel through which the first message came."""
        self.push.want(user)
        channel_id = self.calls.opened[-1]
        self.push.post(channel_id)
        self.push.advance(1)
        return channel_id


class Opening(PushCase):
    def test_stored_before_it_is_opened(self) -> None:
        seen = []
        self.calls.on_open = lambda record: seen.append(self.push.state(record.id))
        self.push.want("ann")
        self.assertEqual(seen, [State.OPENING])
        self.assertEqual(self.push.state("c1"), State.LIVE)
        self.assertEqual(self.store.rows["c1"].resource_id, "resource of c1")
        self.assertEqual((self.push.changed, self.push.outcomes), ([("ann", True)], ["opened"]))

    def test_once_for_a_user(self) -> None:
        for _ in range(5):
            self.push.want("ann")
        self.push.advance(100)
        self.assertEqual(self.calls.asked, [("open", "c1")])
        self.assertEqual(len(self.push.channels), 1)

    def test_sync_before_the_answer(self) -> None:
        answer: Deferred[None] = Deferred()
        self.calls.opening = [answer]
        self.push.want("ann")
        self.assertFalse(self.live())
        self.push.post("c1")
        self.assertTrue(self.live())
        self.assertEqual(self.push.changed, [("ann", True)])
        self.calls.life = 3600
        answer.callback(None)
        self.push.advance(1)
        row = self.store.rows["c1"]
        self.assertEqual((row.state, row.heard, row.resource_id), ("live", True, "resource of c1"))
        # Google gives less than was asked for, and its word counts.
        self.assertApproximates(row.expires - row.opened_at, 3600, 1)
        self.assertEqual(self.push.outcomes, ["opened"])
        self.push.advance(3600, 10)
        self.assertEqual(self.push.outcomes, ["opened", "renewed"])

    def test_the_end_in_a_message_counts_too(self) -> None:
        """Where only the message says it, for Google's answer was lost."""
        self.calls.opening = [UNKNOWN]
        self.push.want("ann")
        self.push.post("c1", X_Goog_Channel_Expiration="Mon, 12 Jan 1970 14:46:40 GMT")
        self.push.advance(1)
        self.assertEqual(self.store.rows["c1"].expires, 1_003_600.0)
        self.assertTrue(self.live())

    def test_silence(self) -> None:
        """What Google says it opened and never uses is no channel: nobody relies on it."""
        self.push.want("ann")
        self.assertTrue(self.live())
        self.push.advance(SILENCE - 5)
        self.assertTrue(self.live())
        self.assertEqual(self.calls.said, [])
        self.push.advance(10)
        self.assertFalse(self.live())
        self.assertEqual(self.push.changed, [("ann", True), ("ann", False)])
        self.assertEqual(self.calls.said[:1], ["a channel is open, and nothing comes through it"])
        self.push.advance(3600, 10)
        self.assertEqual(self.calls.opened, ["c1"])
        self.push.post("c1", 7, "change")
        self.assertTrue(self.live())
        self.assertEqual((self.push.changed[-1], self.push.hints), (("ann", True), ["ann"]))

    def test_the_store_is_away(self) -> None:
        self.store.away = True
        self.push.want("ann")
        self.push.advance(60)
        self.assertEqual(self.calls.asked, [])
        self.store.away = False
        self.push.advance(10)
        self.assertTrue(self.live())

    def test_an_answer_that_cannot_be_stored_is_stored_later(self) -> None:
        self.calls.on_open = lambda record: setattr(self.store, "away", True)
        self.push.want("ann")
        self.push.advance(20)
        self.assertTrue(self.live())
        self.assertEqual(self.push.state("c1"), State.OPENING)
        self.store.away = False
        self.push.advance(10)
        self.assertEqual(self.push.state("c1"), State.LIVE)

    def test_without_push(self) -> None:
        self.push.channels._steps = None
        self.push.want("ann")
        self.push.channels.unwant("ann")
        self.push.channels.leave("ann")
        self.push.advance(100)
        self.assertEqual((self.calls.asked, self.live()), ([], False))


class Renewal(PushCase):
    def test_early_under_a_new_id_and_the_old_one_after(self) -> None:
        self.opened()
        begun = self.push.clock.seconds()
        while len(self.calls.asked) == 1:
            self.push.clock.advance(600)
            self.assertTrue(self.live())
        part = (self.push.clock.seconds() - begun) / LIFE
        self.assertTrue(0.8 <= part <= 0.91, part)
        self.push.advance(2)
        self.assertEqual(self.calls.asked, [("open", "c1"), ("open", "c2"), ("stop", "c1")])
        self.assertEqual((self.push.state("c1"), self.push.state("c2")), (State.BURIED, State.LIVE))
        self.assertEqual(self.push.changed, [("ann", True)])
        self.assertEqual(self.push.outcomes, ["opened", "renewed"])
        # A late post of the old one is ignored, one of the new one is not.
        self.push.post("c1", 900, "change")
        self.assertEqual(self.push.hints, [])
        self.push.post("c2", 2, "change")
        self.assertEqual(self.push.hints, ["ann"])

    def test_both_are_open_until_the_new_one_is(self) -> None:
        self.opened()
        answer: Deferred[None] = Deferred()
        self.calls.opening = [answer]
        self.push.advance(LIFE * 0.91, 600)
        self.assertEqual(self.calls.asked, [("open", "c1"), ("open", "c2")])
        self.push.post("c1", 5, "change")
        self.assertEqual(self.push.hints, ["ann"])
        self.assertTrue(self.live())
        answer.callback(None)
        self.push.advance(2)
        self.assertEqual(self.calls.stopped, ["c1"])

    def test_refused_it_lives_on_and_is_tried_again(self) -> None:
        self.opened()
        self.calls.on_open = lambda record: self.calls.opening or self.push.post(record.id)
        self.calls.opening = [NotOpened("backendError")] * 3
        self.push.advance(LIFE * 0.95, 600)
        self.assertEqual(self.calls.stopped, ["c1"])
        self.assertEqual(self.push.outcomes, ["opened", *["backendError"] * 3, "renewed"])
        self.assertEqual(self.push.changed, [("ann", True)])

    def test_never_renewed_it_expires(self) -> None:
        self.opened()
        self.calls.always = LIMIT
        self.push.advance(LIFE - 1000, 600)
        self.assertTrue(self.live())
        self.push.advance(1200, 10)
        self.assertFalse(self.live())
        self.assertEqual(self.push.changed, [("ann", True), ("ann", False)])
        self.push.post("c1", 3, "change")
        self.assertEqual(self.push.hints, [])
        self.calls.always = None
        self.push.sync()
        self.push.advance(8000, 10)
        self.assertTrue(self.live())

    def test_spread(self) -> None:
        """Those who began together do not end together."""
        push = Push(per_second=100)
        self.addCleanup(push.stop)
        push.want(*(f"u{number}" for number in range(200)))
        push.advance(10)
        self.assertEqual(len(push.calls.opened), 200)
        for channel_id in push.calls.opened:
            push.post(channel_id)
        push.advance(LIFE * 0.79, 3600)
        self.assertEqual(len(push.calls.opened), 200)
        push.advance(LIFE * 0.05, 600)
        self.assertTrue(60 < len(push.calls.opened) - 200 < 140, len(push.calls.opened))


class Restart(PushCase):
    def again(self, now: Clock | None = None) -> Push:
        """Another life of the process, on the same store."""
        self.push.stop()
        push = Push(self.store, self.push.clock, names="d")
        self.addCleanup(push.stop)
        return push

    def test_a_stop_keeps_them(self) -> None:
        self.opened()
        self.push.stop()
        self.push.channels.leave("ann")
        self.push.channels.unwant("ann")
        self.push.advance(LIFE / 2, 600)
        self.assertEqual(self.calls.stopped, [])
        self.assertEqual(self.push.state("c1"), State.LIVE)

    def test_taken_up(self) -> None:
        self.opened()
        push = self.again()
        push.want("ann")
        push.advance(500)
        self.assertEqual(push.calls.asked, [])
        self.assertTrue(push.channels.is_live("ann"))
        self.assertEqual(push.changed, [("ann", True)])
        push.post("c1", 40, "change")
        self.assertEqual(push.hints, ["ann"])
        push.advance(LIFE, 600)
        self.assertEqual(push.calls.opened[0], "d1")
        self.assertEqual(push.calls.stopped[0], "c1")

    def test_a_thousand_are_taken_up_without_a_storm(self) -> None:
        users = [f"u{number}" for number in range(1000)]
        self.push.channels._pace._between = 0.001
        self.push.want(*users)
        self.push.advance(300)
        self.assertEqual(len(self.calls.opened), 1000)
        for channel_id in self.calls.opened:
            self.push.post(channel_id)
        self.push.advance(1)
        push = self.again()
        push.want(*users)
        push.advance(60)
        self.assertEqual((len(push.channels), push.calls.asked), (1000, []))

    def test_killed_while_it_was_opened(self) -> None:
        """Nobody knows what Google did: what comes through it tells, or it is given up."""
        self.calls.opening = [Deferred()]
        self.push.want("ann")
        push = self.again()
        push.want("ann")
        push.advance(60)
        self.assertEqual(push.calls.asked, [])
        push.advance(SILENCE)
        self.assertEqual(push.calls.opened, ["d1"])
        self.assertEqual((push.state("c1"), push.state("d1")), (State.BURIED, State.LIVE))
        # It was opened after all, as a late post shows, and is stopped now.
        push.post("c1", 2, "change")
        push.advance(2)
        self.assertEqual(push.calls.stopped, ["c1"])
        self.assertEqual(push.hints, [])

    def test_killed_in_the_middle_of_a_renewal(self) -> None:
        self.opened()
        self.calls.stopping = [Deferred()]
        self.push.advance(LIFE * 0.91, 600)
        self.assertEqual(self.calls.asked[-1], ("stop", "c1"))
        push = self.again()
        push.want("ann")
        push.advance(5)
        self.assertEqual(push.calls.asked, [("stop", "c1")])
        self.assertEqual((push.state("c1"), push.state("c2")), (State.BURIED, State.LIVE))


class Storms(PushCase):
    def test_so_many_a_second(self) -> None:
        self.push.want(*(f"u{number}" for number in range(300)))
        self.push.advance(200)
        self.assertEqual(len(self.calls.opened), 300)
        starts = Counter(int(time) for time in self.calls.times)
        first = min(starts)
        self.assertTrue(starts[first] <= 12, starts)  # some may go at once
        self.assertTrue(all(count <= 3 for second, count in starts.items() if second > first), starts)

    def test_so_many_at_once(self) -> None:
        """Also when the clock jumps, and everything is due together."""
        answers: list[Deferred[None]] = [Deferred() for _ in range(100)]
        self.calls.opening = list(answers)
        self.push.want(*(f"u{number}" for number in range(100)))
        self.push.advance(20)
        self.push.clock.advance(3600)
        self.push.advance(5)
        self.assertEqual(self.calls.most_under_way, AT_ONCE)
        self.push.sync()
        for number, answer in enumerate(answers):
            self.push.post(f"c{number + 1}")
            answer.callback(None)
        self.push.advance(100)
        self.assertEqual((len(self.push.channels), self.calls.most_under_way), (100, AT_ONCE))

    def test_an_hour_forward(self) -> None:
        self.opened()
        self.push.clock.advance(3600)
        self.push.advance(5)
        self.assertTrue(self.live())
        self.assertEqual(self.calls.opened, ["c1"])
        self.push.clock.advance(LIFE)
        self.push.advance(5)
        self.assertEqual(self.calls.opened, ["c1", "c2"])
        self.assertTrue(self.live())

    def test_google_wants_no_more(self) -> None:
        """Minutes for everybody, longer each time; those who have one keep it."""
        self.opened()
        self.calls.always = LIMIT
        self.push.want(*(f"u{number}" for number in range(500)))
        self.push.advance(2 * 3600)
        pauses = [later - earlier for earlier, later in pairwise(self.calls.times)]
        waits = [pause for pause in pauses if pause > 5]
        self.assertTrue(all(wait >= 120 for wait in waits), waits)
        self.assertTrue(3 <= len(waits) <= 20, waits)
        self.assertTrue(max(waits) > 600, waits)
        # Each pause was learnt from a few, not from five hundred.
        self.assertTrue(len(self.calls.times) <= len(waits) * 4 + 14, len(self.calls.times))
        self.assertTrue(self.live())
        self.assertEqual(len(self.store.rows), 1)
        self.calls.always = None
        self.push.sync()
        self.push.advance(3600 * 3)
        self.assertEqual(len(self.push.channels), 501)


class Refusals(PushCase):
    def test_one_users_trouble_is_that_users(self) -> None:
        self.calls.opening = [NotOpened("forbidden", least=600.0)] + [None] * 10
        self.push.want("ann")
        self.push.want("bob")
        self.push.advance(5)
        self.assertEqual((self.live("ann"), self.live("bob")), (False, True))
        self.push.advance(590)
        self.assertFalse(self.live("ann"))
        self.push.advance(30)
        self.assertTrue(self.live("ann"))

    def test_longer_each_time(self) -> None:
        self.calls.always = NotOpened("backendError")
        self.push.want("ann")
        self.push.advance(4 * 3600, 5)
        waits = [later - earlier for earlier, later in pairwise(self.calls.times)]
        self.assertTrue(10 <= waits[0] <= 40, waits)
        self.assertTrue(waits[-1] > 1500, waits)
        self.assertTrue(len(waits) < 16, waits)
        self.assertEqual(self.store.rows, {})

    def test_another_grant_is_tried_at_once(self) -> None:
        self.calls.opening = [NotOpened("scope_missing", least=3600.0)]
        self.push.want("ann")
        self.push.want("ann")
        self.push.advance(30)
        self.assertFalse(self.live())
        self.push.channels.want(self.push.account("ann"), anew=True)
        self.push.advance(3)
        self.assertTrue(self.live())

    def test_an_id_that_is_taken(self) -> None:
        self.calls.opening = [TAKEN]
        self.push.want("ann")
        self.assertEqual(self.calls.opened, ["c1", "c2"])
        self.assertTrue(self.live())
        self.assertIsNone(self.push.state("c1"))
        self.assertEqual(self.push.outcomes, ["channelIdNotUnique", "opened"])

    def test_ids_that_are_all_taken(self) -> None:
        self.calls.always = TAKEN
        self.push.want("ann")
        self.push.advance(10)
        self.assertEqual(len(self.calls.opened), 3)
        self.assertEqual(self.push.outcomes[-1], "no_unique_id")

    def test_nobody_knows_and_it_is_heard(self) -> None:
        self.calls.opening = [UNKNOWN]
        self.push.want("ann")
        self.push.advance(30)
        self.assertFalse(self.live())
        self.push.post("c1")
        self.push.advance(LIFE / 2, 600)
        self.assertTrue(self.live())
        self.assertEqual(self.calls.asked, [("open", "c1")])

    def test_nobody_knows_and_nothing_is_heard(self) -> None:
        self.calls.opening = [UNKNOWN]
        self.push.want("ann")
        self.push.advance(SILENCE + 60)
        self.assertEqual(self.calls.opened, ["c1", "c2"])
        self.assertEqual((self.push.state("c1"), self.push.state("c2")), (State.BURIED, State.LIVE))


class Leaving(PushCase):
    def test_nobody_watches_any_more(self) -> None:
        self.opened()
        self.push.channels.unwant("ann")
        self.push.advance(GRACE - 5)
        self.assertTrue(self.live())
        self.push.want("ann")
        self.push.advance(GRACE * 2)
        self.assertEqual(self.calls.stopped, [])
        self.push.channels.unwant("ann")
        self.push.channels.unwant("ann")
        self.push.advance(GRACE + 2)
        self.assertEqual(self.calls.stopped, ["c1"])
        self.assertFalse(self.live())
        self.assertEqual(self.push.changed, [("ann", True), ("ann", False)])
        self.assertEqual(self.push.state("c1"), State.BURIED)
        self.assertEqual(self.push.channels._people, {})
        self.assertEqual(self.push.channels._steps.by_id, {})

    def test_the_session_ends(self) -> None:
        self.opened()
        self.push.channels.leave("ann")
        self.assertEqual(self.calls.stopped, ["c1"])
        self.successResultOf(started(self.push.channels.left("ann")))
        self.assertEqual(self.push.changed[-1], ("ann", False))
        # Late posts of it are genuine, and nobody's.
        self.assertTrue(self.push.post("c1", 9, "change"))
        self.assertEqual((self.push.hints, self.push.messages[-1]), ([], "elsewhere"))
        self.push.want("ann")
        self.assertEqual(self.calls.opened, ["c1", "c2"])
        self.assertTrue(self.push.post("c1", 10, "change"))
        self.assertEqual((self.push.hints, self.push.messages[-1]), ([], "expired"))

    def test_it_is_waited_for(self) -> None:
        self.opened()
        answer: Deferred[None] = Deferred()
        self.calls.stopping = [answer]
        self.push.channels.leave("ann")
        left = started(self.push.channels.left("ann"))
        self.assertNoResult(left)
        answer.callback(None)
        self.successResultOf(left)

    def test_it_is_not_waited_for_long(self) -> None:
        """After that nothing is asked in the user's name: the grant may be revoked."""
        self.opened()
        self.calls.stopping = [Deferred()]
        self.push.channels.leave("ann")
        left = started(self.push.channels.left("ann"))
        self.push.advance(LEAVE_WITHIN - 1)
        self.assertNoResult(left)
        self.push.advance(2)
        self.successResultOf(left)
        self.push.advance(500)
        self.assertEqual(self.calls.stopped, ["c1"])
        self.assertEqual(self.push.state("c1"), State.LEAVING)
        # Whoever comes back has it stopped.
        self.push.want("ann")
        self.push.advance(2)
        self.assertEqual(self.calls.asked[2:], [("open", "c2"), ("stop", "c1")])

    def test_while_it_is_opened(self) -> None:
        answer: Deferred[None] = Deferred()
        self.calls.opening = [answer]
        self.push.want("ann")
        self.push.channels.leave("ann")
        answer.callback(None)
        self.push.advance(2)
        self.assertEqual(self.calls.asked, [("open", "c1"), ("stop", "c1")])
        self.assertFalse(self.live())

    def test_back_before_it_was_through(self) -> None:
        self.opened()
        answer: Deferred[None] = Deferred()
        self.calls.stopping = [answer]
        self.push.channels.leave("ann")
        left = started(self.push.channels.left("ann"))
        self.push.want("ann")
        self.successResultOf(left)
        answer.callback(None)
        self.push.advance(100)
        self.assertEqual(self.calls.asked, [("open", "c1"), ("stop", "c1"), ("open", "c2")])
        self.assertTrue(self.live())

    def test_google_is_away(self) -> None:
        self.opened()
        self.calls.stopping = [AWAY]
        self.push.channels.leave("ann")
        self.assertEqual(self.push.state("c1"), State.LEAVING)
        self.push.advance(5)
        self.assertEqual(self.calls.stopped, ["c1", "c1"])
        self.assertEqual(self.push.state("c1"), State.BURIED)

    def test_it_is_not_tried_for_ever(self) -> None:
        self.opened()
        self.calls.stopping = [AWAY] * 9
        self.push.channels.unwant("ann")
        self.push.advance(GRACE + 60)
        self.assertEqual(self.calls.stopped, ["c1"] * 3)
        self.assertEqual(self.push.state("c1"), State.BURIED)

    def test_the_grant_is_dead(self) -> None:
        self.opened()
        self.calls.stopping = [DEAD]
        self.push.channels.leave("ann")
        self.push.advance(60)
        self.assertEqual(self.calls.stopped, ["c1"])
        self.assertEqual(self.push.state("c1"), State.BURIED)

    def test_nobody_there(self) -> None:
        self.push.channels.leave("eve")
        self.push.channels.unwant("eve")
        self.successResultOf(started(self.push.channels.left("eve")))
        self.opened()
        self.successResultOf(started(self.push.channels.left("ann")))  # who has not left
        self.assertTrue(self.live())
