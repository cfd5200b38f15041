"""``return_to``: wherever it leads, it is on the page's own origin."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from hypothesis import example, given, settings
from hypothesis import strategies as st

from docsession.errors import InvalidParams
from docsession.origins import origin_of
from docsession.signin import return_path
from tests.stack.support import ORIGIN, Web

REFUSED = [
    "",
    " ",
    "app",
    "//evil.com",
    "///evil.com",
    "////evil.com",
    "/\\evil.com",
    "\\/evil.com",
    "\\\\evil.com",
    "/\t/evil.com",
    "/\n/evil.com",
    "/\r\n/evil.com",
    "\t//evil.com",
    " //evil.com",
    "/ /evil.com",
    "\x00//evil.com",
    "/\x7f",
    "https://evil.com/",
    "http://127.0.0.1:8765/",
    "http:evil.com",
    "https:/evil.com",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "@evil.com",
    ".evil.com",
    ":8766/",
    "?x",
    "#x",
    "%2f%2fevil.com",
    "/ö",
    "/\u2028",
    "/\uff0fevil.com",
    "\uff0f\uff0fevil.com",
    "/" + "a" * 2000,
]

ACCEPTED = [
    "/",
    "/app",
    "/app/?a=1&b=%20#part",
    "/%2f%2fevil.com",
    "/%5cevil.com",
    "/%09/evil.com",
    "/..//evil.com",
    "/.//evil.com",
    "/@evil.com",
    "/:80",
    "/;//evil.com",
    "/?//evil.com",
    "/#//evil.com",
    "/javascript:alert(1)",
    "/" + "a" * 1999,
]


def whatwg_origin(location: str) -> str:
    """The origin that a browser finds in an http(s) URL, by the URL standard's state machine.

    Blanks around it and tabs and line ends inside are dropped; after the scheme any number of
    slashes and backslashes; the host ends at a slash, backslash, question or number sign; what
    stands before its last ``@`` are credentials.
    """
    text = re.sub(r"[\t\n\r]", "", location.strip("".join(map(chr, range(0x21)))))
    match = re.match(r"(https?):[/\\]*([^/\\?#]*)", text, re.IGNORECASE)
    assert match is not None, location
    return f"{match[1].lower()}://{match[2].rpartition('@')[2].lower()}"


def passes(text: str, origin: str = ORIGIN) -> bool:
    try:
        return_path(text, origin)
    except InvalidParams as error:
        assert error.data["path"] == "$.return_to"
        return False
    return True


def test_what_leads_elsewhere_is_refused_and_what_stays_is_not() -> None:
    assert [text for text in REFUSED if passes(text)] == []
    assert [text for text in ACCEPTED if not passes(text)] == []


# Characters that URLs are made and broken with, more often than by chance.
POINTED = st.text(
    st.sampled_from(
        "/\\.:@?#%&=;[]!*'\"<>{}|^`~-_ \t\r\n\x00\x0b\x7f\xa0\u2028\uff0f\u3002\u017f\u212aaehvil25cfFC0"
    )
)
WRITTEN = st.lists(
    st.sampled_from(
        [
            "/",
            "//",
            "\\",
            "..",
            ".",
            "%2e",
            "%2F",
            "%5c",
            "@",
            ":",
            "evil.com",
            "http:",
            "[",
            "]",
            "?",
            "#",
            "\t",
        ]
    )
).map("".join)
TEXTS = st.one_of(
    st.text(), POINTED, WRITTEN, WRITTEN.map(lambda text: "/" + text), POINTED.map(lambda text: "/" + text)
)
ORIGINS = st.sampled_from(
    [
        ORIGIN,
        "https://app.example.com",
        "https://app.example.com:8443",
        "http://[::1]:8765",
        "http://localhost",
    ]
)


@settings(max_examples=400, deadline=None)
@given(TEXTS, ORIGINS)
@example("/..//evil.com", ORIGIN)
@example("/%2e%2e//evil.com", ORIGIN)
@example("/[", ORIGIN)
def test_whatever_passes_is_on_the_pages_own_origin(text: str, origin: str) -> None:
    if not passes(text, origin):
        return
    location = urljoin(origin, text)
    assert origin_of(location) == origin
    assert urlsplit(location).username is None
    assert whatwg_origin(location) == origin
    # Also where somebody resolves the path again, as a browser does with a relative Location.
    assert whatwg_origin(origin + text) == origin
    # And nothing in it can end a header.
    assert re.fullmatch(r"[\x21-\x7e]+", location)


def test_a_refused_one_starts_no_sign_in_and_an_accepted_one_is_where_the_browser_lands() -> None:
    with Web() as web:
        page = web.browser().page()
        for text in REFUSED:
            error = page.refused("session.sign_in", return_to=text)
            assert (error["code"], error["data"]["path"]) == (-32602, "$.return_to"), text
        wrong = page.refused("session.sign_in", return_to=5)
        assert (wrong["code"], wrong["data"]["path"]) == (-32602, "$.return_to")
        for text in ("/", "/app/?a=1&b=%20#part", "/%2f%2fevil.com", "/@evil.com", "/..//evil.com"):
            browser = web.browser()
            location = browser.get(browser.start_sign_in("ann@example.com", return_to=text)).headers[
                "location"
            ]
            assert whatwg_origin(location) == ORIGIN, text
            denied = web.browser()
            target = denied.start_sign_in("ann@example.com", return_to=text, press="Cancel")
            location = denied.get(target).headers["location"]
            assert whatwg_origin(location) == ORIGIN, text
            assert "docsession_error=access_denied" in urlsplit(location).query, text


def test_the_page_of_an_allowed_origin_gets_its_browser_back() -> None:
    with Web('[server]\nallowed_origins = ["http://127.0.0.1:9000"]') as web:
        browser = web.browser(origin="http://127.0.0.1:9000")
        answer = browser.get(browser.start_sign_in("ann@example.com", return_to="/app"))
        assert answer.headers["location"] == "http://127.0.0.1:9000/app"
