"""The page that README.rst shows, as it stands there, in a real Chromium."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from textwrap import dedent

import pytest
from playwright.sync_api import Route, expect, sync_playwright

from tests.daemon.server import Server

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")

README = Path(__file__).parents[2] / "README.rst"
PATIENCE = 30_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # To Chromium a page that playwright made up is from nowhere, and may not talk to loopback.
    "--disable-features=LocalNetworkAccessChecks",
]


def page_of_the_readme() -> str:
    """The HTML in it."""
    found = re.search(r"code-block:: html\n\n((?:    .*\n|\n)+)", README.read_text(encoding="utf-8"))
    assert found is not None
    return dedent(found[1])


def test_the_page(tmp_path: Path) -> None:
    """It signs in, shows the newest document and its comments, and is told of a change."""
    complaints: list[str] = []
    with Server(tmp_path) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def mine(route: Route) -> None:
            # What a proxy does: this page is the operator's, the rest of the origin docsession's.
            route.fulfill(content_type="text/html; charset=utf-8", body=page_of_the_readme())

        page.route(f"{server.url}/mine", mine)
        page.goto(f"{server.url}/mine")
        page.get_by_role("button", name="Sign in with Google").click()
        page.get_by_text("Bob Baker").click()
        page.get_by_role("button", name="Allow").click()
        expect(page).to_have_url(f"{server.url}/mine", timeout=PATIENCE)
        page.goto(f"{server.url}/mine")  # redirects pass our route by
        expect(page.locator("h1")).to_have_text("Autumn plan", timeout=PATIENCE)
        expect(page.locator("li")).to_have_count(2, timeout=PATIENCE)
        expect(page.locator("li", has_text="Bob Baker: The shops will not take 4,000")).to_be_visible()
        expect(page.get_by_role("button", name="Sign in with Google")).to_be_hidden()

        file_id = server.file("Autumn plan")
        server.as_person("ann@example.com", "PATCH", f"/drive/v3/files/{file_id}", {"name": "Winter plan"})
        expect(page.locator("h1")).to_have_text("Winter plan", timeout=PATIENCE)
        expect(page.locator("#news")).to_contain_text("name", timeout=PATIENCE)
        browser.close()
    assert complaints == []
