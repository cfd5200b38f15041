"""The agent without a wire: what comes back is what comes back over one, and at once."""

from __future__ import annotations

import json
from typing import Any

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from docsession.sandbox.direct import DirectAgent
from tests.support import Body
from tests.unit.sandbox_driver import BASE, Driver


class Reader(Protocol):
    """Takes a body in."""

    def __init__(self, *, paused: bool = False) -> None:
        self.got = b""
        self.ended: Failure | None = None
        self.paused = paused

    def connectionMade(self) -> None:
        if self.paused:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert self.ended is None, "ended twice"
        self.ended = reason


class Slow(Resource):
    """Answers in pieces, when the test says so."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        self.request = request
        self.lost: list[Failure] = []
        request.notifyFinish().addErrback(self.lost.append)
        return NOT_DONE_YET


class Never(Body):
    """A body that never ends; it may be stopped."""

    stopped = False

    def startProducing(self, consumer: Any) -> Deferred[None]:
        self.produced: Deferred[None] = Deferred()
        return self.produced

    def stopProducing(self) -> None:
        self.stopped = True


class DirectTests(SynchronousTestCase):
    """The sandbox asked directly."""

    def setUp(self) -> None:
        self.google = Driver()
        self.agent = DirectAgent(self.google.sandbox.resource(), self.google.clock)
        self.http = HTTPClient(self.agent, data_to_body_producer=Body)
        self.headers = {"Authorization": f"Bearer {self.google.token('ann@example.com')}"}
        self.plan = self.google.id_of("Autumn plan")

    def ask(self, method: str, path: str, **more: Any) -> Deferred[Any]:
        return self.http.request(method, BASE + path, headers=self.headers, **more)

    def fault(self, **fault: Any) -> None:
        asked = self.http.put(f"{BASE}/sandbox/faults", data=json.dumps([fault]).encode())
        self.assertEqual(self.successResultOf(asked).code, 200)

    def in_flight(self) -> int:
        return self.google.sandbox.calls._in_flight

    def test_it_is_an_agent_and_gives_responses(self) -> None:
        verifyObject(IAgent, self.agent)
        asked = self.agent.request(b"GET", BASE.encode() + b"/sandbox/calls")
        verifyObject(IResponse, self.successResultOf(asked))

    def test_an_answer_is_there_at_once(self) -> None:
        response = self.successResultOf(self.ask("GET", f"/drive/v3/files/{self.plan}", unbuffered=True))
        reader = Reader()
        response.deliverBody(reader)
        self.assertEqual(json.loads(reader.got)["name"], "Autumn plan")
        assert reader.ended is not None
        reader.ended.trap(ResponseDone)
        self.assertEqual((response.code, response.phrase, response.length), (200, b"OK", len(reader.got)))
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json; charset=UTF-8"])

    def test_a_body_is_sent(self) -> None:
        asked = self.ask("PATCH", f"/drive/v3/files/{self.plan}", json={"name": "Winter plan"})
        self.assertEqual(self.successResultOf(asked).code, 200)
        self.assertEqual(self.google.sandbox.world.files[self.plan].name, "Winter plan")

    def test_the_same_as_over_a_wire(self) -> None:
        wired = RequestTraversalAgent(self.google.sandbox.resource())
        for method, path, data in (
            ("GET", f"/drive/v3/files/{self.plan}?fields=*", None),
            ("GET", f"/drive/v3/files/{self.plan}/comments?fields=*", None),
            ("GET", "/drive/v3/files/missing", None),
            ("GET", "/drive/v3/files?fields=nothing", None),
            ("HEAD", f"/drive/v3/files/{self.plan}", None),
            ("GET", "/drive/v3/nowhere", None),
            ("GET", "/", None),
            ("GET", "/sandbox/", None),
            ("GET", "/sandbox/static/page.js", None),
            ("POST", "/token", b"grant_type=refresh_token&refresh_token=none"),
        ):
            seen = []
            for agent, flush in ((self.agent, lambda: None), (wired, wired.flush)):
                headers = Headers({name: [value] for name, value in self.headers.items()})
                if data is not None:
                    headers.setRawHeaders("Content-Type", ["application/x-www-form-urlencoded"])
                asked = agent.request(
                    method.encode(), (BASE + path).encode(), headers, None if data is None else Body(data)
                )
                flush()
                response, reader = self.successResultOf(asked), Reader()
                response.deliverBody(reader)
                flush()
                response.headers.removeHeader("date")
                assert reader.ended is not None
                shown = sorted((name.lower(), said) for name, said in response.headers.getAllRawHeaders())
                first = response.version, response.code, response.phrase, response.length
                seen.append((first, shown, reader.got, reader.ended.type))
            self.assertEqual(seen[0], seen[1], f"{method} {path}")

    def test_a_delay_is_the_clocks(self) -> None:
        self.fault(delay=3)
        asked = self.ask("GET", f"/drive/v3/files/{self.plan}")
        self.google.clock.advance(2.9)
        self.assertNoResult(asked)
        self.google.clock.advance(0.2)
        self.assertEqual(self.successResultOf(asked).code, 200)

    def test_a_dropped_connection(self) -> None:
        self.fault(drop=True, times=1)
        failure = self.failureResultOf(self.ask("GET", f"/drive/v3/files/{self.plan}"), ResponseFailed)
        self.assertIsInstance(failure.value, ResponseNeverReceived)
        failure.value.reasons[0].trap(ConnectionLost)
        self.assertEqual(self.in_flight(), 0, "the sandbox was not told")

    def test_a_connection_dropped_later(self) -> None:
        self.fault(drop=True, delay=2)
        asked = self.ask("GET", f"/drive/v3/files/{self.plan}")
        self.assertNoResult(asked)
        self.google.clock.advance(2)
        self.failureResultOf(asked, ResponseFailed).value.reasons[0].trap(ConnectionLost)
        self.assertEqual(self.in_flight(), 0)

    def test_done_and_then_dropped(self) -> None:
        self.fault(after=True, drop=True, times=1)
        self.failureResultOf(
            self.ask("PATCH", f"/drive/v3/files/{self.plan}", json={"name": "Winter plan"}), ResponseFailed
        )
        self.assertEqual(self.google.sandbox.world.files[self.plan].name, "Winter plan")

    def test_who_hangs_up_is_not_waited_for(self) -> None:
        self.fault(hang=True)
        asked = self.ask("GET", f"/drive/v3/files/{self.plan}")
        self.google.clock.advance(1000)
        self.assertNoResult(asked)
        self.assertEqual(self.in_flight(), 1)
        asked.cancel()
        self.failureResultOf(asked, ResponseFailed).value.reasons[0].trap(CancelledError)
        self.assertEqual(self.in_flight(), 0)

    def test_another_scheme(self) -> None:
        self.failureResultOf(self.agent.request(b"GET", b"ftp://127.0.0.1/"), SchemeNotSupported)


class PiecesTests(SynchronousTestCase):
    """Answers that come in pieces, or not to an end."""

    def setUp(self) -> None:
        self.google = Driver()
        self.resource = Slow()
        self.agent = DirectAgent(self.resource, self.google.clock)

    def ask(self) -> Deferred[Any]:
        return self.agent.request(b"GET", b"http://here/x?y=1", Headers({"X-Y": ["z"]}))

    def test_headers_first_then_pieces(self) -> None:
        asked = self.ask()
        self.assertNoResult(asked)
        self.assertEqual(self.resource.request.getHeader("host"), "here")
        self.assertEqual(self.resource.request.getHeader("x-y"), "z")
        self.assertEqual(self.resource.request.args, {b"y": [b"1"]})
        self.resource.request.write(b"one ")
        response = self.successResultOf(asked)
        self.assertIs(response.length, UNKNOWN_LENGTH)
        reader = Reader()
        response.deliverBody(reader)
        self.assertEqual(reader.got, b"one ")
        self.resource.request.write(b"two")
        self.assertIsNone(reader.ended)
        self.resource.request.finish()
        assert reader.ended is not None
        reader.ended.trap(ResponseDone)
        self.assertEqual(reader.got, b"one two")
        self.assertRaises(RuntimeError, response.deliverBody, Reader())

    def test_lost_in_the_middle(self) -> None:
        asked = self.ask()
        self.resource.request.write(b"one ")
        reader = Reader()
        self.successResultOf(asked).deliverBody(reader)
        self.resource.request.loseConnection()
        self.google.clock.advance(0)
        assert reader.ended is not None
        reader.ended.trap(ResponseFailed)
        reader.ended.value.reasons[0].trap(ConnectionLost)
        self.assertEqual(len(self.resource.lost), 1)

    def test_a_reader_that_pauses_is_given_nothing(self) -> None:
        asked = self.ask()
        self.resource.request.write(b"one")
        self.resource.request.finish()
        reader = Reader(paused=True)
        response = self.successResultOf(asked)
        response.deliverBody(reader)
        self.assertEqual((reader.got, reader.ended), (b"", None))
        reader.transport.resumeProducing()
        self.assertEqual(reader.got, b"one")
        self.assertIsNotNone(reader.ended)

    def test_a_reader_that_goes(self) -> None:
        asked = self.ask()
        self.resource.request.write(b"one")
        reader = Reader()
        self.successResultOf(asked).deliverBody(reader)
        reader.transport.loseConnection()
        self.assertEqual(len(self.resource.lost), 1)
        assert reader.ended is not None
        reader.ended.value.reasons[0].trap(ConnectionDone)

    def test_a_body_given_up_is_stopped(self) -> None:
        body = Never(b"x")
        asked = self.agent.request(b"POST", b"http://here/", None, body)
        asked.cancel()
        self.failureResultOf(asked, ResponseFailed)
        self.assertTrue(body.stopped)

    def test_a_body_that_fails(self) -> None:
        body = Never(b"x")
        asked = self.agent.request(b"POST", b"http://here/", None, body)
        body.produced.errback(OSError("no such file"))
        self.failureResultOf(asked, OSError)
