"""One exchange with Google over Twisted's own Agent, on transports in memory."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from docsession.errors import TooLarge
from docsession.google.http import GoogleHttp, NoAnswer, NotSent, Reply, collect
from tests.support import Body

URL = "http://127.0.0.1/drive"


class Wire(StringTransport):
    """A connection to Google as the test sees it: an aborted one is lost a moment later."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class HttpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        pool = HTTPConnectionPool(self.reactor, persistent=True)
        pool.retryAutomatically = False
        self.http = GoogleHttp(
            Agent(self.reactor, pool=pool),
            self.reactor,
            answer_within=30,
            most_bytes=1000,
            body_producer=Body,
        )

    def send(self, method: str = "GET", url: str = URL, **more: Any) -> Deferred[Reply]:
        return Deferred.fromCoroutine(self.http.send(method, url, **more))

    def connect(self) -> tuple[Any, Wire]:
        """The connection that is being made is made."""
        factory = self.reactor.tcpClients.pop()[2]
        protocol, wire = factory.buildProtocol(None), Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return protocol, wire

    def answered(self, asked: Deferred[Reply], *parts: bytes, headers: str = "", status: int = 200) -> Wire:
        """The answer comes, with its length."""
        protocol, wire = self.connect()
        length = sum(map(len, parts))
        head = f"HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{headers}\r\n"
        for part in (head.encode(), *parts):
            protocol.dataReceived(part)
        return wire

    def nothing_left(self) -> None:
        # An idle connection is kept for a while; that is the pool's own timer.
        calls = [str(call.func) for call in self.reactor.getDelayedCalls()]
        self.assertEqual([call for call in calls if "HTTPConnectionPool" not in call], [])

    def test_what_is_sent_and_what_comes_back(self) -> None:
        asked = self.send("PATCH", token="secret", json={"a": "ä"})
        wire = self.answered(asked, b'{"x"', b": 1}", headers="Retry-After: 3\r\n")
        reply = self.successResultOf(asked)
        self.assertEqual((reply.status, reply.json(), reply.retry_after), (200, {"x": 1}, 3))
        head, _, body = wire.value().partition(b"\r\n\r\n")
        self.assertEqual(body, '{"a":"ä"}'.encode())
        lines = {line.partition(b":")[0].lower(): line for line in head.split(b"\r\n")}
        self.assertTrue(head.startswith(b"PATCH /drive HTTP/1.1"))
        self.assertEqual(lines[b"authorization"], b"Authorization: Bearer secret")
        self.assertEqual(lines[b"content-type"], b"Content-Type: application/json; charset=UTF-8")
        self.assertIn(b"gzip", lines[b"user-agent"])
        self.assertIn(b"gzip", lines[b"accept-encoding"])
        self.nothing_left()

    def test_a_form_and_a_post_of_nothing(self) -> None:
        asked = self.send("POST", form={"token": "a b&c"})
        wire = self.answered(asked, b"{}")
        self.assertTrue(wire.value().endswith(b"\r\n\r\ntoken=a+b%26c"))
        self.assertNotIn(b"Authorization", wire.value())
        asked = self.send("POST", url="http://127.0.0.2/")
        wire = self.answered(asked, b"{}")
        self.assertIn(b"Content-Length: 0", wire.value())

    def test_gzip_is_unpacked_and_broken_gzip_is_no_answer(self) -> None:
        packed = gzip.compress(b'{"x": 1}')
        asked = self.send()
        self.answered(asked, packed[:9], packed[9:], headers="Content-Encoding: gzip\r\n")
        self.assertEqual(self.successResultOf(asked).json(), {"x": 1})
        asked = self.send(url="http://127.0.0.2/")
        self.answered(asked, b"no gzip at all", headers="Content-Encoding: gzip\r\n")
        with self.assertRaises(NoAnswer):
            self.successResultOf(asked).json()

    def test_never_sent(self) -> None:
        for error in (ConnectionRefusedError(), DNSLookupError()):
            asked = self.send()
            factory = self.reactor.tcpClients.pop()[2]
            factory.clientConnectionFailed(None, Failure(error))
            self.reactor.advance(1)
            self.failureResultOf(asked, NotSent)
        self.nothing_left()

    def test_cut_before_and_within_the_answer(self) -> None:
        for part in (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"x"',
        ):
            asked = self.send("POST", json={})
            protocol, _ = self.connect()
            if part:
                protocol.dataReceived(part)
            protocol.connectionLost(Failure(ConnectionLost()))
            self.failureResultOf(asked, NoAnswer)
        self.nothing_left()

    def test_an_answer_without_a_length_ends_with_the_connection(self) -> None:
        asked = self.send()
        protocol, _ = self.connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n{}")
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(asked).json(), {})

    def test_no_answer_in_time(self) -> None:
        for part in (b"", b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"x"'):
            asked = self.send()
            protocol, wire = self.connect()
            if part:
                protocol.dataReceived(part)
            self.reactor.advance(29)
            self.assertNoResult(asked)
            self.reactor.advance(1.5)
            self.failureResultOf(asked, NoAnswer)
            self.assertTrue(wire.aborted or wire.disconnecting)
            protocol.connectionLost(Failure(ConnectionLost()))

    def test_no_connection_in_time(self) -> None:
        asked = self.send()
        self.reactor.advance(31)
        self.failureResultOf(asked, NotSent)

    def test_cancelling_is_not_taken_for_a_broken_connection(self) -> None:
        # Agent wraps it; taken for weather, the request would be sent once more.
        for part in (None, b"", b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"x"'):
            asked = self.send("GET")
            if part is not None:
                protocol, wire = self.connect()
                protocol.dataReceived(part) if part else None
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            if part is not None:
                self.assertTrue(wire.aborted or wire.disconnecting)
                protocol.connectionLost(Failure(ConnectionLost()))
            self.reactor.tcpClients.clear()

    def test_cancelling_holds_where_dropping_ends_the_answer_at_once(self) -> None:
        class Response:
            def deliverBody(self, protocol: Any) -> None:
                self.protocol = protocol
                protocol.makeConnection(self)

            def loseConnection(self) -> None:
                self.protocol.connectionLost(Failure(ConnectionLost()))

        collecting = collect(Response(), 100)  # type: ignore[arg-type]
        collecting.cancel()
        self.failureResultOf(collecting, CancelledError)

    def test_too_large_is_dropped_at_once(self) -> None:
        asked = self.send()
        protocol, wire = self.connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1001)
        self.assertTrue(wire.aborted or wire.disconnecting)
        protocol.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(asked, TooLarge)

    def test_too_large_once_unpacked(self) -> None:
        asked = self.send()
        protocol, _ = self.connect()
        packed = gzip.compress(b"x" * 100_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        protocol.dataReceived(head.encode() + packed)
        self.failureResultOf(asked, TooLarge)

    def test_redirects_are_not_followed(self) -> None:
        asked = self.send(token="secret")
        self.answered(asked, status=302, headers="Location: http://127.0.0.9/elsewhere\r\n")
        self.assertEqual(self.successResultOf(asked).status, 302)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_no_cookie_is_kept_for_the_next_user(self) -> None:
        asked = self.send(token="anns")
        protocol, wire = self.connect()
        protocol.dataReceived(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: NID=anns; Path=/\r\nContent-Length: 2\r\n\r\n{}"
        )
        self.successResultOf(asked)
        wire.clear()
        self.send(token="bobs")
        self.assertIn(b"Bearer bobs", wire.value())
        self.assertNotIn(b"ookie", wire.value())
        self.assertNotIn(b"anns", wire.value())

    def test_what_is_no_json_object_is_no_answer(self) -> None:
        for body in (b"", b"<html>", b"[1]", b'"x"', b"null", b"\xff", b"{" * 3, b"[" * 100_000):
            with self.assertRaises(NoAnswer):
                Reply(200, Headers({}), body).json()
