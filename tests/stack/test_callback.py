"""``GET /api/oauth/callback``: Google's redirect lands here, also when it should not have."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest

from docsession.errors import CloseCode
from docsession.google.oauth import Granted
from docsession.keys import CookieSigner
from docsession.model import Identity
from docsession.sandbox.keys import Keys
from tests.stack.support import ORIGIN, Browser, Web, held, store_away

ANN, BOB = "ann@example.com", "bob@example.com"
CALLBACK = "/api/oauth/callback"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def browser(web: Web) -> Browser:
    return web.browser()


def failed(browser: Browser, target: str) -> tuple[str, str]:
    """Where the browser is sent after a failure, and the error's name."""
    cookies = dict(browser.cookies)
    answer = browser.get(target)
    assert answer.status == 303
    assert "set-cookie" not in answer.headers
    assert browser.cookies == cookies
    assert answer.headers["cache-control"] == "no-store"
    url = urlsplit(answer.headers["location"])
    assert f"{url.scheme}://{url.netloc}" == ORIGIN
    names = parse_qs(url.query).pop("docsession_error")
    assert len(names) == 1
    return url.path, names[0]


def misbehave(web: Web, method: str, **fault: Any) -> None:
    """Let the sandbox do so, once."""
    web.as_person(ANN, "PUT", "/sandbox/faults", [{"match": {"method": method}, "times": 1} | fault])


# --- it goes well ---------------------------------------------------------------------------


def test_the_browser_comes_back_to_the_page_that_asked_and_is_signed_in(browser: Browser) -> None:
    answer = browser.get(browser.start_sign_in(ANN, return_to="/app/?x=1#part"))
    assert answer.status == 303
    assert answer.headers["location"] == f"{ORIGIN}/app/?x=1#part"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    page = browser.page()
    assert page.opened["how"] in ("stored", "live")
    assert page.opened["user"]["email"] == ANN


def test_what_the_browser_is_sent_to_google_with(web: Web, browser: Browser) -> None:
    url = urlsplit(browser.page().call("session.sign_in")["url"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == web.config.google.endpoints.authorization
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert query["redirect_uri"] == f"{ORIGIN}{CALLBACK}"
    assert query["response_type"] == "code"
    assert query["access_type"] == "offline"
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert len(query["state"]) >= 22
    assert len(query["nonce"]) >= 22
    assert "openid" in query["scope"].split()
    again = urlsplit(browser.page().call("session.sign_in")["url"])
    other = {name: values[0] for name, values in parse_qs(again.query).items()}
    assert {query[name] for name in ("state", "nonce", "code_challenge")}.isdisjoint(other.values())


def test_the_identifier_from_before_is_dead_for_good(web: Web, browser: Browser) -> None:
    before = browser.page()
    old = browser.copy()
    old_session = browser.session
    browser.get(browser.start_sign_in(ANN))
    assert browser.identity.session_id != old_session
    # The socket from before was never moved along.
    assert before.events("session.signed_in") == [{}]
    assert before.messages[-1] == {"jsonrpc": "2.0", "method": "session.signed_in", "params": {}}
    assert before.code == CloseCode.SESSION_REPLACED
    # The old cookie: no socket, another session from generate_cookie, no bytes.
    assert old.upgrade().answer.status == 401
    assert old.get(f"/api/files/{web.file('River bend.png')}/content").status == 401
    assert old.generate_cookie()["session"] != old_session
    # And so it stays.
    thief = web.browser()
    thief.cookies = {"docsession": CookieSigner(web.keys).sign(Identity(old_session, web.clock.seconds()))}
    web.stop_server()
    web.clock.advance(300)
    web.start_server()
    assert thief.upgrade().answer.status == 401
    assert thief.generate_cookie()["session"] != old_session


def test_the_old_identifier_is_dead_for_a_socket_that_was_let_in_before(browser: Browser) -> None:
    target = browser.start_sign_in(ANN)
    browser.generate_cookie()
    waiting = browser.socket()  # past the cookie check, session.open still to come
    session = browser.session
    browser.get(target)
    assert waiting.refused("session.open", session=session)["data"]["name"] == "session_unknown"


def test_an_open_that_began_before_the_sign_in_does_not_bring_the_old_one_back(web: Web) -> None:
    browser = web.signed_in()
    target = browser.start_sign_in(BOB)
    web.advance(301, step=20)  # nobody is live: session.open reads the store
    old = browser.copy()
    old.generate_cookie()
    page = old.socket()
    with held(web, "load_user") as loading:
        call = page.start("session.open", session=old.session)
        assert loading.waiting
        browser.get(target)
        loading.go()
    answer = page.answer(call)
    assert answer is not None
    assert answer["error"]["data"]["name"] == "session_unknown"
    assert [browser.id for browser in web.assembly.directory._live.browsers.values()] == []


def test_without_a_stored_session_the_page_that_left_may_still_come_back(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN)
    web.stop_server()
    web.clock.advance(590)
    web.start_server()
    browser.get(target)
    assert browser.page().opened["user"]["email"] == ANN


def test_the_browser_leaving_during_the_callback_does_not_leave_old_sockets_signed_in(web: Web) -> None:
    browser = web.signed_in()
    tab = browser.page()
    target = browser.start_sign_in(BOB)
    with held(web, "replace_session") as replacing:
        exchange = browser.begin("GET", target)
        assert replacing.waiting
        exchange.line.cut()
        replacing.go()
    assert tab.code == CloseCode.SESSION_REPLACED
    assert browser.upgrade().answer.status == 401


def test_another_account_in_the_same_browser(web: Web) -> None:
    browser = web.signed_in(ANN)
    tab = browser.page()
    web.sign_in(BOB)
    browser.sign_in(BOB)
    assert tab.code == CloseCode.SESSION_REPLACED
    page = browser.page()
    assert page.opened["user"]["email"] == BOB
    names = {file["name"] for file in page.call("drive.files.list", pageSize=100)["data"]["files"]}
    assert "Notes to myself" not in names
    # Ann's last browser left with it: nothing polls for her, and her grant ages.
    assert [user.user.email for user in web.assembly.directory.live_users()] == [BOB]


def test_signing_in_again_keeps_the_users_other_browsers(web: Web) -> None:
    one, other = web.signed_in(), web.signed_in()
    page = other.page()
    one.sign_in(ANN)
    assert page.code is None
    assert page.call("drive.files.list")["data"]["files"]
    assert one.page().opened["user"]["email"] == ANN


def test_only_some_scopes(web: Web, browser: Browser) -> None:
    drive = "https://www.googleapis.com/auth/drive"
    browser.get(browser.start_sign_in(ANN, untick=(drive,)))
    page = browser.page()
    assert drive not in page.opened["user"]["scopes"]
    assert page.call("session.user")["scopes"] == page.opened["user"]["scopes"]
    refused = page.refused("drive.files.list")
    assert (refused["code"], refused["data"]["name"]) == (1004, "scope_missing")
    # Asked again, and given.
    browser.sign_in(ANN)
    page = browser.page()
    assert drive in page.opened["user"]["scopes"]
    assert page.call("drive.files.list")["data"]["files"]


# --- states ---------------------------------------------------------------------------------


def test_a_callback_without_or_with_a_made_up_state(browser: Browser) -> None:
    browser.generate_cookie()
    for query in (
        "",
        "?code=x",
        "?state=",
        "?state=nonsense&code=x",
        "?state=" + "x" * 5000 + "&code=x",
        "?state=%ff%fe&code=x",
        "?state=a&state=b&code=x",
        "?error=access_denied",
        "?error=access_denied&state=nonsense",
        "?state=%00&code=%00",
    ):
        assert failed(browser, CALLBACK + query) == ("/", "state_mismatch"), query


def test_a_state_is_used_once(browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/secret/place")
    signed_in = browser.get(target)
    assert "docsession_error" not in signed_in.headers["location"]
    assert failed(browser, target) == ("/", "state_mismatch")
    assert browser.page().opened["user"]["email"] == ANN


def test_a_state_is_used_once_by_the_old_cookie_too(browser: Browser) -> None:
    target = browser.start_sign_in(ANN)
    old = browser.copy()
    browser.get(target)
    assert failed(old, target) == ("/", "state_mismatch")


def test_a_state_taken_once_is_gone_even_when_it_failed(browser: Browser) -> None:
    target = browser.start_sign_in(ANN)
    assert failed(browser, target.replace("code=", "code=x")) == ("/", "exchange_failed")
    assert failed(browser, target) == ("/", "state_mismatch")


def test_a_state_given_twice_is_none(browser: Browser) -> None:
    target = browser.start_sign_in(ANN)
    state = parse_qs(urlsplit(target).query)["state"][0]
    assert failed(browser, f"{target}&state={state}")[1] == "state_mismatch"
    code = parse_qs(urlsplit(target).query)["code"][0]
    assert failed(browser, f"{target}&code={quote(code)}")[1] == "exchange_failed"


def test_login_csrf_a_state_of_another_browser_signs_nobody_in(web: Web, browser: Browser) -> None:
    attacker = web.browser()
    target = attacker.start_sign_in(BOB, return_to="/attackers/page")
    browser.generate_cookie()
    # Nor is it said on which page the other one was.
    assert failed(browser, target) == ("/", "state_mismatch")
    assert failed(web.browser(), target) == ("/", "state_mismatch")
    assert browser.page().opened["user"] is None
    # It was taken: the attacker cannot use it now either.
    assert failed(attacker, target) == ("/", "state_mismatch")


def test_a_code_of_another_person_with_ones_own_state_is_refused(web: Web, browser: Browser) -> None:
    attackers = urlsplit(web.browser().start_sign_in(BOB))
    mine = urlsplit(browser.start_sign_in(ANN))
    code = parse_qs(attackers.query)["code"][0]
    state = parse_qs(mine.query)["state"][0]
    # PKCE: the code belongs to another verifier.
    assert failed(browser, f"{CALLBACK}?state={state}&code={quote(code)}") == ("/", "exchange_failed")
    assert browser.page().opened["user"] is None


def test_an_expired_state(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app")
    web.clock.advance(601)
    path, name = failed(browser, target)
    assert name in ("expired", "state_mismatch")  # upkeep may have swept it
    assert path == ("/app" if name == "expired" else "/")


def test_an_expired_state_is_told_where_it_is_still_stored(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app")
    web.assembly.directory._upkeep._loop.stop()
    web.clock.advance(601)
    assert failed(browser, target) == ("/app", "expired")
    web.assembly.directory._upkeep._loop.start(60, now=False)


def test_states_do_not_fill_the_cookie(web: Web, browser: Browser) -> None:
    page = browser.page()
    for _ in range(50):
        page.call("session.sign_in")
        web.clock.advance(0.1)
    assert len(browser.cookies) == 1
    browser.sign_in(ANN)


def test_two_sign_ins_at_once_in_two_tabs_the_first_to_return_wins(web: Web, browser: Browser) -> None:
    first, second = browser.start_sign_in(ANN), browser.start_sign_in(ANN)
    browser.get(first)
    assert failed(browser, second) == ("/", "state_mismatch")
    assert browser.page().opened["user"]["email"] == ANN


def test_of_two_callbacks_at_the_same_moment_one_signs_in(web: Web, browser: Browser) -> None:
    targets = [browser.start_sign_in(ANN), browser.start_sign_in(BOB)]
    with held(web, "is_retired") as asking:
        begun = [browser.begin("GET", target) for target in targets]
        assert len(asking.waiting) == 2
        asking.go()
    done = [exchange.answer for exchange in begun]
    assert sum("set-cookie" in answer.headers for answer in done) >= 1
    assert {answer.status for answer in done} == {303}


def test_a_sign_out_while_google_thinks_wins(web: Web) -> None:
    browser = web.signed_in()
    tab = browser.page()
    target = browser.start_sign_in(ANN)
    misbehave(web, "oauth2.token.exchange", delay=5)
    exchange = browser.begin("GET", target)
    assert not exchange.heard.data
    tab.call("session.sign_out")
    web.advance(6)
    assert "docsession_error=state_mismatch" in exchange.answer.headers["location"]
    assert browser.page().opened["user"] is None


# --- Google says no, or nonsense ------------------------------------------------------------


def test_access_denied(browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app?x=1", press="Cancel")
    assert "error=access_denied" in target
    answer = browser.get(target)
    assert answer.headers["location"] == f"{ORIGIN}/app?x=1&docsession_error=access_denied"
    assert browser.page().opened["user"] is None


def test_other_errors_of_googles_are_not_repeated(browser: Browser) -> None:
    target = browser.start_sign_in(ANN, press="Cancel")
    evil = target.replace("error=access_denied", "error=%3Cscript%3Ealert(1)%3C/script%3E")
    assert failed(browser, evil) == ("/", "exchange_failed")


def test_a_code_that_google_refuses(browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app")
    assert failed(browser, target.replace("code=", "code=no")) == ("/app", "exchange_failed")
    assert browser.page().opened["user"] is None
    browser.sign_in(ANN)


def test_a_code_that_was_used_already(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN)
    code = parse_qs(urlsplit(target).query)["code"][0]
    assert web.sandbox.grants.take_code(code) is not None
    assert failed(browser, target) == ("/", "exchange_failed")


def test_google_away_during_the_exchange(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app")
    misbehave(web, "oauth2.token.exchange", status=503)
    assert failed(browser, target) == ("/app", "exchange_failed")
    browser.sign_in(ANN)


def test_google_never_answers_the_exchange(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app")
    misbehave(web, "oauth2.token.exchange", hang=True)
    exchange = browser.begin("GET", target)
    web.advance(31, step=1)
    location = exchange.answer.headers["location"]
    assert location == f"{ORIGIN}/app?docsession_error=exchange_failed"


def test_nonsense_from_the_token_endpoint(web: Web, browser: Browser) -> None:
    for body in ("<html>", "[]", "{}", '{"access_token": 5}', "null", '{"access_token": "x"}'):
        target = browser.start_sign_in(ANN)
        misbehave(web, "oauth2.token.exchange", status=200, body=body)
        assert failed(browser, target) == ("/", "exchange_failed"), body
    assert browser.page().opened["user"] is None


def test_the_store_away(web: Web, browser: Browser) -> None:
    target = browser.start_sign_in(ANN, return_to="/app")
    page = browser.page()
    with store_away(web):
        assert failed(browser, target) == ("/", "exchange_failed")
        refused = page.refused("session.sign_in")
        assert (refused["code"], refused["data"]["name"]) == (1012, "unavailable")
        assert refused["data"]["retry_after"] > 0
    browser.get(target)  # nothing was lost: the state was not taken
    assert browser.page().opened["user"]["email"] == ANN


def test_the_store_away_after_the_exchange_loses_no_sign_in_half_way(web: Web) -> None:
    browser = web.signed_in()
    target = browser.start_sign_in(ANN, return_to="/app")
    with store_away(web, but=("take_state", "is_retired", "load_grant", "save_grant")):
        answer = browser.get(target)
    assert answer.headers["location"] == f"{ORIGIN}/app?docsession_error=exchange_failed"
    assert browser.page().opened["user"]["email"] == ANN  # as before


# --- id_tokens ------------------------------------------------------------------------------


def b64(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))  # type: ignore[no-any-return]


def test_a_bad_id_token_signs_nobody_in(web: Web, browser: Browser) -> None:
    now = web.clock.seconds()
    keys = web.sandbox.keys
    strangers = Keys(web.clock)

    def anew(**claims: Any) -> Callable[[str], str]:
        """Truly signed, with other claims (None: without)."""
        return lambda token: keys.sign(
            {name: value for name, value in (claims_of(token) | claims).items() if value is not None}
        )

    def by_hand(header: dict[str, Any], signature: bytes = b"") -> Callable[[str], str]:
        return lambda token: f"{b64(header)}.{token.split('.')[1]}.{b64(signature)}"

    def swapped(token: str) -> str:
        header, _, signature = token.split(".")
        return f"{header}.{b64(claims_of(token) | {'sub': '1'})}.{signature}"

    kid = next(iter(keys.certificates()))
    certificate = keys.certificates()[kid].encode()
    changes: dict[str, Callable[[str], str | None]] = {
        "missing": lambda token: None,
        "no JWT": lambda token: "nonsense",
        "no JSON": lambda token: "a.b.c",
        "nested deep": lambda token: f"{b64(b'[' * 5000)}.{b64(b'[' * 5000)}.x",
        "other claims under the signature": swapped,
        "another's key": lambda token: strangers.sign(claims_of(token)),
        "alg none": by_hand({"alg": "none", "kid": kid}),
        "alg none, no kid": by_hand({"alg": "none"}),
        "HS256 with the certificate": by_hand({"alg": "HS256", "kid": kid}, certificate),
        "an unknown key": by_hand({"alg": "RS256", "kid": "x"}, b"x" * 256),
        "issuer": anew(iss="https://evil.com"),
        "issuer of a look-alike": anew(iss=f"{web.config.google.endpoints.issuer}.evil.com"),
        "audience": anew(aud="another-client"),
        "audiences": anew(aud=[web.config.google.client_id, "another-client"]),
        "nonce": anew(nonce="x" * 32),
        "no nonce": anew(nonce=None),
        "expired": anew(iat=now - 4300, exp=now - 700),
        "from the future": anew(iat=now + 700, exp=now + 4300),
        "no exp": anew(exp=None),
        "text for exp": anew(exp="soon"),
        "no subject": anew(sub=None),
        "a number for subject": anew(sub=5),
        "a long subject": anew(sub="1" * 256),
    }
    for name, change in changes.items():
        with exchange_changed(web, change):
            target = browser.start_sign_in(ANN)
            assert failed(browser, target) == ("/", "exchange_failed"), name
    assert browser.page().opened["user"] is None
    # Ten minutes of difference are too many, four are not.
    with exchange_changed(web, anew(iat=now - 3840, exp=now - 240)):
        browser.sign_in(ANN)


@contextmanager
def exchange_changed(web: Web, change: Callable[[str], str | None]) -> Iterator[None]:
    """Change the id_token on its way to us."""
    oauth = web.assembly.oauth
    real = oauth.exchange

    async def exchange(code: str, verifier: str, redirect_uri: str) -> Granted:
        granted = await real(code, verifier, redirect_uri)
        assert granted.id_token is not None
        return msgspec.structs.replace(granted, id_token=change(granted.id_token))

    oauth.exchange = exchange  # type: ignore[method-assign]
    try:
        yield
    finally:
        del oauth.exchange


# --- refresh tokens -------------------------------------------------------------------------


def grant(web: Web, email: str) -> Any:
    person = next(user for user in web.assembly.directory.live_users() if user.user.email == email)
    return web.await_(web.store.load_grant(person.id))


def test_a_second_browser_keeps_the_refresh_token_of_the_first(web: Web, browser: Browser) -> None:
    first = web.signed_in()
    first.page()
    token = grant(web, ANN).refresh_token
    assert token is not None
    browser.sign_in(ANN)
    browser.page()
    assert grant(web, ANN).refresh_token == token


def test_a_second_trip_where_google_repeats_no_refresh_token_and_ours_is_lost(
    web: Web, browser: Browser
) -> None:
    first = web.signed_in()
    user_id = first.page().opened["user"]["id"]
    web.await_(web.store.delete_user(user_id))
    again = browser.get(browser.start_sign_in(ANN, return_to="/app"))
    assert again.status == 303
    assert "set-cookie" not in again.headers
    url = again.headers["location"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(web.config.google.endpoints.authorization)
    assert (query["prompt"], query["login_hint"]) == ("consent", user_id)
    back = urlsplit(web.consent(url, ANN))
    answer = browser.get(f"{back.path}?{back.query}")
    assert answer.headers["location"] == f"{ORIGIN}/app"
    assert browser.page().opened["user"]["email"] == ANN
    assert grant(web, ANN).refresh_token is not None


def test_there_is_no_third_trip(web: Web, browser: Browser) -> None:
    web.signed_in().page()
    web.await_(web.store.delete_user(web.assembly.directory.live_users()[0].id))
    url = browser.get(browser.start_sign_in(ANN)).headers["location"]
    back = urlsplit(web.consent(url, ANN))
    oauth = web.assembly.oauth
    real = oauth.exchange

    async def stingy(*arguments: Any) -> Granted:
        return msgspec.structs.replace(await real(*arguments), refresh_token=None)

    oauth.exchange = stingy  # type: ignore[method-assign]
    answer = browser.get(f"{back.path}?{back.query}")
    assert answer.headers["location"] == f"{ORIGIN}/"
    assert browser.page().call("drive.files.list")["data"]["files"]


def test_signing_in_again_after_the_grant_died(web: Web, browser: Browser) -> None:
    browser.sign_in(ANN)
    page = browser.page()
    web.sandbox.grants.revoke(ANN)
    page.start("drive.files.list")
    assert page.events("session.signed_out") == [{"reason": "revoked"}]
    assert page.code == CloseCode.SIGNED_OUT
    browser.sign_in(ANN)
    page = browser.page()
    assert page.call("drive.files.list")["data"]["files"]
    assert grant(web, ANN).dead is False
