"""The sandbox's pages in a real Chromium, in front of a real sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.daemon.children import Child, free_port, twistd

CHROMIUM = Path("/usr/bin/chromium")
DRIVE = "https://www.googleapis.com/auth/drive"

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt install chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    switches += ["--disable-component-update", "--no-first-run", "--disable-quic"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=switches)
        yield browser
        browser.close()


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    """The URL of a sandbox of this test's own."""
    port = free_port()
    command = twistd("docsession-sandbox", "--listen", f"tcp:{port}:interface=127.0.0.1")
    with Child(command, cwd=tmp_path, port=port) as child:
        child.wait_listening()
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    yield made
    made.close()


@pytest.fixture
def said() -> list[str]:
    """What the page said on its console. Chromium itself reports every refused request there."""
    return []


@pytest.fixture
def page(context: BrowserContext, base: str, said: list[str]) -> Iterator[Page]:
    """A page that may not say a word on its console. It is closed before its sandbox is."""
    made = context.new_page()
    made.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    made.on("pageerror", lambda error: said.append(str(error)))
    yield made
    assert said == []


def ask(base: str, method: str, path: str, body: object = None) -> object:
    """A request of somebody who is not this page."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(base + path, data, {"Content-Type": "application/json"}, method=method)) as answer:
        return json.load(answer)


def overview_of(base: str, name: str) -> dict[str, object]:
    """What the sandbox has under this name."""
    overview = ask(base, "GET", "/sandbox/overview")
    assert isinstance(overview, dict)
    return next(file for file in overview["files"] if file["name"] == name)  # type: ignore[no-any-return]


def play(page: Page, base: str, name: str) -> None:
    """Be this person."""
    page.get_by_role("radio", name=name).check(force=True)
    expect(page.get_by_role("radio", name=name)).to_be_checked()


def open_file(page: Page, name: str) -> Locator:
    """Open a file, and return its part of the page."""
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#file-title")).to_have_text(name)
    return page.locator("#file")


# --- the consent page -----------------------------------------------------------------------


def consent_url(base: str, **changes: str) -> str:
    query = {
        "client_id": "an app",
        # The sandbox itself stands in for the app: any loopback address will do.
        "redirect_uri": f"{base}/sandbox/",
        "response_type": "code",
        "scope": f"openid email profile {DRIVE} {DRIVE}.activity.readonly",
        "access_type": "offline",
        "state": "a state",
        **changes,
    }
    return f"{base}/o/oauth2/v2/auth?{urlencode(query)}"


def test_consent_by_keyboard_only(page: Page, base: str) -> None:
    page.goto(consent_url(base))
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("radio", name="Ann")).to_be_focused()
    keys.press("ArrowDown")
    expect(page.get_by_role("radio", name="Bob")).to_be_checked()
    keys.press("Tab")
    keys.press("Tab")
    unticked = page.get_by_role("checkbox", name="record of who did what")
    expect(unticked).to_be_focused()
    keys.press("Space")
    expect(unticked).not_to_be_checked()
    keys.press("Tab")
    expect(page.get_by_role("button", name="Allow")).to_be_focused()
    keys.press("Enter")
    page.wait_for_url("**/sandbox/?*")
    back = dict(parse_qsl(urlsplit(page.url).query))
    assert back["state"] == "a state"
    assert back["code"].startswith("4/")
    assert DRIVE in back["scope"].split()
    assert f"{DRIVE}.activity.readonly" not in back["scope"].split()


def test_enter_in_the_form_allows(page: Page, base: str) -> None:
    page.goto(consent_url(base))
    page.get_by_role("radio", name="Cat").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/sandbox/?*code=*")


def test_consent_without_scripts_goes_back_to_another_origin(
    chromium: Browser, base: str, tmp_path: Path
) -> None:
    # Chromium holds form-action against the redirect, so the app must be on another origin here.
    (tmp_path / "app").mkdir()
    port = free_port()
    command = twistd("web", "--listen", f"tcp:{port}:interface=127.0.0.1", "--path", "app")
    context = chromium.new_context(java_script_enabled=False)
    with Child(command, cwd=tmp_path, port=port) as app:
        app.wait_listening()
        for button, expected in (("Allow", "code=4"), ("Cancel", "error=access_denied")):
            page = context.new_page()
            page.goto(consent_url(base, redirect_uri=f"http://127.0.0.1:{port}/"))
            page.get_by_role("button", name=button).click()
            page.wait_for_url(f"http://127.0.0.1:{port}/?*{expected}*")
    context.close()


def test_a_hint_chooses_the_account(page: Page, base: str) -> None:
    page.goto(consent_url(base, login_hint="cat@example.com"))
    expect(page.get_by_role("radio", name="Cat")).to_be_checked()
    assert page.locator("#given").count() == 1


# --- the page for a person ------------------------------------------------------------------


def test_push_channels_and_what_is_ordered_of_them(page: Page, base: str) -> None:
    token = ask(base, "POST", "/sandbox/token", {"email": "ann@example.com"})
    assert isinstance(token, dict)
    # Nobody listens there; the channel is open all the same.
    body = {"id": "c", "type": "web_hook", "address": "http://127.0.0.1:9/hook"}
    request = Request(
        f"{base}/drive/v3/changes/watch?pageToken=660",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token['access_token']}"},
    )
    urlopen(request).close()
    page.goto(f"{base}/sandbox/")
    part = page.get_by_role("region", name="Push channels")
    expect(part.locator("#channels > li")).to_contain_text(
        "Ann Archer is told of changes at http://127.0.0.1:9/hook"
    )
    part.get_by_label("Let notifications").select_option("be lost")
    part.get_by_label("how often").select_option("three times")
    part.get_by_role("button", name="Order", exact=True).click()
    expect(part.locator("#orders > li")).to_have_text("Notifications are lost (3 more)")
    part.get_by_role("button", name="Clear orders").click()
    expect(part.locator("#orders > li")).to_have_count(0)
    part.get_by_role("button", name="End all").click()
    expect(part.locator("#channels-none")).to_be_visible()
    shown = ask(base, "GET", "/sandbox/channels")
    assert shown == {"channels": [], "orders": []}


def test_renaming_and_commenting_as_different_people(page: Page, base: str) -> None:
    page.goto(f"{base}/sandbox/")
    part = open_file(page, "Autumn plan")
    part.get_by_label("Name").fill("Winter plan")
    part.get_by_role("button", name="Rename").click()
    expect(page.locator("#said")).to_contain_text("Winter plan")
    expect(page.get_by_role("button", name="Winter plan", exact=True)).to_be_visible()
    play(page, base, "Cat Carter")
    part.get_by_label("New comment").fill("Brr.")
    part.get_by_role("button", name="Comment", exact=True).click()
    said = part.locator("#comments > li").filter(has_text="Brr.")
    expect(said).to_contain_text("Cat Carter")
    said.get_by_label("Reply").fill("It will be cold.")
    said.get_by_role("button", name="Reply").click()
    expect(said.locator(".reply")).to_contain_text("It will be cold.")
    said.get_by_role("button", name="Resolve").click()
    expect(said.get_by_role("button", name="Open again")).to_be_visible()
    assert overview_of(base, "Winter plan")["comments"] == 3


def test_editing_text_that_somebody_else_edits(page: Page, base: str) -> None:
    page.goto(f"{base}/sandbox/")
    part = open_file(page, "Autumn plan")
    text = part.get_by_label("Text", exact=True)
    text.fill("Ours")
    theirs = {"email": "bob@example.com", "file": overview_of(base, "Autumn plan")["id"], "text": "Theirs"}
    ask(base, "POST", "/sandbox/edit", theirs)
    expect(part.locator("#text-hint")).to_be_visible()
    expect(text).to_have_value("Ours")
    part.get_by_role("button", name="Undo").click()
    expect(text).to_have_value("Theirs")
    text.fill("Ours again")
    part.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_contain_text("saved")
    assert overview_of(base, "Autumn plan")["text"] == "Ours again"
    theirs["text"] = "Theirs again"
    ask(base, "POST", "/sandbox/edit", theirs)
    expect(text).to_have_value("Theirs again")


def test_sharing_and_losing_sight(page: Page, base: str, said: list[str]) -> None:
    page.goto(f"{base}/sandbox/")
    part = open_file(page, "Autumn plan")
    role = part.get_by_label("Role of Cat Carter")
    for chosen in ("writer", "", "reader"):
        role.select_option(chosen)
        expect(page.locator("#said")).to_contain_text(chosen or "no access")
        roles = overview_of(base, "Autumn plan")["roles"]
        assert isinstance(roles, dict)
        assert roles.get("cat@example.com", "") == chosen
    part.get_by_label("Role of Anyone with the link").select_option("commenter")
    expect(page.locator("#said")).to_contain_text("Anyone with the link: commenter")
    # Bob writes here by way of the folder, so it cannot be taken from him on the file.
    part.get_by_label("Role of Bob Baker").select_option("")
    expect(page.locator("#trouble")).to_contain_text("inherited")
    expect(part.get_by_label("Role of Bob Baker")).to_have_value("writer")
    assert "403" in said.pop()
    open_file(page, "Notes to myself")
    play(page, base, "Bob Baker")
    expect(part.locator("#file-role")).to_contain_text("cannot see")
    expect(part.locator("#edit")).to_be_hidden()
    expect(part.get_by_role("button", name="Rename")).to_be_disabled()
    part.get_by_role("button", name="Be Ann Archer").click()
    expect(page.get_by_role("radio", name="Ann Archer")).to_be_checked()


def test_making_trashing_and_deleting(page: Page, base: str) -> None:
    page.goto(f"{base}/sandbox/")
    page.get_by_label("New file").fill("A passing thought")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#file-title")).to_have_text("A passing thought")
    page.get_by_role("button", name="Move to trash").click()
    expect(page.get_by_role("button", name="Take out of the trash")).to_be_visible()
    assert overview_of(base, "A passing thought")["trashed"] is True
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_role("button", name="Keep it").click()
    assert overview_of(base, "A passing thought")
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#said")).to_contain_text("is deleted")
    expect(page.get_by_role("button", name="A passing thought", exact=True)).to_have_count(0)


def test_faults_come_and_go(page: Page, base: str) -> None:
    page.goto(f"{base}/sandbox/")
    page.get_by_label("Let", exact=True).select_option(label="Drive limit the rate (429)")
    page.get_by_label("for", exact=True).select_option(label="Bob Baker")
    page.locator("#fault").get_by_label("how often").select_option(label="three times")
    page.get_by_role("button", name="Add", exact=True).click()
    fault = {"match": {"method": "drive.*", "user": "bob@example.com"}, "times": 3, "status": 429}
    fault |= {"reason": "rateLimitExceeded", "retry_after": 5.0}
    expect(page.locator("#faults")).to_contain_text("for bob@example.com: answers 429")
    assert ask(base, "GET", "/sandbox/faults") == [fault]
    page.get_by_label("Let", exact=True).select_option(label="every connection drop")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#faults > li")).to_have_count(2)
    page.get_by_role("button", name="Remove: drive.*").click()
    expect(page.locator("#faults > li")).to_have_count(1)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#faults-none")).to_be_visible()
    assert ask(base, "GET", "/sandbox/faults") == []


def test_ending_grants_and_watching_calls(page: Page, base: str) -> None:
    page.goto(f"{base}/sandbox/")
    expect(page.locator("#calls-none")).to_be_visible()
    token = ask(base, "POST", "/sandbox/token", {"email": "bob@example.com"})
    assert isinstance(token, dict)
    url = f"{base}/drive/v3/about?fields=user"
    with urlopen(Request(url, headers={"Authorization": f"Bearer {token['access_token']}"})) as answer:
        assert answer.status == 200
    row = page.locator("#calls tr").filter(has_text="drive.about.get")
    expect(row).to_contain_text("Bob")
    expect(row).to_contain_text("200")
    page.get_by_role("button", name="Set to zero").click()
    expect(page.locator("#totals")).to_contain_text("0 calls")
    for label, words in (
        ("Expire access", "access tokens"),
        ("Expire refresh", "refresh"),
        ("Revoke", "grants"),
    ):
        page.get_by_role("button", name=f"{label} for Bob Baker").click()
        expect(page.locator("#said")).to_contain_text(words)
    told = urlsplit(f"{base}/tokeninfo?access_token={token['access_token']}")
    with pytest.raises(OSError, match="400"):
        urlopen(told.geturl())


def test_the_page_survives_the_end_of_its_own_token(page: Page, base: str, said: list[str]) -> None:
    page.goto(f"{base}/sandbox/")
    part = open_file(page, "Autumn plan")
    expect(part.locator("#comments > li")).to_have_count(2)
    ask(base, "POST", "/sandbox/grants", {"email": "ann@example.com", "do": "revoke"})
    part.get_by_label("New comment").fill("Still here")
    part.get_by_role("button", name="Comment", exact=True).click()
    expect(part.locator("#comments > li")).to_have_count(3)
    assert "401" in said.pop()


def test_all_of_it_by_keyboard_and_in_a_narrow_window(page: Page, base: str) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{base}/sandbox/")
    link = page.get_by_role("button", name="Autumn plan", exact=True)
    expect(link).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#file")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#rename input")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("Typed")
    page.keyboard.press("Enter")
    expect(page.locator("#file-title")).to_have_text("Typed")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_names_are_text_and_never_markup(page: Page, base: str) -> None:
    evil = "<img src=x onerror=alert(1)>"
    seed = {
        "people": [{"email": "eve@example.com", "name": evil}],
        "files": [{"name": evil, "owner": "eve@example.com", "text": evil}],
    }
    ask(base, "PUT", "/sandbox/world", seed)
    page.goto(f"{base}/sandbox/")
    open_file(page, evil)
    expect(page.get_by_role("radio", name=evil)).to_be_checked()
    assert page.locator("img[src=x]").count() == 0
    page.goto(consent_url(base))
    expect(page.get_by_role("radio", name=evil)).to_be_checked()
    assert page.locator("img").count() == 0
