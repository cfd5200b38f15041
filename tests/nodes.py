"""Several nodes in memory: servers over one sandbox, one clock, one store and one switchboard.

    with Nodes(3) as nodes:
        one, two, three = nodes.running
        tab = one.signed_in_tab("ann@example.com")
        nodes.kill(one)                       # no goodbye, nothing of it runs any more
        back = two.tab(tab.identity, name=tab.connection.name)

Messages of the bus are lost while ``nodes.lost`` says so. :func:`tests.stack.support.store_away` takes
the store from all nodes, :meth:`Nodes.cut_off` all that is shared from one.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from docsession.backend.memory import Switchboard, WholeQuota
from docsession.backend.sqlite import InlineRunner, SqliteStore
from docsession.errors import Unavailable
from docsession.interfaces import Backend, Shares
from docsession.keys import Sealer
from tests.support import SANDBOX, Cable, Node, Stack

__all__ = ["NodeOfMany", "Nodes"]


@implementer(IReactorTime)
class NodeClock:
    """The clock of all, and which of its calls are this node's."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._calls: list[Any] = []
        self.stopped = False

    def seconds(self) -> float:
        return float(self._clock.seconds())

    def callLater(self, delay: float, callable: Any, *arguments: Any, **named: Any) -> Any:
        call = self._clock.callLater(delay, callable, *arguments, **named)
        if self.stopped:
            call.cancel()
        self._calls = [each for each in self._calls if each.active()] + [call]
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return [call for call in self._calls if call.active()]

    def stop(self) -> None:
        """Nothing of it is due any more."""
        self.stopped = True
        for call in self.getDelayedCalls():
            call.cancel()


class NodeStore:
    """The store of all, as one node reaches it: ``away`` is between the two."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._away = False
        self._dead = False
        self._unanswered: list[Any] = []  # held, so that nothing of a dead node runs again
        self._on_away: Callable[[bool], None] = lambda away: None
        self.on_set_back: Callable[[], None] = lambda: None

    def listen(self, on_away: Callable[[bool], None], on_set_back: Callable[[], None] = lambda: None) -> None:
        self._on_away, self.on_set_back = on_away, on_set_back

    @property
    def epoch(self) -> str:
        return self._nodes.epoch

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        self._on_away(away)

    def die(self) -> None:
        """Whoever waits for it waits for ever."""
        self._dead = True

    def __getattr__(self, name: str) -> Any:
        async def ask(*arguments: Any, **named: Any) -> Any:
            if self._away:
                raise Unavailable
            asked = Deferred.fromCoroutine(getattr(self._nodes.store, name)(*arguments, **named))
            answered: Deferred[Any] = Deferred()
            if self._dead or not asked.called:
                self._unanswered.append((asked, answered))

            def pass_on(result: Any) -> None:
                if not self._dead:
                    answered.callback(result)

            asked.addBoth(pass_on)
            return await answered

        return ask


class NodeOfMany(Node):
    """One of several server processes."""

    def __init__(self, nodes: Nodes, name: str, number: int) -> None:
        self.name = name
        self.cable = Cable(nodes.agent)
        self.clock = NodeClock(nodes.clock)
        self.store = NodeStore(nodes)
        self.bus, self.leases = nodes.switchboard.node(name)
        super().__init__(
            nodes,
            backend=Backend(self.store, self.bus, self.leases, nodes.shares(name), several=True),
            clock=self.clock,
            agent=self.cable,
            rng=random.Random(2 + number),
        )
        self.posts = nodes._agent_of(self.assembly.pages.resource())


class Posts:
    """What the sandbox posts goes to the nodes in turn, as through a load balancer."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._turn = 0

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        self._turn += 1
        node = self._nodes.running[self._turn % len(self._nodes.running)]
        return node.posts.request(method, uri, headers, bodyProducer)


class Nodes(Stack):
    """So many of them; ``running`` are those that do. What a Stack does, the first of them does."""

    def __init__(
        self,
        count: int = 2,
        toml: str = "",
        *,
        shares: Callable[[str], Shares] = lambda name: WholeQuota(),
        **options: Any,
    ) -> None:
        self._count = count
        self._made = 0
        self.shares = shares
        self.epoch = ""
        self.lost: Callable[[str, Mapping[str, Any]], bool] = lambda channel, message: False
        self.messages: list[tuple[str, Mapping[str, Any]]] = []
        self.running: list[NodeOfMany] = []
        self.killed: list[NodeOfMany] = []
        super().__init__(toml, direct=True, **options)

    # -- starting and stopping

    def start_server(self) -> None:
        self._open_store()
        self.switchboard = Switchboard(self.clock, deliver=self._deliver)
        for _ in range(self._count):
            self.add()
        # What the sandbox posts about push channels arrives at one node or another.
        self.sandbox.channels.agent = Posts(self)  # type: ignore[assignment]

    def add(self) -> NodeOfMany:
        """A further node."""
        self._made += 1
        node = NodeOfMany(self, f"node-{self._made}", self._made)
        self.running.append(node)
        self.node, self.assembly = self.running[0], self.running[0].assembly
        return node

    def stop(self, node: NodeOfMany) -> None:
        """In order, as the daemon stops: tabs are told, writes end, then the parts, then what is shared."""
        node.assembly.directory.drain(lambda: 1.0)
        self.flush()
        waited = 0.0
        while len(node.assembly.journal) and waited < 10.0:
            self.advance(0.5)
            waited += 0.5
        self.await_(node.stop())
        self._gone(node)

    def kill(self, node: NodeOfMany) -> None:
        """As ``kill -9``: nothing is finished, nothing is said, nothing runs any more."""
        node.cable.cut()
        node.store.die()
        self._gone(node)

    def _gone(self, node: NodeOfMany) -> None:
        node.clock.stop()
        self.switchboard.remove(node.name)
        self.running.remove(node)
        self.killed.append(node)
        if self.running:
            self.node, self.assembly = self.running[0], self.running[0].assembly

    def stop_server(self) -> None:
        for node in list(self.running):
            self.await_(node.stop())
            self._gone(node)
        self.await_(self.store.close())
        self.stop_timers()

    # -- what is shared, and bad luck with it

    def _open_store(self) -> None:
        path = self.directory / "docsession.sqlite"
        self.store = SqliteStore(path, Sealer(self.keys), run=InlineRunner(path), clock=self.clock)
        self.await_(self.store.open({"issuer": SANDBOX, "client_id": self.config.google.client_id}))

    def set_back(self) -> None:
        """The store has lost all it had, and says so to every node."""
        self.await_(self.store.close())
        for path in self.directory.glob("docsession.sqlite*"):
            path.unlink()
        self._again()

    def snapshot(self) -> Callable[[], None]:
        """Call what is returned to set the store back to what it holds now."""
        kept = self.directory / "snapshot"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        self.await_(self.store.close())
        for path in self.directory.glob("docsession.sqlite*"):
            shutil.copy(path, kept)
        self._open_store()

        def restore() -> None:
            self.await_(self.store.close())
            for path in self.directory.glob("docsession.sqlite*"):
                path.unlink()
            for path in kept.iterdir():
                shutil.copy(path, self.directory)
            self._again()

        return restore

    def _again(self) -> None:
        self._open_store()
        self.epoch = f"{len(self.epoch) + 1:x}" * (len(self.epoch) + 1)
        for node in self.running:
            node.store.on_set_back()
        self.flush()

    def cut_off(self, node: NodeOfMany) -> None:
        """It reaches nothing that is shared: no store, no bus, no leases."""
        del self.switchboard.buses[node.name]
        node.leases.alone = True
        node.store.away = True

    def rejoin(self, node: NodeOfMany) -> None:
        """It reaches all that is shared again."""
        self.switchboard.buses[node.name] = node.bus
        node.leases.alone = False
        node.store.away = False
        node.bus.gap()
        self.flush()

    def _deliver(self, channel: str, message: Mapping[str, Any]) -> bool:
        self.messages.append((channel, message))
        return not self.lost(channel, message)
