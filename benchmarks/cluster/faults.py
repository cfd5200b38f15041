"""What faults do to many tabs on three nodes; the invariants are held afterwards, each by itself."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.cluster.figures import Figure
from tests.cluster_checker import Run, complaints, write
from tests.daemon.cluster import LIMITS, Cluster
from tests.daemon.cluster_crowd import Crowd, world
from tests.daemon.cluster_faults import (
    Fault,
    heal,
    node_cut_off,
    node_killed,
    node_stands_still,
    redis_emptied,
    redis_flushed,
    redis_paused,
    redis_stopped,
)

__all__ = ["killed", "redis_faults"]

PEOPLE, SHARED, TABS, NODES = 100, 60, 300, 3
LEASE, VISIBLE = 10.0, 5.0
_NAMES: dict[Fault, str] = {
    redis_stopped: "Redis stopped",
    redis_paused: "Redis paused",
    node_cut_off: "one node cut off from Redis",
    node_stands_still: "one node stands still",
    redis_flushed: "FLUSHALL",
    redis_emptied: "Redis stopped, and started empty",
}
# A look may be late by a tick, by the spread of intervals, and by a busy machine.
SLACK = 4.0


def killed(*, quick: bool = False) -> list[Figure]:
    """``kill -9`` of one of three nodes under 300 connected tabs."""
    found = _play([(node_killed, 4.0 if quick else 15.0)], "kill")
    wrong, back = found["complaints"], found["healed"][0]
    gap = found["longest_unseen"]
    most = LEASE + VISIBLE * 1.2 + SLACK
    return [
        Figure(
            f"kill -9 of one of {NODES} nodes under {TABS} tabs: tabs back on another",
            "all",
            f"{found['tabs_back']} of {found['tabs_cut']}, the last after {back:.1f} s",
            found["tabs_back"] == found["tabs_cut"] and not wrong.get("nothing_lost"),
            found,
        ),
        Figure("... changes lost, writes doubled, refreshes doubled", "0, 0, 0", _said(wrong), not wrong),
        Figure(
            "... longest that one of its documents was not looked at",
            f"<= {most:.0f} s (lease, interval)",
            f"{gap:.1f} s",
            gap <= most,
        ),
    ]


def redis_faults(*, quick: bool = False) -> list[Figure]:
    """Redis stopped, emptied, paused, cut off from one node; flushed; and a node that stands still."""
    long, short = (5.0, 5.0) if quick else (30.0, 15.0)
    plan: list[tuple[Fault, float]] = [
        (redis_stopped, long),
        (redis_paused, long),
        (node_cut_off, long),
        (node_stands_still, short),
        (redis_flushed, short),
        (redis_emptied, long),
    ]
    found = _play(plan, "redis")
    wrong = found["complaints"]

    def row(what: str, *rules: str) -> Figure:
        count = sum(wrong.get(rule, 0) for rule in rules)
        return Figure(what, "0", str(count), count == 0)

    rest = set(wrong) - {"nothing_lost", "no_leaks", "one_looker"}
    healed = [
        Figure(
            f"{_NAMES[fault]}, {seconds:.0f} s: all nodes and tabs there again after",
            "",
            f"{after:.1f} s",
            True,
        )
        for (fault, seconds), after in zip(plan, found["healed"], strict=True)
    ]
    healed[0].more = found
    return [
        *healed,
        row("all of these: changes lost after healing", "nothing_lost"),
        row("... cross-user leaks", "no_leaks"),
        row("... two lookers at one document for longer than a lease, once Redis answers", "one_looker"),
        row("... anything else that an invariant forbids", *rest),
    ]


def _said(wrong: dict[str, int]) -> str:
    lost, doubled = wrong.get("nothing_lost", 0), wrong.get("writes_once", 0)
    said = f"{lost}, {doubled}, {wrong.get('one_refresh', 0)}"
    rest = {
        rule: n for rule, n in wrong.items() if rule not in ("nothing_lost", "writes_once", "one_refresh")
    }
    return f"{said}; {rest}" if rest else said


def _play(plan: list[tuple[Fault, float]], name: str) -> dict[str, Any]:
    seed = world(people=PEOPLE, shared=SHARED, writers=30)
    with (
        tempfile.TemporaryDirectory(prefix="docsession-faults-") as directory,
        Cluster(Path(directory), nodes=NODES, seed=seed, toml=LIMITS) as cluster,
    ):
        run, found = asyncio.run(_playing(cluster, seed, plan))
        cluster.assert_quiet()
    wrong = complaints(run)
    if wrong:
        kept = Path(tempfile.mkdtemp(prefix=f"docsession-{name}-"))
        write(run, kept)
        sys.stderr.write(f"# kept in {kept}:\n" + "".join(f"# {each}\n"[:300] for each in wrong[:10]))
    found["complaints"] = dict(Counter(each.rule for each in wrong))
    return found


async def _playing(cluster: Cluster, seed: dict[str, Any], plan: list[tuple[Fault, float]]) -> Any:
    async with Crowd(cluster, seed, tabs=TABS, watched=5, lease=LEASE) as crowd:
        crowd.facts.units_per_minute = 800_000
        await crowd.arrive()
        healed, unsettled = [], []
        before = {tab.history.connection: (tab.sockets, tab.node) for tab in crowd.tabs}
        began = time.time()
        for fault, seconds in plan:
            async with crowd.busy(0.1):
                await asyncio.sleep(3)
                if fault is node_killed:
                    await crowd.expire(crowd.people[0].email)
                back = asyncio.create_task(_all_back(crowd)) if fault is node_killed else None
                await fault(crowd, seconds)
                healed.append(await heal(crowd))
                if back is not None:
                    healed[-1] = await back
                await asyncio.sleep(2)
            unsettled += await crowd.settle()
            await asyncio.sleep(LEASE)
            await crowd.watch_lookers(LEASE + 5)
        cut = [tab for tab in crowd.tabs if tab.sockets > before[tab.history.connection][0]]
        run = await crowd.end()
        return run, {
            "healed": healed,
            "unsettled": unsettled[:10],
            "counts": crowd.counts,
            "failures": crowd.failures[:10],
            "tabs_cut": len(cut),
            "tabs_back": sum(tab.live.is_set() for tab in cut),
            "signed_in_again": sum(person.sign_ins - 1 for person in crowd.people),
            "longest_unseen": _longest_unseen(run, {f for t in crowd.tabs for f in t.wants}, began),
        }


async def _all_back(crowd: Crowd) -> float:
    """How long it takes from the first tab that goes until all are there."""
    while all(tab.live.is_set() for tab in crowd.tabs):
        await asyncio.sleep(0.01)
    since = time.monotonic()
    await crowd.all_live()
    return time.monotonic() - since


def _longest_unseen(run: Run, watched: set[str], began: float) -> float:
    """The longest that any of these was looked at by nobody."""
    looks: dict[str, list[float]] = {file_id: [began] for file_id in watched}
    for call in run.facts.calls:
        if call["method"] == "drive.files.get" and call["file"] in looks and call["at"] >= began:
            looks[call["file"]].append(call["at"])
    gaps = (
        later - earlier
        for times in looks.values()
        for earlier, later in zip(times, [*times[1:], run.facts.ended_at], strict=True)
    )
    return max(gaps)
