"""Reading many connections in one round, over real pairs of kernel sockets."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from docsession.web.inbox import Inbox
from tests.unit.test_socket import Reactor


class Wire:
    """What is read over one connection."""

    descriptor: int | None = None

    def __init__(self, case: InboxTestCase) -> None:
        self.sock, self.there = socket.socketpair()
        self.sock.setblocking(False)
        case.addCleanup(self.sock.close)
        case.addCleanup(self.there.close)
        self.transport: Any = tcp.Connection(self.sock, self, case.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.transport.startReading()
        self.heard: list[bytes] = []
        self.lost: list[Any] = []
        self.then: Callable[[], None] | None = None
        self.at_end: Callable[[], None] = lambda: None
        case.inbox.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        if self.then is not None:
            self.then()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason.type)
        self.at_end()
        self.inbox_of.leave(self)

    inbox_of: Inbox


def _fail(bug: type[BaseException]) -> None:
    raise bug


class InboxTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.inbox = Wire.inbox_of = Inbox(self.reactor)
        self.one, self.other = Wire(self), Wire(self)

    def turn(self) -> None:
        """The reactor looks who can be read, and what the time is."""
        ready = select.select([reader.fileno() for reader in self.reactor.readers], [], [], 0)[0]
        for reader in [each for each in self.reactor.readers if each.fileno() in ready]:
            ended = reader.doRead()
            if ended is not None:
                reader.connectionLost(Failure(ended))
        self.reactor.advance(0)

    def test_each_its_own(self) -> None:
        self.assertEqual(self.reactor.readers, {self.inbox})
        self.one.there.send(b"to one")
        self.other.there.send(b"to the other")
        self.turn()
        self.assertEqual((self.one.heard, self.other.heard), ([b"to one"], [b"to the other"]))
        self.turn()
        self.one.there.send(b"more")
        self.turn()
        self.assertEqual((self.one.heard, len(self.other.heard)), ([b"to one", b"more"], 1))

    def test_much(self) -> None:
        """One that says much does not keep the other waiting for all of it."""
        self.one.there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.one.there.setblocking(False)
        much = self.one.there.send(b"x" * 150_000)
        self.other.there.send(b"short")
        self.turn()
        self.assertLess(sum(map(len, self.one.heard)), much)
        self.assertEqual(self.other.heard, [b"short"])
        for _ in range(4):
            self.turn()
        self.assertEqual(sum(map(len, self.one.heard)), much)

    def test_the_end(self) -> None:
        """After all that was said; the transport finds it, and says so."""
        self.one.there.send(b"last")
        self.one.there.close()
        for _ in range(3):
            self.turn()
        self.assertEqual((self.one.heard, self.one.lost), ([b"last"], [ConnectionDone]))
        self.assertEqual((len(self.inbox), self.reactor.readers), (1, {self.inbox}))

    def test_a_broken_one(self) -> None:
        """Which has an error in place of data."""

        class Broken:
            def __init__(self, sock: Any) -> None:
                self.fileno = sock.fileno

            def recv(self, most: int) -> bytes:
                raise ConnectionResetError

        self.one.sock = Broken(self.one.sock)
        self.one.there.send(b"never read")
        self.one.there.close()
        self.turn()
        self.assertEqual((self.one.heard, self.one.lost), ([], [ConnectionLost]))

    def test_no_data_after_all(self) -> None:
        self.one.there.send(b"read by somebody else")
        recv = self.one.sock.recv

        class Empty:
            fileno = self.one.sock.fileno

            def recv(self, most: int) -> bytes:
                recv(most)
                raise BlockingIOError

        self.one.sock, real = Empty(), self.one.sock
        self.turn()
        self.assertEqual(len(self.inbox), 2)
        self.one.sock = real
        self.one.there.send(b"more")
        self.turn()
        self.assertEqual(self.one.heard, [b"more"])

    def test_ended_by_another(self) -> None:
        """What came for one that ended in the same round is not read."""
        for wire, victim in ((self.one, self.other), (self.other, self.one)):
            wire.then = lambda victim=victim: self.inbox.leave(victim)  # type: ignore[misc]
            wire.there.send(b"x")
        self.turn()
        self.assertEqual(len(self.one.heard) + len(self.other.heard), 1)
        self.assertEqual(len(self.inbox), 1)

    def test_a_bug(self) -> None:
        """Ends one connection, and disturbs no other, whatever it is."""
        for bug in (ValueError, GeneratorExit):
            wire = Wire(self)
            wire.then = partial(_fail, bug)
            for each in (wire, self.other):
                each.there.send(b"x")
            self.turn()
            self.assertEqual(len(self.flushLoggedErrors(bug)), 1)
            self.assertEqual((wire.heard, wire.lost), ([b"x"], [ConnectionAborted]))
            self.assertEqual(self.other.heard.pop(), b"x")
            self.assertEqual((len(self.inbox), self.reactor.readers), (2, {self.inbox}))

    def test_given_back(self) -> None:
        """Its transport reads what came, and nobody here wakes up for it."""
        self.one.there.send(b"x")
        self.inbox.give_back(self.one)
        self.assertEqual(select.select([self.inbox.fileno()], [], [], 0)[0], [])
        self.turn()
        self.assertEqual((self.one.heard, len(self.inbox)), ([b"x"], 1))
        self.inbox.add(self.one)
        self.one.there.send(b"y")
        self.turn()
        self.assertEqual((self.one.heard, self.reactor.readers), ([b"x", b"y"], {self.inbox}))

    def test_nobody(self) -> None:
        """With the last of them the reactor is left, and entered again with the next."""
        self.inbox.leave(self.one)
        self.assertEqual(self.reactor.readers, {self.inbox})
        self.inbox.leave(self.other)
        self.inbox.leave(self.other)
        self.assertEqual(self.reactor.readers, set())
        again = Wire(self)
        again.there.send(b"x")
        self.turn()
        self.assertEqual(again.heard, [b"x"])

    def test_a_number_used_again(self) -> None:
        """By another connection, after the first was closed."""
        number = self.one.descriptor
        self.one.transport.connectionLost(Failure(ConnectionLost()))
        again = Wire(self)
        self.assertEqual(again.descriptor, number)
        self.inbox.leave(self.one)
        again.there.send(b"x")
        self.turn()
        self.assertEqual(again.heard, [b"x"])

    def test_the_reactor_ends(self) -> None:
        """All hear of it, though one of them does not take it well."""
        for wire in (self.one, self.other):
            wire.at_end = partial(_fail, ValueError)
        self.inbox.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual((self.one.lost, self.other.lost), ([ConnectionLost], [ConnectionLost]))
        self.assertEqual((len(self.inbox), self.reactor.readers), (0, set()))

    def test_no_room_in_the_kernel(self) -> None:
        """Who comes then is read by its transport, and those before as before."""

        class Full:
            def register(self, descriptor: int, events: int) -> None:
                raise OSError(28, "No space left on device")

        real, self.inbox._epoll = self.inbox._epoll, Full()
        wire = Wire(self)
        self.assertIn(wire.transport, self.reactor.readers)
        self.inbox._epoll = real
        self.assertEqual(len(self.inbox), 2)
        for each in (wire, self.one):
            each.there.send(b"x")
        self.turn()
        self.assertEqual((wire.heard, self.one.heard), ([b"x"], [b"x"]))
        wire.there.close()
        self.turn()
        self.assertEqual(wire.lost, [ConnectionDone])

    def test_no_room_for_the_inbox_itself(self) -> None:
        """The next that comes finds it as if nothing had been."""
        inbox = Wire.inbox_of = self.inbox = Inbox(self.reactor)
        adding = self.reactor.addReader

        def full(reader: Any) -> None:
            if reader is inbox:
                raise OSError(28, "No space left on device")
            adding(reader)

        self.patch(self.reactor, "addReader", full)
        first = Wire(self)
        self.patch(self.reactor, "addReader", adding)
        second = Wire(self)
        self.assertEqual(len(inbox), 1)
        self.assertIn(inbox, self.reactor.readers)
        for wire in (first, second):
            wire.there.send(b"x")
        self.turn()
        self.assertEqual((first.heard, second.heard), ([b"x"], [b"x"]))

    def test_without_epoll(self) -> None:
        """Everybody's transport reads, as by itself."""
        self.patch(select, "epoll", None)
        del select.epoll
        wire = Wire(self)
        self.assertIn(wire.transport, self.reactor.readers)
        wire.there.send(b"x")
        self.turn()
        self.assertEqual(wire.heard, [b"x"])
        self.inbox.give_back(wire)
