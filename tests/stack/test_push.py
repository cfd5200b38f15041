"""The push address over HTTP, and channels that begin and end with sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from docsession.keys import ChannelSigner
from tests.stack.support import Answer, Web
from tests.support import SANDBOX

PATH = "/api/drive/notifications"
PUSH = "[push]\nurl = 'http://127.0.0.1:8765'\n"


class _Response:
    version = (b"HTTP", 1, 1)
    phrase = b""
    request = previousResponse = None

    def __init__(self, code: int, value: Any) -> None:
        self.code = code
        self.body = b"" if value is None else json.dumps(value).encode()
        self.length = len(self.body)
        self.headers = Headers({"Content-Type": ["application/json"]})

    def deliverBody(self, protocol: Any) -> None:
        protocol.dataReceived(self.body)
        protocol.connectionLost(Failure(ResponseDone()))


@implementer(IAgent)
class Channelled:
    """In front of the sandbox: answers about channels as Google does, and keeps what it was asked."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.watched: list[dict[str, Any]] = []
        self.stopped: list[dict[str, Any]] = []
        self.revoked_after: int | None = None  # how many had been stopped when a grant was revoked
        self.hold: Deferred[None] | None = None  # before it answers that a channel is stopped

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        url = urlsplit(uri.decode())
        if url.path == "/revoke":
            self.revoked_after = len(self.stopped)
        if not url.path.endswith(("/changes/watch", "/channels/stop")):
            return self.agent.request(method, uri, headers, bodyProducer)
        assert headers.getRawHeaders("Authorization")
        asked = json.loads(bodyProducer.data)
        if url.path.endswith("/channels/stop"):
            return (self.hold or succeed(None)).addCallback(lambda _: self._stop(asked))
        assert parse_qs(url.query)["pageToken"]
        self.watched.append(asked)
        answer = {"id": asked["id"], "resourceId": "resource", "expiration": asked["expiration"]}
        return succeed(_Response(200, answer))

    def _stop(self, asked: dict[str, Any]) -> _Response:
        self.stopped.append(asked)
        return _Response(204, None)

    def flush(self) -> None:
        self.agent.flush()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(PUSH) as web:
        yield web


@pytest.fixture
def google(web: Web) -> Channelled:
    """The sandbox with channels."""
    google = Channelled(web.agent)
    web.stop_server()
    web.agent = google  # type: ignore[assignment]
    web.start_server()
    return google


def post(web: Web, channel_id: str, number: int = 1, state: str = "sync", **others: str) -> Answer:
    """What Google sends; others with ``_`` for ``-``, "": left out."""
    headers = {
        "User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
        "Content-Type": "application/json; utf-8",
        "Content-Length": "0",
        "X-Goog-Channel-ID": channel_id,
        "X-Goog-Channel-Token": ChannelSigner(web.keys).token(channel_id),
        "X-Goog-Message-Number": str(number),
        "X-Goog-Resource-ID": "resource",
        "X-Goog-Resource-URI": f"{SANDBOX}/drive/v3/changes?alt=json&pageToken=660",
        "X-Goog-Resource-State": state,
    }
    headers |= {name.replace("_", "-"): value for name, value in others.items()}
    answer = web.browser(origin=None, address="66.249.66.1").ask("POST", PATH, headers)
    web.clock.advance(0)
    web.flush()
    return answer


def counted(web: Web, name: str) -> dict[str, float]:
    """A metric by outcome."""
    found = {}
    for line in web.assembly.metrics.text().decode().splitlines():
        if line.startswith(f"docsession_{name}_total{{"):
            found[line.split('outcome="')[1].split('"')[0]] = float(line.rpartition(" ")[2])
    return found


def hints(web: Web) -> list[str]:
    """Users that are hinted at, from now on."""
    seen: list[str] = []
    web.assembly.pages._notifications._on_hint = seen.append
    return seen


def test_a_genuine_post_of_nobody_here(web: Web) -> None:
    for state in ("sync", "change", "changed", "something new"):
        answer = post(web, "channel-1", 3, state)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["cache-control"] == "no-store"
    assert set(counted(web, "channel_messages")) == {"elsewhere"}


def test_what_is_not_ours(web: Web) -> None:
    genuine = ChannelSigner(web.keys).token("channel-1")
    for others in (
        {"X_Goog_Channel_Token": ""},
        {"X_Goog_Channel_Token": "x" * 43},
        {"X_Goog_Channel_Token": genuine[:-1]},
        {"X_Goog_Channel_ID": "channel-2", "X_Goog_Channel_Token": genuine},
        {"X_Goog_Channel_ID": ""},
        {"X_Goog_Message_Number": ""},
        {"X_Goog_Message_Number": "one"},
        {"X_Goog_Resource_State": ""},
        {"X_Goog_Resource_ID": ""},
    ):
        answer = post(web, "channel-1", 3, "change", **others)
        assert (answer.status, answer.error) == (404, "not_found"), others
        assert "channel-1" not in answer.body.decode()
    assert set(counted(web, "channel_messages")) == {"refused"}


def test_a_header_that_comes_twice(web: Web) -> None:
    good = {
        "Content-Length": "0",
        "X-Goog-Channel-ID": "c",
        "X-Goog-Channel-Token": ChannelSigner(web.keys).token("c"),
        "X-Goog-Message-Number": "1",
        "X-Goog-Resource-ID": "r",
        "X-Goog-Resource-State": "sync",
    }
    browser = web.browser(origin=None)
    assert browser.ask("POST", PATH, good).status == 204
    for name, value in list(good.items())[1:]:
        assert browser.ask("POST", PATH, good, raw_headers=((name, value),)).status == 404, name


def test_verbs(web: Web) -> None:
    for verb in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = web.browser(origin=None).ask(verb, PATH)
        assert answer.status == 405, verb
        assert answer.headers["allow"] == "POST", verb


def test_robots(web: Web) -> None:
    """Google's poster keeps to it: none forbids it."""
    assert web.browser().get("/robots.txt").status == 404


def test_a_body_means_nothing_and_is_bounded(web: Web) -> None:
    assert post(web, "c").status == 204
    browser = web.browser(origin=None)
    headers = {"X-Goog-Channel-ID": "c", "X-Goog-Channel-Token": ChannelSigner(web.keys).token("c")}
    headers |= {"X-Goog-Message-Number": "1", "X-Goog-Resource-ID": "r", "X-Goog-Resource-State": "sync"}
    assert browser.ask("POST", PATH, headers, body=b"{" * 1000).status == 204
    assert browser.begin("POST", PATH, headers, body=b"x" * 70_000).heard.data.startswith(b"HTTP/1.1 413")


def test_a_flood_of_wrong_tokens(web: Web, google: Channelled) -> None:
    """It does not touch the store, leaves nothing behind, and says one line; genuine ones get through."""
    web.signed_in().page()
    web.advance(2)
    seen = hints(web)
    (asked,) = google.watched
    touched: list[str] = []
    names = [
        name for name in dir(web.store) if not name.startswith("_") and name not in ("epoch", "unreadable")
    ]
    for name in names:
        setattr(web.store, name, lambda *_, name=name, **__: touched.append(name))
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    remembered = len(web.assembly.pages._rates)
    try:
        for number in range(300):
            answer = post(web, f"stranger-{number}", 2, "change", X_Goog_Channel_Token="x" * 43)
            assert answer.status == 404
    finally:
        globalLogPublisher.removeObserver(events.append)
        for name in names:
            delattr(web.store, name)
    assert touched == []
    assert len([event for event in events if event["log_level"].name != "debug"]) == 1
    assert len(web.assembly.pages._rates) == remembered
    assert post(web, asked["id"], 2, "change").status == 204
    assert len(seen) == 1
    assert counted(web, "channel_messages") == {"refused": 300, "hint": 1}


def test_a_session_has_a_channel(web: Web, google: Channelled) -> None:
    """From the first tab on, one for all tabs; what comes through it is a hint."""
    ann = web.signed_in()
    assert google.watched == []
    pages = [ann.page(), ann.copy().page()]
    web.advance(2)
    (asked,) = google.watched
    assert asked["address"] == "http://127.0.0.1:8765/api/drive/notifications"
    assert asked["token"] == ChannelSigner(web.keys).token(asked["id"])
    (user,) = web.assembly.directory.live_users()
    assert web.assembly.channels.is_live(user.id)
    assert web.assembly.economy.allowance.has_channel(user.id)
    seen = hints(web)
    assert post(web, asked["id"]).status == 204
    assert seen == []
    for number in (2, 3, 3, 9):
        assert post(web, asked["id"], number, "change").status == 204
    assert seen == [user.id] * 3
    assert counted(web, "channel_messages") == {"sync": 1, "hint": 3, "repeat": 1}
    assert counted(web, "channel_openings") == {"opened": 1}
    assert "docsession_channels 1.0" in web.assembly.metrics.text().decode()
    for page in pages:
        page.leave()
    web.advance(200)
    assert google.stopped == []
    web.advance(200)
    assert google.stopped == [{"id": asked["id"], "resourceId": "resource"}]
    assert post(web, asked["id"], 10, "change").status == 204
    assert len(seen) == 3


def test_a_hint_reaches_the_hub(web: Web, google: Channelled) -> None:
    page = web.signed_in().page()
    page.call("documents.watch", fileId=some_file(web))
    web.advance(2)
    assert post(web, google.watched[0]["id"], 2, "change").status == 204
    web.advance(10)
    assert sum(counted(web, "hints").values()) >= 1


def test_a_restart_takes_it_up(web: Web, google: Channelled) -> None:
    ann = web.signed_in()
    ann.page()
    web.advance(2)
    (asked,) = google.watched
    post(web, asked["id"])
    web.advance(2)
    web.stop_server()
    assert google.stopped == []
    web.start_server()
    ann.page()
    web.advance(60)
    assert len(google.watched) == 1
    (user,) = web.assembly.directory.live_users()
    assert web.assembly.channels.is_live(user.id)
    seen = hints(web)
    post(web, asked["id"], 5, "change")
    assert seen == [user.id]


def test_sign_out_stops_it(web: Web, google: Channelled) -> None:
    page = web.signed_in().page()
    web.advance(2)
    page.call("session.sign_out")
    web.advance(2)
    assert [channel["id"] for channel in google.stopped] == [google.watched[0]["id"]]
    assert google.revoked_after is None


def test_disconnecting_stops_it_before_the_grant_is_revoked(web: Web, google: Channelled) -> None:
    page = web.signed_in().page()
    web.advance(2)
    (user,) = web.assembly.directory.live_users()
    google.hold = Deferred()
    page.call("session.sign_out", disconnect=True)
    web.advance(5)
    assert google.revoked_after is None
    google.hold.callback(None)
    web.advance(2)
    assert google.revoked_after == 1
    assert web.await_(web.store.load_channels(user.id)) == []
    assert post(web, google.watched[0]["id"], 10, "change").status == 204


def test_a_grant_that_died_leaves_a_tombstone(web: Web, google: Channelled) -> None:
    """It cannot be stopped any more: what comes is ignored until Google ends it."""
    web.signed_in().page()
    web.advance(2)
    (user,) = web.assembly.directory.live_users()
    web.await_(user.grant._die(user.grant.grant))
    web.advance(15)
    assert google.stopped == []
    (record,) = web.await_(web.store.load_channels(user.id))
    assert record.state == "buried"
    seen = hints(web)
    assert post(web, record.id, 10, "change").status == 204
    assert seen == []


@implementer(IAgent)
class Outside:
    """The network between the sandbox and our site."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.statuses: list[int] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        arrived: Deferred[_Response] = Deferred()
        self.web.clock.callLater(0.1, self._post, method, uri, headers, arrived)
        return arrived

    def _post(self, method: bytes, uri: bytes, headers: Any, arrived: Deferred[_Response]) -> None:
        sent = {name.decode(): values[0].decode() for name, values in headers.getAllRawHeaders()}
        browser = self.web.browser(origin=None, address="66.249.66.1")
        status = browser.ask(method.decode(), urlsplit(uri.decode()).path, sent).status
        self.statuses.append(status)
        arrived.callback(_Response(status, None))


@pytest.fixture
def outside(web: Web) -> Outside:
    """The sandbox posts to us."""
    outside = Outside(web)
    web.sandbox.channels.agent = outside  # type: ignore[assignment]
    return outside


def some_file(web: Web) -> str:
    """One that Ann may change."""
    return str(web.as_person("ann@example.com", "GET", "/drive/v3/files?q='me'+in+owners")["files"][0]["id"])


def rename(web: Web, file_id: str, name: str) -> None:
    web.as_person("ann@example.com", "PATCH", f"/drive/v3/files/{file_id}", {"name": name})


def test_a_change_at_google_is_a_hint(web: Web, outside: Outside) -> None:
    """From the sandbox over its own channels to whoever is hinted."""
    web.signed_in().page()
    web.advance(3)
    (user,) = web.assembly.directory.live_users()
    (record,) = web.await_(web.store.load_channels(user.id))
    assert (record.state, record.heard) == ("live", True)
    assert record.expires - record.opened_at == pytest.approx(604_800, abs=2)
    seen = hints(web)
    rename(web, some_file(web), "Another name")
    web.advance(3)
    assert seen == [user.id]
    assert set(outside.statuses) == {204}


def test_what_may_become_of_messages(web: Web, outside: Outside) -> None:
    """Doubled ones are one hint, lost ones none; and nothing breaks."""
    web.signed_in().page()
    web.advance(3)
    seen = hints(web)
    file_id = some_file(web)
    web.control("POST", "/sandbox/channels", {"do": "duplicate", "times": 1})
    rename(web, file_id, "Doubled")
    web.advance(5)
    assert len(seen) == 1
    assert counted(web, "channel_messages")["repeat"] == 1
    web.control("POST", "/sandbox/channels", {"do": "drop", "times": 1})
    rename(web, file_id, "Lost")
    web.advance(5)
    assert len(seen) == 1
    rename(web, file_id, "Heard")
    web.advance(5)
    assert len(seen) == 2
    assert set(outside.statuses) == {204}


def test_a_push_is_told_to_the_page(web: Web, outside: Outside) -> None:
    """All the way: the next look would be a minute off, and the page hears within seconds."""
    page = web.signed_in().page()
    file_id = some_file(web)
    page.call("documents.watch", fileId=file_id)
    web.advance(30)
    rename(web, file_id, "Told by push")
    web.advance(8)
    (event,) = page.events("document.changed")
    assert (event["file"]["name"], event["via"]) == ("Told by push", "push")


def test_the_session_ends_and_google_knows(web: Web, outside: Outside) -> None:
    page = web.signed_in().page()
    web.advance(3)
    assert len(web.sandbox.channels.open) == 1
    page.call("session.sign_out", disconnect=True)
    web.advance(3)
    assert web.sandbox.channels.open == {}
    assert web.calls()["drive.channels.stop"] == 1


def test_google_wants_no_more_channels(web: Web, outside: Outside) -> None:
    web.faults({"match": {"method": "drive.changes.watch"}, "reason": "subscriptionRateLimitExceeded"})
    page = web.signed_in().page()
    web.advance(100)
    assert web.calls()["drive.changes.watch"] == 1
    assert counted(web, "channel_openings") == {"subscriptionRateLimitExceeded": 1}
    assert page.events("session.degraded") == []
    web.faults()
    web.advance(400)
    assert counted(web, "channel_openings")["opened"] == 1


def test_without_push_nothing_is_opened() -> None:
    with Web() as web:
        web.signed_in().page()
        web.advance(5)
        assert not any("changes" in name for name in web.calls())
