"""The first promise of the project, in a real Chromium: two people, two tabs, kills and cuts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.daemon.cable import Cable
from tests.daemon.server import Server

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")

# Without these Chromium looks for Google's own hosts at every start.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Person:
    """One person's browser; what its console complains of fails the test."""

    def __init__(self, browser: Browser, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.context: BrowserContext = browser.new_context()
        self.context.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []

    def tab(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.server.url)
        return page

    def sign_in(self) -> Page:
        page = self.tab()
        page.get_by_role("button", name="Sign in with Google").click()
        page.get_by_text(self.name).click()
        page.get_by_role("button", name="Allow").click()
        live(page)
        return page

    def open(self, page: Page, title: str) -> None:
        page.locator("#files-body a", has_text=title).click()
        expect(page.locator("h2.title")).to_have_text(title, timeout=PATIENCE)


def live(page: Page) -> None:
    expect(page.locator("#status")).to_have_attribute("data-status", "live", timeout=PATIENCE)


def shows(page: Page, title: str) -> None:
    expect(page.locator("h2.title")).to_have_text(title, timeout=PATIENCE)


def says(page: Page, comment: str) -> None:
    expect(page.locator("#panel").get_by_text(comment, exact=True)).to_be_visible(timeout=PATIENCE)


def test_two_people_two_tabs_a_killed_daemon_and_a_cut_cable(chromium: Browser, tmp_path: Path) -> None:
    with Cable() as cable, Server(tmp_path, port=cable.port) as server:
        cable.target = server.listen_port
        ann, bob = Person(chromium, server, "Ann Archer"), Person(chromium, server, "Bob Baker")
        first = ann.sign_in()
        ann.open(first, "Autumn plan")
        second = ann.tab()
        live(second)
        ann.open(second, "Autumn plan")
        his = bob.sign_in()
        bob.open(his, "Autumn plan")
        file_id = server.file("Autumn plan")

        # Another person's change at Google itself arrives in both tabs, and at the third.
        server.as_person("cat@example.com", "POST", comments_of(file_id), {"content": "Looks fine to me"})
        server.as_person("bob@example.com", "PATCH", f"/drive/v3/files/{file_id}", {"name": "Winter plan"})
        for page in (first, second, his):
            shows(page, "Winter plan")
            says(page, "Looks fine to me")

        # Bob writes in the page; it reaches Ann through the daemon.
        his.get_by_label("Write a comment").fill("Shall we print it?")
        his.get_by_role("button", name="Comment", exact=True).click()
        for page in (first, second, his):
            says(page, "Shall we print it?")

        # The daemon is killed; something happens meanwhile; it is there when the daemon is.
        server.daemon.kill()
        expect(first.locator("#status")).to_have_attribute("data-status", "reconnecting", timeout=PATIENCE)
        server.as_person("bob@example.com", "PATCH", f"/drive/v3/files/{file_id}", {"name": "Spring plan"})
        server.daemon.start().wait_listening()
        for page in (first, second, his):
            live(page)
            shows(page, "Spring plan")
        expect(first.locator("#account-name")).to_have_text("Ann Archer")

        # The cable is cut, and mended.
        cable.cut()
        expect(second.locator("#status")).to_have_attribute("data-status", "reconnecting", timeout=PATIENCE)
        server.as_person("cat@example.com", "POST", comments_of(file_id), {"content": "While you were out"})
        cable.mend()
        for page in (first, second, his):
            live(page)
            says(page, "While you were out")

        # Signing out in one tab ends the other; Bob stays.
        first.locator("#account summary").click()
        first.locator("#sign-out").click()
        for page in (first, second):
            expect(page.get_by_role("button", name="Sign in with Google")).to_be_visible(timeout=PATIENCE)
        live(his)
        assert ann.complaints == []
        assert bob.complaints == []
        assert "Traceback" not in server.daemon.log()
        ann.context.close()
        bob.context.close()


def test_a_sign_in_that_is_cancelled_says_so(chromium: Browser, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        cat = Person(chromium, server, "Cat Carter")
        page = cat.tab()
        page.get_by_role("button", name="Sign in with Google").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#hero-note")).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_role("button", name="Sign in with Google")).to_be_enabled(timeout=PATIENCE)
        assert cat.complaints == []
        cat.context.close()


def comments_of(file_id: str) -> str:
    return f"/drive/v3/files/{file_id}/comments?fields=id"
