"""Live listings through several servers: whatever happens is told on every node, and asked for once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.nodes import NodeOfMany, Nodes
from tests.support import Tab

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes(3, "[polling]\njitter = 0") as nodes:
        yield nodes


def watch(node: NodeOfMany, tab: Tab | None = None, **params: Any) -> Tab:
    tab = tab or node.signed_in_tab(ANN)
    tab.call("listings.watch", **{"q": "trashed=false", "fields": "files(id,name)", **params})
    return tab


def names(tab: Tab) -> list[set[str]]:
    return [{file["name"] for file in event["data"]["files"]} for event in tab.events("listing.changed")]


def create(nodes: Nodes, name: str) -> str:
    return str(nodes.as_person(ANN, "POST", "/drive/v3/files", {"name": name})["id"])


def both(nodes: Nodes) -> tuple[Tab, Tab]:
    """One user's tabs on two nodes, with the same listing."""
    one, two, _ = nodes.running
    first = watch(one)
    return first, watch(two, two.tab(first.identity))


def test_one_sweeps_and_all_are_told(nodes: Nodes) -> None:
    tabs = both(nodes)
    for number in range(3):
        create(nodes, f"Number {number}")
        nodes.advance(66)
        for tab in tabs:
            assert f"Number {number}" in names(tab)[-1]
    assert nodes.calls()["drive.changes.list"] == 3


def test_a_write_at_one_node_is_seen_at_the_other_at_once(nodes: Nodes) -> None:
    first, second = both(nodes)
    first.call("drive.files.create", requestBody={"name": "Mine"})
    nodes.advance(0.5)
    assert "Mine" in names(first)[-1]
    assert "Mine" in names(second)[-1]
    # And nothing that was kept before is shown.
    read = {"q": "trashed=false", "fields": "files(id,name)"}
    assert "Mine" in {file["name"] for file in second.call("drive.files.list", **read)["data"]["files"]}


def test_what_was_kept_of_a_folder_is_dropped_on_every_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    first = one.signed_in_tab(ANN)
    second = two.tab(first.identity)
    folder = first.call(
        "drive.files.create", requestBody={"name": "F", "mimeType": "application/vnd.google-apps.folder"}
    )["data"]["id"]
    inside = first.call("drive.files.create", requestBody={"name": "Inside", "parents": [folder]})["data"][
        "id"
    ]
    read = {"fileId": inside, "fields": "id,trashed"}
    assert second.call("drive.files.get", **read)["data"]["trashed"] is False
    first.call("drive.files.update", fileId=folder, requestBody={"trashed": True})
    nodes.advance(0.5)
    assert second.call("drive.files.get", **read)["data"]["trashed"] is True


def test_what_one_node_swept_is_no_longer_kept_where_no_listing_is_shown(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    first = watch(one)
    second = two.tab(first.identity)
    read = {"q": "trashed=false", "fields": "files(id,name)"}
    nodes.advance(30)
    second.call("drive.files.list", **read)
    create(nodes, "New")
    nodes.advance(40)
    assert "New" in {file["name"] for file in second.call("drive.files.list", **read)["data"]["files"]}


def test_the_sweeper_dies(nodes: Nodes) -> None:
    first, second = both(nodes)
    nodes.advance(10)
    create(nodes, "Told by the other")
    nodes.kill(nodes.running[0])
    nodes.advance(5)
    assert "Told by the other" in names(second)[-1]
    assert names(first) == []


def test_the_sweeper_is_stopped(nodes: Nodes) -> None:
    _, second = both(nodes)
    nodes.advance(10)
    create(nodes, "Told by the other")
    nodes.stop(nodes.running[0])
    nodes.advance(5)
    assert "Told by the other" in names(second)[-1]


def test_cut_off_it_goes_on_more_slowly_and_all_is_right_again(nodes: Nodes) -> None:
    first, second = both(nodes)
    one, two, _ = nodes.running
    nodes.cut_off(two)
    assert (one.assembly.economy.demand.stretch, two.assembly.economy.demand.stretch) == (1, 4)
    create(nodes, "Amid it")
    nodes.advance(66)
    # Told as what it is, though a stretch by itself would be told as Google's limit.
    assert set(two.assembly.economy.troubles.of(None)) == {"store_unavailable"}
    assert one.assembly.economy.troubles.of(None) == {}
    assert "Amid it" in names(first)[-1]
    nodes.advance(4 * 66)
    assert "Amid it" in names(second)[-1]
    create(nodes, "And this")
    nodes.rejoin(two)
    assert two.assembly.economy.demand.stretch == 1
    nodes.advance(10)
    assert "And this" in names(second)[-1]
    before = nodes.calls()["drive.changes.list"]
    nodes.advance(5 * 66)
    assert nodes.calls()["drive.changes.list"] - before in (6, 7)


def test_messages_that_are_lost_cost_time_and_no_truth(nodes: Nodes) -> None:
    _, second = both(nodes)
    nodes.lost = lambda channel, message: message["kind"] == "swept"
    create(nodes, "Not heard of")
    nodes.advance(66)
    assert names(second) == []
    nodes.lost = lambda channel, message: False
    nodes.advance(66)
    assert "Not heard of" in names(second)[-1]


def test_nothing_of_one_user_is_said_to_another(nodes: Nodes) -> None:
    both(nodes)
    bob = watch(nodes.running[2], nodes.running[2].signed_in_tab(BOB))
    create(nodes, "Of Ann's alone")
    nodes.advance(66)
    assert all("Of Ann's alone" not in shown for shown in names(bob))
    channels = {channel for channel, message in nodes.messages if message["kind"] == "swept"}
    assert len(channels) == 1
