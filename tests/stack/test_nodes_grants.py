"""One grant on several nodes: refreshed once, replaced and ended everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docsession.errors import CloseCode
from docsession.model import Grant
from tests.nodes import NodeOfMany, Nodes
from tests.stack.support import store_away
from tests.support import Tab

ANN = "ann@example.com"
HOUR = 3600.0


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes(4) as nodes:
        yield nodes


def refreshes(nodes: Nodes) -> int:
    return nodes.calls().get("oauth2.token.refresh", 0)


def grant(node: NodeOfMany) -> Grant:
    """The one it lives by."""
    (user,) = node.assembly.directory.live_users()
    return user.grant.grant


def stored(nodes: Nodes) -> Grant:
    (user,) = nodes.running[0].assembly.directory.live_users()
    found = nodes.await_(nodes.store.load_grant(user.id))
    assert found is not None
    return found  # type: ignore[no-any-return]


def forty(nodes: Nodes) -> list[Tab]:
    """Ten tabs on each node, of one browser for each node."""
    return [tab for node in nodes.running for tab in ten(node)]


def ten(node: NodeOfMany) -> list[Tab]:
    identity = node.sign_in(ANN)
    return [node.tab(identity) for _ in range(10)]


def ask(tabs: list[Tab]) -> list[str]:
    """All ask at once, each something else."""
    return [
        tab.start("drive.files.list", pageSize=number + 1, maxAge=0, fields="files(id)")
        for number, tab in enumerate(tabs)
    ]


def answered(tabs: list[Tab], calls: list[str]) -> list[bool]:
    answers = [tab.answer(call) for tab, call in zip(tabs, calls, strict=True)]
    return ["result" in (answer or {}) for answer in answers]


def test_four_nodes_with_ten_tabs_each_refresh_once(nodes: Nodes) -> None:
    tabs = forty(nodes)
    nodes.faults({"match": {"method": "oauth2.token.refresh"}, "delay": 2})
    nodes.clock.advance(HOUR)
    before = refreshes(nodes)
    calls = ask(tabs)
    nodes.advance(30)
    assert answered(tabs, calls) == [True] * 40
    assert refreshes(nodes) - before == 1
    assert {grant(node) for node in nodes.running} == {stored(nodes)}


def test_for_hours(nodes: Nodes) -> None:
    tabs = forty(nodes)
    for tab in tabs:
        tab.call("documents.watch", fileId=nodes.file("Autumn plan"))
    before = refreshes(nodes)
    nodes.advance(2 * HOUR, step=10)
    assert refreshes(nodes) - before == 2


def test_whoever_does_not_hear_of_it_looks(nodes: Nodes) -> None:
    tabs = forty(nodes)
    nodes.lost = lambda channel, message: True
    nodes.faults({"match": {"method": "oauth2.token.refresh"}, "delay": 2})
    nodes.clock.advance(HOUR)
    before = refreshes(nodes)
    calls = ask(tabs)
    nodes.advance(2.5, step=0.05)
    assert answered(tabs, calls) == [True] * 40
    assert refreshes(nodes) - before == 1


def test_one_that_dies_over_it_is_waited_for_no_longer_than_its_lease(nodes: Nodes) -> None:
    tabs = forty(nodes)
    nodes.faults({"match": {"method": "oauth2.token.refresh"}, "delay": 2})
    nodes.clock.advance(HOUR)
    before = refreshes(nodes)
    calls = ask(tabs)
    nodes.kill(nodes.running[0])
    nodes.advance(31)
    assert answered(tabs[10:], calls[10:]) == [True] * 30
    assert refreshes(nodes) - before == 2


def test_a_rejected_token_is_refreshed_once_for_all_nodes(nodes: Nodes) -> None:
    tabs = forty(nodes)
    nodes.sandbox.grants.expire_access(ANN)
    before = refreshes(nodes)
    calls = ask(tabs)
    nodes.advance(30)
    assert answered(tabs, calls) == [True] * 40
    assert refreshes(nodes) - before == 1


def test_a_sign_in_elsewhere_brings_its_rights(nodes: Nodes) -> None:
    one, two, *_ = nodes.running
    drive = "https://www.googleapis.com/auth/drive"
    tab = one.signed_in_tab(ANN, untick=(drive,))
    assert drive not in tab.call("session.user")["scopes"]
    assert tab.refused("drive.files.list")["data"]["name"] == "scope_missing"
    two.sign_in(ANN)
    assert drive in tab.call("session.user")["scopes"]
    assert tab.call("drive.files.list")["data"]["files"]
    assert grant(one) == stored(nodes)


def test_a_stale_refusal_does_not_end_a_newer_grant(nodes: Nodes) -> None:
    one, two, *_ = nodes.running
    first = one.signed_in_tab(ANN)
    nodes.lost = lambda channel, message: True
    nodes.clock.advance(HOUR)
    refused = {"match": {"method": "oauth2.token.refresh"}, "status": 400, "reason": "invalid_grant"}
    nodes.faults(refused | {"delay": 5})
    call = first.start("drive.files.list")
    nodes.faults()
    two.sign_in(ANN)
    nodes.advance(10)
    assert answered([first], [call]) == [True]
    assert refreshes(nodes) == 1
    assert first.wire.closed is None
    assert not stored(nodes).dead


def test_one_that_is_dead_is_dead_on_every_node(nodes: Nodes) -> None:
    tabs = forty(nodes)
    nodes.lost = lambda channel, message: message["kind"] != "grant"
    nodes.sandbox.grants.revoke(ANN)
    nodes.clock.advance(HOUR)
    before = refreshes(nodes)
    ask(tabs[:1])
    nodes.advance(1)
    assert all(tab.events("session.signed_out") == [{"reason": "revoked"}] for tab in tabs)
    assert {tab.wire.closed and tab.wire.closed[0] for tab in tabs} == {CloseCode.SIGNED_OUT}
    assert refreshes(nodes) - before == 1


def test_while_the_store_is_away_each_refreshes_for_itself(nodes: Nodes) -> None:
    tabs = forty(nodes)
    nodes.clock.advance(HOUR)
    for node in nodes.running:
        node.leases.alone = True
    before = refreshes(nodes)
    with store_away(nodes):
        calls = ask(tabs)
        nodes.advance(5)
        assert answered(tabs, calls) == [True] * 40
    assert refreshes(nodes) - before == 4
