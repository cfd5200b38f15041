"""TCP between processes of a test, with somebody in between: wires that break, and a load balancer.

    with Network() as network:
        wire = network.wire(redis.port)
        balancer = network.balancer({"one": 8001, "two": 8002})

All of it runs in one thread; its methods may be called from any other.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["Balancer", "Network", "Wire"]

_HOST = "127.0.0.1"
_WITHIN = 20.0
T = TypeVar("T")


class Network:
    """The thread that forwards, for as long as this context lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._pairs: set[_Pair] = set()

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WITHIN)
        self._loop.close()

    def wire(self, target: int) -> Wire:
        """A port of its own that leads to that one."""
        return Wire(self, target)

    def balancer(self, targets: Mapping[str, int]) -> Balancer:
        """A port of its own that leads to each of these in turn."""
        return Balancer(self, targets)

    def run(self, coroutine: Any) -> Any:
        """Run it in the thread, and wait for it."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(_WITHIN)

    def do(self, call: Callable[[], T]) -> T:
        """Call it in the thread, and wait for it."""

        async def calling() -> T:
            return call()

        return self.run(calling())  # type: ignore[no-any-return]

    def listen(self, accepted: Callable[[_Pair], Any]) -> int:
        """Listen on a free port; each connection becomes a pair that is given to ``accepted``."""

        async def listening() -> int:
            server = await self._loop.create_server(lambda: _End(_Pair(self._pairs, accepted)), _HOST, 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return int(self.run(listening()))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for pair in list(self._pairs):
            pair.reset()
        await asyncio.sleep(0)


class _Pair:
    """A connection that came in, and the one that it is led on by."""

    def __init__(self, pairs: set[_Pair], accepted: Callable[[_Pair], Any]) -> None:
        self._pairs = pairs
        self._accepted = accepted
        self.near: _End | None = None
        self.far: _End | None = None
        self.frozen = False
        self.over = False
        self.leading: asyncio.Task[Any] | None = None

    def made(self, end: _End) -> None:
        if self.near is None:
            self.near = end
            assert end.transport is not None
            end.transport.pause_reading()
            self._pairs.add(self)
            self._accepted(self)

    @property
    def peer(self) -> int:
        """The port that it came from."""
        assert self.near is not None and self.near.transport is not None
        return int(self.near.transport.get_extra_info("peername")[1])

    async def lead(self, port: int) -> bool:
        """On to that port; False where nobody listens there."""
        loop = asyncio.get_running_loop()
        try:
            _, self.far = await asyncio.wait_for(
                loop.create_connection(lambda: _End(self), _HOST, port), _WITHIN
            )
        except OSError:
            return False
        if self.over:
            self.far.abort()
        self.flow()
        return True

    def flow(self) -> None:
        """Let through whatever may pass now."""
        for end, other in ((self.near, self.far), (self.far, self.near)):
            if end is not None and end.transport is not None and not end.transport.is_closing():
                if self.frozen or other is None or other.full:
                    end.transport.pause_reading()
                else:
                    end.transport.resume_reading()

    def freeze(self, frozen: bool) -> None:
        self.frozen = frozen
        self.flow()

    def other(self, end: _End) -> _End | None:
        return self.far if end is self.near else self.near

    def reset(self) -> None:
        """Break it."""
        self.over = True
        self._pairs.discard(self)
        for end in (self.near, self.far):
            if end is not None:
                end.abort()

    def ended(self, end: _End) -> None:
        self.over = True
        self._pairs.discard(self)
        other = self.other(end)
        if other is not None and other.transport is not None:
            other.transport.close()


class _End(asyncio.Protocol):
    """One end of a pair."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self.transport: asyncio.Transport | None = None
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._pair.made(self)

    def data_received(self, data: bytes) -> None:
        other = self._pair.other(self)
        if other is not None and other.transport is not None:
            other.transport.write(data)

    def pause_writing(self) -> None:
        self.full = True
        self._pair.flow()

    def resume_writing(self) -> None:
        self.full = False
        self._pair.flow()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.ended(self)

    def abort(self) -> None:
        if self.transport is not None:
            linger = struct.pack("ii", 1, 0)  # a reset, and no polite end
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()


class Wire:
    """Leads from ``port`` to another; can be cut or frozen, and healed."""

    def __init__(self, network: Network, target: int) -> None:
        self._network = network
        self._target = target
        self._is_cut = False
        self._is_frozen = False
        self._own: set[_Pair] = set()
        self.port = network.listen(self._accepted)

    def cut(self) -> None:
        """Break what goes through, and let nothing through any more."""
        self._set(cut=True, frozen=False)

    def freeze(self) -> None:
        """Nothing breaks, and nothing passes: as when a cable is pulled."""
        self._set(cut=False, frozen=True)

    def heal(self) -> None:
        """All passes again, what was held back first."""
        self._set(cut=False, frozen=False)

    @property
    def broken(self) -> bool:
        """Whether nothing passes."""
        return self._is_cut or self._is_frozen

    def connections(self) -> int:
        """How many go through it now."""
        return self._network.do(lambda: sum(not pair.over for pair in self._own))

    def _set(self, *, cut: bool, frozen: bool) -> None:
        def doing() -> None:
            self._is_cut, self._is_frozen = cut, frozen
            self._own = {pair for pair in self._own if not pair.over}
            for pair in list(self._own):
                if cut:
                    pair.reset()
                else:
                    pair.freeze(frozen)
                    self._lead(pair)

        self._network.do(doing)

    def _accepted(self, pair: _Pair) -> None:
        self._own.add(pair)
        if self._is_cut:
            pair.reset()
            return
        pair.frozen = self._is_frozen
        self._lead(pair)

    def _lead(self, pair: _Pair) -> None:
        if not pair.frozen and pair.leading is None:
            pair.leading = asyncio.ensure_future(self._lead_on(pair))

    async def _lead_on(self, pair: _Pair) -> None:
        if not await pair.lead(self._target):
            pair.reset()


class Balancer:
    """Leads from ``port`` to each target in turn, whoever comes; to one that refuses nobody is led.

    ``node_of`` says, by the port that a connection came from, where it was led.
    """

    def __init__(self, network: Network, targets: Mapping[str, int]) -> None:
        self._targets = dict(targets)
        self._turn = 0
        self._out: frozenset[str] = frozenset()
        self.node_of: dict[int, str] = {}
        self.port = network.listen(self._accepted)

    def without(self, *names: str) -> None:
        """Lead nobody to these (and again to all others)."""
        self._out = frozenset(names)

    def _accepted(self, pair: _Pair) -> None:
        pair.leading = asyncio.ensure_future(self._lead_on(pair))

    async def _lead_on(self, pair: _Pair) -> None:
        names = list(self._targets)
        self._turn += 1
        for count in range(len(names)):
            name = names[(self._turn + count) % len(names)]
            if name not in self._out:
                self.node_of[pair.peer] = name
                if await pair.lead(self._targets[name]):
                    return
        pair.reset()
