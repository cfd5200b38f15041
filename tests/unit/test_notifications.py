"""What Google posts: genuine or not, news or not, and for whom."""

from __future__ import annotations

import random

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from docsession.google.notifications import _LOOKED_UP, read
from docsession.keys import ChannelSigner, Keys
from docsession.model import ChannelRecord
from tests.unit.push import LIFE, SIGNER, Push

GOOD = {
    "X-Goog-Channel-ID": "c1",
    "X-Goog-Message-Number": "12",
    "X-Goog-Resource-ID": "ret08u3rv24htgh289g",
    "X-Goog-Resource-State": "change",
}


class Reading(SynchronousTestCase):
    def test_all(self) -> None:
        found = read((GOOD | {"X-Goog-Channel-Expiration": "Tue, 19 Nov 2013 01:13:52 GMT"}).get)
        assert found is not None
        self.assertEqual((found.channel_id, found.number, found.state), ("c1", 12, "change"))
        self.assertEqual((found.resource_id, found.expires), (GOOD["X-Goog-Resource-ID"], 1384823632.0))

    def test_without_an_end(self) -> None:
        for text in ("", "soon", "Tue, 99 Nov 2013 01:13:52 GMT", "9" * 300):
            found = read((GOOD | {"X-Goog-Channel-Expiration": text}).get)
            assert found is not None
            self.assertIsNone(found.expires, text)

    def test_odd(self) -> None:
        self.assertIsNotNone(read(GOOD.get))
        for name, values in {
            "X-Goog-Channel-ID": ("", "x" * 65, "a b", "../c", "c1\n"),
            "X-Goog-Message-Number": ("", "-1", "1.0", "one", "9" * 19, "\u0661"),
            "X-Goog-Resource-ID": ("", "x" * 257, "\x00"),
            "X-Goog-Resource-State": ("", "x" * 257, "ch\u00e4nge"),
        }.items():
            self.assertIsNone(read({key: text for key, text in GOOD.items() if key != name}.get), name)
            for value in values:
                self.assertIsNone(read((GOOD | {name: value}).get), (name, value))


class PostCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.push = Push()
        self.addCleanup(self.push.stop)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def logged(self) -> list[str]:
        return [event["log_format"] for event in self.events if "docsession" in event["log_namespace"]]


class Genuine(PostCase):
    def setUp(self) -> None:
        super().setUp()
        self.push.want("ann")

    def test_a_hint_for_each_new_message(self) -> None:
        for number, state in ((1, "sync"), (4, "change"), (5, "changed"), (900, "CHANGE")):
            self.assertTrue(self.push.post("c1", number, state))
        self.assertEqual(self.push.hints, ["ann"] * 3)
        self.assertEqual(self.push.messages, ["sync", "hint", "hint", "hint"])

    def test_repeats(self) -> None:
        for number in (1, 7, 7, 3, 7, 8):
            self.assertTrue(self.push.post("c1", number, "change"))
        self.assertEqual(self.push.messages, ["hint", "hint", "repeat", "repeat", "repeat", "hint"])
        self.assertEqual(len(self.push.hints), 3)

    def test_states_that_nobody_knows(self) -> None:
        for number, state in enumerate(("add", "update", "trash", "something new", "exists"), start=2):
            self.assertTrue(self.push.post("c1", number, state))
        self.assertEqual((set(self.push.messages), self.push.hints), ({"unknown"}, []))

    def test_answered_first(self) -> None:
        headers = GOOD | {"X-Goog-Channel-Token": SIGNER.token("c1")}
        self.assertTrue(self.push.notifications.take(headers.get))
        self.assertEqual(self.push.hints, [])
        self.push.clock.advance(0)
        self.assertEqual(self.push.hints, ["ann"])

    def test_a_change_without_a_sync(self) -> None:
        self.push.post("c1", 5, "change")
        self.push.advance(1)
        self.assertTrue(self.push.store.rows["c1"].heard)

    def test_past_its_time(self) -> None:
        self.push.channels._schedule.stopService()  # before it is noticed
        self.push.clock.advance(LIFE + 1)
        self.push.post("c1", 5, "change")
        self.assertEqual((self.push.hints, self.push.messages), ([], ["expired"]))

    def test_memory_first(self) -> None:
        self.push.store.loads = 0
        self.push.post("c1", 5, "change")
        self.assertEqual(self.push.store.loads, 0)


class Elsewhere(PostCase):
    """A genuine channel that is not in memory here."""

    def row(self, **others: object) -> None:
        values = {"id": "z1", "user_id": "ann", "generation": 1, "state": "live", "resource_id": "r"} | others
        self.push.store.rows["z1"] = ChannelRecord(
            opened_at=1_000_000.0,
            expires=2_000_000.0,
            **values,  # type: ignore[arg-type]
        )

    def test_its_user_is_not_live_here(self) -> None:
        self.row()
        self.assertTrue(self.push.post("z1", 2, "change"))
        self.assertEqual((self.push.hints, self.push.messages), ([], ["elsewhere"]))

    def test_nobody_knows_it_any_more(self) -> None:
        self.assertTrue(self.push.post("z1", 2, "change"))
        self.assertEqual((self.push.hints, self.push.messages), ([], ["elsewhere"]))

    def test_its_user_has_just_come(self) -> None:
        """The store is asked, once."""
        self.row()
        self.push.store.away = True
        self.push.want("ann")
        self.push.store.away = False
        self.assertTrue(self.push.post("z1", 2, "change"))
        self.assertEqual((self.push.hints, self.push.messages), (["ann"], ["hint"]))
        self.assertEqual(self.push.store.loads, 1)

    def test_it_is_over(self) -> None:
        self.push.want("ann")
        self.row(state="buried")
        self.push.post("z1", 2, "change")
        self.row()
        self.push.clock.advance(1_000_001)
        self.push.post("z1", 3, "change")
        self.assertEqual((self.push.hints, self.push.messages), ([], ["expired", "expired"]))

    def test_sync_is_looked_up_too(self) -> None:
        """Some node waits for it."""
        self.row()
        self.push.post("z1", 1)
        self.assertEqual((self.push.messages, self.push.store.loads), (["elsewhere"], 1))

    def test_the_store_is_away(self) -> None:
        self.row()
        self.push.store.away = True
        self.assertTrue(self.push.post("z1", 2, "change"))
        self.assertEqual(self.push.messages, ["elsewhere"])

    def test_so_many_at_a_time(self) -> None:
        self.push.store.waiting = []
        for number in range(500):
            self.push.post("z1", number + 2, "change")
            self.push.post(f"y{number}", 2, "change")
        self.assertEqual(self.push.store.loads, _LOOKED_UP)
        waiting, self.push.store.waiting = self.push.store.waiting, None
        for turn in waiting:
            turn.callback(None)
        self.assertEqual(self.push.notifications._looking_up, set())
        self.assertEqual(len(self.push.messages), 1000)


class Strangers(PostCase):
    def test_wrong_tokens(self) -> None:
        """They touch nothing, and are told apart by nothing."""
        self.push.want("ann")
        self.push.store.loads = 0
        others = ChannelSigner(Keys(signing=(b"o" * 32,), sealing=(b"k" * 32,)))
        for channel_id in ("c1", "unknown"):
            for token in (None, "", "x" * 43, others.token(channel_id), SIGNER.token("c2"), "y" * 100_000):
                self.assertFalse(self.push.post(channel_id, 5, "change", X_Goog_Channel_Token=token))
        self.assertFalse(self.push.post("c1", 5, "change", X_Goog_Channel_ID=None))
        self.assertFalse(self.push.post("c1", 5, "change", X_Goog_Resource_State=None))
        self.assertEqual((self.push.hints, set(self.push.messages)), ([], {"refused"}))
        self.assertEqual(self.push.store.loads, 0)

    def test_a_flood(self) -> None:
        """One line a minute, nothing that stays."""
        rng = random.Random(4)
        self.push.want("ann")
        self.push.post("c1")
        self.push.advance(1)
        self.push.store.loads = 0
        for number in range(6000):
            channel_id = f"x{rng.getrandbits(100)}"
            self.push.post(channel_id, 2, "change", X_Goog_Channel_Token="x" * 43)
            if number % 50 == 49:
                self.push.clock.advance(1)
        self.assertEqual(self.push.store.loads, 0)
        self.assertEqual(self.push.notifications._looking_up, set())
        self.assertEqual(len(self.push.notifications._seldom._said), 1)
        self.assertEqual(len(self.logged()), 2)
        self.assertTrue(self.push.post("c1", 5, "change"))
        self.assertEqual(self.push.hints, ["ann"])
