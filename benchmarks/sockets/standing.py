"""What tabs cost that only stand there: memory, and CPU for their pings."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sockets.generator import Generator, Script
from benchmarks.sockets.ours import Ours, User
from benchmarks.sockets.peers import Peer, Running
from benchmarks.sockets.subjects import cpu, settle, upgrade

__all__ = ["DOCUMENTS", "TABS", "USERS", "WATCHED", "memory_of_peers", "resident", "standing", "watched_by"]

TABS, USERS, DOCUMENTS, WATCHED = 10_000, 1000, 500, 5
PING = 30.0
AT_ONCE = 100
# Opened first, so that what is loaded and made once is not counted.
FIRST = 20
_KIB = 1024.0


def resident(pids: Sequence[int]) -> int:
    """Resident bytes of these processes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def watched_by(user: int) -> list[int]:
    """The documents of a user, all of whose tabs watch the same: each is some users' at once."""
    return [(user * WATCHED + at) % DOCUMENTS for at in range(WATCHED)]


def standing(*, quick: bool = False) -> dict[str, Any]:
    """Memory for each tab, user and document; CPU with pings."""
    tabs, users = (TABS // 10, USERS // 10) if quick else (TABS, USERS)
    bare = _grow(tabs, users, watching=False, idle=0)
    found = _grow(tabs, users, watching=True, idle=PING if quick else 2 * PING)
    tab, tab_bare = found["tab"], bare["tab"]
    user = bare["first"] - tab_bare
    # What the first tab of each user brings beyond a tab and a user: the documents, and who may know them.
    shared = (found["first"] - tab - user) * users / min(DOCUMENTS, users * WATCHED)
    return {
        "tabs": tabs,
        "users": users,
        "documents": min(DOCUMENTS, users * WATCHED),
        "tab_kib": tab / _KIB,
        "tab_bare_kib": tab_bare / _KIB,
        "user_kib": user / _KIB,
        "document_kib": shared / _KIB,
        "all_mib": found["all"] / _KIB / _KIB,
        "idle_cpu": found["idle"],
        "pings": found["pings"],
    }


def _grow(tabs: int, users: int, *, watching: bool, idle: float) -> dict[str, float]:
    watches = [watched_by(user) if watching else [] for user in range(users)]
    # Others, so that none of those that are counted is known already.
    strangers: list[list[int]] = [[] for _ in range(FIRST)]
    with (
        tempfile.TemporaryDirectory(prefix="docsession-standing-") as directory,
        Ours(
            Path(directory),
            users=[*watches, *strangers],
            documents=DOCUMENTS,
            ping_every=PING,
        ) as ours,
        Generator() as generator,
    ):
        every = ours.users[:users]

        def open_tabs(name: str, of: Sequence[User]) -> float:
            """How much is resident once they are there."""
            scripts = [ours.tab(user, user.watches if watching else ()) for user in of]
            generator.group(name, ours.address, scripts)
            generator.open(name, len(scripts), at_once=AT_ONCE)
            settle(ours.pids())
            return resident(ours.pids())

        before = open_tabs("first", ours.users[users : users + FIRST])
        one_each = open_tabs("one-each", every)
        the_rest = open_tabs("the-rest", [user for user in every for _ in range(tabs // users - 1)])
        _say(f"memory: {tabs} tabs of {users} users, {'watching' if watching else 'not watching'}")
        found = {
            "first": (one_each - before) / users,
            "tab": (the_rest - one_each) / (tabs - users),
            "all": the_rest - before,
            "idle": 0.0,
            "pings": 0.0,
        }
        if idle:
            # Until pings have come round.
            generator.wait(PING + 5)
            pings, used, began = _pings(generator), cpu(ours.pids()), time.monotonic()
            generator.wait(idle)
            found["idle"] = (cpu(ours.pids()) - used) / (time.monotonic() - began)
            found["pings"] = (_pings(generator) - pings) / (tabs * idle / PING)
            for name in ("first", "one-each", "the-rest"):
                state = generator.state(name)
                assert not state["closed"], f"tabs were closed: {state}"
        ours.assert_quiet()
        return found


def _pings(generator: Generator) -> float:
    return sum(float(generator.state(name)["pings"]) for name in ("one-each", "the-rest"))


def memory_of_peers(peers: Sequence[Peer], *, quick: bool = False) -> dict[str, float]:
    """KiB for each bare connection, each server alone."""
    tabs = TABS // 10 if quick else TABS
    found = {}
    for peer in peers:
        with (
            tempfile.TemporaryDirectory(prefix="docsession-standing-") as directory,
            Running(peer, Path(directory)) as running,
            Generator() as generator,
        ):
            generator.group("first", running.address, [Script(upgrade("/sub/first"))] * FIRST)
            generator.open("first", FIRST)
            settle(running.pids())
            before = resident(running.pids())
            generator.group("all", running.address, [Script(upgrade("/sub/all"))] * tabs)
            generator.open("all", tabs, at_once=AT_ONCE)
            settle(running.pids())
            found[peer.name] = (resident(running.pids()) - before) / tabs / _KIB
            _say(f"memory: {peer.name} {found[peer.name]:.2f} KiB a connection")
    return found


def _say(what: str) -> None:
    sys.stderr.write(f"# {what}\n")
