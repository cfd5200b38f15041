"""The first bytes of a connection: whose they are, and that none is lost while it is asked who may enter."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Limits
from docsession.errors import SessionUnknown
from docsession.keys import CookieSigner, Keys
from docsession.model import Identity
from docsession.web.admission import Admission, Refused
from docsession.web.cookies import SessionCookie
from docsession.web.doorway import Door, Doorway
from docsession.web.handshake import SocketFactory
from docsession.web.socket import Sockets
from docsession.wheel import Wheel

ORIGIN = "http://127.0.0.1:8765"
SIGNER = CookieSigner(Keys((b"k" * 32,), (b"s" * 32,)))


def masked(payload: bytes) -> bytes:
    """A short text as a client sends it, with a mask that changes nothing."""
    return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def request(session: str = "s" * 32, *more: str) -> bytes:
    """A whole request for a socket."""
    cookie = SIGNER.sign(Identity(session, 0.0))
    lines = (
        "GET /api/socket HTTP/1.1",
        "Host: 127.0.0.1:8765",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Origin: {ORIGIN}",
        f"Cookie: docsession={cookie}; a=1",
        *more,
    )
    return "\r\n".join((*lines, "", "")).encode()


class Transport(StringTransport):
    """Does not mind if there is no producer, as the real ones."""

    protocol: Any = None
    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True

    def unregisterProducer(self) -> None:
        self.producer = None


class FakeTab:
    """A connection that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def text_received(self, payload: bytes) -> None:
        self.heard.append(payload)

    def lost(self) -> None:
        self.heard.append(b"lost")


class Http:
    """What would answer a request."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data = b""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class DoorwayTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.live = False
        self.asked: list[Deferred[bool]] = []
        self.tabs: list[FakeTab] = []
        self.https: list[Http] = []
        self.limits = Limits(connections=2)
        wheel = Wheel(self.clock)
        self.sockets = Sockets(self.clock, self.limits, wheel, self.connect)
        self.admission = Admission(
            SessionCookie(SIGNER, ORIGIN),
            frozenset({ORIGIN}),
            self.admits,
            is_live=self.is_live,
            is_full=lambda: self.sockets.is_full,
        )
        self.door = Door(SocketFactory(self.sockets), self.admission, wheel)

    def connect(self, wire: Any, identity: Identity, origin: str) -> Any:
        self.tabs.append(FakeTab())
        return self.tabs[-1]

    def is_live(self, identity: Identity) -> bool:
        return self.live

    def admits(self, identity: Identity) -> Deferred[bool]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def http(self) -> Any:
        self.https.append(Http())
        return self.https[-1]

    def come(self, data: bytes) -> Transport:
        """A connection, and what came first."""
        transport = Transport()
        transport.protocol = Doorway(self.door, self.http)
        transport.protocol.makeConnection(transport)
        transport.protocol.dataReceived(data)
        return transport


class Live(DoorwayTestCase):
    """Whose session is here needs no store."""

    def setUp(self) -> None:
        super().setUp()
        self.live = True

    def test_at_once(self) -> None:
        transport = self.come(request() + masked(b"1"))
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 101 "))
        self.assertEqual((self.asked, self.tabs[0].heard), ([], [b"1"]))

    def test_full(self) -> None:
        """There must be room all the same."""
        for _ in range(3):
            self.come(request())
        self.assertEqual((len(self.tabs), len(self.https)), (2, 1))


class Waiting(DoorwayTestCase):
    """What comes while the store is asked."""

    def test_admitted(self) -> None:
        """It is the socket's, in order."""
        transport = self.come(request() + masked(b"1"))
        transport.protocol.dataReceived(masked(b"2")[:3])
        transport.protocol.dataReceived(masked(b"2")[3:])
        self.assertEqual((self.tabs, transport.value()), ([], b""))
        self.asked[0].callback(True)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 101 "))
        transport.protocol.dataReceived(masked(b"3"))
        self.assertEqual(self.tabs[0].heard, [b"1", b"2", b"3"])
        self.assertEqual(self.https, [])

    def test_refused(self) -> None:
        """HTTP gets all that came."""
        transport = self.come(request())
        transport.protocol.dataReceived(b"GET /livez HTTP/1.1\r\n\r\n")
        self.asked[0].callback(False)
        transport.protocol.dataReceived(b"more")
        self.assertEqual(self.https[0].data, request() + b"GET /livez HTTP/1.1\r\n\r\nmore")
        self.assertEqual(transport.value(), b"")

    def test_another_request(self) -> None:
        """It is asked once, whatever comes, and one answer is given."""
        transport = self.come(request())
        transport.protocol.dataReceived(request("t" * 32))
        self.assertEqual(len(self.asked), 1)
        self.asked[0].callback(False)
        self.assertEqual((len(self.https), self.tabs), (1, []))

    def test_leaving(self) -> None:
        """Who leaves while it is asked is let in nowhere, and counted nowhere."""
        for admitted in (True, False):
            transport = self.come(request())
            transport.protocol.connectionLost(Failure(ConnectionDone()))
            self.asked.pop().callback(admitted)
            self.assertEqual((transport.value(), self.tabs, self.https, self.sockets.count), (b"", [], [], 0))

    def test_much(self) -> None:
        """Who goes on talking is not listened to for ever."""
        transport = self.come(request())
        for _ in range(3):
            transport.protocol.dataReceived(b"x" * 65536)
        self.assertTrue(transport.aborting)


class Unusual(DoorwayTestCase):
    """What Autobahn would read otherwise than twisted.web is not its."""

    def test_two_cookies(self) -> None:
        """Of our name in two lines: neither is believed, so it is not asked about."""
        planted = f"docsession={SIGNER.sign(Identity('t' * 32, 0.0))}"
        for line in (f"Cookie: {planted}", f"cookie:{planted}"):
            self.come(request("s" * 32, line))
            self.assertEqual((self.asked, self.https.pop().data), ([], request("s" * 32, line)))

    def test_lines(self) -> None:
        """There is one end of a line."""
        cookie = f"docsession={SIGNER.sign(Identity('t' * 32, 0.0))}"
        bare = request().replace(b"Cookie:", b"X:")
        for separator in ("\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\n", "\r", "\r\n\t"):
            data = bare[:-2] + f"X-Y: 1{separator}Cookie: {cookie}\r\n\r\n".encode()
            self.come(data)
            self.assertEqual((self.asked, self.https.pop().data), ([], data), separator)

    def test_in_pieces(self) -> None:
        for cut in (1, 30, 200, len(request()) - 1):
            transport = self.come(request()[:cut])
            transport.protocol.dataReceived(request()[cut:])
            self.assertEqual((self.asked, self.https.pop().data), ([], request()))


class Room(DoorwayTestCase):
    def test_all_at_once(self) -> None:
        """As many sockets as there may be, however many were asked about at once."""
        came = [self.come(request()) for _ in range(4)]
        for asked in self.asked:
            asked.callback(True)
        self.assertEqual((self.sockets.count, len(self.https)), (2, 2))
        for transport in came[:2]:
            transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.sockets.count, 0)

    def test_refused(self) -> None:
        self.sockets.count = 1
        waiting = Deferred.fromCoroutine(
            self.admission.admit(
                ORIGIN, None, [f"docsession={SIGNER.sign(Identity('s' * 32, 0.0))}".encode()]
            )
        )
        self.sockets.count = 2
        self.asked[0].callback(True)
        self.assertEqual(self.failureResultOf(waiting, Refused).value.why, "full")


class Silence(DoorwayTestCase):
    def test_nothing(self) -> None:
        """Who says nothing for a minute is asked to leave; who said something is others' business."""
        silent = Transport()
        Doorway(self.door, self.http).makeConnection(silent)
        other = self.come(b"GET / HTTP/1.1\r\n")
        self.clock.advance(59)
        self.assertFalse(silent.aborting)
        self.clock.advance(2)
        self.assertTrue(silent.aborting)
        self.assertFalse(other.aborting)

    def test_memory(self) -> None:
        """Nothing of who has come in or gone is held as long as the wheel has the doorway."""
        for data in (b"x" * 50_000, request()):
            doorway: Any = Doorway(self.door, self.http)
            transport = Transport()
            transport.protocol = doorway
            doorway.makeConnection(transport)
            doorway.dataReceived(data)
            for asked in self.asked:
                asked.callback(True)
            self.assertIsNone(doorway.transport)
            self.assertFalse(doorway._begun or doorway._handshake)


class Errors(DoorwayTestCase):
    def test_the_store_is_away(self) -> None:
        """HTTP says so."""
        self.come(request())
        self.asked[0].errback(Failure(SessionUnknown()))
        self.assertEqual(self.https[0].data, request())
