"""Health, the client's files, the demo page, and what every HTTP answer keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.web.resource import IResource

from docsession.web.sites import QuietSite, admin_resource
from tests.stack.support import ORIGIN, Browser, Heard, Line, Web, parse_answer


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def browser(web: Web) -> Browser:
    return web.browser()


# --- health ---------------------------------------------------------------------------------


def test_livez(browser: Browser) -> None:
    answer = browser.get("/livez")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


def test_readyz_says_whether_and_verbose_what(web: Web, browser: Browser) -> None:
    assert (browser.get("/readyz").status, browser.get("/readyz").json()) == (200, {"status": "ok"})
    assert browser.get("/readyz?verbose").json() == {"status": "ok", "parts": {"store": "ok"}}

    async def unwell() -> dict[str, str]:
        return {"store": "unavailable", "serving": "ok"}

    web.assembly.pages._health = unwell
    answer = browser.get("/readyz")
    assert (answer.status, answer.json()) == (503, {"status": "unavailable"})
    answer = browser.get("/readyz?verbose=1")
    assert answer.status == 503
    assert answer.json()["parts"] == {"store": "unavailable", "serving": "ok"}
    assert browser.get("/livez").status == 200


# --- files ----------------------------------------------------------------------------------


def test_the_client_and_its_types(browser: Browser) -> None:
    script = browser.get("/client/docsession.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert b"export" in script.body
    types = browser.get("/client/docsession.d.ts")
    assert types.headers["content-type"] == "text/plain; charset=utf-8"
    for answer in (script, types):
        assert answer.status == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"


def test_nothing_else_is_served_as_a_file(browser: Browser) -> None:
    for path in (
        "/client/",
        "/client/index.html",
        "/client/demo.js",
        "/client/__init__.py",
        "/client/%2e%2e/config.py",
        "/client/..%2f..%2fconfig.py",
        "/client/../../etc/passwd",
        "/client/docsession.js/",
        "/client/docsession.js%00",
        "/demo/index.html",
        "/demo/__init__.py",
        "/demo/demo/../demo.js",
        "/demo/demo.py",
        "/demo/demonstration.js",
        "/index.html",
        "/static/docsession.js",
        "/favicon.ico",
        "/.git/config",
        "/%ff",
        "/api",
        "/api/",
        "/api/socket/",
        "/api/socket/x",
        "/metrics",
        "/sandbox/",
        "/token",
    ):
        answer = browser.get(path)
        assert (answer.status, answer.error) == (404, "not_found"), path


def test_the_demo_page_and_its_parts(web: Web, browser: Browser) -> None:
    page = browser.get("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    text = page.body.decode()
    assert "<style" not in text
    assert " onclick=" not in text
    parts = [part.split('"')[0] for part in text.split('="/demo/')[1:]]
    assert parts
    for part in parts:
        assert browser.get(f"/demo/{part}").status == 200, part


def test_without_the_demo_there_is_no_page() -> None:
    with Web() as web:
        web.assembly.pages._demo = False
        browser = web.browser()
        for path in ("/", "/demo/demo.js"):
            assert (browser.get(path).status, browser.get(path).error) == (404, "not_found")
        assert browser.get("/client/docsession.js").status == 200


def test_under_another_host_the_page_is_at_the_public_url(browser: Browser) -> None:
    for host in ("localhost:8765", "evil.com", "127.0.0.1:8765.evil.com", "[::1]:8765"):
        answer = browser.get("/", Host=host)
        assert answer.status == 302
        assert answer.headers["location"] == f"{ORIGIN}/"
        assert answer.headers["cache-control"] == "no-store"
        assert b"<html" not in answer.body.lower()


# --- every answer ---------------------------------------------------------------------------


def test_verbs(browser: Browser) -> None:
    for path in ("/livez", "/readyz", "/", "/client/docsession.js", "/api/oauth/callback"):
        for verb in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = browser.ask(verb, path)
            assert (answer.status, answer.error) == (405, "invalid_request"), (verb, path)
            assert "GET" in answer.headers["allow"]
    whole = browser.get("/client/docsession.js")
    head = browser.ask("HEAD", "/client/docsession.js")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    for verb in ("BREW", "TRACE", "CONNECT"):
        assert browser.ask(verb, "/livez").status in (405, 501), verb


def test_no_error_shows_what_is_inside(browser: Browser) -> None:
    for path in ("/nothing", "/api/files/x/content", "/client/x", "/%ff%fe", "/api/socket"):
        answer = browser.get(path)
        assert answer.error
        for word in ("Traceback", "docsession/", "werkzeug", "klein", "site-packages", "<html"):
            assert word not in answer.body.decode(), (path, word)


def test_a_large_body_is_refused_before_it_has_come(web: Web, browser: Browser) -> None:
    for headers in ({"Content-Length": str(10**12)}, {"Transfer-Encoding": "chunked"}):
        exchange = browser.begin("POST", "/api/generate_cookie", headers)
        for _ in range(3):
            if not exchange.line.closed:
                exchange.line.client.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
                web.flush()
        assert exchange.line.closed
        answer = exchange.answer
        assert answer.status == 413
        assert answer.json()["error"]["name"] == "too_large"
        assert "set-cookie" not in answer.headers
    nothing_sent = browser.begin("POST", "/api/generate_cookie", {"Content-Length": "65537"})
    assert nothing_sent.answer.status == 413
    assert browser.ask("POST", "/api/generate_cookie", body=b"x" * 65536).status == 200


def test_long_headers_are_the_end_of_the_connection(browser: Browser) -> None:
    exchange = browser.begin("GET", "/livez", {"X": "x" * 20000})
    assert exchange.line.closed
    assert browser.get("/livez").status == 200


def test_a_request_that_trickles_in_is_given_up_and_a_slow_answer_is_not(web: Web) -> None:
    line = web.connect(Heard(), "203.0.113.9")
    line.client.write(b"POST /api/generate_cookie HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(62):
        line.client.write(b"a")
        web.advance(1, step=1)
    assert line.closed


def test_two_requests_on_one_connection_have_each_their_time(web: Web) -> None:
    heard = Heard()
    line = web.connect(heard, "203.0.113.9")
    for _ in range(5):
        line.client.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n")
        web.advance(50, step=10)
    assert heard.data.count(b"HTTP/1.1 200 OK") == 5
    assert not line.closed


# --- metrics --------------------------------------------------------------------------------


def test_metrics_are_on_the_admin_listener_only_and_name_nobody(web: Web) -> None:
    browser = web.signed_in()
    page = browser.page()
    page.call("drive.files.list")
    resource: IResource = admin_resource(web.assembly.metrics)
    heard = Heard()
    line = Line(QuietSite(resource, web.clock), heard, "127.0.0.1")
    line.client.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    while line.pump():
        pass
    text = parse_answer(heard.data).body.decode()
    assert "docsession_connections 1.0" in text
    for secret in (browser.identity.session_id, "ann@", page.opened["user"]["id"], web.file("Budget")):
        assert secret not in text


def test_what_comes_after_no_request_is_not_read(web: Web) -> None:
    heard = Heard()
    channel = web.connect(heard, "203.0.113.9").server
    for data in (b"garbage\r\n", b"\r\n", b"GET /livez HTTP/1.1\r\n\r\n"):
        channel.protocol.dataReceived(data)
    web.flush()
    assert heard.data.startswith(b"HTTP/1.1 400 ")
    assert heard.data.count(b"HTTP/1.1") == 1
