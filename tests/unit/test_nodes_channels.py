"""One push channel of a user's, on however many nodes the user is live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import Switchboard
from docsession.google.channel import SILENCE, Channel, Event, State
from docsession.google.channel_calls import NotOpened
from docsession.google.channels import LEAVE_WITHIN
from docsession.model import ChannelRecord
from tests.unit.google import clock
from tests.unit.push import LIFE, FakeStore, Push, started


class NodesCase(SynchronousTestCase):
    """Three nodes; Google's answers are :class:`FakeCalls`, one for each node."""

    def setUp(self) -> None:
        self.clock = clock()
        self.store = FakeStore()
        self.lost = False
        self.said: list[tuple[str, Mapping[str, Any]]] = []
        self.board = Switchboard(self.clock, deliver=self.deliver)
        self.nodes = [Push(self.store, self.clock, names=name, board=self.board) for name in "abc"]
        self.one, self.two, self.three = self.nodes
        for node in self.nodes:
            self.addCleanup(node.stop)

    def deliver(self, channel: str, message: Mapping[str, Any]) -> bool:
        self.said.append((channel, message))
        return not self.lost

    def advance(self, seconds: float, step: float = 1.0) -> None:
        self.one.advance(seconds, step)

    def asked(self) -> list[tuple[str, str]]:
        return [asked for node in self.nodes for asked in node.calls.asked]

    def both(self) -> str:
        """Ann is live on two nodes, and Google has told of the channel at the third."""
        self.one.want("ann")
        self.two.want("ann")
        (channel_id,) = [channel_id for _, channel_id in self.asked()]
        self.three.post(channel_id)
        self.advance(2)
        return channel_id


class Opening(NodesCase):
    def test_asked_for_once(self) -> None:
        """Also where both read at one moment that there is none."""
        tokens: list[Deferred[str]] = []

        async def start_token(account: object) -> str:
            tokens.append(Deferred())
            return await tokens[-1]

        for node in self.nodes:
            node.calls.start_token = start_token  # type: ignore[method-assign]
            node.of_users.open("ann")
            node.channels.want(node.account("ann"))
        self.advance(10)
        self.assertEqual(len(tokens), 1)
        tokens[0].callback("660")
        self.advance(0.1)
        self.assertEqual(len(self.asked()), 1)
        self.assertTrue(all(node.channels.is_live("ann") for node in self.nodes))
        self.advance(300)
        self.assertEqual(len(tokens), 1)

    def test_compare_and_set_where_the_lease_says_nothing(self) -> None:
        tokens: list[Deferred[str]] = []

        async def start_token(account: object) -> str:
            tokens.append(Deferred())
            return await tokens[-1]

        for node in self.nodes:
            node.leases.alone = True
            node.calls.start_token = start_token  # type: ignore[method-assign]
            node.want("ann")
        self.assertEqual(len(tokens), 3)
        for token in tokens:
            token.callback("660")
        self.advance(5)
        self.assertEqual((len(self.asked()), len(self.store.rows)), (1, 1))
        self.assertTrue(all(node.channels.is_live("ann") for node in self.nodes))

    def test_the_others_know_at_once(self) -> None:
        answer: Deferred[None] = Deferred()
        self.one.calls.opening = [answer]
        self.one.want("ann")
        self.two.want("ann")
        self.assertFalse(self.two.channels.is_live("ann"))
        answer.callback(None)
        self.advance(1, 0.1)
        self.assertTrue(self.two.channels.is_live("ann"))
        self.assertEqual(self.two.changed, [("ann", True)])
        # Heard at a node where she is not live: both that she is on rely on it from now on.
        self.three.post("a1")
        self.advance(SILENCE + 60)
        self.assertEqual((self.one.changed, self.two.changed), ([("ann", True)], [("ann", True)]))
        self.assertTrue(self.store.rows["a1"].heard)
        self.assertEqual(self.three.messages, ["elsewhere"])

    def test_what_was_not_heard_is_read_later(self) -> None:
        self.lost = True
        token: Deferred[str] = Deferred()

        async def start_token(account: object) -> str:
            return await token

        self.one.calls.start_token = start_token  # type: ignore[method-assign]
        self.one.want("ann")
        self.two.want("ann")
        token.callback("660")
        self.one.post("a1")
        self.advance(SILENCE + 60)
        self.assertEqual((len(self.asked()), self.two.calls.tokens), (1, 0))
        self.assertTrue(self.two.channels.is_live("ann"))

    def test_after_a_gap_it_is_read_anew(self) -> None:
        self.both()
        self.store.rows["a1"] = msgspec.structs.replace(self.store.rows["a1"], state="buried")
        self.advance(10)
        self.assertEqual(self.two.changed, [("ann", True)])
        self.two.calls.always = NotOpened("backendError")
        self.two.bus.gap()
        self.advance(10)
        self.assertEqual(self.two.changed, [("ann", True), ("ann", False)])

    def test_a_node_that_dies_over_it(self) -> None:
        self.one.calls.opening = [Deferred()]
        self.one.want("ann")
        self.two.want("ann")
        self.one.stop()  # its lease is not given back in time
        self.board.taken["channel:ann"] = ("a", self.clock.seconds() + 60)
        self.advance(SILENCE - 5)
        self.assertEqual(self.two.calls.opened, [])
        self.advance(10)
        self.assertEqual(self.two.calls.opened, ["b1"])

    def test_a_refusal_is_for_all(self) -> None:
        answer: Deferred[NotOpened] = Deferred()
        for node in self.nodes:
            node.calls.opening = [answer]
            node.of_users.open("ann")
            node.channels.want(node.account("ann"))
        self.advance(3)
        answer.callback(NotOpened("forbidden", least=600.0))
        self.advance(590)
        self.assertEqual(len(self.asked()), 1)

    def test_renewed_once(self) -> None:
        self.both()
        for node in self.nodes:
            node.sync()
        self.advance(LIFE * 0.92, 60)
        what = sorted(what for what, _ in self.asked())
        self.assertEqual(what, ["open", "open", "stop"])
        self.assertTrue(self.one.channels.is_live("ann") and self.two.channels.is_live("ann"))
        self.assertEqual(
            [state for _, state in sorted((r.generation, r.state) for r in self.store.rows.values())],
            ["buried", "live"],
        )


class Posts(NodesCase):
    def test_a_hint_for_each_node_where_the_user_is_live(self) -> None:
        channel_id = self.both()
        for number, node in enumerate((self.one, self.two, self.three), start=5):
            node.post(channel_id, number, "change")
            self.clock.advance(0)
        self.assertEqual((self.one.hints, self.two.hints, self.three.hints), (["ann"] * 3, ["ann"] * 3, []))

    def test_a_repeat_at_another_node(self) -> None:
        channel_id = self.both()
        for node in (self.one, self.two, self.three):
            node.post(channel_id, 5, "change")
            self.clock.advance(0)
        self.assertEqual((self.one.hints, self.two.hints), (["ann"], ["ann"]))
        self.assertEqual(self.two.messages, ["repeat"])

    def test_one_that_is_not_known_yet(self) -> None:
        """Opened by another node, which could not tell."""
        self.two.want("ann")
        self.two.post("b1")
        self.advance(2)
        self.store.rows["a1"] = ChannelRecord(
            "a1", "ann", 2, "live", self.clock.seconds(), self.clock.seconds() + LIFE, "r", heard=True
        )
        self.one.post("a1", 5, "change")
        self.clock.advance(0)
        self.assertEqual(self.two.hints, ["ann"])
        self.advance(2)
        self.assertEqual(self.two.calls.stopped, ["b1"])

    def test_what_is_over_is_passed_on_to_nobody(self) -> None:
        channel_id = self.both()
        self.store.rows[channel_id] = msgspec.structs.replace(self.store.rows[channel_id], state="buried")
        self.said.clear()
        self.three.post(channel_id, 9, "change")
        self.assertEqual(self.said, [])


class Leaving(NodesCase):
    def test_the_last_one_stops_it(self) -> None:
        channel_id = self.both()
        self.one.leave("ann")
        self.advance(30)
        self.assertEqual(len(self.asked()), 1)
        self.assertEqual(self.one.channels._people, {})
        self.assertTrue(self.two.channels.is_live("ann"))
        self.two.leave("ann")
        self.advance(2)
        self.assertEqual(self.asked()[1:], [("stop", channel_id)])

    def test_both_at_one_moment(self) -> None:
        """Each still sees the other, at first."""
        channel_id = self.both()
        for node in (self.one, self.two):
            node.channels.leave("ann")
        for node in (self.one, self.two):
            node.of_users.close("ann")
        self.advance(LEAVE_WITHIN)
        self.assertEqual(self.asked()[1:], [("stop", channel_id)])

    def test_for_good_whoever_else_is_there(self) -> None:
        channel_id = self.both()
        self.one.leave("ann")
        self.assertEqual(len(self.asked()), 1)
        left = started(self.one.channels.left("ann"))
        self.assertEqual(self.asked()[1:], [("stop", channel_id)])
        self.successResultOf(left)

    def test_back_on_the_same_node(self) -> None:
        self.both()
        self.one.leave("ann")
        self.one.want("ann")
        self.advance(60)
        self.assertEqual(len(self.asked()), 1)
        self.assertTrue(self.one.channels.is_live("ann"))

    def test_nobody_can_say_who_is_there(self) -> None:
        self.both()
        self.store.away = True
        self.one.leave("ann")
        self.advance(LEAVE_WITHIN + 1)
        self.assertEqual(len(self.asked()), 1)
        self.assertEqual(self.one.channels._people, {})


class Storing(NodesCase):
    def test_who_slept_takes_nothing_back(self) -> None:
        """What a node knew of a channel long ago is less than what is stored."""
        now = self.clock.seconds()
        stale = Channel(ChannelRecord("a1", "ann", 1, "opening", now, now + LIFE))
        stale.happened(Event.HEARD, heard=True, resource_id="r")
        stored = ChannelRecord("a1", "ann", 1, "buried", now, now + 100, "r")
        self.assertTrue(stale.join(stored))
        self.assertEqual((stale.state, stale.record.expires), (State.BURIED, now + 100))
        self.assertFalse(stale.saved)  # that it was heard is new
        self.assertFalse(stale.join(stale.record))
        self.assertTrue(stale.saved)

    def test_of_two_names_the_stored_one_stays(self) -> None:
        """Or two nodes would store theirs over each other's for ever."""
        now = self.clock.seconds()
        ours = Channel(ChannelRecord("a1", "ann", 1, "live", now, now + LIFE, "ours"))
        ours.join(ChannelRecord("a1", "ann", 1, "live", now, now + LIFE, "theirs"))
        self.assertEqual((ours.record.resource_id, ours.saved), ("theirs", True))

    def test_given_up_and_open_after_all(self) -> None:
        now = self.clock.seconds()
        record = ChannelRecord("a1", "ann", 1, "opening", now, now + LIFE)
        for first, second in ((0, 1), (1, 0)):
            channels = [Channel(record), Channel(record)]
            channels[0].happened(Event.UNANSWERED)
            channels[1].happened(Event.ANSWERED, resource_id="r")
            channels[first].join(channels[second].record)
            self.assertIs(channels[first].state, State.LIVE)

    def test_the_store_has_lost_all(self) -> None:
        channel_id = self.both()
        before = self.store.rows[channel_id]
        self.store.rows.clear()
        for node in self.nodes:
            node.channels.set_back()
        self.advance(10)
        self.assertEqual(self.store.rows, {channel_id: before})
        self.assertEqual(len(self.asked()), 1)
        self.assertTrue(self.one.channels.is_live("ann") and self.two.channels.is_live("ann"))
