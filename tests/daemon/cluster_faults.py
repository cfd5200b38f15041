"""What may go wrong with nodes and Redis, each for so many seconds, while a crowd goes on.

Every fault is over when it returns; :func:`heal` waits until the nodes say so themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.daemon.cluster import Node
from tests.daemon.cluster_crowd import Crowd

__all__ = [
    "FAULTS",
    "Fault",
    "heal",
    "node_cut_off",
    "node_killed",
    "node_stands_still",
    "redis_emptied",
    "redis_flushed",
    "redis_paused",
    "redis_stopped",
]

HEALED_WITHIN = 60.0
Fault = Callable[[Crowd, float], Awaitable[None]]


def _a_node(crowd: Crowd) -> Node:
    return crowd.rng.choice([node for node in crowd.cluster.nodes if node.running])


async def node_killed(crowd: Crowd, seconds: float) -> None:
    """``kill -9`` of one node, which is started again after that time."""
    node = _a_node(crowd)
    await asyncio.to_thread(node.kill)
    await asyncio.sleep(seconds)
    node.start()
    await asyncio.to_thread(node.wait)


async def node_stands_still(crowd: Crowd, seconds: float) -> None:
    """``SIGSTOP``, and ``SIGCONT``: it wakes up, and believes that no time has passed."""
    node = _a_node(crowd)
    async with crowd.cut_off(node):
        node.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            node.thaw()


async def node_cut_off(crowd: Crowd, seconds: float) -> None:
    """One node does not reach Redis, and all others do; nothing breaks, and nothing passes."""
    node = _a_node(crowd)
    async with crowd.cut_off(node):
        with crowd.cluster.away(node):
            await asyncio.sleep(seconds)


async def redis_stopped(crowd: Crowd, seconds: float) -> None:
    """Stopped, and started with the data it had."""
    redis = crowd.cluster.breakable
    async with crowd.cut_off(*crowd.cluster.nodes):
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(redis.start)


async def redis_emptied(crowd: Crowd, seconds: float) -> None:
    """Stopped, and started with nothing."""
    redis = crowd.cluster.breakable
    async with crowd.cut_off(*crowd.cluster.nodes):
        await asyncio.to_thread(redis.kill)
        redis.empty()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(redis.start)


async def redis_paused(crowd: Crowd, seconds: float) -> None:
    """``CLIENT PAUSE``: connections stay, and nothing is answered."""
    async with crowd.cut_off(*crowd.cluster.nodes):
        await asyncio.to_thread(crowd.cluster.breakable.pause, seconds)
        await asyncio.sleep(seconds)


async def redis_flushed(crowd: Crowd, seconds: float) -> None:
    """``FLUSHALL``: from one moment to the next everything is gone; and some time to notice."""
    async with crowd.cut_off(*crowd.cluster.nodes):
        await asyncio.to_thread(crowd.cluster.breakable.flush)
        await asyncio.sleep(seconds)


FAULTS: tuple[Fault, ...] = (
    node_killed,
    redis_stopped,
    redis_paused,
    node_cut_off,
    node_stands_still,
    redis_flushed,
    redis_emptied,
)


def _in_touch(crowd: Crowd, node: Node) -> bool:
    """Ready, and on Redis with both connections: the one for commands, and the one that hears."""
    return node.ready() and (crowd.cluster.redis is None or node.metric("docsession_redis_connections") >= 2)


async def heal(crowd: Crowd) -> float:
    """Until every node says that it is ready and every tab is back; returns how long that took."""
    since = time.monotonic()
    for node in crowd.cluster.nodes:
        while not await asyncio.to_thread(_in_touch, crowd, node):
            assert time.monotonic() - since < HEALED_WITHIN, (
                f"{node.name} is not ready\n{node.child.log()[-2000:]}"
            )
            await asyncio.sleep(0.1)
    await crowd.all_live(HEALED_WITHIN)
    return time.monotonic() - since
