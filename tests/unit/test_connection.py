"""One tab's socket: what is answered, what is refused, what closes it, and that nothing follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession import rpc
from docsession.config import Limits
from docsession.connection import Connection
from docsession.counting import Tally
from docsession.errors import CloseCode, Forbidden
from docsession.model import Identity
from docsession.outgoing import tell_all
from docsession.wheel import Wheel
from tests.support import FakeWire

SECRET = "a-secret-of-ours"


class FakeBrowser:
    """All that a connection asks of its browser session."""

    user: Any = None


class FakeMethod:
    """A method that does what a test says, and knows how often it was called.

    ``at_once``: where that needs no waiting, it is done so.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[Connection, rpc.Call], Any],
        *,
        before_open: bool = False,
        needs_user: bool = False,
        at_once: bool = False,
    ) -> None:
        self.name = name
        self.prompt = at_once
        self.before_open = before_open
        self.needs_user = needs_user
        self.called = 0
        self._do = do

    def at_once(self, connection: Connection, call: rpc.Call, now: float) -> bytes | None:
        if not self.prompt:
            return None
        self.called += 1
        return rpc.encode(self._do(connection, call))

    async def call(self, connection: Connection, call: rpc.Call) -> bytes:
        assert not self.prompt, "it needed no waiting"
        self.called += 1
        done = self._do(connection, call)
        if isinstance(done, Deferred):
            done = await done
        return rpc.result_outcome(rpc.encode(done))


class ConnectionTestCase(SynchronousTestCase):
    """A connection over a fake wire with a few methods."""

    toml: dict[str, Any] = {}
    # Whether methods that need no waiting are done so.
    at_once = False

    def setUp(self) -> None:
        self.connect(**self.toml)

    def connect(self, **limits: Any) -> None:
        self.clock = Clock()
        self.wire = FakeWire()
        self.lost: list[Connection] = []
        self.lagging: list[bool] = []
        self.counted: list[tuple[str, str]] = []
        self.answered_at_once = Tally()
        self.waiting: list[Deferred[Any]] = []
        self.cancelled = 0
        self.browser: Any = FakeBrowser()
        self.opening: Deferred[None] | None = None
        prompt = self.at_once
        self.methods = {
            method.name: method
            for method in (
                FakeMethod("open", self.do_open, before_open=True),
                FakeMethod("echo", lambda _, call: json.loads(call.params), at_once=prompt),
                FakeMethod("wait", self.do_wait),
                FakeMethod("mine", lambda connection, _: "mine", needs_user=True, at_once=prompt),
                FakeMethod("refuse", self.do_refuse, at_once=prompt),
                FakeMethod("fail", self.do_fail, at_once=prompt),
                FakeMethod("large", lambda _, call: "x" * json.loads(call.params)["size"], at_once=prompt),
                FakeMethod("leave", self.do_leave, at_once=prompt),
                FakeMethod("garbage", lambda _, __: "\ud800", at_once=prompt),
            )
        }
        self.tab = Connection(
            self.wire,
            Identity("s" * 32, 0.0),
            origin="http://127.0.0.1:8765",
            socket_id="socket",
            methods=self.methods,
            limits=Limits(**limits),
            clock=self.clock,
            wheel=Wheel(self.clock),
            on_lost=self.lost.append,
            on_lagging=lambda tab: self.lagging.append(True),
            on_caught_up=lambda tab: self.lagging.append(False),
            observer=self,
        )

    def call(self, method: str, outcome: str, seconds: float) -> None:
        """A call that was waited for, or refused, was counted."""
        self.counted.append((method, outcome))

    def do_open(self, connection: Connection, call: rpc.Call) -> Any:
        def opened(_: Any) -> str:
            connection.opened(self.browser, "name", resumed=False)
            return "open"

        if self.opening is not None:
            return self.opening.addCallback(opened)
        return opened(None)

    def do_wait(self, connection: Connection, call: rpc.Call) -> Deferred[Any]:
        def gone(_: Any) -> None:
            self.cancelled += 1

        self.waiting.append(Deferred(gone))
        return self.waiting[-1]

    def do_refuse(self, connection: Connection, call: rpc.Call) -> Any:
        raise Forbidden("not here", reason="because")

    def do_leave(self, connection: Connection, call: rpc.Call) -> Any:
        connection.close(CloseCode.SIGNED_OUT, "bye")

    def do_fail(self, connection: Connection, call: rpc.Call) -> Any:
        raise ZeroDivisionError(SECRET)

    # -- driving it

    def send(self, method: str, call_id: Any = 1, **params: Any) -> None:
        self.send_text({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})

    def tell(self, method: str, **params: Any) -> None:
        self.send_text({"jsonrpc": "2.0", "method": method, "params": params})

    def send_text(self, message: Any) -> None:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.tab.text_received(text)

    def open(self) -> None:
        self.send("open", "open")
        self.assertEqual(self.said("open"), {"result": "open"})

    def said(self, call_id: Any = 1) -> dict[str, Any] | None:
        """The answer to a call, without what all answers have."""
        for message in self.wire.sent:
            if isinstance(message, dict) and message.get("id") == call_id and "method" not in message:
                return {key: value for key, value in message.items() if key not in ("jsonrpc", "id")}
        return None

    def error(self, call_id: Any = 1) -> tuple[int, dict[str, Any]]:
        said = self.said(call_id)
        assert said is not None and "error" in said, said
        return said["error"]["code"], said["error"]["data"]


class Opening(ConnectionTestCase):
    """Before and at session.open."""

    def test_calls_before(self) -> None:
        """Everything else is refused with 1001 and not done."""
        self.send("echo")
        self.send("mine", 2)
        self.assertEqual(self.error(), (1001, {"name": "session_not_open"}))
        self.assertEqual(self.error(2), (1001, {"name": "session_not_open"}))
        self.assertEqual(self.methods["echo"].called, 0)
        self.assertFalse(self.tab.open)

    def test_in_time(self) -> None:
        self.clock.advance(9.9)
        self.open()
        self.assertTrue(self.tab.open)
        self.clock.advance(3600)
        self.assertIsNone(self.wire.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_in_time(self) -> None:
        self.send("echo")
        self.clock.advance(9.9)
        self.assertIsNone(self.wire.closed)
        self.clock.advance(0.1)
        self.assertEqual(self.wire.closed, (4503, "session.open did not come in time"))
        self.assertEqual(self.lost, [self.tab])

    def test_not_in_time_for_the_store(self) -> None:
        """An opening that hangs does not count as one; it is given up."""
        self.opening = Deferred()
        self.send("open", "open")
        self.clock.advance(10)
        self.assertEqual(self.wire.closed, (4503, "session.open did not come in time"))
        self.opening = None
        self.assertFalse(self.tab.open)

    def test_twice(self) -> None:
        self.open()
        self.send("open", 2)
        self.assertEqual(self.error(2), (-32600, {"name": "invalid_request"}))

    def test_twice_at_once(self) -> None:
        """A second one is refused while the first still waits for the store."""
        self.opening = Deferred()
        self.send("open", 1)
        self.send("open", 2)
        self.assertEqual(self.error(2), (-32600, {"name": "invalid_request"}))
        self.opening.callback(None)
        self.assertEqual(self.said(1), {"result": "open"})
        self.assertEqual(self.methods["open"].called, 1)

    def test_again_after_a_refusal(self) -> None:
        """An opening that failed may be tried again on the same socket."""
        self.opening = Deferred()
        self.send("open", 1)
        self.opening.errback(Forbidden("not now"))
        self.assertEqual(self.error(1)[0], 1005)
        self.opening = None
        self.open()

    def test_nobody_signed_in(self) -> None:
        self.open()
        self.send("mine")
        self.assertEqual(self.error(), (1003, {"name": "not_signed_in"}))
        self.assertEqual(self.methods["mine"].called, 0)
        self.browser.user = "ann"
        self.send("mine", 2)
        self.assertEqual(self.said(2), {"result": "mine"})
        self.assertEqual(self.tab.user, "ann")

    def test_lost_before(self) -> None:
        """A socket that goes before it was opened is not closed later, and leaves no timer behind."""
        self.tab.lost()
        self.clock.advance(20)
        self.assertIsNone(self.wire.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lost, [self.tab])


class Answering(ConnectionTestCase):
    """Calls of an open socket."""

    def setUp(self) -> None:
        super().setUp()
        self.open()

    def test_result(self) -> None:
        self.send("echo", "a", x=[1, {"y": None}])
        self.assertEqual(self.said("a"), {"result": {"x": [1, {"y": None}]}})
        if self.at_once:
            self.assertEqual(self.answered_at_once, {"echo": 1})
        else:
            self.assertEqual(self.counted[-1], ("echo", "ok"))

    def test_refusal(self) -> None:
        self.send("refuse")
        self.assertEqual(
            self.said(),
            {
                "error": {
                    "code": 1005,
                    "message": "not here",
                    "data": {"name": "forbidden", "reason": "because"},
                }
            },
        )
        self.assertEqual(self.counted[-1], ("refuse", "forbidden"))

    def test_unknown_method(self) -> None:
        """Refused by name, and counted under none."""
        for number, method in enumerate(("rpc.on", "__proto__", "session", "", "x" * 1000)):
            self.send(method, number)
            self.assertEqual(self.error(number), (-32601, {"name": "method_not_found"}))
            self.assertEqual(self.counted[-1], ("unknown", "method_not_found"))

    def test_unreadable(self) -> None:
        self.send_text(b"{")
        self.assertEqual(self.error(None), (-32700, {"name": "parse_error"}))
        self.send("echo", 2)
        self.assertEqual(self.said(2), {"result": {}})

    def test_notifications(self) -> None:
        """They are done and not answered, whatever becomes of them."""
        before = len(self.wire.raw)
        self.tell("echo")
        self.tell("refuse")
        self.tell("unknown")
        self.send_text(b'{"jsonrpc":"2.0","method":"echo","params":[1]}')
        self.send_text([{"jsonrpc": "2.0", "method": "echo"}, {"jsonrpc": "2.0", "method": "refuse"}])
        self.assertEqual(len(self.wire.raw), before)
        self.assertEqual(self.methods["echo"].called, 2)
        self.assertEqual(self.methods["refuse"].called, 2)

    def test_bug(self) -> None:
        """A bug is -32603, with nothing of the exception in it, and logged once."""
        self.send("fail")
        self.assertEqual(self.error(), (-32603, {"name": "internal_error"}))
        self.assertNotIn(SECRET, json.dumps(self.wire.sent))
        self.assertNotIn("ZeroDivision", json.dumps(self.wire.sent))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.tell("fail")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(self.wire.closed)

    def test_bug_in_an_answer(self) -> None:
        """A result that cannot be encoded is a bug like any other."""
        self.send("garbage")
        self.assertEqual(self.error()[0], -32603)
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)

    def test_bug_in_sending(self) -> None:
        """An answer that cannot be sent is not awaited for ever: the page is to come back."""

        def send(payload: bytes) -> None:
            raise OSError(SECRET)

        self.wire.send = send  # type: ignore[method-assign]
        self.send("echo")
        self.assertEqual(self.wire.closed and self.wire.closed[0], 1011)
        self.assertNotIn(SECRET, str(self.wire.closed))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_too_large(self) -> None:
        """An answer over 8 MiB is 1013; one that just fits is sent."""
        limit = 8 * 1024 * 1024
        self.send("large", 1, size=limit)
        self.assertEqual(self.error(), (1013, {"name": "too_large", "limit": limit}))
        self.send("large", 2, size=limit - len('"result":""'))
        self.assertEqual(len(self.said(2)["result"]), limit - 11)  # type: ignore[index]
        self.send("large", 3, size=limit - len('"result":""') + 1)
        self.assertEqual(self.error(3)[0], 1013)

    def test_nothing_is_left_of_a_call_that_is_answered(self) -> None:
        self.send("wait", "w")
        self.waiting[0].callback("waited")
        self.send("echo")
        self.assertIsNone(self.tab._running)


class Batches(ConnectionTestCase):
    """Several calls in one message."""

    def setUp(self) -> None:
        super().setUp()
        self.open()
        self.wire.sent.clear()

    def test_one_message(self) -> None:
        """Answered together, when the last is done, in the order of the calls."""
        self.send_text(
            [
                {"jsonrpc": "2.0", "id": "w", "method": "wait"},
                {"jsonrpc": "2.0", "method": "echo"},
                {"jsonrpc": "2.0", "id": "r", "method": "refuse"},
                7,
                {"jsonrpc": "2.0", "id": "e", "method": "echo"},
            ]
        )
        self.assertEqual(self.wire.sent, [])
        self.waiting[0].callback("waited")
        (answers,) = self.wire.sent
        self.assertEqual([answer["id"] for answer in answers], ["w", "r", None, "e"])
        self.assertEqual(answers[0]["result"], "waited")
        self.assertEqual(answers[2]["error"]["code"], -32600)

    def test_of_one(self) -> None:
        self.send_text([{"jsonrpc": "2.0", "id": 1, "method": "echo"}])
        self.assertEqual([message["id"] for message in self.wire.sent[0]], [1])

    def test_too_many(self) -> None:
        self.send_text([{"jsonrpc": "2.0", "id": n, "method": "echo"} for n in range(33)])
        self.assertEqual(self.wire.sent[0]["error"]["code"], -32600)
        self.assertEqual(self.methods["echo"].called, 0)

    def test_too_large_together(self) -> None:
        """Answers that fit singly and not together: the later ones are 1013, the message is sent."""
        size = 3 * 1024 * 1024
        self.send_text(
            [
                {"jsonrpc": "2.0", "id": n, "method": "large", "params": {"size": size if n != 3 else 5}}
                for n in range(4)
            ]
        )
        (answers,) = self.wire.sent
        self.assertEqual(
            [answer.get("error", {}).get("code", "ok") for answer in answers], ["ok", "ok", 1013, "ok"]
        )
        self.assertEqual([answer["id"] for answer in answers], [0, 1, 2, 3])

    def test_lost(self) -> None:
        """All of its calls are cancelled, and nothing is left to be reported."""
        self.send_text([{"jsonrpc": "2.0", "id": n, "method": "wait"} for n in range(3)])
        self.tab.lost()
        self.assertEqual(self.cancelled, 3)
        self.assertEqual(self.wire.sent, [])

    def test_closed_by_one_of_them(self) -> None:
        """What stands behind the call that ended the session is not done any more."""
        self.send_text(
            [
                {"jsonrpc": "2.0", "id": 1, "method": "wait"},
                {"jsonrpc": "2.0", "id": 2, "method": "leave"},
                {"jsonrpc": "2.0", "id": 3, "method": "echo"},
            ]
        )
        self.assertEqual(self.wire.closed, (4500, "bye"))
        self.assertEqual(self.methods["echo"].called, 0)
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.wire.sent, [])


class Bounds(ConnectionTestCase):
    """What a page may not do too much of."""

    def setUp(self) -> None:
        super().setUp()
        self.open()

    def test_in_flight(self) -> None:
        """The 33rd call under way is refused with the limit; one that ends makes room."""
        for number in range(33):
            self.send("wait", number)
        self.assertEqual(len(self.waiting), 32)
        self.assertEqual(self.error(32), (1011, {"name": "too_many", "limit": 32}))
        self.waiting[0].callback(None)
        self.send("echo", "then")
        self.assertEqual(self.said("then"), {"result": {}})

    def test_in_flight_notifications(self) -> None:
        """Those count too."""
        for _ in range(40):
            self.tell("wait")
        self.assertEqual(len(self.waiting), 32)

    def test_in_flight_after_failures(self) -> None:
        """A call that failed is over."""
        for number in range(100):
            self.send("refuse", number)
        self.send("echo", "then")
        self.assertEqual(self.said("then"), {"result": {}})

    def test_rate(self) -> None:
        """200 at once, then 50 a second; over it 1007 with when to try again."""
        for number in range(200):  # the opening was the first of them
            self.send("echo", number)
        code, data = self.error(199)
        self.assertEqual((code, data["name"]), (1007, "rate_limited"))
        self.assertGreater(data["retry_after"], 0)
        self.assertEqual(self.said(198), {"result": {}})
        self.clock.advance(data["retry_after"])
        self.send("echo", "then")
        self.assertEqual(self.said("then"), {"result": {}})
        self.clock.advance(1)
        for number in range(60):
            self.send("echo", f"later{number}")
        self.assertEqual(self.methods["echo"].called, 199 + 1 + 54)

    def test_rate_says_when(self) -> None:
        """``retry_after`` is neither too early nor much too late."""
        self.connect(calls_per_second=0.5, calls_burst=2)
        self.open()
        self.send("echo", 1)
        self.clock.advance(0.5)
        self.send("echo", 2)
        self.assertEqual(self.error(2)[1]["retry_after"], 1.5)
        self.clock.advance(1.5)
        self.send("echo", 3)
        self.assertEqual(self.said(3), {"result": {}})

    def test_misuse(self) -> None:
        """Who goes on after 200 refusals is closed with 4501."""
        for _ in range(200):
            self.send_text(b"{")
        self.assertIsNone(self.wire.closed)
        self.send_text(b"{")
        self.assertEqual(self.wire.closed, (4501, "too many refused calls"))
        self.assertEqual(self.lost, [self.tab])

    def test_misuse_by_flood(self) -> None:
        """Calls over the rate are refused calls, notifications too."""
        for _ in range(199 + 200):
            self.tell("echo")
        self.assertIsNone(self.wire.closed)
        self.tell("echo")
        self.assertEqual(self.wire.closed and self.wire.closed[0], 4501)
        self.assertEqual(self.methods["echo"].called, 199)

    def test_misuse_by_batch(self) -> None:
        """Each of a batch counts; it ends in the middle of one."""
        for _ in range(10):
            self.send_text([7] * 21)
        self.assertEqual(self.wire.closed and self.wire.closed[0], 4501)
        self.assertEqual(len(self.wire.raw), 1 + 9)

    def test_patience_comes_back(self) -> None:
        """A refusal a second is put up with for ever."""
        for _ in range(1000):
            self.clock.advance(1)
            self.send_text(b"{")
        self.assertIsNone(self.wire.closed)

    def test_refusals_of_methods_are_no_misuse(self) -> None:
        for number in range(1000):
            self.clock.advance(0.1)
            self.send("refuse", number)
        self.assertIsNone(self.wire.closed)


class SlowReaders(ConnectionTestCase):
    """A page that does not read."""

    def setUp(self) -> None:
        super().setUp()
        self.open()
        self.wire.raw.clear()

    def event(self, size: int) -> None:
        self.tab.send_event(rpc.notification("e", {"x": "x" * size}))

    def state(self, size: int) -> None:
        self.tab.tell(rpc.notification("s", {"x": "x" * size}))

    def stop_reading(self) -> None:
        self.wire.ready = False
        self.tab.held_up()

    def read(self, *, most: int = 10**9) -> None:
        """Read all that waited, or as many bytes; the wire is full again after those."""
        self.wire.ready = True
        self.wire.full_after = most
        self.tab.drained()

    def held(self) -> int:
        backlog = self.tab._backlog
        return 0 if backlog is None else backlog.bytes

    def test_reading(self) -> None:
        """Any number of events may pass while they are read."""
        for _ in range(100):
            self.event(100_000)
        self.assertIsNone(self.wire.closed)
        self.assertEqual(len(self.wire.raw), 100)

    def test_not_reading(self) -> None:
        """Events are held back up to 256 KiB, then it is closed with 4001."""
        self.stop_reading()
        held = []
        while self.wire.closed is None:
            held.append(self.held())
            self.event(10_000)
        self.assertEqual(self.wire.closed, (4001, "reading too slowly"))
        self.assertEqual(self.wire.raw, [])
        self.assertLessEqual(held[-1], 256 * 1024)
        self.assertGreater(held[-1], 256 * 1024 - 11_000)
        self.assertEqual(self.held(), 0)

    def test_large_event(self) -> None:
        """A listing's event may be larger than that, when nothing else is unread."""
        self.stop_reading()
        self.event(1_000_000)
        self.assertIsNone(self.wire.closed)
        self.event(10)
        self.assertEqual(self.wire.closed and self.wire.closed[0], 4001)

    def test_answers_are_not_events(self) -> None:
        """Who is still reading a large answer it asked for is not closed because of an event."""
        self.stop_reading()
        self.send("large", 1, size=4_000_000)
        for _ in range(10):
            self.event(10_000)
        self.assertIsNone(self.wire.closed)
        for _ in range(20):
            self.event(10_000)
        self.assertEqual(self.wire.closed and self.wire.closed[0], 4001)

    def test_half_read(self) -> None:
        """Events that were read make room for others."""
        self.stop_reading()
        for _ in range(20):
            self.event(10_000)
        self.read(most=150_000)
        self.assertLess(self.held(), 60_000)
        for _ in range(20):
            self.event(10_000)
        self.assertIsNone(self.wire.closed)

    def test_full_of_the_last(self) -> None:
        """Where the last that waited fills the wire again, what comes then waits, too."""
        self.stop_reading()
        self.event(10_000)
        self.read(most=5_000)
        self.event(20_000)
        self.assertEqual(len(self.wire.raw), 1)
        self.assertGreater(self.held(), 20_000)
        self.read()
        self.assertEqual(len(self.wire.raw), 2)

    def test_in_order(self) -> None:
        """What waited is read in the order in which it was said, answers and events alike."""
        self.stop_reading()
        self.event(1)
        self.send("echo", 1, x=1)
        self.state(2)
        self.event(3)
        self.assertEqual(self.wire.raw, [])
        self.read()
        self.event(4)
        read = [message.get("id") or len(message["params"]["x"]) for message in self.wire.sent[-5:]]
        self.assertEqual(read, [1, 1, 2, 3, 4])
        self.assertEqual(self.held(), 0)

    def test_answers(self) -> None:
        """Up to 8 MiB of answers wait, and one more."""
        self.stop_reading()
        for _ in range(3):
            self.send("large", 1, size=2_900_000)
        self.assertIsNone(self.wire.closed)
        self.assertGreater(self.held(), 8 * 1024 * 1024)
        self.send("echo", 2)
        self.assertEqual(self.wire.closed, (4001, "reading too slowly"))

    def test_states(self) -> None:
        """Over the bound, states of documents are dropped, and told again when it has read."""
        self.stop_reading()
        self.event(10_000)
        most = 0
        for _ in range(1000):
            self.state(10_000)
            most = max(most, self.held())
        self.assertIsNone(self.wire.closed)
        self.assertEqual(self.lagging, [True])
        self.assertLessEqual(most, 256 * 1024)
        self.assertLess(self.held(), 11_000)
        self.assertTrue(self.tab.lagging)
        self.read()
        self.assertEqual(self.lagging, [True, False])
        self.assertFalse(self.tab.lagging)
        self.assertEqual([message.get("method") for message in self.wire.sent[1:]], ["e"])

    def test_lagging(self) -> None:
        """Whoever lags may still be told what cannot be told again, up to the bound."""
        self.stop_reading()
        for _ in range(30):
            self.state(10_000)
        self.event(200_000)
        self.assertIsNone(self.wire.closed)
        self.event(100_000)
        self.assertEqual(self.wire.closed, (4001, "reading too slowly"))
        self.assertEqual(self.lagging, [True])

    def test_half_lagging(self) -> None:
        """It has caught up when it has read all, not before."""
        self.stop_reading()
        self.event(200_000)
        for _ in range(30):
            self.state(10_000)
        self.event(50_000)
        self.read(most=100_000)
        self.assertEqual(self.lagging, [True])
        self.read()
        self.assertEqual(self.lagging, [True, False])

    def test_goodbye(self) -> None:
        """Who is closed for another reason is still sent what waited."""
        self.stop_reading()
        self.event(10)
        self.tab.close(CloseCode.SIGNED_OUT, "signed out")
        self.assertEqual(len(self.wire.raw), 1)
        self.assertEqual(self.wire.closed, (4500, "signed out"))
        self.event(10)
        self.state(10)
        tell_all([self.tab], b"{}")
        self.assertEqual(len(self.wire.raw), 1)

    def test_all(self) -> None:
        """The same state is told to many: who reads slowly is told later."""
        tell_all([self.tab], b'{"n": 1}')
        self.stop_reading()
        tell_all([self.tab], b'{"n": 2}')
        self.assertEqual(self.wire.raw, [b'{"n": 1}'])
        self.read()
        self.assertEqual(self.wire.raw, [b'{"n": 1}', b'{"n": 2}'])

    def test_too_much_for_one_of_all(self) -> None:
        """It lags, and is not ended: states can be told again."""
        self.stop_reading()
        for _ in range(40):
            tell_all([self.tab], b"x" * 10_000)
        self.assertEqual((self.lagging, self.wire.closed), ([True], None))


class Ending(ConnectionTestCase):
    """After the end nothing is sent, done or left."""

    def setUp(self) -> None:
        super().setUp()
        self.open()
        self.send("wait", "w")

    def assert_over(self) -> None:
        sent = len(self.wire.raw)
        self.assertEqual(self.cancelled, 1)
        self.tab.notify("e", {})
        self.tab.send_event(b"{}")
        self.send("echo", "late")
        self.send_text(b"{")
        self.clock.advance(3600)
        self.assertEqual(len(self.wire.raw), sent)
        self.assertEqual(self.methods["echo"].called, 0)
        self.assertEqual(self.lost, [self.tab])
        self.assertFalse(self.tab.open)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        self.tab.lost()
        self.assertIsNone(self.wire.closed)
        self.assert_over()
        self.tab.lost()
        self.tab.close(CloseCode.DRAINING, "")
        self.assertIsNone(self.wire.closed)
        self.assertEqual(self.lost, [self.tab])

    def test_closed(self) -> None:
        self.tab.close(CloseCode.DRAINING, "stopping")
        self.tab.close(CloseCode.SIGNED_OUT, "later")
        self.assertEqual(self.wire.closed, (4000, "stopping"))
        self.assert_over()
        self.tab.lost()
        self.assertEqual(self.lost, [self.tab])

    def test_closed_by_its_own_call(self) -> None:
        """The call that closes it is not answered, and no bug."""
        self.send("leave", "l")
        self.assertEqual(self.wire.closed, (4500, "bye"))
        self.assertIsNone(self.said("l"))
        self.assert_over()

    def test_a_call_that_does_not_let_go(self) -> None:
        """One that swallows its cancelling and answers all the same is not heard."""

        async def stubborn(connection: Connection, call: rpc.Call) -> bytes:
            try:
                await self.do_wait(connection, call)
            except CancelledError:
                pass
            return rpc.result_outcome(b"{}")

        self.methods["echo"].call = stubborn  # type: ignore[method-assign]
        self.send("echo", "s")
        self.tab.lost()
        self.assertIsNone(self.said("s"))
        self.assertEqual(self.cancelled, 2)

    def test_a_call_that_fails_when_cancelled(self) -> None:
        """It is logged as the bug it is, and not answered."""

        async def clumsy(connection: Connection, call: rpc.Call) -> bytes:
            try:
                return bytes(await self.do_wait(connection, call))
            finally:
                raise ZeroDivisionError

        self.methods["echo"].call = clumsy  # type: ignore[method-assign]
        self.send("echo", "s")
        self.tab.lost()
        self.assertIsNone(self.said("s"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OpeningAtOnce(Opening):
    """The same with methods that need no waiting, as all that follow."""

    at_once = True


class AnsweringAtOnce(Answering):
    at_once = True

    def test_answered_before_what_waits(self) -> None:
        self.send("wait", "w")
        self.send("echo", "e")
        self.assertEqual(self.said("e"), {"result": {}})
        self.assertIsNone(self.said("w"))

    def test_nothing_runs_for_it(self) -> None:
        """No task, also not while it is done."""
        self.methods["echo"]._do = lambda connection, _: connection._running is None
        self.send("echo")
        self.assertEqual(self.said(), {"result": True})

    def test_the_same_bytes(self) -> None:
        """An answer is the same however it came about."""
        self.send("echo", "é", x="y")
        at_once = self.wire.raw[-1]
        self.methods["echo"].prompt = False
        self.send("echo", "é", x="y")
        self.assertEqual(self.wire.raw[-1], at_once)


class BatchesAtOnce(Batches):
    at_once = True

    def test_nothing_that_waits(self) -> None:
        """Answered by one message, and nothing is left."""
        self.send_text([{"jsonrpc": "2.0", "id": n, "method": "echo"} for n in range(3)] + [7])
        (answers,) = self.wire.sent
        self.assertEqual([answer["id"] for answer in answers], [0, 1, 2, None])
        self.assertIsNone(self.tab._running)


class BoundsAtOnce(Bounds):
    at_once = True


class SlowReadersAtOnce(SlowReaders):
    at_once = True


class EndingAtOnce(Ending):
    at_once = True

    def test_a_call_that_does_not_let_go(self) -> None:
        self.methods["echo"].prompt = False
        super().test_a_call_that_does_not_let_go()

    def test_a_call_that_fails_when_cancelled(self) -> None:
        self.methods["echo"].prompt = False
        super().test_a_call_that_fails_when_cancelled()
