"""Writes over several nodes: done once, whichever a tab comes back to and whatever becomes of the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from docsession.journal import digest
from docsession.model import JournalKey
from tests.nodes import NodeOfMany, Nodes
from tests.support import Tab

ANN = "ann@example.com"
SLOW = {"match": {"method": "drive.files.create"}, "delay": 5}
WRITE = {"requestBody": {"name": "Minutes of today"}, "fields": "name"}


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes(3) as nodes:
        yield nodes


def made(nodes: Nodes) -> int:
    """How many files of that name there are."""
    return sum(file.name == "Minutes of today" for file in nodes.sandbox.world.files.values())


def send(tab: Tab) -> str:
    return str(tab.start("drive.files.create", "w-1", **WRITE))


def said(tab: Tab) -> Any:
    """What the write was answered: the file's name, or the error's; None if it was not."""
    answer = tab.answer("w-1")
    if answer is None:
        return None
    return answer["result"]["data"]["name"] if "result" in answer else answer["error"]["data"]["name"]


def back(tab: Tab, node: NodeOfMany) -> Tab:
    """It comes back, and sends the write again."""
    again = node.tab(tab.identity, name=tab.connection.name)
    assert again.connection.resumed
    send(again)
    return again


def test_done_at_one_node_and_asked_for_at_another(nodes: Nodes) -> None:
    one, two, three = nodes.running
    tab = one.signed_in_tab(ANN)
    send(tab)
    tab.lose()
    assert said(back(tab, two)) == "Minutes of today"
    nodes.kill(one)
    assert said(back(tab, three)) == "Minutes of today"
    assert made(nodes) == 1


def test_running_at_one_node_and_waited_for_at_another(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.faults(SLOW)
    send(tab)
    again = back(tab, two)
    nodes.advance(4)
    assert said(again) is None
    nodes.advance(2)
    assert said(again) == "Minutes of today"
    assert made(nodes) == 1


def test_its_node_dies_over_it(nodes: Nodes) -> None:
    one, two, three = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.faults(SLOW)
    send(tab)
    again = back(tab, two)
    nodes.kill(one)
    nodes.advance(2)
    assert said(again) == "outcome_unknown"
    assert said(back(tab, three)) == "outcome_unknown"
    nodes.advance(10)
    assert made(nodes) == 1


def test_its_node_dies_before_it_was_sent(nodes: Nodes) -> None:
    """While its token is being refreshed, say: then it is simply done."""
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.clock.advance(3600)
    nodes.faults({"match": {"method": "oauth2.token.refresh"}, "delay": 2})
    send(tab)
    nodes.kill(one)
    nodes.faults()
    again = back(tab, two)
    nodes.advance(31)
    assert said(again) == "Minutes of today"
    assert made(nodes) == 1


def test_queued_at_one_node_while_another_sends_it(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    file_id = nodes.file("Autumn plan")
    nodes.faults({"match": {"method": "drive.files.update"}, "delay": 5, "times": 1})
    tab.start("drive.files.update", "before", fileId=file_id, requestBody={"starred": True})
    rename = {"fileId": file_id, "requestBody": {"name": "Winter plan"}, "fields": "name,version"}
    tab.start("drive.files.update", "w-1", **rename)
    again = two.tab(tab.identity, name=tab.connection.name)
    assert again.call("drive.files.get", fileId=file_id, fields="name")["data"]["name"] == "Autumn plan"
    again.start("drive.files.update", "w-1", **rename)
    nodes.advance(10)
    assert said(again) == "Winter plan"
    assert nodes.calls()["drive.files.update"] == 2
    assert (len(one.assembly.journal), len(two.assembly.journal)) == (0, 0)


def test_a_drained_node_ends_its_writes_and_another_tells_of_them(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.faults(SLOW)
    send(tab)
    one.assembly.directory.drain(lambda: 1.0)
    again = back(tab, two)
    nodes.stop(one)
    nodes.advance(1)
    assert said(again) == "Minutes of today"
    assert made(nodes) == 1


# --- the store set back ---------------------------------------------------------------------


def test_what_runs_is_in_the_journal_again(nodes: Nodes) -> None:
    """And a tab that comes back does not send it again by itself: its name is of another time."""
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.faults(SLOW)
    send(tab)
    nodes.set_back()
    params = json.dumps(WRITE).encode()
    key = JournalKey(
        tab.identity.session_id, tab.connection.name, '"w-1"', digest("drive.files.create", params)
    )
    entry = nodes.await_(nodes.store.journal_find(key))
    assert (entry.node, entry.outcome) == (one.name, None)
    again = two.tab(tab.identity, name=tab.connection.name)
    assert (again.connection.resumed, again.connection.name != tab.connection.name) == (False, True)
    nodes.advance(6)
    assert nodes.await_(nodes.store.journal_find(key)).outcome is not None
    third = nodes.running[2].tab(tab.identity, name=again.connection.name)
    assert (third.connection.resumed, third.connection.name) == (True, again.connection.name)
    assert made(nodes) == 1


def test_what_was_sent_again_to_a_node_when_it_is_lost(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.faults(SLOW)
    send(tab)
    again = back(tab, two)
    nodes.kill(one)
    nodes.set_back()
    nodes.advance(2)
    assert said(again) == "outcome_unknown"
    # Half a minute later nothing is sent again any more: what comes is new.
    again.refused("drive.files.create", **WRITE)
    nodes.advance(30)
    nodes.faults()
    assert again.call("drive.files.create", **WRITE)["data"]["name"] == "Minutes of today"
    assert made(nodes) == 2


def test_an_open_tab_goes_on_writing(nodes: Nodes) -> None:
    tab = nodes.running[0].signed_in_tab(ANN)
    nodes.set_back()
    assert tab.call("drive.files.create", **WRITE)["data"]["name"] == "Minutes of today"
