"""``GET /api/files/ID/content``: bytes that cannot run, at the pace of the slower side."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from twisted.internet.error import ConnectionLost

from tests.stack.support import Answer, Browser, Exchange, Stream, Web

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def browser(web: Web) -> Browser:
    return web.signed_in()


@pytest.fixture(autouse=True)
def nothing_is_left(web: Web) -> Iterator[None]:
    """Whatever became of a download, its place is free and nobody waits for it."""
    yield
    web.flush()
    assert not [browser for browser in web.assembly.directory._live.browsers.values() if browser.downloads]
    assert not web.media.asked
    assert not web.assembly.economy.gate._media_users.in_use


def content(web: Web, name: str, query: str = "") -> str:
    return f"/api/files/{web.file(name)}/content{query}"


def become(web: Web, name: str, **changes: str) -> str:
    """A file gets another name or type; returns where its bytes are."""
    file_id = web.file(name)
    for field, value in changes.items():
        setattr(web.sandbox.world.files[file_id], field, value)
    web.clock.advance(121)  # past what is kept of it
    web.flush()
    return f"/api/files/{file_id}/content"


def safe(answer: Answer) -> Answer:
    """What every answer with a file's bytes must say."""
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers
    assert "authorization" not in answer.headers
    return answer


# --- headers --------------------------------------------------------------------------------


def test_the_bytes_are_those_of_the_file(web: Web, browser: Browser) -> None:
    answer = safe(browser.get(content(web, "River bend.png")))
    assert answer.status == 200
    assert answer.body == web.sandbox.world.files[web.file("River bend.png")].content
    assert int(answer.headers["content-length"]) == len(answer.body)


SHOWN = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "audio/mpeg",
    "audio/ogg",
    "video/mp4",
    "video/x-msvideo",
]
SAVED = [
    "text/html",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "application/pdf",
    "application/javascript",
    "text/css",
    "text/markdown",
    "application/zip",
    "application/octet-stream",
    "multipart/x-mixed-replace",
    "audio/x+xml",
    "video/svg+xml",
    "audio/",
    "image/x-icon",
    "text/html; charset=utf-8",
    "TEXT/HTML",
    "text/plain2",
]


def test_types_that_cannot_run_are_shown_and_all_others_are_only_saved(web: Web, browser: Browser) -> None:
    for kind in (*SHOWN, *SAVED):
        target = become(web, "River bend.png", mime_type=kind)
        answer = safe(browser.get(target))
        assert answer.status == 200, kind
        disposition = answer.headers["content-disposition"].partition(";")[0]
        if kind in SHOWN:
            assert (disposition, answer.headers["content-type"]) == ("inline", kind)
        else:
            assert (disposition, answer.headers["content-type"]) == ("attachment", "application/octet-stream")


def test_plain_text_is_shown_as_utf_8_text(web: Web, browser: Browser) -> None:
    answer = safe(browser.get(content(web, "House style.txt")))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("inline")


def test_an_exported_page_is_saved(web: Web, browser: Browser) -> None:
    answer = safe(browser.get(content(web, "Autumn plan", "?format=application/zip")))
    assert answer.headers["content-disposition"].startswith("attachment")
    shown = safe(browser.get(content(web, "Autumn plan", "?format=text/plain")))
    assert shown.headers["content-disposition"].startswith("inline")
    assert shown.headers["content-type"] == "text/plain; charset=utf-8"
    assert shown.body.startswith(b"\xef\xbb\xbf")


NAMES = {
    'a "quoted" name.png': "a%20%22quoted%22%20name.png",
    "line\r\nSet-Cookie: docsession=x": "line%0D%0ASet-Cookie%3A%20docsession%3Dx",
    "semi;colon; filename=evil.html": "semi%3Bcolon%3B%20filename%3Devil.html",
    "../../etc/passwd": "..%2F..%2Fetc%2Fpasswd",
    "Übersicht - 見積.png": "%C3%9Cbersicht%20-%20%E8%A6%8B%E7%A9%8D.png",
    "gpj.\u202eexe": "gpj.%E2%80%AEexe",
    "x" * 300: "x" * 200,
    "%00%22": "%2500%2522",
}


def test_no_name_leaves_its_place_in_the_header(web: Web, browser: Browser) -> None:
    file_id = web.file("River bend.png")
    for name, quoted in NAMES.items():
        web.sandbox.world.files[file_id].name = name
        web.clock.advance(121)
        answer = browser.get(f"/api/files/{file_id}/content")
        assert answer.headers["content-disposition"] == f"inline; filename*=UTF-8''{quoted}"
        assert "set-cookie" not in answer.headers


# --- ranges ---------------------------------------------------------------------------------


def test_a_range_is_passed_on(web: Web, browser: Browser) -> None:
    target = content(web, "River bend.png")
    whole = browser.get(target).body
    answer = safe(browser.get(target, Range="bytes=10-19"))
    assert (answer.status, answer.body) == (206, whole[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert answer.headers["content-length"] == "10"
    assert browser.get(target, Range="bytes=-5").body == whole[-5:]
    assert browser.get(target, Range="nonsense").body == whole
    assert browser.get(target, Range="bytes=0-" + "9" * 300).body == whole


def test_a_range_beyond_the_end_is_416_and_says_how_long_it_is(web: Web, browser: Browser) -> None:
    target = content(web, "River bend.png")
    whole = browser.get(target).body
    answer = browser.get(target, Range=f"bytes={len(whole)}-")
    assert (answer.status, answer.error) == (416, "invalid_params")
    assert answer.headers["content-range"] == f"bytes */{len(whole)}"


# --- refusals -------------------------------------------------------------------------------


def test_without_a_signed_in_session_it_is_401(web: Web, browser: Browser) -> None:
    target = content(web, "River bend.png")
    nobody, unsigned, gone = web.browser(), web.browser(), web.signed_in(BOB)
    unsigned.page()
    gone.page().call("session.sign_out")
    for asking in (nobody, unsigned, gone):
        answer = asking.get(target)
        assert (answer.status, answer.error) == (401, "not_signed_in")
        assert answer.headers["x-content-type-options"] == "nosniff"
    forged = web.browser()
    forged.cookies = {"docsession": browser.cookies["docsession"][:-1]}
    assert forged.get(target).status == 401


def test_a_stored_session_is_brought_back_for_it_and_ends_again(web: Web, browser: Browser) -> None:
    web.stop_server()
    web.start_server()
    assert browser.get(content(web, "River bend.png")).status == 200
    assert web.assembly.directory.users == 1
    web.advance(301, step=20)
    assert (web.assembly.directory.users, web.assembly.directory.browsers) == (0, 0)


def test_another_persons_file_is_404(web: Web, browser: Browser) -> None:
    bob = web.signed_in(BOB)
    answer = bob.get(content(web, "Notes to myself", "?format=text/plain"))
    assert (answer.status, answer.error) == (404, "not_found")
    assert "Notes" not in answer.body.decode()
    assert bob.get("/api/files/1nothing/content").status == 404


def test_what_google_forbids_is_403(web: Web, browser: Browser) -> None:
    assert browser.get(content(web, "Autumn plan")).status == 403  # an editor file has no bytes
    assert browser.get(content(web, "River bend.png", "?format=text/plain")).status == 403
    refused = browser.get(content(web, "Autumn plan", "?format=video/mp4"))
    assert (refused.status, refused.error) == (502, "google_rejected")


def test_ids_that_are_none(web: Web, browser: Browser) -> None:
    calls = dict(web.calls())
    for segment, status in (
        ("..", 400),
        (".", 400),
        ("%2e%2e", 400),
        ("%2E", 400),
        ("...", 400),
        ("a%00b", 400),
        ("a%0d%0aHost:%20evil", 400),
        ("a%20b", 400),
        ("a%5cb", 400),
        ("a%3Falt=media", 400),
        ("a%23b", 400),
        ("a:b", 400),
        ("%C3%A4", 400),
        ("%ff", 404),
        ("a%25b", 400),
        ("x" * 257, 400),
        ("trash", 400),
        ("TRASH", 400),
        ("generateIds", 400),
        ("a%2Fb", 404),
        ("%2e%2e%2f%2e%2e", 404),
        ("a/b", 404),
        ("", 404),
    ):
        answer = browser.get(f"/api/files/{segment}/content")
        assert answer.status == status, (segment, answer)
        assert answer.error == {400: "invalid_params", 404: "not_found"}[status]
    assert web.calls() == calls  # Google was asked nothing


def test_other_verbs_are_405(web: Web, browser: Browser) -> None:
    for verb in ("POST", "PUT", "DELETE", "PATCH"):
        assert browser.ask(verb, content(web, "River bend.png")).status == 405


def test_google_away_is_502(web: Web, browser: Browser) -> None:
    target = content(web, "River bend.png")
    browser.get(target)
    web.media.holding = True
    for stream in (Stream(503), Stream(500), Stream(302), Stream(204)):
        exchange = browser.begin("GET", target)
        web.media.answer(stream)
        stream.end()
        assert exchange.answer.status == 502, stream.code
        assert exchange.answer.error in ("google_unavailable", "google_rejected")
    exchange = browser.begin("GET", target)
    web.media.asked.pop().errback(ConnectionLost())
    assert exchange.answer.error == "google_unavailable"
    exchange = browser.begin("GET", target)
    web.advance(31, step=1)
    assert web.media.cancelled == 1
    assert exchange.answer.error == "google_unavailable"


def test_an_expired_access_token_is_refreshed_once(web: Web, browser: Browser) -> None:
    browser.page()
    web.sandbox.grants.expire_access(ANN)
    assert browser.get(content(web, "River bend.png")).status == 200
    assert web.calls()["oauth2.token.refresh"] == 1


def test_a_revoked_grant_is_401_and_the_end_of_the_session(web: Web, browser: Browser) -> None:
    page = browser.page()
    web.sandbox.grants.revoke(ANN)
    answer = browser.get(content(web, "River bend.png"))
    assert (answer.status, page.events("session.signed_out")) == (401, [{"reason": "revoked"}])


# --- streaming ------------------------------------------------------------------------------


def begun(browser: Browser, stream: Stream | None = None) -> tuple[Exchange, Stream]:
    """A download of which the first bytes have come."""
    web = browser.web
    target = content(web, "River bend.png")
    web.media.holding = True
    exchange = browser.begin("GET", target)
    stream = web.media.answer(stream or Stream(length=1000_000))
    stream.send(b"first bytes")
    web.flush()
    assert b"first bytes" in exchange.body_so_far
    return exchange, stream


def cut(exchange: Exchange) -> bool:
    """Whether the browser can tell that it did not get everything."""
    exchange.line.stalled = False
    with pytest.raises(http.client.IncompleteRead):
        _ = exchange.answer
    return exchange.line.closed


def test_google_waits_while_the_browser_does_not_read(browser: Browser) -> None:
    exchange, stream = begun(browser)
    exchange.line.stalled = True
    sent = 0
    while not stream.paused:
        stream.send(b"x" * 10000)
        browser.web.flush()
        sent += 10000
        assert sent < 200_000, "nobody asked Google to wait"
    exchange.line.stalled = False
    browser.web.flush()
    assert not stream.paused
    stream.send(b"y" * (1000_000 - sent - len(b"first bytes")))
    stream.end()
    browser.web.flush()
    assert len(exchange.answer.body) == 1000_000


def test_of_unknown_length_it_is_whole_all_the_same(browser: Browser) -> None:
    exchange, stream = begun(browser, Stream())
    stream.end()
    assert exchange.answer.body == b"first bytes"
    assert "content-length" not in exchange.answer.headers


def test_google_breaking_off_is_not_taken_for_the_end(browser: Browser) -> None:
    for length in (1000_000, Stream().length):
        exchange, stream = begun(browser, Stream(length=length))
        stream.end(ConnectionLost())
        assert cut(exchange)


def test_google_falling_silent_cuts_it_after_a_minute(browser: Browser) -> None:
    exchange, stream = begun(browser)
    browser.web.advance(59, step=1)
    stream.send(b"more")
    browser.web.advance(59, step=1)
    assert not exchange.line.closed
    browser.web.advance(2, step=1)
    assert stream.dropped
    assert cut(exchange)


def test_a_browser_that_stops_reading_does_not_keep_its_place_for_ever(browser: Browser) -> None:
    exchange, stream = begun(browser)
    exchange.line.stalled = True
    stream.send(b"x" * 100_000)
    assert stream.paused
    browser.web.advance(61, step=1)
    assert stream.dropped
    assert cut(exchange)


def test_a_sign_out_cuts_it(browser: Browser) -> None:
    exchange, stream = begun(browser)
    browser.page().call("session.sign_out")
    assert stream.dropped
    assert cut(exchange)


@pytest.mark.parametrize("connected", [True, False])
def test_a_sign_out_before_the_first_byte_is_401(browser: Browser, connected: bool) -> None:
    web = browser.web
    page = browser.page()
    web.media.holding, web.media.connected = True, connected
    exchange = browser.begin("GET", content(web, "River bend.png"))
    assert web.media.asked
    page.call("session.sign_out")
    web.advance(0.1)
    assert (exchange.answer.status, exchange.answer.error) == (401, "not_signed_in")
    assert web.media.cancelled == 1


def test_a_sign_out_of_another_user_does_not(web: Web, browser: Browser) -> None:
    exchange, stream = begun(browser)
    web.signed_in(BOB).page().call("session.sign_out", everywhere=True)
    stream.end()
    assert not exchange.line.closed or exchange.body_so_far == b"first bytes"


def test_a_revoked_grant_cuts_it(web: Web, browser: Browser) -> None:
    exchange, stream = begun(browser)
    page = browser.page()
    web.sandbox.grants.revoke(ANN)
    page.start("drive.about.get", fields="user")
    assert stream.dropped
    assert cut(exchange)


def test_a_sign_in_in_the_same_browser_cuts_it(web: Web, browser: Browser) -> None:
    exchange, stream = begun(browser)
    browser.sign_in(BOB)
    assert stream.dropped
    assert cut(exchange)


def test_a_browser_that_leaves_ends_it(browser: Browser) -> None:
    exchange, stream = begun(browser)
    exchange.line.cut()
    assert stream.dropped


def test_a_browser_that_leaves_before_the_first_byte_ends_it(browser: Browser) -> None:
    web = browser.web
    web.media.holding = True
    exchange = browser.begin("GET", content(web, "River bend.png"))
    exchange.line.cut()
    assert web.media.cancelled == 1


def test_a_long_download_keeps_its_session_alive_without_a_tab(browser: Browser) -> None:
    web = browser.web
    exchange, stream = begun(browser)
    for _ in range(40):
        web.advance(30, step=15)
        stream.send(b"more")
    assert (web.assembly.directory.users, web.assembly.directory.browsers) == (1, 1)
    page = browser.page()
    assert page.opened["how"] == "live"
    assert page.call("drive.files.list")["data"]["files"]
    page.leave()
    stream.end(ConnectionLost())
    assert cut(exchange)
    web.advance(620, step=20)
    assert (web.assembly.directory.users, web.assembly.directory.browsers) == (0, 0)


def test_two_at_a_time_and_who_waits_too_long_is_told(web: Web, browser: Browser) -> None:
    first, _ = begun(browser)
    second, stream = begun(browser)
    third = browser.begin("GET", content(web, "River bend.png"))
    assert not web.media.asked
    stream.end(ConnectionLost())
    third_stream = web.media.answer(Stream(length=2))
    fourth = browser.begin("GET", content(web, "River bend.png"))
    others = web.signed_in(BOB).begin("GET", content(web, "River bend.png"))
    web.media.answer(Stream(length=0)).end()  # another user's is not held up
    assert others.answer.status == 200
    web.advance(31, step=1)
    assert (fourth.answer.status, fourth.answer.error) == (429, "rate_limited")
    third_stream.send(b"ok")
    third_stream.end()
    assert third.answer.body == b"ok"
    assert cut(second)
    first.line.cut()
