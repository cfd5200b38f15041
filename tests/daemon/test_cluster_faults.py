"""Three daemons, sixty tabs, and all that may go wrong with nodes and Redis; then the checker.

``docs/invariants.rst`` says what must hold. The benchmark (``make bench-cluster``) does the same for
longer, each fault by itself.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_checker import Run, complaints, write
from tests.daemon.cluster import LIMITS, Cluster
from tests.daemon.cluster_crowd import Crowd, world
from tests.daemon.cluster_faults import (
    heal,
    node_cut_off,
    node_killed,
    node_stands_still,
    redis_emptied,
    redis_flushed,
    redis_paused,
    redis_stopped,
)
from tests.daemon.redis_server import needs_redis

pytestmark = [needs_redis, pytest.mark.alone]

PEOPLE, SHARED, TABS = 20, 20, 60
LEASE = 3.0
QUOTA = """
[google.quota]
per_project_per_minute = 400_000
"""
CEILING = 320_000
BACKEND = f"lease = {LEASE:g}\nanswer_within = 1\n"
QUICK = f"{LIMITS}\n[polling]\nvisible = 3\n{QUOTA}"


def kept(run: Run, cluster: Cluster) -> None:
    """A run that went wrong is kept, if it is said where (``DOCSESSION_KEEP_RUNS``)."""
    if where := os.environ.get("DOCSESSION_KEEP_RUNS"):
        Path(where).mkdir(parents=True, exist_ok=True)
        write(run, Path(where))
        (Path(where) / "log").write_text(cluster.log())


def held(run: Run, cluster: Cluster) -> None:
    """All invariants hold."""
    found = complaints(run)
    if found:
        kept(run, cluster)
    assert not found, "\n".join([f"{len(found)} complaints:", *(str(each)[:400] for each in found[:20])])


def played(tmp_path: Path, scenario: Any) -> None:
    """A scenario for a crowd on three daemons, held against the invariants afterwards."""
    seed = world(people=PEOPLE, shared=SHARED)

    async def playing(cluster: Cluster) -> Run:
        async with Crowd(cluster, seed, tabs=TABS, lease=LEASE) as crowd:
            crowd.facts.units_per_minute = CEILING
            try:
                await crowd.arrive()
                await scenario(crowd)
            except BaseException:
                kept(await crowd.end(), cluster)
                raise
            run = await crowd.end()
            assert not crowd.failures, crowd.failures[:5]
            said = str(crowd.counts)
            assert crowd.counts.get("comment: done", 0) > 5, said
            assert crowd.counts.get("rename: done", 0) > 5, said
            assert crowd.counts.get("pry: refused", 0) > 0, said
            return run

    with Cluster(tmp_path, nodes=3, seed=seed, toml=QUICK, in_backend=BACKEND) as cluster:
        run = asyncio.run(playing(cluster))
        held(run, cluster)
        cluster.assert_quiet()


async def settled(crowd: Crowd) -> None:
    """It has healed, everybody knows all, and a lease later it is seen who looks."""
    await heal(crowd)
    missing = await crowd.settle()
    assert not missing, f"{len(missing)} are not told: {missing[:5]}\n{crowd._said()}"
    await asyncio.sleep(LEASE)
    await crowd.watch_lookers(4 * LEASE)


async def signs_out(crowd: Crowd, number: int) -> None:
    """A person with tabs on several nodes signs out on one that reaches Redis."""
    person = crowd.people[number]
    tabs = [tab for tab in crowd.tabs if tab.person is person]
    assert len({tab.node for tab in tabs}) > 1, "all on one node"
    for tab in tabs:
        tab.leave()
    away = [node.name for node in crowd.cluster.nodes if node.to_redis is not None and node.to_redis.broken]
    asking = next(tab for tab in tabs if tab.node not in away and tab.page is not None)
    await asking.sign_out()
    for tab in tabs:
        # By itself, soon; and what is not soon enough is the checker's to say.
        await asyncio.wait_for(asyncio.gather(tab._running, return_exceptions=True), 30)


async def comes_all_at_once(crowd: Crowd, numbers: range) -> None:
    """Access tokens expire, and all tabs of those users want something of Google."""
    people = [crowd.people[number] for number in numbers]
    for person in people:
        await crowd.expire(person.email)
    tabs = [tab for tab in crowd.tabs if tab.person in people]
    await asyncio.gather(*(tab.call("drive.about.get", fields="user") for tab in tabs))


def test_nodes_die_and_stand_still(tmp_path: Path) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd.busy():
            await asyncio.sleep(2)
            await comes_all_at_once(crowd, range(3))
            await signs_out(crowd, 19)
            await node_killed(crowd, LEASE + 1)
            await heal(crowd)
            await node_stands_still(crowd, LEASE + 2)
            await heal(crowd)
            owner = next(
                tab for tab in crowd.tabs if tab.wants and crowd.owner(tab.wants[0]) == tab.person.email
            )
            await crowd.unshare(owner, owner.wants[0])
            await asyncio.sleep(2)
        await settled(crowd)

    played(tmp_path, scenario)


def test_redis_goes_and_comes_back(tmp_path: Path) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd.busy():
            await asyncio.sleep(1)
            await redis_stopped(crowd, 3)
            await heal(crowd)
            await redis_paused(crowd, 4)
            await heal(crowd)
            async with asyncio.TaskGroup() as group:
                group.create_task(node_cut_off(crowd, LEASE + 3))
                await asyncio.sleep(0.5)
                group.create_task(signs_out(crowd, 18))
            await heal(crowd)
            await comes_all_at_once(crowd, range(3))
        await settled(crowd)

    played(tmp_path, scenario)


def test_redis_loses_everything(tmp_path: Path) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd.busy():
            await asyncio.sleep(1)
            await redis_flushed(crowd, LEASE + 1)
            await heal(crowd)
            await redis_emptied(crowd, 2)
            await heal(crowd)
            await comes_all_at_once(crowd, range(3))
            await asyncio.sleep(1)
        await settled(crowd)

    played(tmp_path, scenario)
