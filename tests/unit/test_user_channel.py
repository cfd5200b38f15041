"""What nodes tell each other of users: by kind, and nothing that is said can break the hearer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import Switchboard
from docsession.user_channel import AllChannel, UserChannel


class Channels(SynchronousTestCase):
    """Two nodes; the second hears."""

    def setUp(self) -> None:
        self.clock = Clock()
        board = Switchboard(self.clock)
        here, there = board.node("here")[0], board.node("there")[0]
        self.here, self.there = UserChannel(here), UserChannel(there)
        self.all_here, self.all_there = AllChannel(here), AllChannel(there)
        self.heard: list[tuple[str, Mapping[str, Any]]] = []

    def test_by_kind_and_user(self) -> None:
        self.there.on("grant", lambda user_id, message: self.heard.append((user_id, message)))
        self.here.on("grant", lambda user_id, message: self.fail("heard by who said it"))
        for channel in (self.here, self.there):
            channel.open("ann")
        self.here.say("ann", "grant", generation=2)
        self.here.say("ann", "what is this")
        self.here.say("bob", "grant")
        self.clock.advance(0)
        self.assertEqual(self.heard, [("ann", {"kind": "grant", "generation": 2, "node": "here"})])
        self.there.close("ann")
        self.here.say("ann", "grant")
        self.clock.advance(0)
        self.assertEqual(len(self.heard), 1)

    def test_all(self) -> None:
        self.all_there.on("ended", lambda message: self.heard.append(("", message)))
        self.all_there.open()
        self.all_here.say("ended", sessions=["s"])
        self.all_here.say("unknown")
        self.clock.advance(0)
        self.assertEqual(self.heard, [("", {"kind": "ended", "sessions": ["s"], "node": "here"})])
        self.all_there.close()
        self.all_here.say("ended", sessions=["s"])
        self.clock.advance(0)
        self.assertEqual(len(self.heard), 1)

    def test_nonsense_is_logged_and_no_more(self) -> None:
        self.there.on("grant", lambda user_id, message: self.heard.append(message["missing"]))
        self.all_there.on("ended", lambda message: self.heard.append(message["missing"]))
        self.there.open("ann")
        self.all_there.open()
        self.here.say("ann", "grant")
        self.all_here.say("ended")
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)
