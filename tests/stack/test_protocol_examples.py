"""Every conversation in docs/protocol.rst, held with the whole server in memory.

A line that begins with ``→`` is sent, one with ``←`` must come next, and one with ``#`` is
something that happens elsewhere, looked up in :data:`EVENTS`. ``<name>`` stands for a value,
the same wherever the name is the same; ``…`` for what is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred

from docsession import errors
from docsession.model import Identity
from tests.support import ORIGIN, Body, Stack, Tab

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.rst"

_NAME = re.compile(r"<([a-z][a-z0-9 ]*)>")
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
_HTTP_REQUEST = re.compile(r"(GET|POST) (/\S*)")


# --- reading the document --------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One thing said or done. ``kind`` is ``→``, ``←`` or ``#``."""

    kind: str
    text: str
    number: int


def conversations(text: str) -> Iterator[list[Line]]:
    """The literal blocks that hold a conversation, in order."""
    block: list[Line] = []
    for number, line in enumerate(text.splitlines(), start=1):
        said = re.match(r"   (→|←|#) (.*)", line)
        more = re.match(r"     +(.*)", line)
        if said:
            block.append(Line(said[1], said[2], number))
        elif more and block:
            last = block.pop()
            block.append(Line(last.kind, f"{last.text}\n{more[1]}", last.number))
        elif block:
            yield block
            block = []
    if block:
        yield block


def template(text: str) -> Any:
    """JSON with ``…`` in it, as a value: ``…`` becomes a key or an item of that name."""
    text = re.sub(r"(?<=[{,])(\s*)…(\s*})", r'\1"…": 0\2', text)
    text = re.sub(r"(?<=[\[,])(\s*)…(\s*])", r'\1"…"\2', text)
    return json.loads(text)


class Mismatch(AssertionError):
    """What came is not what the document says."""


class Names:
    """What ``<name>`` stands for, learnt where it comes first."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def fill(self, text: str) -> str:
        """The text with every name replaced."""
        return _NAME.sub(lambda found: self.values[found[1]], text)

    def match(self, expected: Any, actual: Any, where: str = "$") -> None:
        """Compare and learn. Raises :class:`Mismatch`."""
        if isinstance(expected, dict) and isinstance(actual, dict):
            partly = "…" in expected
            names = expected.keys() - {"…"}
            if names - actual.keys() or (not partly and actual.keys() - names):
                raise Mismatch(f"{where}: {actual} instead of {sorted(expected)}")
            for name in expected:
                if name != "…":
                    self.match(expected[name], actual[name], f"{where}.{name}")
        elif isinstance(expected, list) and isinstance(actual, list):
            partly = "…" in expected
            listed = [item for item in expected if item != "…"]
            if len(listed) > len(actual) or (not partly and len(listed) != len(actual)):
                raise Mismatch(f"{where}: {len(actual)} items instead of {len(listed)}")
            for number, (item, came) in enumerate(zip(listed, actual, strict=False)):
                self.match(item, came, f"{where}[{number}]")
        elif isinstance(expected, str) and isinstance(actual, str):
            self.match_text(expected, actual, where)
        elif type(expected) is not type(actual) or expected != actual:
            raise Mismatch(f"{where}: {actual!r} instead of {expected!r}")

    def match_text(self, expected: str, actual: str, where: str) -> None:
        learnt: list[str] = []

        def pattern(name: str) -> str:
            if name == "time":
                return _TIME
            if name in self.values:
                return re.escape(self.values[name])
            learnt.append(name)
            return "(.+?)"

        parts = _NAME.split(expected)  # text, name, text, name, ..., text
        regex = "".join(pattern(part) if number % 2 else re.escape(part) for number, part in enumerate(parts))
        found = re.fullmatch(regex, actual, re.DOTALL)
        if found is None:
            raise Mismatch(f"{where}: {actual!r} instead of {self.known(expected)!r}")
        self.values.update(zip(learnt, found.groups(), strict=True))

    def known(self, text: str) -> str:
        """For a message: the text with those names replaced that are known."""
        return _NAME.sub(lambda found: self.values.get(found[1], found[0]), text)


# --- holding the conversation ----------------------------------------------------------------


class Browser:
    """One browser with one tab, a jar with one cookie, and the world around it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.names = Names()
        self.cookie: str | None = None
        self.tab: Tab | None = None
        self.unheard: list[Any] = []
        self.close_heard = False
        self.responses: list[tuple[int, dict[str, str], bytes]] = []
        self.updates = 0

    def identity(self) -> Identity:
        """Whom the cookie in the jar stands for."""
        identity = self.stack.assembly.cookie._signer.verify(self.cookie or "")
        assert identity is not None
        return identity

    def play(self, line: Line) -> None:
        if line.kind == "#":
            self.happens(line.text)
        elif line.kind == "→":
            self.says(line.text)
        else:
            self.hears(line.text)

    def happens(self, event: str) -> None:
        self.stack.advance(1)  # so that times differ, as they do out there
        for pattern, action in EVENTS:
            found = re.fullmatch(pattern, event)
            if found:
                action(self, *found.groups())
                return
        raise Mismatch(f"nobody knows how it happens that {event!r}")

    def says(self, text: str) -> None:
        text = self.names.fill(text)
        request = _HTTP_REQUEST.match(text)
        if request:
            headers = dict(line.split(": ", 1) for line in text.splitlines()[1:])
            self.responses.append(self.request(request[1], request[2], headers))
        else:
            assert self.tab is not None, "there is no socket"
            self.tab.send(text.replace("\n", " "))
            self.stack.advance(0.01)

    def request(self, verb: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        agent = RequestTraversalAgent(self.stack.assembly.pages.resource())
        client = HTTPClient(agent, data_to_body_producer=Body)
        if self.cookie is not None:
            headers = headers | {"Cookie": f"docsession={self.cookie}"}

        async def exchange() -> tuple[int, dict[str, str], bytes]:
            response = await client.request(verb, f"{ORIGIN}{path}", headers=headers, allow_redirects=False)
            body = await response.content()
            got = response.headers.getAllRawHeaders()
            return response.code, {name.decode(): values[0].decode() for name, values in got}, body

        results: list[Any] = []
        Deferred.fromCoroutine(exchange()).addBoth(results.append)
        for _ in range(40):
            agent.flush()
            self.stack.flush()
        assert results, "it is not answered"
        assert isinstance(results[0], tuple), results[0]
        code, got_headers, body = results[0]
        if "Set-Cookie" in got_headers:
            morsel = SimpleCookie(got_headers["Set-Cookie"])["docsession"]
            self.cookie = morsel.value
        return code, got_headers, body

    def hears(self, text: str) -> None:
        if re.match(r"\d{3}\b", text):
            self.hears_response(text.splitlines())
            return
        assert self.tab is not None
        wire = self.tab.wire
        closing = re.fullmatch(r"close (\d{4})", text)
        if closing:
            if wire.closed is None or wire.closed[0] != int(closing[1]):
                raise Mismatch(f"closed with {wire.closed} instead of {closing[1]}")
            self.close_heard = True
            return
        self.unheard += wire.sent
        wire.sent.clear()
        expected = template(text)
        # Events of one kind come in order; between kinds, and with answers, none is promised.
        wanted = _id_of(expected)
        came = next((message for message in self.unheard if _id_of(message) == wanted), None)
        if came is None:
            raise Mismatch(f"nothing comes like {self.names.known(text)}, but {self.unheard}")
        self.unheard.remove(came)
        self.names.match(expected, came)

    def hears_response(self, lines: list[str]) -> None:
        code, headers, body = self.responses.pop(0)
        if lines[0] != str(code):
            raise Mismatch(f"{code} instead of {lines[0]}: {body!r}")
        for number, line in enumerate(lines[1:], start=1):
            if line.startswith("{"):
                self.names.match(template("\n".join(lines[number:])), json.loads(body))
                return
            name, value = line.split(": ", 1)
            came = {known.lower(): text for known, text in headers.items()}.get(name.lower(), "")
            self.names.match_text(value, came, name)

    def nothing_left(self) -> None:
        """The document leaves out nothing that was said."""
        if self.responses:
            raise Mismatch(f"an answer that is not in the document: {self.responses}")
        said = self.unheard + (self.tab.wire.sent if self.tab is not None else [])
        if said:
            raise Mismatch(f"said, but not in the document: {said}")
        if self.tab is not None and self.tab.wire.closed and not self.close_heard:
            raise Mismatch(f"closed, but not in the document: {self.tab.wire.closed}")

    # -- what happens elsewhere

    def open_socket(self) -> None:
        self.nothing_left()
        self.tab, self.close_heard = Tab(self.stack, self.identity()), False

    def break_socket(self) -> None:
        assert self.tab is not None
        self.tab.lose()
        self.updates = self.stack.calls()["drive.files.update"]

    def not_done_twice(self) -> None:
        assert self.stack.calls()["drive.files.update"] == self.updates

    def consent(self) -> None:
        query = parse_qs(urlsplit(self.stack.consent(self.names.values["url"], "ann@example.com")).query)
        self.names.values |= {"code": query["code"][0], "state": query["state"][0]}

    def new_browser(self) -> None:
        self.cookie, self.tab = None, None

    def rename_at_google(self, name: str) -> None:
        path = f"/drive/v3/files/{self.names.values['file']}?fields=id"
        self.stack.as_person("bob@example.com", "PATCH", path, {"name": name})

    def rename_in_another_tab(self, name: str) -> None:
        other = self.stack.tab(self.identity())
        other.call("drive.files.update", fileId=self.names.values["file"], requestBody={"name": name})
        other.lose()

    def comment_at_google(self, content: str) -> None:
        path = f"/drive/v3/files/{self.names.values['file']}/comments?fields=id"
        self.stack.as_person("bob@example.com", "POST", path, {"content": content})

    def unshare(self, name: str) -> None:
        path = f"/drive/v3/files/{self.stack.file(name)}/permissions"
        listed = self.stack.as_person(
            "cat@example.com", "GET", f"{path}?fields=permissions(id,emailAddress)", None
        )
        anns = next(one for one in listed["permissions"] if one.get("emailAddress") == "ann@example.com")
        self.stack.as_person("cat@example.com", "DELETE", f"{path}/{anns['id']}")

    def restart(self) -> None:
        self.nothing_left()
        self.tab = None
        self.stack.stop_server()
        self.stack.start_server()


def _id_of(message: Any) -> Any:
    return message.get("id", message.get("method")) if isinstance(message, dict) else "a batch"


EVENTS: list[tuple[str, Callable[..., None]]] = [
    ("the page opens its socket", Browser.open_socket),
    ("the socket breaks, and the page has not heard that answer", Browser.break_socket),
    ("Google was not asked to do it twice", Browser.not_done_twice),
    ("Ann signs in at Google and allows what is asked", Browser.consent),
    ("a new browser", Browser.new_browser),
    ('Bob renames the document at Google to "(.*)"', Browser.rename_at_google),
    ('in another tab, Ann renames the document to "(.*)"', Browser.rename_in_another_tab),
    ('Bob comments at Google: "(.*)"', Browser.comment_at_google),
    ('Cat stops sharing "(.*)" with Ann', Browser.unshare),
    ("some seconds pass", lambda browser: browser.stack.advance(12)),
    ("a minute passes", lambda browser: browser.stack.advance(75)),
    (
        "the server is asked to stop",
        lambda browser: browser.stack.assembly.directory.drain(lambda: 1.5),
    ),
    ("the server starts again", Browser.restart),
]


def hold(text: str) -> int:
    """Hold every conversation of a document; returns how many lines there were.

    Raises :class:`Mismatch` with the line's number.
    """
    lines = 0
    with Stack() as stack:
        browser = Browser(stack)
        for block in conversations(text):
            for line in block:
                try:
                    browser.play(line)
                except Mismatch as mismatch:
                    raise Mismatch(f"protocol.rst, line {line.number}: {mismatch}") from None
                lines += 1
            try:
                browser.nothing_left()
            except Mismatch as mismatch:
                raise Mismatch(f"protocol.rst, after line {block[-1].number}: {mismatch}") from None
    return lines


# --- tests -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_conversations(document: str) -> None:
    """What the document shows is what happens, to the letter."""
    assert hold(document) > 80


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ('"how": "new"', '"how": "live"'),
        ('"heartbeat": 40', '"heartbeat": 41'),
        ('"resumed": false, "user": null', '"resumed": false, "user": null, "colour": 1'),
        ('"existing": false, ', ""),
        ("← close 4004", "← close 4000"),
        ("     Cache-Control: private, no-store", "     Cache-Control: public"),
        ("   # Google was not asked to do it twice\n", "   # Google was asked to do it twice\n"),
        (
            '"connection": "<second connection>", "resumed": true',
            '"connection": "<session>", "resumed": true',
        ),
        ('   ← {"jsonrpc": "2.0", "method": "server.draining", "params": {"reconnect_after": 1.5}}\n', ""),
    ],
)
def test_false_documents(document: str, true: str, false: str) -> None:
    """A document that says something else, or leaves something out, is found out."""
    assert true in document
    with pytest.raises(Mismatch):
        hold(document.replace(true, false, 1))


def test_error_codes(document: str) -> None:
    """The table of errors has every error there is, under its code."""
    _, _, after = document.partition("\n.. error codes\n")
    rows = re.findall(r"^(-?\d{4,5})\s+``(\w+)`` ", after.partition("\nClose codes\n")[0], re.M)
    kinds = errors.DocsessionError.__subclasses__()
    assert sorted((int(code), name) for code, name in rows) == sorted(
        (kind.code, kind.name) for kind in kinds
    )


def test_close_codes(document: str) -> None:
    """The table of close codes has every code there is, under its name."""
    _, _, after = document.partition("\n.. close codes\n")
    rows = re.findall(r"^(\d{4})\s+([a-z ]+?) {2,}", after.partition("\nLimits\n")[0], re.M)
    assert [(int(code), name) for code, name in rows] == [
        (int(code), code.name.lower().replace("_", " ")) for code in errors.CloseCode
    ]


def test_methods(document: str) -> None:
    """Every method of docsession's own is spoken of."""
    with Stack() as stack:
        own = [name for name in stack.assembly.catalogue.methods if not name.startswith("drive.")]
    assert own
    assert [name for name in own if name not in document] == []
