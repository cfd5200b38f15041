"""The socket after the handshake, over a real pair of kernel sockets that a test reads at its own pace."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from docsession.config import Limits
from docsession.errors import CloseCode
from docsession.model import Identity
from docsession.web.frames import CLOSE, PING, PONG, close_frame, frame
from docsession.web.outbox import is_clear, kernel_socket
from docsession.web.socket import Socket, Sockets
from docsession.wheel import Wheel
from tests.daemon.proxies import certificate

IDENTITY = Identity("s" * 32, 0.0)


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A short frame as a client sends it, with a mask that changes nothing."""
    return bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


class Reactor(Clock):
    """Time, and who wants to read or write."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: set[Any] = set()
        self.readers: set[Any] = set()

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)


class FakeTab:
    """A connection that notes what its socket says, and answers as a test likes."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.said: list[str] = []
        self.wire: Any = None
        self.echo = False
        self.large = 0
        # How many were, when it was held up.
        self.heard_before = 0

    def text_received(self, payload: bytes) -> None:
        self.heard.append(payload)
        if self.large:
            self.wire.send(b"x" * self.large)
        if self.echo:
            self.wire.send(payload)

    def held_up(self) -> None:
        self.said[-1:] = {*self.said[-1:], "held up"}
        self.heard_before = self.heard_before or len(self.heard)

    def drained(self) -> None:
        self.said.append("drained")

    def lost(self) -> None:
        self.said.append("lost")

    def close(self, code: CloseCode, reason: str) -> None:
        self.said.append(reason)
        self.wire.close(code, reason)


class SocketTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.here, self.there = socket.socketpair()
        self.addCleanup(self.here.close)
        self.addCleanup(self.there.close)
        self.there.setblocking(False)
        self.tab: Any = FakeTab()
        self.wire: Any = None
        self.sockets = Sockets(
            self.reactor,  # type: ignore[arg-type]
            Limits(),
            Wheel(self.reactor),  # type: ignore[arg-type]
            lambda wire, identity, origin: self.tab,
        )
        self.transport: Any = tcp.Connection(self.here, None, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.transport.startReading()
        self.open()

    def open(self) -> None:
        """The handshake is over."""
        if self.wire is not None:
            self.sockets.inbox.leave(self.wire)
        self.wire = self.tab.wire = self.transport.protocol = Socket(
            self.sockets, self.transport, IDENTITY, "http://127.0.0.1:8765"
        )

    def turn(self) -> None:
        """One turn of the reactor, but for what the kernel has to say."""
        self.reactor.advance(0)

    def write(self) -> None:
        """The reactor finds that the socket can be written."""
        for writer in list(self.reactor.writers):
            failed = writer.doWrite()
            if failed is not None:
                writer.connectionLost(Failure(failed))

    def read(self, most: int = 1 << 20) -> bytes:
        """What the other side reads now."""
        try:
            return self.there.recv(most)
        except BlockingIOError:
            return b""

    def read_all(self) -> bytes:
        """What it reads until nothing more comes."""
        data = b""
        while True:
            self.turn()
            self.write()
            more = self.read()
            if not more and not self.reactor.writers:
                return data
            data += more

    def say(self, data: bytes) -> None:
        """The other side sends."""
        self.there.send(data)
        self.hear()

    def hear(self) -> None:
        """The reactor finds that something can be read."""
        for reader in list(self.reactor.readers):
            ended = reader.doRead()
            if ended is not None:
                reader.connectionLost(Failure(ended))

    def fill(self) -> int:
        """Until the transport takes nothing more; returns how many messages of 1,000 bytes."""
        number = 0
        while self.wire.ready:
            self.wire.send(b"%6d" % number + b"x" * 994)
            self.turn()
            number += 1
        return number


class Sending(SocketTestCase):
    """What leaves, and how."""

    def test_at_once(self) -> None:
        """Where nothing waits, the kernel has it in the same turn, and the reactor is not asked."""
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.read(), frame(b"{}"))
        self.assertEqual(self.reactor.writers, set())
        self.assertTrue(is_clear(self.transport))

    def test_together(self) -> None:
        """What is said in one turn leaves in one write."""
        self.wire.send(b"1")
        self.wire.send(b"2")
        self.wire.send(b"3")
        self.assertEqual(self.read(), b"")
        self.turn()
        self.assertEqual(self.read(), frame(b"1") + frame(b"2") + frame(b"3"))

    def test_answers(self) -> None:
        """The answers to what one read brought leave at its end."""
        self.tab.echo = True
        self.say(masked(b"1") + masked(b"2") + masked(b"are you there", PING) + masked(b"3"))
        self.assertEqual(self.tab.heard, [b"1", b"2", b"3"])
        self.assertEqual(self.read(), frame(b"1") + frame(b"2") + frame(b"are you there", PONG) + frame(b"3"))
        self.turn()
        self.assertEqual(self.read(), b"")

    def test_no_reader(self) -> None:
        """Who does not read is held up, and let go on when all was read; nothing is lost or overtaken."""
        sent = self.fill()
        self.assertEqual(self.tab.said, ["held up"])
        data = self.read_all()
        self.assertEqual(self.tab.said, ["held up", "drained"])
        self.assertEqual(data, b"".join(frame(b"%6d" % n + b"x" * 994) for n in range(sent)))
        self.assertTrue(self.wire.ready)
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual((self.read(), self.reactor.writers), (frame(b"{}"), set()))

    def test_overtaking(self) -> None:
        """As long as something waits in the transport, all goes that way."""
        self.fill()
        self.read(100_000)
        self.wire.send(b"the last")
        self.turn()
        self.assertTrue(self.read_all().endswith(frame(b"the last")))

    def test_before(self) -> None:
        """What twisted.web or a handshake has left in the transport is not overtaken either."""
        self.transport.write(b"HTTP/1.1 101\r\n\r\n")
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.read_all(), b"HTTP/1.1 101\r\n\r\n" + frame(b"{}"))

    @given(st.integers(0, 2**32))
    def test_any(self, seed: int) -> None:
        """However messages, turns, reads and writes follow each other, all arrives in order."""
        self.setUp()
        rng = random.Random(seed)
        said, read = b"", b""
        with contextlib.closing(self.here), contextlib.closing(self.there):
            for step in range(rng.randrange(60)):
                for _ in range(rng.choice((0, 1, 1, 5))):
                    payload = b"%d " % step * rng.choice((1, 10, 1000, 20_000))
                    self.wire.send(payload)
                    said += frame(payload)
                if rng.random() < 0.8:
                    self.turn()
                if rng.random() < 0.5:
                    self.write()
                read += self.read(rng.choice((1, 1000, 100_000))) if rng.random() < 0.7 else b""
            read += self.read_all()
        self.assertEqual(read, said)

    def test_broken(self) -> None:
        """A wire that breaks while it is written to is lost once, and quietly."""
        self.there.close()
        self.wire.send(b"{}")
        self.turn()
        self.write()
        self.assertEqual(self.tab.said, ["lost"])
        self.assertEqual(self.sockets.count, 0)
        self.wire.send(b"{}")
        self.turn()

    def test_lost_with_something_to_say(self) -> None:
        self.wire.send(b"{}")
        self.transport.connectionLost(Failure(ConnectionDone()))
        self.turn()
        self.assertEqual(self.tab.said, ["lost"])

    def test_lost_in_the_middle_of_a_message(self) -> None:
        """What came of it is not held as long as the wheel has the socket."""
        self.say(b"\x81\xfe\xff\xff\0\0\0\0" + b"x" * 50_000)
        self.transport.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.wire._reader._rest), 0)

    def test_wrapped(self) -> None:
        """Where something lies between, as TLS does, its transport is written to."""
        self.assertIs(kernel_socket(self.transport), self.here)
        self.transport.TLS = True
        self.assertIsNone(kernel_socket(self.transport))

    def test_much_in_one_read(self) -> None:
        """Who asks for more than fits, in one read, is held up before all of it is answered."""
        self.tab.large = 200_000
        for _ in range(50):
            self.there.send(masked(b"?"))
        self.hear()
        self.assertLess(self.tab.heard_before, 25)

    def test_more_behind_what_waits(self) -> None:
        """Who does not read is held up also where something waited before the first message."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.here.send(b"x" * 10_000, socket.MSG_DONTWAIT)
        self.transport.write(b"HTTP/1.1 101\r\n\r\n")
        for _ in range(100):
            self.wire.send(b"x" * 1000)
            self.turn()
        self.assertEqual(self.tab.said, ["held up"])

    def test_the_place_of_another(self) -> None:
        """After requests over HTTP twisted.web's channel is the transport's producer."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        self.open()
        self.fill()
        self.assertEqual(self.tab.said, ["held up"])
        self.read_all()
        self.assertEqual(self.tab.said, ["held up", "drained"])

    def test_who_is_slow_is_read_by_its_transport(self) -> None:
        """A reactor that waits to write hears of the end, too: what was said before it must be read first."""
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.reactor.readers, {self.sockets.inbox})
        self.fill()
        self.assertEqual(self.reactor.readers, {self.transport})
        self.say(masked(b"still here"))
        self.read_all()
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.reactor.readers, {self.sockets.inbox})
        self.say(masked(b"again"))
        self.assertEqual(self.tab.heard, [b"still here", b"again"])

    def test_last_words_of_who_is_slow(self) -> None:
        """It drains a little, says something and is gone, all before the reactor looks."""
        from twisted.internet.epollreactor import EPollReactor  # which only Linux has

        reactor: Any = EPollReactor()  # type: ignore[no-untyped-call]
        self.addCleanup(reactor._poller.close)
        self.addCleanup(reactor.waker.connectionLost, None)
        self.addCleanup(reactor.removeAll)
        transport = self.transport = tcp.Connection(self.here, None, reactor)
        transport.connected = 1  # type: ignore[assignment]
        transport.startReading()
        self.sockets = Sockets(
            reactor,
            Limits(),
            Wheel(self.reactor),  # type: ignore[arg-type]
            lambda wire, identity, origin: self.tab,
        )
        self.wire = None
        self.open()
        self.wire.send(b"{}")
        self.wire.flush()
        while self.wire.ready:
            self.wire.send(b"x" * 60_000)
            self.wire.flush()
        while self.read():
            pass
        self.there.send(masked(b"last words"))
        self.there.close()
        for _ in range(10):
            reactor.doIteration(0)
        self.assertEqual(self.tab.heard, [b"last words"])
        self.assertTrue(transport.disconnected)

    def test_a_bug_in_the_middle_of_many(self) -> None:
        """Who was before it is told all the same."""

        class Broken:
            _pending = [b"much"]

            def send(self, payload: bytes) -> None:
                raise ValueError

        self.assertRaises(ValueError, self.wire.send_all, [self.wire, Broken()], b"{}")
        self.turn()
        self.assertEqual(self.read(), frame(b"{}"))

    def test_a_bug(self) -> None:
        """One wire on which sending fails keeps nothing of what waits on others."""

        class Broken:
            def flush(self) -> None:
                raise ValueError

        self.sockets.outbox.later(Broken())
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.read(), frame(b"{}"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Many(SocketTestCase):
    """What is framed and joined once for all who get the same stays each one's own."""

    def setUp(self) -> None:
        super().setUp()
        self.others: list[tuple[Any, Any]] = [(self.wire, self.there)]
        for _ in range(3):
            here, there = socket.socketpair()
            self.addCleanup(here.close)
            self.addCleanup(there.close)
            transport: Any = tcp.Connection(here, None, self.reactor)  # type: ignore[arg-type]
            transport.connected = 1
            transport.protocol = Socket(self.sockets, transport, IDENTITY, "")
            self.others.append((transport.protocol, there))

    @given(st.integers(0, 2**32))
    def test_each(self, seed: int) -> None:
        """Whoever is told what, together with others or alone, it is that, in that order."""
        rng = random.Random(seed)
        said = [b""] * len(self.others)
        for step in range(rng.randrange(40)):
            payload = b"%d " % step * rng.choice((1, 1, 100, 5000))
            told = (
                [n for n in range(len(self.others)) if rng.random() < 0.8]
                if rng.random() < 0.7
                else [step % 4]
            )
            wires = [self.others[number][0] for number in told]
            cut = rng.randrange(len(wires) + 1)
            for some in (wires[:cut], wires[cut:]):
                if some and rng.random() < 0.6:
                    some[0].send_all(some, payload)
                else:
                    for wire in some:
                        wire.send(payload)
            for number in told:
                said[number] += frame(payload)
            if rng.random() < 0.2:
                self.turn()
        for number, (_, there) in enumerate(self.others):
            there.setblocking(False)
            read = b""
            for _ in range(1000):
                if len(read) >= len(said[number]):
                    break
                self.turn()
                self.write()
                with contextlib.suppress(BlockingIOError):
                    read += there.recv(1 << 20)
            self.assertEqual(read, said[number])


class Goodbye(SocketTestCase):
    """How it ends."""

    def test_theirs_before_all_was_read(self) -> None:
        """It is answered after what waits, and nobody waits for anything then."""
        self.fill()
        self.say(masked(b"\x03\xe8", CLOSE))
        self.assertTrue(self.read_all().endswith(close_frame(1000)))
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.sockets.count, 0)

    def test_violation_before_all_was_read(self) -> None:
        self.fill()
        self.say(b"\x81\x02{}")
        self.read_all()
        self.assertRaises(OSError, self.here.send, b"after the end of what is written")

    def test_violation_and_then_nothing(self) -> None:
        """That they are gone is still noticed, before their time is up."""
        self.say(b"\x81\x02{}")
        self.write()
        self.there.close()
        self.hear()
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.sockets.count, 0)

    def test_gone(self) -> None:
        """Without a goodbye."""
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.reactor.readers, {self.sockets.inbox})
        self.there.close()
        self.hear()
        self.hear()
        self.assertTrue(self.transport.disconnected)
        self.assertEqual((self.tab.said, self.sockets.count), (["lost"], 0))
        self.assertEqual((len(self.sockets.inbox), self.reactor.readers), (0, set()))

    def test_ours(self) -> None:
        """We say it after what was said before, and wait for theirs."""
        self.wire.send(b"last")
        self.wire.close(4000, "draining")
        self.assertEqual(self.read(), frame(b"last") + close_frame(4000, "draining"))
        self.wire.close(4001, "again")
        self.wire.send(b"more")
        self.wire.send_all([self.wire], b"more")
        self.turn()
        self.assertEqual(self.read(), b"")
        self.assertFalse(self.transport.disconnecting)
        self.say(masked(b"\x0f\xa0", CLOSE))
        self.assertTrue(self.transport.disconnecting)

    def test_unanswered(self) -> None:
        """Not for more than five seconds."""
        self.wire.close(4000, "draining")
        self.reactor.advance(4.9)
        self.assertFalse(self.transport.disconnected)
        self.there.send(masked(b"too late") * 2)
        self.reactor.advance(0.4)
        self.hear()
        self.assertTrue(self.transport.disconnected)
        self.assertEqual((self.tab.heard, self.reactor.readers), ([], set()))

    def test_theirs(self) -> None:
        """It is answered, and what comes after it is not read."""
        self.wire.send(b"{}")
        self.turn()
        self.assertEqual(self.read(), frame(b"{}"))
        self.say(masked(b"\x03\xe8", CLOSE) + masked(b"more"))
        self.assertEqual(self.reactor.readers, set())
        self.assertEqual(self.read(), close_frame(1000))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual((self.tab.heard, self.tab.said), ([], ["lost"]))

    def test_violation(self) -> None:
        """They are told what was wrong, and given a second to read it."""
        self.say(masked(b"fine") + b"\x81\x02{}" + masked(b"more"))
        self.assertEqual(self.tab.heard, [b"fine"])
        self.assertEqual(self.tab.said, ["lost"])
        self.write()
        said = self.read()
        self.assertEqual((said[0], said[2:4]), (0x88, (1002).to_bytes(2, "big")))
        self.reactor.advance(0.9)
        self.assertFalse(self.transport.disconnected)
        self.reactor.advance(0.4)
        self.assertTrue(self.transport.disconnected)

    def test_binary(self) -> None:
        self.say(masked(b"x", 2))
        self.assertEqual(self.tab.said, ["text frames only"])


@implementer(IOpenSSLServerConnectionCreator)
class Certified:
    """Makes the server's side of TLS."""

    def __init__(self, public: bytes, private: bytes) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.use_certificate(x509.load_pem_x509_certificate(public))
        self._context.use_privatekey(serialization.load_pem_private_key(private, None))  # type: ignore[arg-type]

    def serverConnectionForTLS(self, layer: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class OverTLS(SocketTestCase):
    """TLS has buffers and habits of its own."""

    def open(self) -> None:
        public, private = certificate()
        factory: Any = TLSMemoryBIOFactory(Certified(public, private), False, Factory(), clock=self.reactor)
        layer: Any = factory.protocol(factory, self.tab, False)
        self.transport.protocol = layer
        layer.makeConnection(self.transport)
        self.coming, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        trusting = ssl.create_default_context(cadata=public.decode())
        self.client = trusting.wrap_bio(self.coming, self.going, server_hostname="127.0.0.1")
        self.data = b""
        self.layer = layer
        self.wire = self.tab.wire = layer.wrappedProtocol = Socket(self.sockets, layer, IDENTITY, "")
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.pump()

    def pump(self) -> None:
        """Both sides send and read what there is."""
        if self.going.pending:
            self.there.send(self.going.read())
            self.transport.doRead()
        for _ in range(20):
            self.turn()
            self.write()
            self.coming.write(self.read())

    def told(self) -> bytes:
        """What the client has read by now."""
        self.pump()
        with contextlib.suppress(ssl.SSLWantReadError):
            while more := self.client.read(65536):
                self.data += more
        return self.data

    def tell(self, data: bytes) -> None:
        self.client.write(data)
        self.there.send(self.going.read())
        self.transport.doRead()

    def test_theirs(self) -> None:
        """Their goodbye is answered, and the connection ends without anybody's patience."""
        self.tell(masked(b"fine") + masked(b"\x03\xe8", CLOSE))
        self.assertEqual(self.told(), close_frame(1000))
        self.assertEqual(self.tab.heard, [b"fine"])
        self.client.unwrap()
        self.pump()
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.sockets.count, 0)

    def test_violation(self) -> None:
        """They are told what was wrong."""
        self.tell(b"\x81\x02{}")
        said = self.told()
        self.assertEqual((said[0], said[2:4]), (0x88, (1002).to_bytes(2, "big")))
        self.client.unwrap()
        self.pump()
        self.assertTrue(self.transport.disconnected)

    def test_the_place_of_another(self) -> None:
        """After requests over HTTP twisted.web's channel is the transport's producer."""
        self.wire = self.tab.wire = self.layer.wrappedProtocol = Socket(
            self.sockets, self.layer, IDENTITY, ""
        )
        self.fill()
        self.assertEqual(self.tab.said, ["held up"])
        self.told()
        self.assertEqual(self.tab.said, ["held up", "drained"])


class Pings(SocketTestCase):
    """Whether anybody is there."""

    def after(self, seconds: float) -> bytes:
        for _ in range(round(seconds * 4)):
            self.reactor.advance(0.25)
        return self.read()

    def test_silence(self) -> None:
        """After 25 seconds it is asked, ten more without an answer and it is closed."""
        self.assertEqual(self.after(24.5), b"")
        self.assertEqual(self.after(0.75), frame(b"", PING))
        self.assertEqual(self.after(9), b"")
        self.assertEqual(self.after(1.5), close_frame(4003, "no answer to a ping"))

    def test_answer(self) -> None:
        """Whatever comes is an answer."""
        first = 24.5
        for answer in (masked(b"", PONG), masked(b"{}"), masked(b"", PING)) * 3:
            self.assertEqual(self.after(first), b"")
            self.assertEqual(self.after(0.5), frame(b"", PING))
            self.after(5)
            self.say(answer)
            self.assertIn(self.after(6), (b"", frame(b"", PONG)))
            first = 13.5
        self.assertEqual(self.tab.said, [])

    def test_patient(self) -> None:
        """However long an answer may take, the next is asked 25 seconds after the one before."""
        self.sockets.limits = Limits(pong_within=60)
        self.assertEqual(self.after(25), frame(b"", PING))
        self.after(1)
        self.say(masked(b"", PONG))
        self.assertEqual(self.after(23.5), b"")
        self.assertEqual(self.after(2), frame(b"", PING))
        self.assertEqual(self.after(58), b"")
        self.assertEqual(self.after(2), close_frame(4003, "no answer to a ping"))

    def test_many(self) -> None:
        """Any number of sockets have one timer."""
        for _ in range(50):
            self.open()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
