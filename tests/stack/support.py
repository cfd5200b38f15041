"""HTTP and websockets in memory, over the real site: browsers whose bytes a test can hold.

:class:`Web` is :class:`tests.support.Stack` with the public listener in front. :class:`Browser`
keeps cookies as a browser does; its :class:`Page` is a socket spoken by Autobahn's own client.
:class:`Line` is the connection between the two, with buffers that fill up when nobody reads.
"""

from __future__ import annotations

import gc
import http.client
import io
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from docsession.errors import Unavailable
from docsession.model import Identity
from docsession.web.sites import PublicSite
from tests.support import ORIGIN, Stack

__all__ = ["ORIGIN", "Answer", "Browser", "Line", "Page", "Web", "frame", "held", "store_away"]

# What is imported by now stays; so the collection after each test has little to look at.
gc.collect()
gc.freeze()

# As much as a kernel and Twisted together take before they ask a producer to wait.
FULL = 65536


@implementer(ITransport, IConsumer, IPushProducer, ITCPTransport)
class End:
    """One side of a connection."""

    def __init__(self, host: Any, peer: Any) -> None:
        self.protocol: Any = None
        self.unread = bytearray()
        self.paused = False  # by whoever receives here
        self.disconnecting = False
        self.disconnected = False
        self.producer: Any = None
        self.producer_paused = False
        self._host, self._peer = host, peer

    def write(self, data: bytes) -> None:
        if self.disconnected or self.disconnecting:
            return
        self.unread += data
        if len(self.unread) > FULL and self.producer is not None and not self.producer_paused:
            self.producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def taken(self) -> bytes:
        """What the other side reads now."""
        data = bytes(self.unread)
        self.unread.clear()
        if self.producer is not None and self.producer_paused:
            self.producer_paused = False
            self.producer.resumeProducing()
        return data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None, "one producer at a time"
        assert streaming
        self.producer = producer
        if self.disconnected:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        self.producer_paused = False

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.unread.clear()
        self.lose(ConnectionLost())

    def lose(self, reason: Exception) -> None:
        if self.disconnected:
            return
        self.disconnected = True
        if self.producer is not None:
            producer, self.producer = self.producer, None
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None: ...
    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self.loseConnection()


class Line:
    """A connection from a client to the site. ``stalled``: the client does not read."""

    def __init__(self, site: Any, client: Any, address: str) -> None:
        kind = IPv6Address if ":" in address else IPv4Address
        here, there = kind("TCP", "127.0.0.1", 8765), kind("TCP", address, 40000)
        if address == "unix":
            here, there = UNIXAddress("/run/docsession.sock"), UNIXAddress(None)
        self.stalled = False
        self.server, self.client = End(here, there), End(there, here)
        self.client.protocol = client
        self.server.protocol = site.buildProtocol(there)
        self.server.protocol.makeConnection(self.server)
        client.makeConnection(self.client)

    def pump(self) -> bool:
        """Move what can move; whether anything did."""
        moved = False
        for sender, receiver, held_up in (
            (self.client, self.server, False),
            (self.server, self.client, self.stalled),
        ):
            if sender.unread and not receiver.paused and not held_up and not receiver.disconnected:
                receiver.protocol.dataReceived(sender.taken())
                moved = True
        for one, other in ((self.client, self.server), (self.server, self.client)):
            ended = one.disconnected or (one.disconnecting and not one.unread)
            if ended and not (one.disconnected and other.disconnected):
                one.lose(ConnectionDone())
                if not one.unread or other.disconnected:
                    other.lose(ConnectionDone())
                moved = True
        return moved

    @property
    def closed(self) -> bool:
        return self.server.disconnected

    def cut(self) -> None:
        """The network breaks."""
        self.client.unread.clear()
        self.server.unread.clear()
        self.client.lose(ConnectionLost())
        self.server.lose(ConnectionLost())


class Heard(Protocol):
    """A client that only collects."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]  # names in lower case; repeated ones joined
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The name of the error, which every refusal has."""
        assert self.headers["content-type"] == "application/json; charset=utf-8", self
        error = self.json()["error"]
        assert error["message"], self
        assert "Traceback" not in self.body.decode(), self
        return str(error["name"])


class _Source:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse_answer(data: bytes, method: str = "GET") -> Answer:
    """Raises http.client.IncompleteRead for one that was cut."""
    response = http.client.HTTPResponse(_Source(data), method=method)  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return Answer(response.status, headers, body)


class Exchange:
    """An HTTP request under way."""

    def __init__(self, web: Web, method: str, data: bytes, address: str) -> None:
        self._web = web
        self._method = method
        self.sent = data
        self.heard = Heard()
        self.line = web.connect(self.heard, address)
        self.line.client.write(data)
        web.flush()

    @property
    def answer(self) -> Answer:
        """The answer so far."""
        self._web.flush()
        return parse_answer(self.heard.data, self._method)

    @property
    def body_so_far(self) -> bytes:
        return self.heard.data.partition(b"\r\n\r\n")[2]


class Browser:
    """Somebody's browser: cookies, an Origin, an address."""

    def __init__(self, web: Web, *, origin: str | None = ORIGIN, address: str = "203.0.113.7") -> None:
        self.web = web
        self.origin = origin
        self.address = address
        self.cookies: dict[str, str] = {}

    def begin(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        raw_headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> Exchange:
        """Send a request. A header that is set to "" here is left out."""
        sent = {"Host": urlsplit(self.web.config.server.public_url).netloc}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method == "POST" and self.origin is not None:
            sent["Origin"] = self.origin
        if body:
            sent["Content-Length"] = str(len(body))
        sent |= headers or {}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*sent.items(), *raw_headers) if value]
        lines.append("Connection: close" if "Upgrade" not in sent else "")
        head = "\r\n".join(line for line in lines if line) + "\r\n\r\n"
        return Exchange(self.web, method, head.encode("latin-1") + body, self.address)

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        answer = self.begin(method, target, headers, **more).answer
        self.keep(answer)
        return answer

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, {name.replace("_", "-"): value for name, value in headers.items()})

    def keep(self, answer: Answer) -> None:
        """Keep the cookies of an answer."""
        said = answer.headers.get("set-cookie")
        if said is not None:
            name, _, value = said.partition(";")[0].partition("=")
            self.cookies[name] = value

    def generate_cookie(self, **headers: str) -> dict[str, Any]:
        answer = self.ask(
            "POST", "/api/generate_cookie", {name.replace("_", "-"): v for name, v in headers.items()}
        )
        assert answer.status == 200, answer
        self.session = answer.json()["session"]
        return answer.json()  # type: ignore[no-any-return]

    @property
    def identity(self) -> Identity:
        """What our cookie proves."""
        identity = self.web.assembly.cookie._signer.verify(self.cookies[self.web.assembly.cookie.name])
        assert identity is not None
        return identity

    def copy(self) -> Browser:
        """Another browser with the same cookies: a thief's, or one that missed an answer."""
        other = Browser(self.web, origin=self.origin, address=self.address)
        other.cookies = dict(self.cookies)
        return other

    # -- sockets

    def upgrade(self, headers: Mapping[str, str] | None = None, **more: Any) -> Exchange:
        """A handshake written by hand."""
        asked = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Origin": self.origin or "",
        }
        return self.begin("GET", "/api/socket", asked | dict(headers or {}), **more)

    def socket(self, **options: Any) -> Page:
        """A socket spoken by Autobahn's client, upgraded."""
        page = Page(self, **options)
        self.web.flush()
        assert page.is_up, page.closed
        return page

    def page(self, **options: Any) -> Page:
        """Generate the cookie, open a socket, open the session: what a page does."""
        self.generate_cookie()
        page = self.socket()
        page.opened = page.call("session.open", session=self.session, **options)
        return page

    def start_sign_in(self, email: str, *, return_to: str = "/", **consent: Any) -> str:
        """Up to Google's redirect; returns the path and query of the callback."""
        page = self.page()
        url = page.call("session.sign_in", return_to=return_to)["url"]
        page.leave()
        back = urlsplit(self.web.consent(url, email, **consent))
        return f"{back.path}?{back.query}"

    def sign_in(self, email: str, **options: Any) -> Browser:
        answer = self.get(self.start_sign_in(email, **options))
        assert answer.status == 303, answer
        assert "docsession_error" not in answer.headers["location"], answer
        return self


class _Client(WebSocketClientProtocol):  # type: ignore[misc]
    page: Page

    def onOpen(self) -> None:
        self.page.is_up = True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert not isBinary
        self.page.messages.append(json.loads(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.page.closed = (self.remoteCloseCode or code, reason)


class Page:
    """A page's socket."""

    def __init__(
        self,
        browser: Browser,
        *,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        protocols: tuple[str, ...] = ("docsession.v1",),
        **options: Any,
    ) -> None:
        self.browser, self.web = browser, browser.web
        self.messages: list[Any] = []
        self.closed: tuple[int | None, str | None] | None = None
        self.is_up = False
        self.opened: dict[str, Any] = {}
        self._ids = 0
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies.items())} | dict(headers or {})
        factory = WebSocketClientFactory(
            "ws://127.0.0.1:8765/api/socket",
            origin=origin or browser.origin,
            protocols=list(protocols),
            headers={name: value for name, value in sent.items() if value},
            reactor=self.web.clock,
        )
        factory.noisy = False
        factory.protocol = _Client
        factory.setProtocolOptions(**options)
        self.protocol = factory.buildProtocol(None)
        self.protocol.page = self
        self.line = self.web.connect(self.protocol, browser.address)

    def send(self, message: Any) -> None:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.protocol.sendMessage(text)
        self.web.flush()

    def raw(self, data: bytes) -> None:
        """Bytes past Autobahn, onto the wire."""
        self.line.client.write(data)
        self.web.flush()

    def start(self, method: str, **params: Any) -> str:
        self._ids += 1
        self.send({"jsonrpc": "2.0", "id": f"p{self._ids}", "method": method, "params": params})
        return f"p{self._ids}"

    def answer(self, call_id: str) -> dict[str, Any] | None:
        return next((m for m in self.messages if m.get("id") == call_id), None)

    def call(self, method: str, **params: Any) -> Any:
        answer = self.answer(self.start(method, **params))
        assert answer is not None, (method, self.messages, self.closed)
        assert "result" in answer, answer
        return answer["result"]

    def refused(self, method: str, **params: Any) -> dict[str, Any]:
        answer = self.answer(self.start(method, **params))
        assert answer is not None, (method, self.messages, self.closed)
        return answer["error"]  # type: ignore[no-any-return]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [message["params"] for message in self.messages if message.get("method") == name]

    @property
    def code(self) -> int | None:
        """With what code the server closed; None while it is up."""
        return None if self.closed is None else self.closed[0]

    def leave(self) -> None:
        """The tab is closed."""
        self.protocol.sendClose(1000)
        self.web.flush()
        assert self.line.closed


class Stream:
    """Google's answer to a request for bytes, sent as a test likes."""

    version = (b"HTTP", 1, 1)
    phrase = b""
    request = previousResponse = None

    def __init__(self, code: int = 200, length: Any = UNKNOWN_LENGTH, **headers: str) -> None:
        self.code, self.length = code, length
        self.headers = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        self.paused = self.dropped = False
        self._protocol: Any = None

    def deliverBody(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.makeConnection(self)

    def send(self, data: bytes) -> None:
        assert not self.paused, "sent while asked to wait"
        self._protocol.dataReceived(data)

    def end(self, reason: Exception | None = None) -> None:
        self._protocol.connectionLost(Failure(reason or ResponseDone()))

    # -- what the other side may ask of it

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def abortConnection(self) -> None:
        self.dropped = True
        self.end(ResponseFailed([Failure(ConnectionAborted())]))

    loseConnection = stopProducing = abortConnection


class MediaAgent:
    """Passes requests on, but lets a test answer those for bytes while ``holding``."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self.holding = False
        self.asked: list[Deferred[Stream]] = []
        self.cancelled = 0
        self.connected = True

    def request(self, method: bytes, uri: bytes, headers: Any = None, body: Any = None) -> Any:
        if not self.holding or b"alt=media" not in uri:
            return self._agent.request(method, uri, headers, body)
        answer: Deferred[Stream] = Deferred(self._cancelled)
        self.asked.append(answer)
        return answer

    def answer(self, stream: Stream) -> Stream:
        """Answer the request that has waited longest."""
        self.asked.pop(0).callback(stream)
        return stream

    def flush(self) -> None:
        self._agent.flush()

    def _cancelled(self, answer: Any) -> None:
        self.asked.remove(answer)
        self.cancelled += 1
        # As Twisted says that it was given up.
        address = HostnameAddress(b"127.0.0.1", 443)
        waiting = ResponseNeverReceived([Failure(CancelledError())])
        answer.errback(waiting if self.connected else ConnectingCancelledError(address))


_SANDBOX_KEYS: list[Any] = []


class Web(Stack):
    """The server with its public listener."""

    def __init__(self, toml: str = "", **options: Any) -> None:
        self.lines: list[Line] = []
        super().__init__(toml, **options)
        # Making a key is slow, and which one it is decides nothing.
        if not _SANDBOX_KEYS:
            _SANDBOX_KEYS.extend(self.sandbox.keys._published())
        self.sandbox.keys._keys = list(_SANDBOX_KEYS)

    def start_server(self) -> None:
        if not hasattr(self, "media"):
            self.media = MediaAgent(self.agent)
            self.agent = self.media  # type: ignore[assignment]
        super().start_server()
        self.site = PublicSite(self.assembly.pages.resource(), self.clock, self.assembly.door)
        self.site.startFactory()

    def stop_server(self) -> None:
        for line in self.lines:
            if not line.closed:
                line.cut()
        super().stop_server()
        self.site.stopFactory()

    def connect(self, client: Any, address: str) -> Line:
        line = Line(self.site, client, address)
        self.lines.append(line)
        return line

    def flush(self) -> None:
        for _ in range(40):
            super().flush()
            moved = [line.pump() for line in self.lines]
            self.clock.advance(0)
            if not any(moved) and not any(line.server.unread for line in self.lines if not line.stalled):
                break
        self.lines = [
            line for line in self.lines if not (line.server.disconnected and line.client.disconnected)
        ]

    def browser(self, **options: Any) -> Browser:
        return Browser(self, **options)

    def signed_in(self, email: str = "ann@example.com", **options: Any) -> Browser:
        """A browser of that person."""
        return self.browser(**options).sign_in(email)


def frame(
    payload: bytes,
    *,
    opcode: int = 1,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    length: int | None = None,
) -> bytes:
    """A websocket frame as bytes, well made or not; ``length`` lies about it."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    size, flag = len(payload) if length is None else length, 0x80 if mask else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack(">H", size)
    else:
        head += bytes([flag | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


@contextmanager
def store_away(stack: Stack, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Every method of the store raises Unavailable, ``but`` these."""
    kept = {"unreadable", "epoch", "listen", *but}
    names = [name for name in dir(type(stack.store)) if not name.startswith("_") and name not in kept]

    async def away(*_: Any, **__: Any) -> None:
        raise Unavailable

    for name in names:
        setattr(stack.store, name, away)
    try:
        yield
    finally:
        for name in names:
            delattr(stack.store, name)


class Held:
    """Calls of one store method that wait for :meth:`go`."""

    def __init__(self, stack: Stack, name: str, *, before: bool) -> None:
        self._stack = stack
        self.waiting: list[Deferred[None]] = []
        real = getattr(stack.store, name)

        async def wait(*arguments: Any, **named: Any) -> Any:
            # Like the store's thread: a caller that gives up does not stop what it asked for.
            if not before:
                result = await real(*arguments, **named)
            turn: Deferred[None] = Deferred()
            self.waiting.append(turn)
            await turn
            return await real(*arguments, **named) if before else result

        setattr(stack.store, name, wait)

    def go(self) -> None:
        """Let those that wait go on."""
        waiting, self.waiting = self.waiting, []
        for turn in waiting:
            if not turn.called:
                turn.callback(None)
        self._stack.flush()


@contextmanager
def held(stack: Stack, name: str, *, before: bool = False) -> Iterator[Held]:
    """Hold the answers (``before``: the work itself) of this store method."""
    holding = Held(stack, name, before=before)
    try:
        yield holding
    finally:
        holding.go()
        delattr(stack.store, name)
