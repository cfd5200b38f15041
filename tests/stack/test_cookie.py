"""``POST /api/generate_cookie`` and the cookie: PROTOCOL.md section 1, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docsession.keys import CookieSigner, Keys, load_keys
from docsession.model import Identity
from tests.stack.support import ORIGIN, Answer, Browser, Web, store_away

PATH = "/api/generate_cookie"
DAY = 86400.0


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def browser(web: Web) -> Browser:
    return web.browser()


# --- new or existing ------------------------------------------------------------------------


def test_a_new_cookie(browser: Browser) -> None:
    answer = browser.ask("POST", PATH)
    assert answer.status == 200
    assert answer.json() == {"session": browser.identity.session_id, "existing": False, "signed_in": False}
    assert answer.headers["cache-control"] == "no-store"
    # 128 bits are 22 characters of base64.
    assert re.fullmatch(r"[A-Za-z0-9_-]{22,}", answer.json()["session"])


def test_two_browsers_never_share_one(web: Web) -> None:
    assert web.browser().generate_cookie()["session"] != web.browser().generate_cookie()["session"]


def test_a_cookie_not_yet_used_is_given_again_so_that_tabs_agree(browser: Browser) -> None:
    first = browser.generate_cookie()
    browser.web.clock.advance(599)
    assert browser.generate_cookie() == first | {"existing": True}
    browser.web.clock.advance(2)
    third = browser.generate_cookie()
    assert third["session"] != first["session"]
    assert not third["existing"]


def test_a_cookie_that_was_opened_and_left_is_not_unused(browser: Browser) -> None:
    first = browser.generate_cookie()["session"]
    browser.page().leave()
    browser.web.advance(301, step=50)  # lingered to its end, the cookie is still fresh
    assert browser.generate_cookie()["session"] != first


def test_a_live_session_goes_on_however_old_the_cookie(browser: Browser) -> None:
    page = browser.page()
    session = browser.session
    browser.web.advance(3600, step=20)
    assert browser.generate_cookie() == {"session": session, "existing": True, "signed_in": False}
    assert page.closed is None


def test_a_stored_session_goes_on_and_is_signed_in(web: Web) -> None:
    browser = web.signed_in()
    web.stop_server()
    web.clock.advance(3 * DAY)
    web.start_server()
    assert browser.generate_cookie() == {
        "session": browser.identity.session_id,
        "existing": True,
        "signed_in": True,
    }


def test_a_live_signed_in_session_says_so(web: Web) -> None:
    browser = web.signed_in()
    browser.page()
    assert browser.generate_cookie()["signed_in"] is True


def test_each_time_its_life_is_renewed_up_to_the_absolute_end(web: Web) -> None:
    browser = web.signed_in()
    session = browser.generate_cookie()["session"]
    for day in range(29, 180, 29):
        web.clock.advance(29 * DAY)
        answer = browser.ask("POST", PATH)
        assert answer.json() == {"session": session, "existing": True, "signed_in": True}, day
        left = (180 - day) * DAY
        assert f"Max-Age={int(min(30 * DAY, left))}" in answer.headers["set-cookie"], day
    web.clock.advance(7 * DAY)
    assert browser.generate_cookie()["session"] != session


def test_thirty_days_of_nothing_end_it(web: Web) -> None:
    browser = web.signed_in()
    session = browser.generate_cookie()["session"]
    web.clock.advance(30 * DAY + 120)
    assert browser.generate_cookie() != {"session": session, "existing": True, "signed_in": True}


# --- never adopted --------------------------------------------------------------------------


def other_keys() -> Keys:
    return load_keys(Path(), configured=("another node's secret, which is long enough",))


MADE_UP = [
    "",
    "made-up",
    "A" * 32,
    "A" * 32 + ".1795000000." + "A" * 43,
    "A" * 8192,
    "ü" * 40,
    "a\x01b",
    '"quoted"',
]


def test_a_made_up_cookie_is_never_adopted(browser: Browser) -> None:
    for value in MADE_UP:
        answer = browser.ask("POST", PATH, {"Cookie": f"docsession={value}"})
        assert answer.status == 200, value
        assert answer.json()["existing"] is False, value
        assert answer.json()["session"] not in value, value


def test_a_spoilt_cookie_is_never_adopted(web: Web) -> None:
    browser = web.signed_in()
    genuine = browser.cookies["docsession"]
    session, issued, signature = genuine.split(".")
    for spoilt in (
        genuine[:-1],
        genuine + "A",
        ("B" if session[0] == "A" else "A") + genuine[1:],
        f"{session}.{int(issued) + 1}.{signature}",
        f"{session}.{issued}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
        genuine.swapcase(),
        genuine.replace(".", ". "),
    ):
        answer = web.browser().ask("POST", PATH, {"Cookie": f"docsession={spoilt}"})
        assert answer.json()["existing"] is False, spoilt
        assert answer.json()["session"] != browser.identity.session_id, spoilt


def test_a_cookie_of_another_nodes_key_is_never_adopted(web: Web) -> None:
    forged = CookieSigner(other_keys()).sign(Identity("A" * 32, web.clock.seconds()))
    answer = web.browser().ask("POST", PATH, {"Cookie": f"docsession={forged}"})
    assert answer.json()["session"] != "A" * 32


def test_a_genuine_cookie_whose_session_does_not_exist_is_never_adopted(web: Web) -> None:
    signed = CookieSigner(web.keys).sign(Identity("A" * 32, web.clock.seconds() - 700))
    answer = web.browser().ask("POST", PATH, {"Cookie": f"docsession={signed}"})
    assert answer.json()["existing"] is False
    assert answer.json()["session"] != "A" * 32


def test_a_cookie_from_the_future_is_never_adopted(web: Web) -> None:
    signed = CookieSigner(web.keys).sign(Identity("A" * 32, web.clock.seconds() + 3600))
    assert web.browser().ask("POST", PATH, {"Cookie": f"docsession={signed}"}).json()["existing"] is False


def test_of_two_cookies_of_our_name_neither_is_believed(web: Web) -> None:
    browser = web.signed_in()
    genuine = browser.cookies["docsession"]
    planted = web.browser()
    planted.generate_cookie()
    for line in (
        f"docsession={genuine}; docsession={planted.cookies['docsession']}",
        f"docsession={planted.cookies['docsession']}; docsession={genuine}",
        f"docsession={genuine}; docsession={genuine}",
    ):
        answer = web.browser().ask("POST", PATH, {"Cookie": line})
        assert answer.json()["existing"] is False, line
    twice = web.browser().ask(
        "POST", PATH, {"Cookie": f"docsession={genuine}"}, raw_headers=(("Cookie", "docsession=x"),)
    )
    assert twice.json()["existing"] is False


def test_other_cookies_beside_ours_do_no_harm(web: Web) -> None:
    browser = web.browser()
    session = browser.generate_cookie()["session"]
    ours = f"docsession={browser.cookies['docsession']}"
    line = f"a=1; docsession2=x; xdocsession=y;{ours}; __Host-docsession=z; b"
    assert web.browser().ask("POST", PATH, {"Cookie": line}).json()["session"] == session


def test_after_a_rotation_the_old_key_still_verifies_and_the_new_one_signs(web: Web) -> None:
    browser = web.browser()
    session = browser.generate_cookie()["session"]
    old = browser.cookies["docsession"]
    newer = other_keys()
    web.stop_server()
    web.keys = Keys(signing=newer.signing + web.keys.signing, sealing=newer.sealing + web.keys.sealing)
    web.start_server()
    assert browser.generate_cookie()["session"] == session
    assert browser.cookies["docsession"] != old
    assert CookieSigner(newer).verify(browser.cookies["docsession"]) == browser.identity


# --- who may ask ----------------------------------------------------------------------------


def test_other_verbs_are_405(browser: Browser) -> None:
    for verb in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        answer = browser.ask(verb, PATH, {"Origin": ORIGIN})
        assert answer.status == 405, verb
        assert "POST" in answer.headers["allow"]
        assert "set-cookie" not in answer.headers
        if verb != "HEAD":
            assert answer.error == "invalid_request"


FOREIGN = [
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
    "http://127.0.0.1:08765",
    "http://2130706433:8765",
    "http://xn--e1awd7f.com",
    "file://",
    "*",
    "http://127.0.0.1:8765, http://127.0.0.1:8765",
    "http://" + "a" * 8192,
]


def cors(answer: Answer) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control")]


def test_a_foreign_origin_is_403_and_gets_nothing(web: Web) -> None:
    for origin in FOREIGN:
        answer = web.browser(origin=origin).ask("POST", PATH)
        assert (answer.status, answer.error) == (403, "forbidden"), origin
        assert "set-cookie" not in answer.headers
        assert not cors(answer)


def test_look_alikes_of_an_https_origin_are_403() -> None:
    with Web('[server]\npublic_url = "https://localhost"') as web:
        assert web.browser(origin="https://localhost").ask("POST", PATH).status == 200
        for origin in (
            "https://LOCALHOST",
            "https://localhost.",
            "https://localhost:443",
            "https://localhost.evil.com",
            "https://xlocalhost",
            "http://localhost",
            "https://sub.localhost",
        ):
            assert web.browser(origin=origin).ask("POST", PATH).status == 403, origin


def test_no_origin_is_403(web: Web) -> None:
    answer = web.browser(origin=None).ask("POST", PATH)
    assert (answer.status, answer.error) == (403, "forbidden")


def test_two_origins_are_403(browser: Browser) -> None:
    assert browser.ask("POST", PATH, raw_headers=(("Origin", ORIGIN),)).status == 403


def test_a_cross_site_fetch_with_our_origin_is_403(browser: Browser) -> None:
    assert browser.ask("POST", PATH, {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert browser.ask("POST", PATH, {"Sec-Fetch-Site": "same-origin"}).status == 200


def test_a_form_of_another_site_is_refused_by_its_origin(web: Web) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    for kind, body in (
        ("application/x-www-form-urlencoded", b"session=A"),
        ("text/plain", b"session=A"),
        ("multipart/form-data; boundary=x", part),
    ):
        form = web.browser(origin="https://evil.com")
        assert form.ask("POST", PATH, {"Content-Type": kind}, body=body).status == 403, kind
        ours = web.browser().ask("POST", PATH, {"Content-Type": kind}, body=body)
        assert (ours.status, ours.json()["existing"]) == (200, False), kind


def test_a_referer_decides_nothing(browser: Browser) -> None:
    assert browser.ask("POST", PATH, {"Referer": "https://evil.com/"}).status == 200


# --- cross-origin ---------------------------------------------------------------------------

ALLOWED = '[server]\npublic_url = "https://localhost"\nallowed_origins = ["https://localhost:8443"]'


def test_an_allowed_origin_gets_cors_with_credentials() -> None:
    with Web(ALLOWED) as web:
        answer = web.browser(origin="https://localhost:8443").ask("POST", PATH)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://localhost:8443"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"


def test_its_preflight_is_answered_and_a_foreign_one_is_not() -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with Web(ALLOWED) as web:
        answer = web.browser().ask("OPTIONS", PATH, asked | {"Origin": "https://localhost:8443"})
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://localhost:8443"
        assert "set-cookie" not in answer.headers
        foreign = web.browser().ask("OPTIONS", PATH, asked | {"Origin": "https://evil.com"})
        assert foreign.status == 403
        assert not cors(foreign)


def test_nothing_else_gets_cors() -> None:
    files = ("/client/docsession.js", "/api/files/x/content")
    with Web(ALLOWED) as web:
        for path in ("/livez", "/readyz", "/api/oauth/callback", *files):
            assert not cors(web.browser().get(path, Origin="https://localhost:8443")), path


# --- attributes -----------------------------------------------------------------------------


def test_on_loopback_http_the_cookie_is_not_secure(browser: Browser) -> None:
    said = browser.ask("POST", PATH).headers["set-cookie"]
    name, _, rest = said.partition("=")
    assert name == "docsession"
    assert set(rest.split("; ")[1:]) == {"Path=/", "HttpOnly", "SameSite=Lax", f"Max-Age={int(30 * DAY)}"}


def test_on_https_it_is_a_host_cookie_and_the_plain_name_is_not_believed() -> None:
    with Web('[server]\npublic_url = "https://localhost"') as web:
        browser = web.browser(origin="https://localhost")
        said = browser.ask("POST", PATH).headers["set-cookie"]
        name, _, rest = said.partition("=")
        assert name == "__Host-docsession"
        attributes = {"Path=/", "HttpOnly", "SameSite=Lax", "Secure", f"Max-Age={int(30 * DAY)}"}
        assert set(rest.split("; ")[1:]) == attributes
        planted = web.browser(origin="https://localhost")
        planted.cookies = {"docsession": browser.cookies["__Host-docsession"]}
        assert planted.generate_cookie()["existing"] is False


# --- floods ---------------------------------------------------------------------------------


def spend(browser: Browser, count: int) -> list[int]:
    said = []
    for _ in range(count):
        browser.cookies.clear()
        said.append(browser.ask("POST", PATH).status)
    return said


def test_a_flood_of_new_cookies_from_one_address_is_429(web: Web) -> None:
    browser = web.browser()
    assert spend(browser, 100) == [200] * 100
    browser.cookies.clear()
    answer = browser.ask("POST", PATH)
    assert (answer.status, answer.error) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert "set-cookie" not in answer.headers
    assert spend(web.browser(address="203.0.113.8"), 1) == [200]
    web.clock.advance(int(answer.headers["retry-after"]))
    assert spend(browser, 2) == [200, 429]


def test_existing_cookies_are_not_counted(web: Web) -> None:
    browser = web.signed_in()
    for _ in range(150):
        assert browser.ask("POST", PATH).status == 200


def test_an_ipv6_client_is_counted_by_its_network(web: Web) -> None:
    for number in range(100):
        assert spend(web.browser(address=f"2001:db8:1:2::{number:x}"), 1) == [200]
    assert spend(web.browser(address="2001:db8:1:2:3::1"), 1) == [429]
    assert spend(web.browser(address="2001:db8:1:3::1"), 1) == [200]


PROXIED = """
[server]
trusted_proxies = ["10.0.0.0/8"]
[limits]
new_cookies_burst = 1
new_cookies_per_second = 0.01
"""


def forwarded(web: Web, address: str, *said: str) -> int:
    browser = web.browser(address=address)
    return browser.ask("POST", PATH, raw_headers=tuple(("X-Forwarded-For", line) for line in said)).status


def test_only_a_trusted_proxy_is_believed_about_the_client() -> None:
    with Web(PROXIED) as web:
        assert forwarded(web, "203.0.113.1", "198.51.100.1") == 200
        # Another claim from the same liar changes nothing.
        assert forwarded(web, "203.0.113.1", "198.51.100.2") == 429
        assert forwarded(web, "10.0.0.1", "198.51.100.1") == 200
        assert forwarded(web, "10.0.0.2", "198.51.100.1") == 429
        assert forwarded(web, "10.0.0.1", "198.51.100.2") == 200


def test_what_stands_left_of_an_untrusted_hop_is_not_believed() -> None:
    with Web(PROXIED) as web:
        assert forwarded(web, "10.0.0.1", "1.1.1.1, 198.51.100.1") == 200
        assert forwarded(web, "10.0.0.1", "2.2.2.2, 198.51.100.1, 10.9.9.9") == 429
        assert forwarded(web, "10.0.0.1", "3.3.3.3", "198.51.100.1") == 429


def test_a_proxy_over_a_listener_for_both_families_is_known_and_ports_are_dropped() -> None:
    with Web(PROXIED) as web:
        assert forwarded(web, "::ffff:10.0.0.1", "198.51.100.1:1111") == 200
        assert forwarded(web, "::ffff:10.0.0.1", "198.51.100.1:2222") == 429
        assert forwarded(web, "::ffff:10.0.0.1", "[2001:db8::1]:1111") == 200
        assert forwarded(web, "::ffff:10.0.0.1", "[2001:db8::2]:2222") == 429


def test_a_proxy_over_a_unix_socket_is_believed_where_that_is_said() -> None:
    with Web(PROXIED.replace('"10.0.0.0/8"', '"10.0.0.0/8", "unix"')) as web:
        assert forwarded(web, "unix", "198.51.100.1") == 200
        assert forwarded(web, "unix", "198.51.100.1") == 429
        assert forwarded(web, "unix", "198.51.100.2, 10.0.0.1") == 200
        assert forwarded(web, "unix", "198.51.100.2") == 429
        assert forwarded(web, "203.0.113.1", "198.51.100.3") == 200
        assert forwarded(web, "203.0.113.1", "198.51.100.4") == 429


def test_who_comes_over_a_unix_socket_is_not_believed_otherwise() -> None:
    for config in (PROXIED, PROXIED.replace('"10.0.0.0/8"', "")):
        with Web(config) as web:
            assert forwarded(web, "unix", "198.51.100.1") == 200
            assert forwarded(web, "unix", "198.51.100.2") == 429


def test_without_the_header_the_proxy_itself_is_counted() -> None:
    with Web(PROXIED) as web:
        assert forwarded(web, "10.0.0.1") == 200
        assert forwarded(web, "10.0.0.1") == 429


# --- the store ------------------------------------------------------------------------------


def test_while_the_store_is_away_what_needs_it_is_503_and_nothing_is_lost(web: Web) -> None:
    browser = web.signed_in()
    session = browser.identity.session_id
    kept = browser.cookies["docsession"]
    with store_away(web):
        answer = browser.ask("POST", PATH)
        assert (answer.status, answer.error) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert browser.cookies["docsession"] == kept
        assert web.browser().ask("POST", PATH).status == 200  # a new one needs no store
    assert browser.generate_cookie() == {"session": session, "existing": True, "signed_in": True}


def test_while_the_store_is_away_a_live_session_goes_on(web: Web) -> None:
    browser = web.signed_in()
    browser.page()
    with store_away(web):
        assert browser.generate_cookie()["existing"] is True
