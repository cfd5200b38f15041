"""Push through several servers: Google's posts come to any of them, and every one acts on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nodes import NodeOfMany, Nodes
from tests.support import Tab

ANN, BOB = "ann@example.com", "bob@example.com"
PUSH = "[polling]\njitter = 0\n[push]\nurl = 'http://127.0.0.1:8765'\n"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes(3, PUSH) as nodes:
        yield nodes


def live(node: NodeOfMany, tab: Tab) -> bool:
    assert tab.connection.user_id is not None
    return node.assembly.channels.is_live(tab.connection.user_id)


def everywhere(nodes: Nodes, email: str = ANN) -> list[Tab]:
    """One user's tabs, one on each node; Google has told of the channel."""
    first = nodes.running[0].signed_in_tab(email)
    tabs = [first, *(node.tab(first.identity) for node in nodes.running[1:])]
    nodes.advance(3)
    return tabs


def test_one_channel_and_every_node_relies_on_it(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    calls = nodes.calls()
    assert (calls["drive.changes.watch"], calls["drive.changes.getStartPageToken"]) == (1, 1)
    assert [live(node, tab) for node, tab in zip(nodes.running, tabs, strict=True)] == [True] * 3
    nodes.advance(300)
    assert [live(node, tab) for node, tab in zip(nodes.running, tabs, strict=True)] == [True] * 3
    assert nodes.calls()["drive.changes.watch"] == 1


def test_known_on_another_node_within_a_second(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    first = one.tab(one.sign_in(ANN))
    second = two.tab(first.identity)
    nodes.advance(1.5, step=0.1)
    assert live(one, first)
    assert live(two, second)


def test_a_change_is_told_on_every_node_wherever_google_posts(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    talk = nodes.file("Talk for the shops")
    for tab in tabs:
        tab.call("documents.watch", fileId=talk)
    nodes.advance(30)
    for number in range(6):
        nodes.as_person(ANN, "PATCH", f"/drive/v3/files/{talk}", {"name": f"Talk {number}"})
        nodes.advance(8)
        for tab in tabs:
            assert tab.events("document.changed")[-1]["file"]["name"] == f"Talk {number}"


def test_who_leaves_a_node_leaves_the_channel_to_the_others(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    linger = nodes.config.sessions.linger
    tabs[0].lose()
    tabs[1].lose()
    nodes.advance(linger + 15)
    assert nodes.running[0].assembly.directory.users == 0
    assert "drive.channels.stop" not in nodes.calls()
    assert live(nodes.running[2], tabs[2])
    tabs[2].lose()
    nodes.advance(linger + 15)
    assert nodes.calls()["drive.channels.stop"] == 1


def test_signed_out_everywhere_it_is_stopped_once(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    tabs[1].call("session.sign_out", everywhere=True)
    nodes.advance(15)
    assert [node.assembly.directory.users for node in nodes.running] == [0, 0, 0]
    assert nodes.calls()["drive.channels.stop"] == 1


def test_disconnected_it_is_stopped_before_the_grant_is_revoked(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    user_id = str(tabs[1].connection.user_id)
    assert nodes.await_(nodes.store.load_grant(user_id)) is not None
    tabs[1].call("session.sign_out", disconnect=True)
    nodes.advance(15)
    assert nodes.calls()["drive.channels.stop"] == 1
    assert nodes.await_(nodes.store.load_grant(user_id)) is None


def test_the_node_that_opened_it_dies(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    talk = nodes.file("Talk for the shops")
    tabs[2].call("documents.watch", fileId=talk)
    nodes.kill(nodes.running[0])
    nodes.advance(30)
    nodes.as_person(ANN, "PATCH", f"/drive/v3/files/{talk}", {"name": "After it"})
    nodes.advance(8)
    assert tabs[2].events("document.changed")[-1]["file"]["name"] == "After it"
    assert nodes.calls()["drive.changes.watch"] == 1


def test_a_listing_without_a_document_is_swept_for_a_hint(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    for tab in tabs[:2]:
        tab.call("listings.watch", q="trashed=false", fields="files(id,name)")
    nodes.advance(10)
    before = nodes.calls().get("drive.changes.list", 0)
    nodes.as_person(ANN, "POST", "/drive/v3/files", {"name": "Hinted at"})
    nodes.advance(12)
    for tab in tabs[:2]:
        names = {file["name"] for file in tab.events("listing.changed")[-1]["data"]["files"]}
        assert "Hinted at" in names
    assert nodes.calls()["drive.changes.list"] - before <= 2


def test_a_store_that_lost_all_is_told_of_the_channel(nodes: Nodes) -> None:
    tabs = everywhere(nodes)
    nodes.set_back()
    nodes.advance(10)
    records = nodes.await_(nodes.store.load_channels(str(tabs[0].connection.user_id)))
    assert [(record.state, record.heard) for record in records] == [("live", True)]
    nodes.advance(300)
    assert nodes.calls()["drive.changes.watch"] == 1
