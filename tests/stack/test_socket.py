"""``GET /api/socket``: who gets in, and what a socket must not do (PROTOCOL.md sections 1, 2, 5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogLevel, globalLogPublisher

from docsession.errors import CloseCode
from docsession.keys import CookieSigner
from docsession.model import Identity
from tests.stack.support import ORIGIN, Browser, Heard, Page, Web, frame, store_away

PING = b'{"jsonrpc":"2.0","id":1,"method":"session.ping"}'


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def browser(web: Web) -> Browser:
    browser = web.browser()
    browser.generate_cookie()
    return browser


@pytest.fixture
def page(browser: Browser) -> Page:
    return browser.page()


@pytest.fixture(autouse=True)
def others_are_served(web: Web) -> Iterator[None]:
    """Whatever happens to one socket, another one goes on being served."""
    yield
    bystander = web.browser(address="198.51.100.1").page()
    assert bystander.call("session.ping") == {}


# --- before 101 -----------------------------------------------------------------------------


def test_without_an_upgrade_it_is_426_whoever_asks(web: Web, browser: Browser) -> None:
    for asking in (browser, web.browser(origin="https://evil.com")):
        answer = asking.get("/api/socket", Origin=asking.origin or "")
        assert (answer.status, answer.error) == (426, "invalid_request")
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["sec-websocket-version"] == "13"


def test_an_upgrade_that_is_not_version_13_of_the_websocket_is_426(browser: Browser) -> None:
    for wrong in (
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": "0"},
        {"Sec-WebSocket-Version": "7"},
        {"Sec-WebSocket-Version": "14"},
        {"Sec-WebSocket-Version": "13, 8"},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "!" * 22 + "=="},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Connection": "upgraded"},
    ):
        assert browser.upgrade(wrong).answer.status == 426, wrong
    for header in ("Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        assert browser.upgrade(raw_headers=((header, "13"),)).answer.status == 426, header


def test_other_verbs_are_405(browser: Browser) -> None:
    for verb in ("POST", "PUT", "HEAD", "OPTIONS"):
        assert browser.ask(verb, "/api/socket").status == 405, verb


FOREIGN = [
    "",
    "null",
    "https://evil.com",
    "http://127.0.0.1:8765.evil.com",
    "http://x127.0.0.1:8765",
    "https://127.0.0.1:8765",
    "http://127.0.0.1:8766",
    "http://127.0.0.1",
    "http://localhost:8765",
    "HTTP://127.0.0.1:8765",
    "http://127.0.0.1.:8765",
    "http://127.0.0.1:8765/",
    "file://",
    "http://" + "a" * 8192,
]


def test_a_foreign_origin_is_403_before_the_cookie_is_looked_at(web: Web, browser: Browser) -> None:
    without = web.browser()
    for origin in FOREIGN:
        for asking in (browser, without):
            answer = asking.upgrade({"Origin": origin}).answer
            assert (answer.status, answer.error) == (403, "forbidden"), origin
            assert "evil" not in answer.body.decode()
    assert browser.upgrade(raw_headers=(("Origin", ORIGIN),)).answer.status == 403
    assert browser.upgrade({"Sec-Fetch-Site": "cross-site"}).answer.status == 403


def test_the_old_name_of_the_origin_header_is_no_origin(browser: Browser) -> None:
    answer = browser.upgrade({"Origin": "", "Sec-WebSocket-Origin": ORIGIN}).answer
    assert answer.status == 403
    assert browser.upgrade({"Sec-WebSocket-Origin": "https://evil.com"}).heard.data.startswith(
        b"HTTP/1.1 101 "
    )


def test_without_a_genuine_cookie_of_a_session_it_is_401(web: Web, browser: Browser) -> None:
    genuine = browser.cookies["docsession"]
    signer = CookieSigner(web.keys)
    stale = signer.sign(Identity("A" * 32, web.clock.seconds() - 601))
    future = signer.sign(Identity("A" * 32, web.clock.seconds() + 3600))
    for cookie in (
        "",
        "docsession=",
        f"docsession={genuine[:-1]}",
        f"docsession={genuine}A",
        f"docsession={'A' * 8000}",
        f"docsession={stale}",
        f"docsession={future}",
        f"docsession={genuine}; docsession={genuine}",
        f"__Host-docsession={genuine}",
    ):
        answer = web.browser().upgrade({"Cookie": cookie}).answer
        assert (answer.status, answer.error) == (401, "session_unknown"), cookie[:60]


def test_while_the_store_is_away_a_live_session_gets_in_and_others_are_503(web: Web) -> None:
    live, stored = web.signed_in(), web.signed_in("bob@example.com")
    page = live.page()
    web.stop_server()
    web.start_server()
    page = live.page()
    with store_away(web):
        answer = stored.upgrade().answer
        assert (answer.status, answer.error) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        second = live.socket()
        assert second.call("session.open", session=live.session)["how"] == "live"
    assert page.call("session.user")["email"] == "ann@example.com"
    assert stored.page().opened["user"]["email"] == "bob@example.com"


def test_a_bug_of_ours_says_nothing_of_itself(web: Web, browser: Browser) -> None:
    logged: list[Any] = []

    async def broken(_: str) -> bool:
        raise RuntimeError("postgres://user:secret@db")

    def observe(event: Any) -> None:
        if event.get("log_level") is LogLevel.critical:
            logged.append(event)
            event["log_level"] = LogLevel.info  # so that the test itself is not failed for it
            event["isError"] = 0

    web.store.load_session = broken  # type: ignore[method-assign,assignment]
    globalLogPublisher.removeObserver(observe)
    observers = globalLogPublisher._observers
    observers.insert(0, observe)
    try:
        answer = browser.upgrade().answer
    finally:
        observers.remove(observe)
        del web.store.load_session
    assert (answer.status, answer.error) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert len(logged) == 1


def test_over_the_limit_of_all_sockets_it_is_503() -> None:
    with Web("[limits]\nconnections = 3") as web:
        browser = web.browser()
        pages = [browser.page() for _ in range(3)]
        answer = browser.upgrade().answer
        assert (answer.status, answer.error) == (503, "unavailable")
        pages[0].leave()
        browser.page()


def test_the_subprotocol_is_offered_and_never_demanded(browser: Browser) -> None:
    assert browser.socket().protocol.websocket_protocol_in_use == "docsession.v1"
    assert browser.socket(protocols=()).protocol.websocket_protocol_in_use is None
    for offered, chosen in (
        ("docsession.v1", b"docsession.v1"),
        ("x, docsession.v1, y", b"docsession.v1"),
        ("docsession.v2", None),
        (None, None),
    ):
        head = browser.upgrade({"Sec-WebSocket-Protocol": offered} if offered else {}).heard.data
        assert head.startswith(b"HTTP/1.1 101 "), head
        said = [line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-protocol")]
        assert said == ([] if chosen is None else [b"Sec-WebSocket-Protocol: " + chosen])


def test_a_proxy_may_part_the_connection_header(browser: Browser) -> None:
    for connection in ("keep-alive, Upgrade", "UPGRADE", "Upgrade,TE"):
        assert browser.upgrade({"Connection": connection}).heard.data.startswith(b"HTTP/1.1 101 ")
    parted = browser.upgrade({"Connection": "keep-alive"}, raw_headers=(("Connection", "Upgrade"),))
    assert parted.heard.data.startswith(b"HTTP/1.1 101 ")


def test_a_handshake_in_pieces_or_after_other_requests_is_one_like_any_other(
    web: Web, browser: Browser
) -> None:
    host = "127.0.0.1:8765"
    whole = browser.upgrade().sent
    other = f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for sent in ((whole,), (whole[:30], whole[30:]), (other, whole)):
        heard = Heard()
        line = web.connect(heard, browser.address)
        for data in sent:
            line.client.write(data)
            web.flush()
        assert b"HTTP/1.1 101 " in heard.data, heard.data
        line.client.write(frame(PING))
        web.flush()
        assert b'"session_not_open"' in heard.data, heard.data
        line.client.write(frame(b"\x03\xe8", opcode=8))
        web.flush()
        assert line.closed


def test_compression_is_not_accepted(browser: Browser) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    head = browser.upgrade(offer).heard.data
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in head.lower()
    assert b"autobahn" not in head.lower()


def test_a_handshake_that_never_ends_is_given_up(web: Web) -> None:
    line = web.connect(Heard(), "203.0.113.9")
    line.client.write(b"GET /api/socket HTTP/1.1\r\nHost: 127.0.0.1:8765\r\nX: ")
    for _ in range(130):
        line.client.write(b"a")
        web.advance(1, step=1)
    assert line.closed


def test_no_option_of_autobahns_is_left_at_its_open_default(web: Web) -> None:
    shaking = web.assembly.door.factory.shake(web.assembly.door.admit)
    assert shaking.versions == [13]
    assert shaking.webStatus is False
    assert shaking.perMessageCompressionAccept([]) is None
    assert shaking.trustXForwardedFor == 0
    assert shaking.serveFlashSocketPolicy is False
    assert shaking.factory.allowNullOrigin is False
    # What Autobahn does after the handshake, and with time, is done without it.
    assert shaking.openHandshakeTimeout == shaking.autoPingInterval == shaking.maxConnections == 0


# --- messages -------------------------------------------------------------------------------


def text(length: int) -> bytes:
    call = {"jsonrpc": "2.0", "id": "long", "method": "session.ping", "params": {}}
    padding = length - len(json.dumps(call))
    return json.dumps(call).encode() + b" " * padding


def test_a_message_of_64_kib_is_read_and_one_more_byte_is_1009(page: Page) -> None:
    page.send(text(65536))
    assert page.answer("long") == {"jsonrpc": "2.0", "id": "long", "result": {}}
    page.send(text(65537))
    assert page.code == CloseCode.TOO_BIG


def test_a_frame_that_only_says_it_is_long_is_1009_at_once(page: Page) -> None:
    page.raw(frame(b"", length=1 << 40))
    assert page.code == CloseCode.TOO_BIG


def test_a_message_in_fragments_is_read_whole_and_bounded_whole(page: Page) -> None:
    parts = [PING[start : start + 7] for start in range(0, len(PING), 7)]
    page.raw(frame(parts[0], fin=False))
    for part in parts[1:-1]:
        page.raw(frame(part, opcode=0, fin=False))
        page.raw(frame(b"between", opcode=9))
    page.raw(frame(parts[-1], opcode=0))
    assert page.answer(1) == {"jsonrpc": "2.0", "id": 1, "result": {}}  # type: ignore[arg-type]
    page.raw(frame(b" " * 40000, fin=False) + frame(b" " * 40000, opcode=0, fin=False))
    assert page.code == CloseCode.TOO_BIG


def test_fragments_without_end_are_1009_even_empty_ones(page: Page) -> None:
    page.raw(frame(b"", fin=False))
    page.raw(frame(b"", opcode=0, fin=False) * 999)
    assert page.code is None
    page.raw(frame(b"", opcode=0, fin=False) * 10)
    assert page.code == CloseCode.TOO_BIG


def test_many_messages_in_a_few_fragments_each_are_fine(page: Page) -> None:
    for _ in range(150):
        page.raw(
            frame(PING[:9], fin=False) + frame(PING[9:20], opcode=0, fin=False) + frame(PING[20:], opcode=0)
        )
        page.web.clock.advance(0.1)
    for _ in range(400):
        page.raw(frame(PING[:9], fin=False) + frame(b"", opcode=0, fin=False) + frame(PING[9:], opcode=0))
        page.web.clock.advance(0.1)
    assert len([message for message in page.messages if message.get("result") == {}]) == 550


def test_a_binary_message_is_4501(page: Page) -> None:
    page.raw(frame(PING, opcode=2))
    assert page.code == CloseCode.PROTOCOL_MISUSE
    assert page.answer(1) is None  # type: ignore[arg-type]


MISUSES = {
    "unmasked": (frame(PING, mask=False), 1002),
    "a reserved bit": (frame(PING, rsv=4), 1002),
    "another reserved bit": (frame(PING, rsv=1), 1002),
    "a reserved opcode": (frame(PING, opcode=3), 1002),
    "a reserved control opcode": (frame(b"", opcode=11), 1002),
    "a fragmented ping": (frame(b"", opcode=9, fin=False), 1002),
    "a long ping": (frame(b" " * 126, opcode=9), 1002),
    "a continuation of nothing": (frame(PING, opcode=0), 1002),
    "a new message inside another": (frame(b"{", fin=False) + frame(PING), 1002),
    "no UTF-8": (frame(b'"\xff"'), 1007),
    "half a character": (frame(b'"\xc3'), 1007),
    "a surrogate": (frame(b'"\xed\xa0\x80"'), 1007),
}


def test_what_is_no_websocket_is_closed_by_its_code(browser: Browser) -> None:
    for name, (data, code) in MISUSES.items():
        page = browser.page()
        page.raw(data)
        assert page.code == code, name
        browser.web.advance(6, step=1)
        assert page.line.closed, name


def test_who_is_being_closed_is_told_nothing_more(web: Web, page: Page) -> None:
    """The page has said goodbye, and its wire is not gone yet: an event for it is no bug."""
    (connection,) = web.assembly.directory.open_connections()
    wire = connection._wire
    page.line.stalled = True
    page.raw(frame(b"\x03\xe8", opcode=8))
    said = len(page.line.server.unread)
    wire.send(b"{}")
    wire.flush()
    assert len(page.line.server.unread) == said
    page.line.cut()
    wire.send(b"{}")
    wire.close(1000, "again")
    wire.flush()


def test_a_close_that_makes_no_sense_ends_it_all_the_same(browser: Browser) -> None:
    for payload in (b"\x03", b"\x03\xed", b"\x03\xee", b"\x00\x01", b"\x03\xe8\xff"):
        page = browser.page()
        page.raw(frame(payload, opcode=8))
        assert page.line.closed, payload
    assert browser.web.assembly.directory.connections == 0


def test_a_ping_is_answered(page: Page) -> None:
    heard: list[bytes] = []
    page.protocol.onPong = heard.append
    page.raw(frame(b"are you there", opcode=9))
    assert heard == [b"are you there"]


def test_pings_of_who_does_not_read_cost_no_memory(page: Page) -> None:
    page.line.stalled = True
    for _ in range(50):
        page.raw(frame(b"x" * 125, opcode=9) * 200)
    assert len(page.line.server.unread) < 2 * 65536
    page.line.stalled = False
    page.web.flush()
    assert page.call("session.ping") == {}


# --- heartbeats -----------------------------------------------------------------------------


def test_who_answers_pings_stays(page: Page) -> None:
    page.web.advance(600, step=5)
    assert page.call("session.ping") == {}


def test_who_answers_no_ping_is_closed_4003_while_the_wire_carries_it(page: Page) -> None:
    page.protocol.onPing = lambda payload: None
    page.web.advance(34, step=1)
    assert page.code is None
    page.web.advance(2, step=1)
    assert page.code == CloseCode.HEARTBEAT_LOST
    assert page.web.assembly.directory.connections == 0


def test_a_dead_wire_is_dropped(page: Page) -> None:
    page.line.stalled = True
    page.line.client.unread.clear()
    page.protocol.onPing = page.protocol.onCloseFrame = lambda *_: None
    page.web.advance(42, step=1)
    assert page.line.closed
    assert page.web.assembly.directory.connections == 0


def test_who_calls_need_not_answer_pings(page: Page) -> None:
    page.protocol.onPing = lambda payload: None
    for _ in range(20):
        page.web.advance(8, step=1)
        assert page.call("session.ping") == {}


# --- session.open ---------------------------------------------------------------------------


def test_who_says_nothing_for_ten_seconds_is_closed_4503(browser: Browser) -> None:
    page = browser.socket()
    browser.web.advance(9.5)
    assert page.code is None
    browser.web.advance(1)
    assert page.code == CloseCode.NOT_OPENED_IN_TIME


def test_chatter_is_not_opening(browser: Browser) -> None:
    page = browser.socket()
    for _ in range(21):
        if page.code is None:
            assert page.refused("session.ping")["code"] == 1001
        browser.web.advance(0.5)
    assert page.code == CloseCode.NOT_OPENED_IN_TIME


def test_an_open_session_is_not_closed_for_silence(page: Page) -> None:
    page.web.advance(30)
    assert page.code is None


def test_the_session_must_be_the_cookies(web: Web, browser: Browser) -> None:
    other = web.signed_in()
    page = browser.socket()
    for session in (other.identity.session_id, "", "x" * 128):
        assert page.refused("session.open", session=session)["code"] == 1002
    assert page.refused("session.open", session="x" * 129)["code"] == -32602
    assert page.refused("session.open")["data"]["path"] == "$.session"
    assert page.call("session.open", session=browser.session)["user"] is None


def test_a_session_is_opened_once(page: Page) -> None:
    assert page.refused("session.open", session=page.browser.session)["code"] == -32600
    assert page.call("session.ping") == {}


def test_a_newer_socket_of_the_same_name_closes_the_older_4002(browser: Browser) -> None:
    older = browser.page()
    name = older.opened["connection"]
    newer = browser.page(connection=name)
    assert (newer.opened["connection"], newer.opened["resumed"]) == (name, True)
    assert older.code == CloseCode.REPLACED
    assert newer.call("session.ping") == {}
    assert browser.web.assembly.directory.connections == 1


def test_a_name_belongs_to_one_browser(web: Web) -> None:
    ours, theirs = web.signed_in().page(), web.signed_in("bob@example.com")
    taken = theirs.page(connection=ours.opened["connection"])
    assert taken.opened["resumed"] is True
    assert ours.call("session.ping") == {}


SMALL = "[limits]\nconnections_per_session = 2\nconnections_per_user = 3"


def refused_and_closed(page: Page, session: str, limit: int, **options: Any) -> bool:
    error = page.refused("session.open", session=session, **options)
    assert error["code"] == 1011
    assert error["data"] == {"name": "too_many", "limit": limit}
    page.web.advance(0.1)
    return page.code == CloseCode.TOO_MANY_CONNECTIONS


def test_too_many_tabs_of_a_browser_are_told_1011_and_closed_4502() -> None:
    with Web(SMALL) as web:
        browser = web.browser()
        first, second = browser.page(), browser.page()
        assert refused_and_closed(browser.socket(), browser.session, 2)
        assert refused_and_closed(browser.socket(), browser.session, 2, connection="another-name")
        assert first.call("session.ping") == second.call("session.ping") == {}
        second.leave()
        browser.page()


def test_at_the_limit_a_tab_can_still_come_back() -> None:
    with Web(SMALL) as web:
        browser = web.browser()
        first, second = browser.page(), browser.page()
        again = browser.page(connection=first.opened["connection"])
        assert first.code == CloseCode.REPLACED
        assert again.call("session.ping") == second.call("session.ping") == {}


def test_too_many_tabs_of_a_user_are_told_1011_and_closed_4502() -> None:
    with Web(SMALL) as web:
        one, other = web.signed_in(), web.signed_in()
        pages = [one.page(), one.page(), other.page()]
        assert refused_and_closed(other.socket(), other.identity.session_id, 3)
        third = web.signed_in()
        third.generate_cookie()
        assert refused_and_closed(third.socket(), third.session, 3)
        assert web.assembly.directory.connections == 3
        pages.pop().leave()
        pages.pop().leave()
        web.advance(301, step=20)
        assert (web.assembly.directory.browsers, web.assembly.directory.users) == (1, 1)
        assert pages[0].call("session.user")["email"] == "ann@example.com"
        pages.pop().leave()
        web.advance(301, step=20)
        assert (web.assembly.directory.browsers, web.assembly.directory.users) == (0, 0)


def test_the_defaults_are_32_and_128(web: Web) -> None:
    browser = web.browser()
    pages = [browser.page() for _ in range(32)]
    assert refused_and_closed(browser.socket(), browser.session, 32)
    assert web.config.limits.connections_per_user == 128
    assert all(page.code is None for page in pages)
