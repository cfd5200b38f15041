"""Live listings through the whole server: the log's pages, lost tokens, and what runs for what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import Stack, Tab

ANN, BOB = "ann@example.com", "bob@example.com"
FOLDER = "application/vnd.google-apps.folder"


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack("[polling]\njitter = 0") as made:
        yield made


def watch(stack: Stack, email: str = ANN, **params: Any) -> Tab:
    tab = stack.signed_in_tab(email)
    tab.call("listings.watch", **{"q": "trashed=false", "fields": "files(id,name)", **params})
    return tab


def names(tab: Tab) -> list[set[str]]:
    return [{file["name"] for file in event["data"]["files"]} for event in tab.events("listing.changed")]


def create(stack: Stack, name: str, **more: Any) -> str:
    return str(stack.as_person(ANN, "POST", "/drive/v3/files", {"name": name, **more})["id"])


def lists(stack: Stack) -> int:
    return stack.calls().get("drive.files.list", 0)


def test_a_sweep_reads_on_over_empty_pages(stack: Stack) -> None:
    ann = watch(stack)
    create(stack, "Behind two empty pages")
    stack.control("PUT", "/sandbox/habits", {"empty_pages": 2})
    stack.advance(61)
    assert "Behind two empty pages" in names(ann)[-1]
    assert stack.calls()["drive.changes.list"] == 3


def test_a_log_of_several_pages_is_one_sweep_and_one_reading(stack: Stack) -> None:
    ann = watch(stack, pageSize=1000)
    for number in range(1100):
        create(stack, f"Number {number}")
    before = lists(stack)
    stack.advance(61)
    assert stack.calls()["drive.changes.list"] == 2
    assert lists(stack) == before + 1
    assert len(names(ann)) == 1


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_token_that_google_forgets_loses_nothing(stack: Stack, status: int) -> None:
    ann = watch(stack)
    create(stack, "Amid the loss")
    stack.control("PUT", "/sandbox/habits", {"lost_tokens": status})
    stack.advance(61)
    # The new token was taken before the listing was read: what comes right after is in the log.
    create(stack, "Right after")
    stack.advance(61)
    assert "Amid the loss" in names(ann)[0]
    assert "Right after" in names(ann)[-1]


def test_a_page_that_fails_in_the_middle_is_read_again(stack: Stack) -> None:
    ann = watch(stack)
    create(stack, "In the storm")
    stack.control("PUT", "/sandbox/habits", {"empty_pages": 1})
    stack.faults({"match": {"method": "drive.changes.list"}, "times": 1, "status": 503})
    stack.advance(61)
    assert names(ann) == []
    stack.advance(65)
    assert "In the storm" in names(ann)[-1]


def test_what_cannot_belong_to_it_costs_no_reading(stack: Stack) -> None:
    inside = create(stack, "Inside", mimeType=FOLDER)
    ann = watch(stack, q=f"'{inside}' in parents and trashed = false")
    before = lists(stack)
    create(stack, "Outside")
    stack.advance(61)
    ann.call("drive.files.create", requestBody={"name": "Outside too"})
    assert (lists(stack), names(ann)) == (before, [])
    ann.call("drive.files.create", requestBody={"name": "Here", "parents": [inside]})
    assert (lists(stack), names(ann)) == (before + 1, [{"Here"}])


def test_what_is_trashed_with_its_folder_leaves(stack: Stack) -> None:
    outer = create(stack, "Outer", mimeType=FOLDER)
    inner = create(stack, "Inner", mimeType=FOLDER, parents=[outer])
    create(stack, "Deep within", parents=[inner])
    ann = watch(stack, q=f"'{inner}' in parents and trashed = false")
    stack.advance(61)
    stack.as_person(ANN, "PATCH", f"/drive/v3/files/{outer}", {"trashed": True})
    stack.advance(61)
    assert names(ann) == [set()]


def test_an_own_write_to_a_watched_document_is_one_reading(stack: Stack) -> None:
    ann = watch(stack)
    talk = stack.file("Talk for the shops")
    ann.call("documents.watch", fileId=talk)
    before = lists(stack)
    ann.call("drive.files.update", fileId=talk, requestBody={"name": "Mine"})
    assert "Mine" in names(ann)[-1]
    stack.advance(20)
    assert lists(stack) == before + 1


def test_a_peers_write_brings_in_what_this_user_watches(stack: Stack) -> None:
    ann = watch(stack, q="name = 'Brought in'")
    talk = stack.file("Talk for the shops")
    ann.call("documents.watch", fileId=talk)
    bob = stack.signed_in_tab(BOB)
    bob.call("drive.files.update", fileId=talk, requestBody={"name": "Brought in"})
    assert names(ann) == [{"Brought in"}]


def test_what_this_user_does_not_watch_is_left_to_their_own_feed(stack: Stack) -> None:
    """What others see of it is nobody's business here, not even whether it would be listed."""
    ann = watch(stack, q="name = 'Brought in'")
    talk = stack.file("Talk for the shops")
    bob = stack.signed_in_tab(BOB)
    bob.call("documents.watch", fileId=talk)
    before = lists(stack)
    bob.call("drive.files.update", fileId=talk, requestBody={"name": "Brought in"})
    assert (lists(stack), names(ann)) == (before, [])
    stack.advance(61)
    assert names(ann) == [{"Brought in"}]


def test_a_write_whose_outcome_is_unknown_is_looked_for(stack: Stack) -> None:
    ann = watch(stack)
    stack.faults({"match": {"method": "drive.files.create"}, "times": 1, "after": True, "drop": True})
    assert ann.refused("drive.files.create", requestBody={"name": "Perhaps"})["code"] == 1010
    stack.advance(6)
    assert "Perhaps" in names(ann)[-1]


def test_who_watches_no_listing_has_nothing_of_what_that_needs(stack: Stack) -> None:
    ann = stack.signed_in_tab(ANN)
    user = ann.connection.browser and ann.connection.browser.user
    assert user is not None
    ann.call("documents.watch", fileId=stack.file("Autumn plan"))
    stack.as_person(ANN, "PATCH", f"/drive/v3/files/{stack.file('Autumn plan')}", {"name": "Winter plan"})
    stack.advance(10)
    assert ann.events("document.changed")
    assert user.listings_made is None
    ann.call("listings.watch", q="trashed=false")
    assert user.listings_made is not None
    assert user.listings_made.running
