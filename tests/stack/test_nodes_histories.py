"""Random schedules over several nodes: they come and go, their messages are lost, their store is.

The rules are those of :mod:`tests.stack.test_histories`, and so is what must be true in the end.
``DOCSESSION_HISTORIES=500 pytest tests/stack/test_nodes_histories.py`` plays that many, other ones each time.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from docsession.connection import Connection
from docsession.interfaces import Wire
from tests.nodes import NodeOfMany, Nodes
from tests.stack.playing import CONFIGURATION, Play, PlayedTab
from tests.stack.test_histories import PUSH, Histories, play_histories
from tests.support import ORIGIN, Stack

MOST_NODES = 4
which_node = st.integers(0, MOST_NODES - 1)


class NodesPlay(Play):
    """One history over several nodes: each socket is at any of them."""

    def make_stack(self, toml: str) -> Stack:
        self.luck = random.Random(11)
        self.lost = 0.0
        self.at: dict[PlayedTab, NodeOfMany] = {}
        nodes = Nodes(3, toml)
        nodes.lost = lambda channel, message: self.luck.random() < self.lost
        nodes.google = nodes.agent  # type: ignore[attr-defined]
        return nodes

    def socket(self, tab: PlayedTab, wire: Wire) -> Connection:
        node = self.at[tab] = self.luck.choice(self.stack.running)
        return node.assembly.connect(wire, tab.identity, ORIGIN)

    def kill(self, node: NodeOfMany) -> None:
        """``kill -9``; there is always another."""
        if len(self.stack.running) == 1:
            self.stack.add()
        self.stack.kill(node)
        for tab in self.tabs:
            if self.at[tab] is node:
                tab.lose(tell_server=False)

    def stop(self, node: NodeOfMany) -> None:
        """In order."""
        if len(self.stack.running) == 1:
            self.stack.add()
        self.stack.stop(node)
        for tab in self.tabs:
            if self.at[tab] is node:
                tab.lose(tell_server=False)

    def restart(self, *, clean: bool) -> None:
        """All of them."""
        for node in list(self.stack.running):
            self.stack.add()
            (self.stop if clean else self.kill)(node)

    # Rare looks with everybody's eyes in turn take their time where eyes are at several nodes.
    def end(self, settle: float = 1500.0) -> Any:
        self.lost = 0.0
        for node in self.stack.running:
            if node.store.away:
                self.stack.rejoin(node)
        return super().end(settle)


class NodesHistories(Histories):
    """Bad luck that only several nodes can have."""

    def make_play(self, documents: tuple[str, ...]) -> Play:
        return NodesPlay(documents, self.configuration)

    @rule(which=which_node)
    def a_node_is_killed(self, which: int) -> None:
        self.play.kill(self._node(which))

    @rule(which=which_node)
    def a_node_is_stopped(self, which: int) -> None:
        self.play.stop(self._node(which))

    @precondition(lambda self: len(self.play.stack.running) < MOST_NODES)
    @rule()
    def a_node_is_added(self) -> None:
        self.play.stack.add()

    @rule(part=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    def messages_are_lost(self, part: float) -> None:
        self.play.lost = part

    @rule(which=which_node)
    def a_node_is_cut_off(self, which: int) -> None:
        node = self._node(which)
        if not node.store.away:
            self.play.stack.cut_off(node)

    @rule(which=which_node)
    def a_node_is_back(self, which: int) -> None:
        node = self._node(which)
        if node.store.away:
            self.play.stack.rejoin(node)

    @precondition(lambda self: not any(node.store.away for node in self.play.stack.running))
    @rule()
    def the_store_is_lost(self) -> None:
        """Who is here then stays signed in."""
        for tab in self.play.tabs:
            tab.connect()
        self.play.stack.set_back()

    def _node(self, which: int) -> NodeOfMany:
        running = self.play.stack.running
        return running[which % len(running)]  # type: ignore[no-any-return]


class PushedNodesHistories(NodesHistories):
    """The same where Google pushes."""

    configuration = CONFIGURATION + PUSH


@pytest.mark.parametrize(("histories", "few"), [(NodesHistories, 15), (PushedNodesHistories, 8)])
def test_histories(histories: type[Histories], few: int) -> None:
    """What every connection was told, whichever node it was at, was true, and said once."""
    play_histories(histories, few)
