"""People, tabs and bad luck, played over the whole server in memory, every message written down.

:class:`Play` holds the server, the sandbox and the tabs; what it does is one step of a history each.
:meth:`Play.end` lets everything settle and returns what :mod:`tests.histories` complains of.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, globalLogPublisher

from docsession.connection import Connection
from docsession.interfaces import Wire
from docsession.model import Identity
from docsession.sandbox.app import Sandbox
from docsession.sandbox.masks import parse as parse_mask
from docsession.sandbox.records import File, Person
from docsession.sandbox.resources import Viewer, show_comment
from docsession.sandbox.show_file import show_file
from docsession.steady import SteadyTime
from tests.histories import (
    FILE_FIELDS,
    Complaint,
    History,
    Page,
    State,
    Truth,
    complaints,
    listing_key,
)
from tests.support import ORIGIN, SANDBOX, Body, Cable, Stack

__all__ = ["ANN", "BOB", "CAT", "PEOPLE", "Cable", "Play", "PlayedTab"]

ANN, BOB, CAT = PEOPLE = ("ann@example.com", "bob@example.com", "cat@example.com")

# Looks are fewer than by default, so that hours of a history pass in a second; all the rest is the default.
CONFIGURATION = """
[polling]
visible = 15
comments = 300
"""

# How long everything has to settle: the slowest timer and a proof's life, with room for tries again.
SETTLE = 900.0

_SHARED = parse_mask(
    "id,name,mimeType,modifiedTime,lastModifyingUser(displayName,photoLink),headRevisionId,md5Checksum,size,"
    "trashed,webViewLink,iconLink"
)
_DRIVE_SCOPE = "https://www.googleapis.com/auth/drive"


_SANDBOX_KEYS: list[Any] = []


class _GooglesClock:
    """The time at Google, where nobody sets clocks; its timers go on when a server of ours stops."""

    def __init__(self, clock: MemoryReactorClock) -> None:
        self._clock = clock
        self.timers: list[Any] = []

    def seconds(self) -> float:
        return float(self._clock.rightNow)

    def callLater(self, delay: float, *arguments: Any, **named: Any) -> Any:
        call = self._clock.callLater(delay, *arguments, **named)
        self.timers = [each for each in self.timers if each.active()] + [call]
        return call


class Machine(Stack):
    """The server on a machine whose clock is set and whose processes are killed; Google is elsewhere."""

    def __init__(self, toml: str = "") -> None:
        self.clock_set_by = 0.0
        self.killed: list[Any] = []
        super().__init__(toml)

    def start_server(self) -> None:
        if not hasattr(self, "google"):
            self.googles_clock = _GooglesClock(self.clock)
            self.sandbox = Sandbox(
                self.googles_clock,  # type: ignore[arg-type]
                base_url=SANDBOX,
                rng=random.Random(1),
            )
            self.google = RequestTraversalAgent(self.sandbox.resource())
            # Making a key is slow, and which one it is decides nothing.
            if not _SANDBOX_KEYS:
                _SANDBOX_KEYS.extend(self.sandbox.keys._published())
            self.sandbox.keys._keys = list(_SANDBOX_KEYS)
        # As each process does at its start: timers go by a time that does not jump.
        self.clock.seconds = SteadyTime(  # type: ignore[method-assign]
            lambda: self.clock.rightNow + self.clock_set_by, lambda: self.clock.rightNow
        )
        self.cable = Cable(self.google)
        self.agent = self.cable  # type: ignore[assignment]
        super().start_server()

    def kill_server(self) -> None:
        """As ``kill -9``: nothing is finished, nothing is said, nothing runs any more."""
        self.cable.cut()
        # Held, so that what was under way is not even tidied up.
        timers = list(self.clock.getDelayedCalls())
        self.killed.append((self.cable, self.assembly, self.store, timers))
        self.stop_timers()
        self.await_(self.store.close())

    def stop_timers(self) -> None:
        for call in list(self.clock.getDelayedCalls()):
            if call not in self.googles_clock.timers:
                call.cancel()


class _Wire:
    def __init__(self, tab: PlayedTab) -> None:
        self._tab = tab
        self.closed = False

    def send(self, payload: bytes) -> None:
        assert not self.closed, "sent after close"
        self._tab.received(self, json.loads(payload))

    def send_all(self, wires: Sequence[Any], payload: bytes) -> None:
        for wire in wires:
            wire.send(payload)

    def close(self, code: int, reason: str) -> None:
        self.closed = True
        self._tab.closed(self, int(code))


class PlayedTab:
    """A page: what it wants, what it knows, and its socket while it has one."""

    def __init__(self, play: Play, email: str, identity: Identity, number: int, *, visible: bool) -> None:
        self.play = play
        self.email = email
        self.identity = identity
        self.visible = visible
        self.gone = False  # the tab was closed by its user
        self.history = History(f"{email.partition('@')[0]}-{number}", email)
        self.page = Page()
        self.wants: dict[str, bool] = {}  # documents, with their comments or not
        self.wants_listings: dict[str, Mapping[str, Any]] = {}
        self.not_before: dict[str, float] = {}  # when to ask again for what was refused
        self.name: str | None = None
        self.socket: tuple[_Wire, Connection] | None = None
        self.open = False
        self._ids = 0

    # -- sockets

    def connect(self) -> None:
        """Open a socket and the session, under this tab's name."""
        if self.socket is not None or self.gone:
            return
        wire = _Wire(self)
        self.socket = (wire, self.play.socket(self, wire))
        self._take("open", {"user": self.email})
        named = {} if self.name is None else {"connection": self.name}
        self.call("session.open", session=self.identity.session_id, visible=self.visible, **named)

    def lose(self, *, tell_server: bool = True) -> None:
        """The socket breaks (with the server, where it is not told)."""
        if self.socket is not None:
            wire, connection = self.socket
            wire.closed = True
            self.socket, self.open = None, False
            self._take("close", {"code": None})
            if tell_server:
                connection.lost()
                self.play.stack.flush()

    def closed(self, wire: _Wire, code: int) -> None:
        if self.socket is not None and self.socket[0] is wire:
            self.socket, self.open = None, False
            self._take("close", {"code": code})

    def received(self, wire: _Wire, message: dict[str, Any]) -> None:
        if self.socket is None or self.socket[0] is not wire:
            return
        what = "event" if "method" in message else "answer"
        method, params = self.page.calls.get(message.get("id"), ("", {}))
        self._take(what, message)
        if what == "answer":
            self._answered(method, params, message)
        elif message["method"] == "document.lost":
            self.wants.pop(message["params"]["fileId"], None)

    def _take(self, what: str, message: Mapping[str, Any]) -> None:
        self.page.take(self.history.add(self.play.stack.clock.seconds(), what, message))

    def _answered(self, method: str, params: Mapping[str, Any], message: Mapping[str, Any]) -> None:
        error = message.get("error")
        if method == "session.open":
            if error is not None:
                self.lose()
                return
            self.name = message["result"]["connection"]
            self.open = True
            if message["result"]["resumed"]:
                self._send_writes_again()
            self.ask()
        elif error is not None and method in ("documents.watch", "listings.watch"):
            name = error["data"]["name"]
            what = params["fileId"] if method == "documents.watch" else listing_key(params)
            if name in ("not_found", "forbidden"):
                self.wants.pop(what, None)
                self.page.documents.pop(what, None)
            wait = error["data"].get("retry_after") or 1.0
            self.not_before[what] = self.play.stack.clock.seconds() + wait

    def _send_writes_again(self) -> None:
        for call_id, (method, params) in list(self.page.calls.items()):
            if method.startswith("drive."):
                self._send({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})

    # -- calls

    def call(self, method: str, **params: Any) -> str | None:
        """Send a call, if there is a socket; returns its id."""
        if self.socket is None:
            return None
        self._ids += 1
        call_id = f"{self.history.connection}-{self._ids}"
        message = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
        self._take("call", message)
        self._send(message)
        return call_id

    def _send(self, message: Mapping[str, Any]) -> None:
        if self.socket is not None:
            self.socket[1].text_received(json.dumps(message).encode())
            self.play.stack.flush()

    def answer(self, call_id: str | None) -> Mapping[str, Any] | None:
        """The answer to a call, if it came."""
        return next(
            (
                e.message
                for e in self.history.entries
                if e.what == "answer" and e.message.get("id") == call_id
            ),
            None,
        )

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """The params of the events of that name, in order."""
        told = [entry.message for entry in self.history.entries if entry.what == "event"]
        return [message.get("params") or {} for message in told if message["method"] == name]

    def ask(self) -> None:
        """Watch what it wants and does not have yet, from the versions it knows."""
        if not self.open:
            return
        under_way = [(method, params) for method, params in self.page.calls.values()]
        now = self.play.stack.clock.seconds()
        for file_id, comments in list(self.wants.items()):
            known = self.page.documents.get(file_id)
            has = known is not None and known.watched and (known.comments is not None or not comments)
            asked = any(m == "documents.watch" and p["fileId"] == file_id for m, p in under_way)
            if has or asked or self.not_before.get(file_id, 0.0) > now:
                continue
            params: dict[str, Any] = {"fileId": file_id, "comments": comments}
            if known is not None and known.version:
                params["version"] = known.version
            if known is not None and comments and known.mark is not None:
                params["commentsMark"] = known.mark
            self.call("documents.watch", **params)
        for key, listing in list(self.wants_listings.items()):
            has = any(known == key for known, _ in self.page.listings.values())
            asked = any(m == "listings.watch" and listing_key(p) == key for m, p in under_way)
            if not has and not asked and self.not_before.get(key, 0.0) <= now:
                self.call("listings.watch", **listing)


class Play:
    """One history in the making."""

    def __init__(self, documents: tuple[str, ...], toml: str = CONFIGURATION) -> None:
        self._logged: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.stack: Any = self.make_stack(toml)
        self.world = self.stack.sandbox.world
        self.documents = {name: self.stack.file(name) for name in documents}
        self.identities = {email: self.stack.sign_in(email) for email in PEOPLE}
        self.tabs: list[PlayedTab] = []
        self.truth = Truth(0.0)
        self._tokens: dict[str, tuple[float, str]] = {}
        self._written = 0
        self.world.on_change.append(self._observe_world)
        self._observe_world()

    def make_stack(self, toml: str) -> Stack:
        """The server, or the servers, and Google."""
        return Machine(toml)

    def socket(self, tab: PlayedTab, wire: Wire) -> Connection:
        """This tab has a new socket."""
        return self.stack.assembly.connect(wire, tab.identity, ORIGIN)  # type: ignore[no-any-return]

    # -- what is written down

    def _observe(self, event: dict[str, Any]) -> None:
        if event.get("log_level") is LogLevel.critical or event.get("isError"):
            self._logged.append(str(event.get("log_failure") or event.get("log_format")))

    def _observe_world(self) -> None:
        now = self.stack.clock.seconds()
        for file_id in self.documents.values():
            file = self.world.files.get(file_id)
            states = self.truth.states.setdefault(file_id, [])
            if file is None:
                if states[-1].shared is not None:
                    states.append(State(now, states[-1].number + 1, None))
            else:
                shared = self._shared(file)
                if not states or states[-1].shared != shared or states[-1].number != file.version:
                    states.append(State(now, file.version, shared))
            for email in PEOPLE:
                sees = file is not None and bool(self.world.role(self.person(email), file))
                spans = self.truth.access.setdefault((file_id, email), [])
                if not spans or spans[-1][1] != sees:
                    spans.append((now, sees))

    def _shared(self, file: File) -> dict[str, Any]:
        shown = show_file(file, Viewer(self.world, self.person(ANN)), _SHARED)
        return {name: shown[name] for name in FILE_FIELDS if name in shown}

    # -- people at Google itself

    def person(self, email: str) -> Person:
        return self.world.people[email]

    def file(self, document: str) -> File | None:
        """A document by name, while there is one."""
        return self.world.files.get(self.documents[document])

    def at_google(self, email: str, method: str, path: str, body: Any = None, **query: str) -> Any:
        """A person does something at Google itself, which works for them whatever fails for us.

        What they may not do is not done: then the answer is None.
        """
        with self._no_faults():
            return self.stack.await_(self._ask(email, method, path, body, query))

    async def _ask(self, email: str, method: str, path: str, body: Any, query: Mapping[str, str]) -> Any:
        now = self.stack.clock.seconds()
        issued, token = self._tokens.get(email, (0.0, ""))
        if now - issued > 1800:
            token = self.stack.sandbox.grants.issue(email, [_DRIVE_SCOPE])
            self._tokens[email] = (now, token)
        client = HTTPClient(self.stack.google, data_to_body_producer=Body)
        headers = {"Authorization": f"Bearer {token}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        url = f"{SANDBOX}{path}?{urlencode({'supportsAllDrives': 'true', **query})}"
        response = await client.request(method, url, headers=headers, data=data)
        content = await response.content()
        assert response.code < 500, content
        return json.loads(content or b"{}") if response.code < 400 else None

    @contextmanager
    def _no_faults(self) -> Iterator[None]:
        faults, kept = self.stack.sandbox.faults, self.stack.sandbox.faults.in_force
        faults.in_force = []
        try:
            yield
        finally:
            faults.in_force = kept

    def edit(self, email: str, document: str, text: str) -> None:
        file = self.file(document)
        if file is not None and self.world.role(self.person(email), file) in ("owner", "writer", "organizer"):
            self.world.write_content(file, text.encode(), self.person(email))

    def view(self, email: str, document: str) -> None:
        file = self.file(document)
        if file is not None and self.world.role(self.person(email), file):
            self.world.look_at(file, self.person(email))

    def comment_of(self, document: str, number: int) -> str | None:
        """Some comment of it that is not deleted."""
        file = self.file(document)
        there = [] if file is None else [each.id for each in file.comments.values() if not each.deleted]
        return there[number % len(there)] if there else None

    def reply_of(self, document: str, comment_id: str, number: int) -> str | None:
        file = self.file(document)
        assert file is not None
        there = [reply.id for reply in file.comments[comment_id].replies if not reply.deleted]
        return there[number % len(there)] if there else None

    def words(self) -> str:
        """Some that nobody wrote before."""
        self._written += 1
        return f"words {self._written}"

    # -- tabs, time, and the server

    def tab(self, email: str, *, visible: bool = True) -> PlayedTab:
        """A new tab of that person, connected."""
        tab = PlayedTab(self, email, self.identities[email], len(self.tabs), visible=visible)
        self.tabs.append(tab)
        tab.connect()
        return tab

    def settle_wants(self) -> None:
        """Pages ask again for what they did not get."""
        for tab in self.tabs:
            tab.ask()

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Time passes; pages ask again as they were told to."""
        while seconds > 0:
            self.stack.advance(min(10.0, seconds), step)
            seconds -= 10.0
            self.settle_wants()

    def jump(self, seconds: float) -> None:
        """Time passes at once, as when a machine slept."""
        self.stack.clock.advance(seconds)
        self.stack.flush()
        self.settle_wants()

    def restart(self, *, clean: bool) -> None:
        """The server ends and another begins over the same store."""
        if clean:
            for tab in self.tabs:
                tab.lose()
            self.stack.stop_server()
        else:
            self.stack.kill_server()
            for tab in self.tabs:
                tab.lose(tell_server=False)
        self.stack.start_server()

    # -- the end

    def end(self, settle: float = SETTLE) -> list[Complaint]:
        """Faults end, everybody comes back, all settles; what was wrong?"""
        self.stack.sandbox.faults.in_force = []
        for _ in range(3):
            for tab in self.tabs:
                tab.connect()
            self.advance(settle / 3, step=1.0)
        return self._complaints()

    def _complaints(self) -> list[Complaint]:
        now = self.truth.ended_at = self.stack.clock.seconds()
        for name, file_id in self.documents.items():
            file = self.file(name)
            if file is not None:
                viewer = Viewer(self.world, self.person(ANN))
                shown = [show_comment(each, viewer, with_deleted=True) for each in file.comments.values()]
                self.truth.comments[file_id] = {each["id"]: _seen_by_nobody(each) for each in shown}
        for tab in self.tabs:
            for key, _ in tab.page.listings.values():
                if (tab.email, key) not in self.truth.listings:
                    params = {
                        name: str(value).lower() if isinstance(value, bool) else str(value)
                        for name, value in json.loads(key).items()
                    }
                    listed = self.at_google(tab.email, "GET", "/drive/v3/files", None, **params)
                    self.truth.listings[tab.email, key] = listed
        found = complaints([tab.history for tab in self.tabs], self.truth)
        found += [Complaint("written_once", "server", now, f"{words!r}, twice") for words in self._repeated()]
        for tab in self.tabs:
            name = tab.history.connection
            if not tab.gone and not tab.open:
                found.append(Complaint("comes_back", name, now, "it could not come back"))
            lacks = [*(set(tab.wants) - set(tab.page.watched()))]
            lacks += set(tab.wants_listings) - {key for key, _ in tab.page.listings.values()}
            if not tab.gone and lacks:
                found.append(Complaint("comes_back", name, now, f"it could not watch {lacks}"))
        return found + [Complaint("logged", "server", now, text) for text in self._logged]

    def _repeated(self) -> list[str]:
        """What stands in two comments or replies: nobody here says anything twice."""
        said: list[str] = []
        for file in self.world.files.values():
            for comment in file.comments.values():
                said += [each.content for each in (comment, *comment.replies) if each.content]
        return sorted({words for words in said if said.count(words) > 1})

    def close(self) -> None:
        self.stack.close()
        globalLogPublisher.removeObserver(self._observe)


def _seen_by_nobody(comment: Mapping[str, Any]) -> dict[str, Any]:
    """What Google shows of a comment, less what depends on who looks."""
    shown = {name: value for name, value in comment.items() if name != "kind"}
    shown["author"] = {name: comment["author"][name] for name in ("displayName", "photoLink")}
    if "replies" in comment:
        shown["replies"] = [_seen_by_nobody(reply) for reply in comment["replies"]]
    return shown
