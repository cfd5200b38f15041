"""Sessions on several nodes: a tab comes back anywhere, and what ends a session ends it everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nodes import Nodes

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes(3) as nodes:
        yield nodes


# --- sessions anywhere ----------------------------------------------------------------------


def test_a_tab_comes_back_on_another_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    identity = one.sign_in(ANN, back=two)
    tab = one.tab(identity)
    nodes.kill(one)
    opened = two.tab(identity, name=tab.connection.name).wire.sent[0]["result"]
    assert (opened["how"], opened["resumed"]) == ("stored", True)
    assert opened["user"]["email"] == ANN
    three = nodes.running[1].tab(identity)
    assert three.call("drive.files.list")["data"]["files"]


def test_a_browser_that_is_not_signed_in_is_new_on_another_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.tab()
    opened = two.tab(tab.identity, name=tab.connection.name).wire.sent[0]["result"]
    assert (opened["how"], opened["resumed"]) == ("new", False)


def test_a_node_that_is_added_and_one_that_is_stopped(nodes: Nodes) -> None:
    identity = nodes.running[0].sign_in(ANN)
    tabs = [node.tab(identity) for node in nodes.running]
    nodes.stop(nodes.running[0])
    assert [tab.wire.closed is None for tab in tabs] == [False, True, True]
    assert nodes.add().tab(identity).call("session.user")["email"] == ANN


def test_a_node_that_is_cut_off_goes_on_with_who_is_live(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.cut_off(one)
    nodes.advance(10)
    assert tab.call("drive.files.list", maxAge=0)["data"]["files"]
    nodes.rejoin(one)
    assert two.tab(tab.identity).call("session.user")["email"] == ANN
