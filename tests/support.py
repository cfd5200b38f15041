"""The whole server in memory: no socket, no reactor, no sleep.

:class:`Stack` is the real assembly over the real sandbox (behind an in-memory agent), the real
SQLite store (run inline) and a clock that a test advances. Its :class:`Node` is the one server
process; :mod:`tests.nodes` has several. :class:`FakeWire` records what a tab was sent.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.testing import MemoryReactorClock
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import IResource
from zope.interface import implementer

from docsession.assembly import Assembly, assemble, new_id
from docsession.backend.memory import Switchboard, WholeQuota
from docsession.backend.sqlite import InlineRunner, SqliteStore
from docsession.config import Config, Secrets
from docsession.config_file import parse, sandboxed
from docsession.connection import Connection
from docsession.interfaces import Backend
from docsession.keys import Keys, Sealer, load_keys
from docsession.model import Identity
from docsession.sandbox.app import Sandbox
from docsession.sandbox.direct import DirectAgent

SANDBOX = "http://127.0.0.1:8766"
ORIGIN = "http://127.0.0.1:8765"
START = 1_795_000_000.0


@implementer(IBodyProducer)
class Body:
    """A request body that needs no cooperator."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


class Cable:
    """What one server process has to Google: when the process is killed, no answer reaches it."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self._cut = False
        # As long as these are held, nothing of a killed process runs again.
        self._unanswered: list[Deferred[Any]] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, body: Any = None) -> Deferred[Any]:
        if self._cut:
            return Deferred()
        asked = self._agent.request(method, uri, headers, body)
        answered: Deferred[Any] = Deferred(lambda _: asked.cancel())
        self._unanswered.append(answered)

        def pass_on(result: Any) -> None:
            if not self._cut:
                self._unanswered.remove(answered)
                answered.callback(result)

        asked.addBoth(pass_on)
        return answered

    def flush(self) -> None:
        self._agent.flush()

    def cut(self) -> None:
        self._cut = True


class FakeWire:
    """What a tab was sent, and how it was closed."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.ready = True
        self.full_after = 10**9

    def send(self, payload: bytes) -> None:
        assert self.closed is None, "sent after close"
        self.full_after -= len(payload)
        self.ready = self.ready and self.full_after > 0
        self.raw.append(payload)
        self.sent.append(json.loads(payload))

    def send_all(self, wires: Sequence[Any], payload: bytes) -> None:
        for wire in wires:
            wire.send(payload)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (int(code), reason)

    def flush(self) -> None:
        """It was sent at once."""


class Tab:
    """A page's socket, driven from a test."""

    def __init__(
        self, stack: Stack | Node, identity: Identity, origin: str = ORIGIN, *, wire: FakeWire | None = None
    ) -> None:
        self.stack = stack
        self.wire = wire or FakeWire()
        self.connection: Connection = stack.assembly.connect(self.wire, identity, origin)
        self.identity = identity
        self.ids = 0

    def send(self, message: Any) -> None:
        text = message if isinstance(message, (str, bytes)) else json.dumps(message)
        self.connection.text_received(text.encode() if isinstance(text, str) else text)
        self.stack.flush()

    def start(self, method: str, call_id: Any = None, **params: Any) -> Any:
        """Send a call; returns its id."""
        self.ids += 1
        call_id = f"t{self.ids}" if call_id is None else call_id
        self.send({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})
        return call_id

    def answer(self, call_id: Any) -> dict[str, Any] | None:
        """The answer to a call, if it came."""
        return next((m for m in self.wire.sent if m.get("id") == call_id and "method" not in m), None)

    def call(self, method: str, **params: Any) -> Any:
        """The result of a call that must go well."""
        answer = self.answer(self.start(method, **params))
        assert answer is not None, f"{method} was not answered"
        assert "result" in answer, answer
        return answer["result"]

    def refused(self, method: str, **params: Any) -> dict[str, Any]:
        """The error of a call that must not."""
        answer = self.answer(self.start(method, **params))
        assert answer is not None, f"{method} was not answered"
        assert "error" in answer, answer
        return answer["error"]  # type: ignore[no-any-return]

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The notifications that came, in order (params of those called ``name``)."""
        events = [m for m in self.wire.sent if "method" in m]
        return events if name is None else [m["params"] for m in events if m["method"] == name]

    def open(self, name: str | None = None, visible: bool = True) -> dict[str, Any]:
        extra = {} if name is None else {"connection": name}
        return self.call(  # type: ignore[no-any-return]
            "session.open", session=self.identity.session_id, visible=visible, **extra
        )

    def lose(self) -> None:
        """The socket breaks."""
        self.connection.lost()
        self.stack.flush()


class Node:
    """One server process, running. ``rng``, ``clock``, ``agent`` and ``backend`` are its own."""

    def __init__(
        self, stack: Stack, *, backend: Backend, clock: IReactorTime, agent: Any, rng: random.Random
    ) -> None:
        self.stack = stack
        self.backend = backend
        self.assembly: Assembly = assemble(
            stack.config,
            Secrets(client_secret="sandbox", keys=None),
            stack.keys,
            backend=backend,
            clock=clock,
            agent=agent,
            rng=rng,
            health=_healthy,
            body_producer=Body,
        )
        self.assembly.spending.startService()
        self.assembly.economy.startService()
        self.assembly.documents.schedule.startService()
        self.assembly.directory.startService()
        self.assembly.channels.startService()

    async def stop(self) -> None:
        """In the order of the daemon's."""
        self.assembly.channels.stopService()
        await self.assembly.directory.stop()
        await self.assembly.documents.stop()
        self.assembly.economy.stopService()
        self.assembly.spending.stopService()

    def flush(self) -> None:
        """See :meth:`Stack.flush`."""
        self.stack.flush()

    def tab(self, identity: Identity | None = None, **options: Any) -> Tab:
        """A socket with this cookie (or a new one), opened."""
        tab = Tab(self, identity or self.stack.identity())
        tab.open(**options)
        return tab

    def sign_in(
        self, email: str, *, identity: Identity | None = None, back: Node | None = None, **consent: Any
    ) -> Identity:
        """A person signs in with a browser, and comes ``back`` to another node or this one; returns
        the browser's new identity."""
        stack, tab = self.stack, self.tab(identity)
        url = tab.call("session.sign_in")["url"]
        while True:
            query = parse_qs(urlsplit(stack.consent(url, email, **consent)).query)
            returned = stack.await_(
                (back or self).assembly.sign_in.returned(
                    tab.identity,
                    state=query.get("state", [None])[0],
                    code=query.get("code", [None])[0],
                    error=query.get("error", [None])[0],
                )
            )
            url = returned.location
            if not url.startswith(SANDBOX):  # else consent is asked for again
                break
        assert returned.identity is not None, returned
        tab.lose()
        return returned.identity  # type: ignore[no-any-return]

    def signed_in_tab(self, email: str, *, untick: tuple[str, ...] = (), **options: Any) -> Tab:
        """A new browser of that person, signed in, with one open tab."""
        return self.tab(self.sign_in(email, untick=untick), **options)


async def _healthy() -> dict[str, str]:
    return {"store": "ok"}


class Stack:
    """The server. ``close()`` it (or use it as a context manager).

    ``direct``: the sandbox is asked without a wire, which is several times as fast.
    """

    def __init__(
        self,
        toml: str = "",
        *,
        seed: int = 1,
        world: Mapping[str, Any] | None = None,
        rng: random.Random | None = None,
        direct: bool = False,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="docsession-test-"))
        self.clock = MemoryReactorClock()
        self.clock.advance(START)
        self.sandbox = Sandbox(self.clock, base_url=SANDBOX, world=world, rng=rng or random.Random(seed))
        self._direct = direct
        self.agent: Any = self._agent_of(self.sandbox.resource())
        self.posts = self.agent  # until there is a server
        self.config: Config = sandboxed(parse(toml), SANDBOX)
        self.keys: Keys = load_keys(self.directory, configured=None)
        self.start_server()

    def start_server(self) -> None:
        """A server over whatever the state directory and the sandbox hold."""
        path = self.directory / "docsession.sqlite"
        self.store = SqliteStore(path, Sealer(self.keys), run=InlineRunner(path), clock=self.clock)
        self.await_(self.store.open({"issuer": SANDBOX, "client_id": self.config.google.client_id}))
        self.node = Node(
            self,
            backend=Backend(self.store, *Switchboard(self.clock).node("one"), WholeQuota()),
            clock=self.clock,
            agent=self.agent,
            rng=random.Random(2),
        )
        self.assembly = self.node.assembly
        # What the sandbox posts about push channels arrives at the server's own routes.
        self.posts = self._agent_of(self.assembly.pages.resource())
        self.sandbox.channels.agent = self.posts

    def _agent_of(self, resource: IResource) -> Any:
        return DirectAgent(resource, self.clock) if self._direct else RequestTraversalAgent(resource)

    def stop_server(self) -> None:
        self.await_(self.node.stop())
        self.await_(self.store.close())
        self.stop_timers()

    def stop_timers(self) -> None:
        """Nothing is due any more."""
        for call in list(self.clock.getDelayedCalls()):  # it is the clock's own list
            call.cancel()

    def close(self) -> None:
        self.stop_server()
        shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- time and requests

    def flush(self) -> None:
        """Let requests to the sandbox and their answers go through, at this moment."""
        if self._direct:
            self.clock.advance(0)  # there is no wire: only what was put off for a beat is left
            return
        for _ in range(40):
            self.agent.flush()
            self.posts.flush()

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, in steps."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            self.flush()

    def await_(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of something that needs no time to pass."""
        results: list[Any] = []
        failures: list[Any] = []
        Deferred.fromCoroutine(coroutine).addCallbacks(results.append, failures.append)
        if hasattr(self, "agent"):
            self.flush()
        if failures:
            failures[0].raiseException()
        assert results, "it waits for something"
        return results[0]

    # -- people

    def identity(self) -> Identity:
        """A cookie's, just issued."""
        return Identity(new_id(), self.clock.seconds())

    def tab(self, identity: Identity | None = None, **options: Any) -> Tab:
        """A socket with this cookie (or a new one), opened."""
        return self.node.tab(identity, **options)

    def consent(self, url: str, email: str, *, untick: tuple[str, ...] = (), press: str = "Allow") -> str:
        """Go through the sandbox's consent page as a person; returns where it sends the browser."""
        client = HTTPClient(self.agent, data_to_body_producer=Body)
        page = self.await_(_text(client, url))
        form = re.search(r"<form.*?</form>", page, re.S)
        assert form is not None, page
        fields: list[tuple[str, str]] = []
        for tag in re.findall(r"<input[^>]*>", form[0]):
            attributes = {name: unescape(value) for name, value in re.findall(r'([a-z-]+)="([^"]*)"', tag)}
            value = attributes.get("value", "on")
            chosen = attributes.get("type") != "radio" or value == email
            if attributes.get("type") != "submit" and "name" in attributes and chosen and value not in untick:
                fields.append((attributes["name"], value))
        for tag, label in re.findall(r"<button([^>]*)>(.*?)</button>", form[0], re.S):
            attributes = {name: unescape(value) for name, value in re.findall(r'([a-z-]+)="([^"]*)"', tag)}
            if press in label and "name" in attributes:
                fields.append((attributes["name"], attributes["value"]))
        action = re.search(r'action="([^"]*)"', form[0])
        target = urljoin(url, unescape(action[1]) if action else url)
        return str(self.await_(_location(client, target, fields)))

    def sign_in(self, email: str, **options: Any) -> Identity:
        """A person signs in with a browser; returns the browser's new identity."""
        return self.node.sign_in(email, **options)

    def signed_in_tab(self, email: str, **options: Any) -> Tab:
        """A new browser of that person, signed in, with one open tab."""
        return self.node.signed_in_tab(email, **options)

    def file(self, name: str) -> str:
        """The id of a seeded file."""
        return next(file.id for file in self.sandbox.world.files.values() if file.name == name)

    def as_person(self, email: str, method: str, path: str, body: Any = None) -> Any:
        """A person does something at Google itself, not through us."""
        token = self.sandbox.grants.issue(email, ["https://www.googleapis.com/auth/drive"])
        client = HTTPClient(self.agent, data_to_body_producer=Body)
        return self.await_(_json(client, method, f"{SANDBOX}{path}", token, body))

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the sandbox's own routes, as ``/sandbox/view``."""
        client = HTTPClient(self.agent, data_to_body_producer=Body)
        return self.await_(_json(client, method, f"{SANDBOX}{path}", None, body))

    def faults(self, *faults: dict[str, Any]) -> None:
        """What Google is to get wrong from now on: these faults and no others."""
        self.control("PUT", "/sandbox/faults", list(faults))

    def calls(self) -> dict[str, int]:
        """How often the sandbox was asked what, so far."""
        client = HTTPClient(self.agent, data_to_body_producer=Body)
        counted = self.await_(_json(client, "GET", f"{SANDBOX}/sandbox/calls", None, None))
        return {name: entry["calls"] for name, entry in counted["by_method"].items()}


async def _text(client: HTTPClient, url: str) -> str:
    return str(await (await client.get(url)).text())


async def _location(client: HTTPClient, url: str, fields: list[tuple[str, str]]) -> str:
    response = await client.post(
        url, data=dict(_joined(fields)), headers={"Origin": SANDBOX}, allow_redirects=False
    )
    location = response.headers.getRawHeaders("Location")
    assert location, await response.text()
    return str(location[0])


def _joined(fields: list[tuple[str, str]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for name, value in fields:
        joined.setdefault(name, []).append(value)
    return joined


async def _json(client: HTTPClient, method: str, url: str, token: str | None, body: Any) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    response = await client.request(method, url, headers=headers, data=data)
    content = await response.content()
    assert response.code < 400, (response.code, content)
    return json.loads(content) if content.strip() else None
