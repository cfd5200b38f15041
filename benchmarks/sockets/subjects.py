"""A server and its load generator, ready for turns: the same questions to the daemon and to its peers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.sockets.figures import FLOOR
from benchmarks.sockets.generator import Answer, Generator, GeneratorFailed, Script
from benchmarks.sockets.ours import ASK, KEY, Ours, call, document
from benchmarks.sockets.peers import Running

__all__ = [
    "AT_ONCE",
    "FLIGHT_DOCUMENTS",
    "NatsSubject",
    "OurSubject",
    "PeerSubject",
    "Subject",
    "cpu",
    "settle",
    "users_for",
]

# So many changes may be under way, each of another document.
FLIGHT_DOCUMENTS = 8
TABS_OF_A_USER = 10
AT_ONCE = 64
ASKING = 50
HANDSHAKES = 2000


class Server(Protocol):
    """A process, or several."""

    name: str

    @property
    def address(self) -> str: ...

    def pids(self) -> list[int]: ...


def cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU that these processes have had, all their threads together."""
    # The clock of a process, as clock_getcpuclockid(3) makes its number: nanoseconds, not ticks.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def settle(pids: Sequence[int], *, most: float = 60.0) -> None:
    """Wait until they have nothing to do any more."""
    until, quiet = time.monotonic() + most, 0
    while quiet < 3 and time.monotonic() < until:
        before = cpu(pids)
        time.sleep(0.05)
        quiet = quiet + 1 if cpu(pids) - before < 0.005 else 0


def users_for(tabs: int) -> int:
    """How many users so many tabs are of."""
    return max(1, tabs // TABS_OF_A_USER)


class Subject:
    """What a turn needs; a context manager."""

    name = ""
    answers = True

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address = server.address
        self.generator = Generator()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Subject:
        self._stack.enter_context(self.generator)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- what differs

    def watchers(self, tabs: int) -> list[Script]:
        raise NotImplementedError

    def arm(self, group: str, tabs: int) -> None:
        """Say what makes all of that group hear an event."""
        raise NotImplementedError

    def askers(self, group: str) -> list[Script]:
        raise NotImplementedError

    def question(self) -> bytes:
        raise NotImplementedError

    def comers(self, count: int) -> list[Script]:
        """Whose handshakes are counted."""
        raise NotImplementedError

    # -- what does not

    def prepare_fanout(self, tabs: int, *, tried: bool = True) -> None:
        """``tried``: everybody is told something once, so that all there is to be learnt is known."""
        group = f"fan{tabs}"
        self.generator.group(group, self.address, self.watchers(tabs))
        self.generator.open(group, tabs, at_once=AT_ONCE)
        self.arm(group, tabs)
        self.generator.wait(0.3)
        if tried:
            self.checked(self.generator.fanout(group, seconds=0, flight=FLIGHT_DOCUMENTS))

    def fanout(self, tabs: int, *, flight: int, seconds: float) -> tuple[float, Answer]:
        """CPU seconds, and what the generator says. Raises GeneratorFailed where anything was lost."""
        before = cpu(self.server.pids())
        answer = self.generator.fanout(f"fan{tabs}", seconds=seconds, flight=flight)
        return cpu(self.server.pids()) - before, self.checked(answer)

    def done_fanout(self, tabs: int) -> None:
        self.generator.close(f"fan{tabs}")
        # What ends is not to cost whoever is measured next.
        settle(self.server.pids())

    def askings(self) -> dict[str, str]:
        """What its rows of requests are called, and the group of connections of each."""
        return {self.name: "ask"}

    def prepare_requests(self) -> None:
        for group in self.askings().values():
            self.generator.group(group, self.address, self.askers(group))
            self.generator.open(group, ASKING)
            self.generator.ask(group, [self.question()])
            self.generator.requests(group, seconds=0.1, connections=ASKING, flight=1)

    def requests(
        self, connections: int, *, flight: int, seconds: float, group: str = "ask"
    ) -> tuple[float, Answer]:
        before = cpu(self.server.pids())
        answer = self.generator.requests(group, seconds=seconds, connections=connections, flight=flight)
        used = cpu(self.server.pids()) - before
        if answer["wrong"] or answer["lost"] or answer["connections"] != connections:
            raise GeneratorFailed(f"{self.name}: not all requests were answered: {answer}")
        return used, answer

    def prepare_handshakes(self) -> None:
        self.generator.group("come", self.address, self.comers(HANDSHAKES))

    def handshakes(self, *, seconds: float) -> tuple[float, Answer]:
        settle(self.server.pids())
        before = cpu(self.server.pids())
        answer = self.generator.handshakes("come", HANDSHAKES, at_once=AT_ONCE, seconds=seconds)
        used = cpu(self.server.pids()) - before
        self.generator.close("come")
        if answer["failed"] or answer["hanging"] or answer["strange"]:
            raise GeneratorFailed(f"{self.name}: not all handshakes went well: {answer}")
        return used, answer

    def checked(self, answer: Answer) -> Answer:
        """Everybody got everything, once. Raises GeneratorFailed."""
        if any(answer[wrong] for wrong in ("lost", "twice", "strange", "closed")):
            raise GeneratorFailed(f"{self.name}: not every tab got every event once: {answer}")
        return answer


class OurSubject(Subject):
    """The daemon. Tabs of the ``place``-th group watch documents of their own."""

    name = "docsession"

    def __init__(
        self,
        ours: Ours,
        *,
        name: str = "docsession",
        address: str = "",
        first_place: int = 0,
        tabs_of_a_user: int = TABS_OF_A_USER,
    ) -> None:
        """``address``: of whoever stands in front of it."""
        super().__init__(ours)
        self.ours = ours
        self.name = name
        self.address = address or ours.address
        self._first_place = first_place
        self._tabs_of_a_user = tabs_of_a_user
        self._places: dict[int, int] = {}

    def watchers(self, tabs: int) -> list[Script]:
        documents, users = self._documents(tabs), self.ours.users
        many = min(max(1, tabs // self._tabs_of_a_user), len(users) - 1)
        return [self.ours.tab(users[number % many], documents) for number in range(tabs)]

    def arm(self, group: str, tabs: int) -> None:
        lines = [f"change {each} #########".encode() for each in self._documents(tabs)]
        self.generator.trigger_by_line(group, self.ours.control, lines)

    def askers(self, group: str) -> list[Script]:
        return [self.ours.tab(user) for user in self._some(ASKING)]

    def question(self) -> bytes:
        params = {"fileId": document(self.ours.documents - 1), "fields": ASK}
        return call(0, "drive.files.get", params).replace(b'"id":"0"', b'"id":"#########"')

    def comers(self, count: int) -> list[Script]:
        return [self.ours.tab(user) for user in self._some(count)]

    def _documents(self, tabs: int) -> list[str]:
        place = self._places.setdefault(tabs, self._first_place + len(self._places))
        return [document(place * FLIGHT_DOCUMENTS + at) for at in range(FLIGHT_DOCUMENTS)]

    def _some(self, count: int) -> list[object]:
        users = self.ours.users[:-1]
        return [users[number % len(users)] for number in range(count)]


class PeerSubject(Subject):
    """A peer, which knows neither sessions nor documents: it passes on texts as long as ours."""

    def __init__(self, running: Running, *, event: bytes) -> None:
        super().__init__(running)
        self.name = running.name
        self._peer = running.peer
        self.answers = running.peer.answers
        self._event = event

    def watchers(self, tabs: int) -> list[Script]:
        return [Script(upgrade(f"/sub/{tabs}"))] * tabs

    def arm(self, group: str, tabs: int) -> None:
        self.generator.group(f"pub{tabs}", self.server.address, [Script(upgrade(f"/pub/{tabs}"))])
        self.generator.open(f"pub{tabs}", 1)
        self.generator.trigger_by_message(group, f"pub{tabs}", [self._event])

    def askers(self, group: str) -> list[Script]:
        return [Script(upgrade(f"/{group}"))] * ASKING

    def askings(self) -> dict[str, str]:
        if self.name == FLOOR:
            return {self.name: "ask"}
        calls = self._peer.calls
        return {f"{self.name} (echo)": "ask", **({f"{self.name} (JSON)": "call"} if calls else {})}

    def question(self) -> bytes:
        params = {"fileId": "file", "fields": ASK}
        return call(0, "drive.files.get", params).replace(b'"id":"0"', b'"id":"#########"')

    def comers(self, count: int) -> list[Script]:
        return [Script(upgrade("/ask" if self.answers else "/sub/come"))] * count


class NatsSubject(PeerSubject):
    """nats-server, over its websockets and in its own protocol."""

    def watchers(self, tabs: int) -> list[Script]:
        return [self._client(f"SUB fan{tabs} 1\r\n")] * tabs

    def arm(self, group: str, tabs: int) -> None:
        self.generator.group(f"pub{tabs}", self.server.address, [self._client()])
        self.generator.open(f"pub{tabs}", 1)
        publish = b"PUB fan%d %d\r\n%b\r\n" % (tabs, len(self._event), self._event)
        self.generator.trigger_by_message(group, f"pub{tabs}", [publish])

    def _client(self, more: str = "") -> Script:
        connect = f'CONNECT {{"verbose":false,"pedantic":false}}\r\n{more}PING\r\n'
        return Script(upgrade("/"), say=[connect.encode()])


def upgrade(path: str) -> bytes:
    """The least that an upgrade request has."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    ).encode()


def event_like_ours() -> bytes:
    """A text as the daemon sends it of a change, for those who only pass it on."""
    file = {
        "id": document(0),
        "name": "Renamed #########",
        "mimeType": "application/vnd.google-apps.document",
        "version": "#########",
        "modifiedTime": "2026-01-01T00:00:00.000Z",
        "lastModifyingUser": {"displayName": "Person 000"},
        "trashed": False,
        "webViewLink": f"https://docs.google.com/document/d/{document(0)}/edit",
    }
    params = {
        "fileId": document(0),
        "version": "#########",
        "file": {**file, "name": "Renamed 000000000", "version": "000000000"},
        "changed": ["modifiedTime", "name"],
        "via": "peer",
        "seen_at": "2026-01-01T00:00:00.000Z",
    }
    message = {"jsonrpc": "2.0", "method": "document.changed", "params": params}
    return json.dumps(message, separators=(",", ":")).encode()


def directory_of(base: Path, name: str) -> Path:
    """A directory of that name, made."""
    made = base / name
    made.mkdir()
    return made
