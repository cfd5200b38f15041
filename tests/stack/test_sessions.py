"""Sessions across sockets, tabs, browsers, time, sign-outs and the store's absence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from docsession.errors import CloseCode
from tests.stack.support import Browser, Page, Web, held, store_away

ANN, BOB = "ann@example.com", "bob@example.com"
DAY = 86400.0


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


def numbers(web: Web) -> tuple[int, int, int]:
    """Connections, browsers and users that are live."""
    directory = web.assembly.directory
    return directory.connections, directory.browsers, directory.users


def signed_out(page: Page, reason: str) -> bool:
    """It was told so, once, as the last thing, and closed for it."""
    assert page.events("session.signed_out") == [{"reason": reason}]
    assert page.messages[-1]["method"] == "session.signed_out"
    return page.code == CloseCode.SIGNED_OUT


def is_dead(browser: Browser) -> bool:
    """The cookie is good for nothing: no socket, no bytes, another session from generate_cookie."""
    thief = browser.copy()
    old = thief.identity.session_id
    assert thief.upgrade().answer.status == 401
    assert thief.get("/api/files/x/content").status == 401
    answer = thief.generate_cookie()
    return answer["session"] != old and not answer["existing"] and not answer["signed_in"]


# --- the ladder -----------------------------------------------------------------------------


def test_new_then_live_then_stored(web: Web) -> None:
    browser = web.browser()
    first = browser.page()
    assert (first.opened["how"], first.opened["resumed"]) == ("new", False)
    second = browser.page()
    assert (second.opened["how"], second.opened["user"]) == ("live", None)
    browser.sign_in(ANN)
    assert browser.page().opened["how"] == "stored"
    assert browser.page().opened["how"] == "live"
    web.stop_server()
    web.start_server()
    back = browser.page(connection="my-own-name")
    assert (back.opened["how"], back.opened["resumed"]) == ("stored", True)
    assert back.opened["connection"] == "my-own-name"
    assert back.opened["user"]["email"] == ANN


def test_a_name_given_to_a_new_session_is_not_resumed(web: Web) -> None:
    page = web.browser().page(connection="my-own-name")
    assert (page.opened["how"], page.opened["resumed"]) == ("new", False)
    assert page.opened["connection"] != "my-own-name"


def test_a_session_without_a_sign_in_costs_no_row_and_ends_with_its_cookie(web: Web) -> None:
    browser = web.browser()
    page = browser.page()
    session = browser.session
    assert web.await_(web.store.load_session(session)) is None
    page.leave()
    web.advance(590, step=30)
    again = browser.socket()
    assert again.call("session.open", session=session)["how"] == "new"  # still fresh
    again.leave()
    web.advance(700, step=30)
    assert is_dead(browser)


def test_two_tabs_that_come_back_at_once_share_one_session(web: Web) -> None:
    browser = web.signed_in()
    browser.generate_cookie()
    one, other = browser.socket(), browser.socket()
    with held(web, "load_grant") as loading:
        calls = [page.start("session.open", session=browser.session) for page in (one, other)]
        assert len(loading.waiting) == 1
    answers = [page.answer(call) for page, call in zip((one, other), calls, strict=True)]
    assert [answer["result"]["how"] for answer in answers if answer] == ["stored", "stored"]
    assert numbers(web) == (2, 1, 1)


def test_two_browsers_of_one_user_share_one_user_session(web: Web) -> None:
    one, other = web.signed_in(), web.signed_in()
    pages = [one.page(), other.page(), one.page()]
    assert numbers(web) == (3, 2, 1)
    file_id = web.file("Autumn plan")
    for page in pages:
        page.call("documents.watch", fileId=file_id)
    before = web.calls().get("drive.files.get", 0)
    web.advance(12)
    assert web.calls()["drive.files.get"] - before <= 4  # one look serves all tabs


def test_a_tab_that_breaks_off_while_it_opens_leaves_nothing(web: Web) -> None:
    browser = web.signed_in()
    browser.generate_cookie()
    page = browser.socket()
    with held(web, "load_user"):
        page.start("session.open", session=browser.session)
        page.line.cut()
    assert web.assembly.directory.connections == 0
    web.advance(301, step=20)
    assert numbers(web) == (0, 0, 0)
    assert browser.page().opened["how"] == "stored"


def test_session_open_twice_in_one_breath_is_one_connection(web: Web) -> None:
    browser = web.signed_in()
    browser.generate_cookie()
    page = browser.socket()
    with held(web, "load_user"):
        first = page.start("session.open", session=browser.session)
        second = page.start("session.open", session=browser.session)
    answers = [page.answer(first), page.answer(second)]
    assert sorted("result" in answer for answer in answers if answer) == [False, True]
    page.leave()
    assert web.assembly.directory.connections == 0


# --- lingering ------------------------------------------------------------------------------


def test_after_the_last_tab_it_lingers_five_minutes(web: Web) -> None:
    browser = web.signed_in()
    browser.page().leave()
    assert numbers(web) == (0, 1, 1)
    web.advance(290, step=10)
    assert browser.page().opened["how"] == "live"  # and its end is called off
    web.advance(290, step=10)
    assert numbers(web) == (1, 1, 1)
    browser.web.lines[-1].cut()
    web.advance(301, step=10)
    assert numbers(web) == (0, 0, 0)
    assert browser.page().opened["how"] == "stored"


def test_nobody_polls_for_who_is_gone(web: Web) -> None:
    page = web.signed_in().page()
    page.call("documents.watch", fileId=web.file("Autumn plan"))
    page.call("listings.watch", pageSize=10)
    page.leave()
    web.advance(310, step=10)
    before = web.calls()
    web.advance(600, step=10)
    assert web.calls() == before


def test_one_browser_may_end_while_another_of_the_user_stays(web: Web) -> None:
    one, other = web.signed_in(), web.signed_in()
    stays = other.page()
    one.page().leave()
    web.advance(310, step=10)
    assert numbers(web) == (1, 1, 1)
    assert stays.call("drive.files.list")["data"]["files"]
    assert one.page().opened["how"] == "stored"


# --- expiry ---------------------------------------------------------------------------------

SHORT = "[sessions]\nidle = 3600\nabsolute = 36000"


def test_use_slides_the_idle_end_and_the_absolute_one_stays() -> None:
    with Web(SHORT) as web:
        browser = web.signed_in()
        for _ in range(10):
            page = browser.page()
            assert page.opened["how"] == "stored"
            page.leave()
            web.advance(3500, step=50)
        web.advance(1100, step=50)
        assert is_dead(browser)


def test_an_open_tab_is_use_enough() -> None:
    with Web(SHORT) as web:
        browser = web.signed_in()
        page = browser.page()
        web.advance(3 * 3600, step=20)
        assert page.code is None
        web.stop_server()
        web.start_server()
        assert browser.page().opened["how"] == "stored"


def test_what_was_seen_survives_a_kill() -> None:
    with Web(SHORT) as web:
        browser = web.signed_in()
        browser.page()
        web.advance(3500, step=20)
        web.assembly.directory._upkeep.touch = lambda *_: None  # type: ignore[method-assign]
        web.store.touch_sessions = nothing  # type: ignore[method-assign]
        web.stop_server()  # says goodbye to nobody
        web.advance(3400, step=50)
        web.start_server()
        assert browser.page().opened["how"] == "stored"


async def nothing(*_: Any) -> None:
    return None


def test_an_idle_session_is_dead() -> None:
    with Web(SHORT) as web:
        browser = web.signed_in()
        browser.page().leave()
        web.advance(3700, step=50)
        assert is_dead(browser)


def test_reading_bytes_is_use() -> None:
    with Web(SHORT) as web:
        browser = web.signed_in()
        target = f"/api/files/{web.file('River bend.png')}/content"
        for _ in range(4):
            web.advance(3000, step=50)
            assert browser.get(target).status == 200


def test_at_the_absolute_end_open_tabs_are_told() -> None:
    with Web(SHORT) as web:
        browser = web.signed_in()
        page = browser.page()
        web.advance(36000 + 61, step=20)
        assert signed_out(page, "expired")
        assert is_dead(browser)


def test_the_absolute_end_comes_also_when_the_store_is_away() -> None:
    with Web(SHORT) as web:
        page = web.signed_in().page()
        with store_away(web):
            web.advance(36000 + 61, step=20)
        assert signed_out(page, "expired")


# --- sign-out -------------------------------------------------------------------------------


def test_a_sign_out_is_answered_and_closes_all_tabs_of_this_browser(web: Web) -> None:
    browser, other = web.signed_in(), web.signed_in()
    asking, second, elsewhere = browser.page(), browser.page(), other.page()
    unopened = browser.socket()
    session = browser.session
    call = asking.start("session.sign_out")
    web.advance(0.9)
    assert asking.answer(call) == {"jsonrpc": "2.0", "id": call, "result": {}}
    assert signed_out(asking, "signed_out")
    assert signed_out(second, "signed_out")
    assert unopened.refused("session.open", session=session)["code"] == 1002
    assert is_dead(browser)
    assert elsewhere.call("session.user")["email"] == ANN
    assert not is_dead_of_existing(other)


def is_dead_of_existing(browser: Browser) -> bool:
    return not browser.copy().generate_cookie()["signed_in"]


def test_everywhere_closes_all_browsers_of_the_user_live_or_stored(web: Web) -> None:
    browsers = [web.signed_in() for _ in range(3)]
    bob = web.signed_in(BOB).page()
    pages = [browser.page() for browser in browsers[:2]]
    pages[0].call("session.sign_out", everywhere=True)
    web.advance(0.9)
    assert all(signed_out(page, "signed_out") for page in pages)
    assert all(is_dead(browser) for browser in browsers)
    assert bob.call("session.user")["email"] == BOB
    assert [user.user.email for user in web.assembly.directory.live_users()] == [BOB]


def test_a_sign_out_survives_a_restart(web: Web) -> None:
    browser = web.signed_in()
    browser.page().call("session.sign_out")
    web.stop_server()
    web.start_server()
    assert is_dead(browser)
    web.advance(2 * DAY, step=3600)
    assert is_dead(browser)


def test_a_sign_out_goes_on_when_its_tab_is_gone(web: Web) -> None:
    browser, other = web.signed_in(), web.signed_in()
    page, elsewhere = browser.page(), other.page()
    with held(web, "sessions_of_user") as looking:
        page.start("session.sign_out", everywhere=True)
        assert looking.waiting
        page.line.cut()
    assert signed_out(elsewhere, "signed_out")
    assert is_dead(browser)
    assert is_dead(other)


def test_an_open_that_began_before_a_sign_out_does_not_bring_it_back(web: Web) -> None:
    one, other = web.signed_in(), web.signed_in()
    one_page = one.page()
    other.generate_cookie()
    waiting = other.socket()
    with held(web, "load_session") as loading:
        call = waiting.start("session.open", session=other.session)
        assert loading.waiting
        one_page.start("session.sign_out", everywhere=True)
    answer = waiting.answer(call)
    assert answer is not None
    assert answer["error"]["data"]["name"] == "session_unknown"
    assert numbers(web)[:2] == (0, 0)
    assert is_dead(other)


def test_calls_under_way_are_not_answered_after_a_sign_out(web: Web) -> None:
    browser = web.signed_in()
    asking, busy = browser.page(), browser.page()
    web.as_person(ANN, "PUT", "/sandbox/faults", [{"match": {"method": "drive.files.list"}, "delay": 5}])
    call = busy.start("drive.files.list")
    asking.call("session.sign_out")
    web.advance(10)
    assert busy.answer(call) is None
    assert signed_out(busy, "signed_out")


def test_no_event_after_a_sign_out(web: Web) -> None:
    browser = web.signed_in()
    pages = [browser.page(), browser.page()]
    file_id = web.file("Autumn plan")
    for page in pages:
        page.call("documents.watch", fileId=file_id)
    pages[0].call("session.sign_out")
    web.advance(0.1)
    web.as_person(ANN, "PATCH", f"/drive/v3/files/{file_id}", {"name": "Renamed"})
    bob = web.signed_in(BOB).page()
    bob.call("documents.watch", fileId=file_id)
    web.advance(30)
    assert all(signed_out(page, "signed_out") for page in pages)
    assert not any(page.events("document.changed") for page in pages)


def test_while_the_store_is_away_nobody_is_signed_out_by_halves(web: Web) -> None:
    browser = web.signed_in()
    pages = [browser.page(), browser.page()]
    with store_away(web):
        for params in ({}, {"everywhere": True}, {"disconnect": True}):
            refused = pages[0].refused("session.sign_out", **params)
            assert (refused["code"], refused["data"]["name"]) == (1012, "unavailable")
        web.advance(2)
    assert [page.code for page in pages] == [None, None]
    assert browser.page().opened["user"]["email"] == ANN
    pages[0].call("session.sign_out")
    assert is_dead(browser)


def test_a_browser_that_is_not_signed_in_can_sign_out_too(web: Web) -> None:
    browser = web.browser()
    page, other = browser.page(), browser.page()
    page.call("session.sign_out", everywhere=True, disconnect=True)
    web.advance(0.1)
    assert signed_out(page, "signed_out")
    assert signed_out(other, "signed_out")
    assert is_dead(browser)


# --- grants ---------------------------------------------------------------------------------


def test_the_last_sign_out_stops_polling_at_once_and_keeps_the_grant(web: Web) -> None:
    browser = web.signed_in()
    page = browser.page()
    user_id = page.opened["user"]["id"]
    page.call("documents.watch", fileId=web.file("Autumn plan"))
    page.call("session.sign_out")
    web.advance(0.1)
    assert numbers(web) == (0, 0, 0)
    before = web.calls()
    web.advance(120)
    assert web.calls() == before
    assert web.await_(web.store.load_grant(user_id)) is not None


def test_an_orphaned_grant_is_revoked_and_deleted_after_thirty_days(web: Web) -> None:
    page = web.signed_in().page()
    user_id = page.opened["user"]["id"]
    page.call("session.sign_out")
    web.advance(30 * DAY - 100, step=3600)
    assert web.calls().get("oauth2.revoke", 0) == 0
    web.advance(300, step=60)
    assert web.calls()["oauth2.revoke"] == 1
    assert web.await_(web.store.load_grant(user_id)) is None
    assert web.await_(web.store.load_user(user_id)) is None
    web.advance(600, step=60)
    assert web.calls()["oauth2.revoke"] == 1


def test_who_comes_back_in_time_keeps_the_grant(web: Web) -> None:
    browser = web.signed_in()
    browser.page().call("session.sign_out")
    web.advance(20 * DAY, step=3600)
    browser.sign_in(ANN)
    for _ in range(20):
        web.advance(DAY, step=3600)
        assert browser.generate_cookie()["signed_in"] is True
    assert web.calls().get("oauth2.revoke", 0) == 0
    assert browser.page().call("drive.files.list")["data"]["files"]


def test_disconnect_revokes_at_google_and_deletes(web: Web) -> None:
    browser, other = web.signed_in(), web.signed_in()
    page, elsewhere = browser.page(), other.page()
    user_id = page.opened["user"]["id"]
    page.call("session.sign_out", disconnect=True)
    web.advance(0.5)
    assert signed_out(page, "signed_out")
    assert signed_out(elsewhere, "signed_out")
    assert web.calls()["oauth2.revoke"] == 1
    assert web.await_(web.store.load_grant(user_id)) is None
    assert is_dead(browser)
    assert is_dead(other)
    browser.sign_in(ANN)
    assert browser.page().call("drive.files.list")["data"]["files"]


def test_disconnect_while_google_is_away_is_done_later(web: Web) -> None:
    page = web.signed_in().page()
    user_id = page.opened["user"]["id"]
    web.as_person(ANN, "PUT", "/sandbox/faults", [{"match": {"method": "oauth2.revoke"}, "status": 503}])
    page.call("session.sign_out", disconnect=True)
    web.advance(0.5)
    assert signed_out(page, "signed_out")
    assert web.await_(web.store.load_grant(user_id)) is not None  # else nobody could revoke it
    web.stop_server()
    web.start_server()
    web.advance(61)
    assert web.await_(web.store.load_grant(user_id)) is not None
    web.as_person(ANN, "DELETE", "/sandbox/faults")
    web.advance(61)
    assert web.await_(web.store.load_grant(user_id)) is None
    assert not web.sandbox.grants.consented(web.config.google.client_id, ANN)


def test_disconnect_while_google_hangs_closes_within_a_second(web: Web) -> None:
    pages = [browser.page() for browser in (web.signed_in(), web.signed_in())]
    web.as_person(ANN, "PUT", "/sandbox/faults", [{"match": {"method": "oauth2.revoke"}, "hang": True}])
    call = pages[0].start("session.sign_out", disconnect=True)
    web.advance(0.9)
    assert pages[0].answer(call) == {"jsonrpc": "2.0", "id": call, "result": {}}
    assert all(signed_out(page, "signed_out") for page in pages)


def test_a_sign_in_while_google_thinks_about_revoking_is_not_forgotten(web: Web) -> None:
    browser = web.signed_in()
    page = browser.page()
    user_id = page.opened["user"]["id"]
    web.as_person(ANN, "PUT", "/sandbox/faults", [{"match": {"method": "oauth2.revoke"}, "delay": 5}])
    page.call("session.sign_out", disconnect=True)
    browser.sign_in(ANN)
    web.advance(10)
    assert web.await_(web.store.load_user(user_id)) is not None
    assert web.await_(web.store.load_grant(user_id)) is not None


def test_a_grant_revoked_at_google_is_told_once_to_every_tab(web: Web) -> None:
    one, other = web.signed_in(), web.signed_in()
    third = web.signed_in()  # stored, without a tab
    pages = [one.page(), one.page(), other.page()]
    bob = web.signed_in(BOB).page()
    for page in pages:
        page.call("documents.watch", fileId=web.file("Autumn plan"))
    web.sandbox.grants.revoke(ANN)
    web.advance(20)
    assert all(signed_out(page, "revoked") for page in pages)
    assert all(is_dead(browser) for browser in (one, other, third))
    assert bob.call("session.user")["email"] == BOB
    assert [user.user.email for user in web.assembly.directory.live_users()] == [BOB]


def test_a_grant_found_dead_at_the_return_is_a_new_start_not_a_loop(web: Web) -> None:
    browser = web.signed_in()
    page = browser.page()
    user_id = page.opened["user"]["id"]
    page.leave()
    web.stop_server()
    web.clock.advance(3600)
    web.start_server()
    web.await_(web.store.delete_user(user_id))
    browser.generate_cookie()
    refused = browser.socket().refused("session.open", session=browser.session)
    assert refused["data"]["name"] == "session_unknown"
    # What the client does then: generate a cookie, start again.
    fresh = browser.page()
    assert (fresh.opened["how"], fresh.opened["user"]) == ("new", None)


def test_a_revoked_grant_is_told_also_while_the_store_is_away(web: Web) -> None:
    browser = web.signed_in()
    page = browser.page()
    web.sandbox.grants.revoke(ANN)
    with store_away(web, but=("load_grant",)):
        page.start("drive.about.get", fields="user")
        web.advance(1)
        assert signed_out(page, "revoked")
    # Its session could not be retired, but is dead here; after a restart it is told again.
    assert is_dead(browser)
    web.stop_server()
    web.start_server()
    again = browser.page()
    again.start("drive.about.get", fields="user")
    assert signed_out(again, "revoked")
    assert is_dead(browser)


# --- the store away -------------------------------------------------------------------------


def test_a_stored_session_cannot_be_opened_while_the_store_is_away_and_nothing_is_lost(web: Web) -> None:
    browser = web.signed_in()
    browser.generate_cookie()
    page = browser.socket()
    with store_away(web):
        refused = page.refused("session.open", session=browser.session)
        assert (refused["code"], refused["data"]["name"]) == (1012, "unavailable")
        assert refused["data"]["retry_after"] > 0
        assert page.code is None
    opened = page.call("session.open", session=browser.session)
    assert (opened["how"], opened["user"]["email"]) == ("stored", ANN)


def test_who_is_live_goes_on_while_the_store_is_away(web: Web) -> None:
    browser = web.signed_in()
    page = browser.page()
    with store_away(web):
        web.advance(200)
        assert page.call("drive.files.list", maxAge=0)["data"]["files"]
        assert page.call("session.user")["email"] == ANN
        assert page.refused("session.sign_in")["code"] == 1012
        page.leave()
        web.advance(310, step=10)
        assert numbers(web) == (0, 0, 0)
    assert browser.page().opened["user"]["email"] == ANN


def test_a_stop_while_the_store_is_away_is_a_stop(web: Web) -> None:
    web.signed_in().page()
    with store_away(web):
        web.await_(web.assembly.directory.stop())
    web.assembly.directory._live.startService()


# --- draining, numbers ----------------------------------------------------------------------


def test_every_tab_is_told_when_to_come_back_each_another_time(web: Web) -> None:
    browser = web.signed_in()
    pages = [browser.page() for _ in range(5)]
    delays = iter([0.5, 1.5, 2.5, 3.5, 4.5])
    web.assembly.directory.drain(lambda: next(delays))
    web.flush()
    said = [page.events("server.draining")[0]["reconnect_after"] for page in pages]
    assert sorted(said) == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert [page.code for page in pages] == [CloseCode.DRAINING] * 5
    assert browser.page().opened["how"] == "live"


def test_a_thousand_sockets_that_come_and_go_leave_nothing(web: Web) -> None:
    browser = web.browser()
    browser.generate_cookie()
    before = len(web.clock.getDelayedCalls())
    for number in range(150):
        page = browser.socket()
        if number % 3:
            page.call("session.open", session=browser.session)
        if number % 2:
            page.leave()
        else:
            page.line.cut()
    assert numbers(web)[0] == 0
    web.advance(310, step=10)
    assert len(web.clock.getDelayedCalls()) <= before + 1
    assert not web.assembly.directory._live._lingering


# --- one table ------------------------------------------------------------------------------


def test_the_client_has_the_same_close_codes() -> None:
    script = resources.files("docsession.static").joinpath("docsession.js").read_text()
    table = re.search(r"CLOSE_CODES = [^{]*(\{.*?\})", script, re.S)
    assert table is not None
    theirs = json.loads(table[1])
    ours = {str(code.value): code.name.lower() for code in CloseCode if code.value >= 4000}
    assert theirs == ours


def test_come_back_means_below_4500() -> None:
    assert [code for code in CloseCode if code >= 4000 and code.comes_back] == [
        CloseCode.DRAINING,
        CloseCode.SLOW_CONSUMER,
        CloseCode.REPLACED,
        CloseCode.HEARTBEAT_LOST,
        CloseCode.SESSION_REPLACED,
    ]
