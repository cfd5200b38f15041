"""The command: ``python -m benchmarks.sockets [--quick] [--only NAME] [--peers a,b] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.sockets import turns as measure
from benchmarks.sockets.figures import Turn, Turns
from benchmarks.sockets.front import front
from benchmarks.sockets.generator import build
from benchmarks.sockets.goals import goals
from benchmarks.sockets.herd import herd
from benchmarks.sockets.peers import PEERS, installed
from benchmarks.sockets.plots import write
from benchmarks.sockets.report import images, of_facts, of_goals, rst, tables, text, update
from benchmarks.sockets.slow import slow
from benchmarks.sockets.soak import soak
from benchmarks.sockets.standing import memory_of_peers, standing
from benchmarks.sockets.whole import whole

IN_TURNS = ("requests", "fanout", "handshakes")
ALONE: dict[str, Callable[..., dict[str, Any]]] = {
    "whole": whole,
    "standing": standing,
    "slow": slow,
    "herd": herd,
    "soak": soak,
}
ALL = (*IN_TURNS, "front", "memory_of_peers", *ALONE)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sockets", description=__doc__)
    parser.add_argument("--only", action="append", choices=ALL, help="only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer tabs: rougher")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, by commas; floor-py is always there")
    parser.add_argument("--rounds", type=int, help="how many rounds of turns")
    parser.add_argument("--tabs", type=int, action="append", help="only this size of fan-out")
    parser.add_argument("--seed", type=int, default=1, help="of the order of turns")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--figures", type=Path, help="measure nothing: take what --json wrote")
    parser.add_argument("--rst", type=Path, help="write tables and plots into this document and beside it")
    options = parser.parse_args(arguments)
    found = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures else run(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    turns, facts = Turns([Turn(**each) for each in found["turns"]]), found["facts"]
    reached = goals(turns, facts)
    made = [of_goals(reached), *tables(turns), *of_facts(facts)]
    for table in made:
        print(text(table))
    notes = [*found["notes"], *(f"failed: {each}" for each in found["failed"])]
    for note in notes:
        print(f"note: {note}")
    if options.rst:
        names = write(options.rst.parent / "plots", turns, facts)
        parts = [rst(table) for table in made]
        said = "".join(f"* {note}\n" for note in notes)
        update(options.rst, [found["machine"] + ".\n", parts[0], images(names), *parts[1:], said])
    return 0 if not found["failed"] and all(each.reached is not False for each in reached) else 1


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure. What fails is said among ``failed``; the rest is worth having all the same."""
    rounds = options.rounds or (3 if options.quick else 7)
    rng, began = random.Random(options.seed), time.monotonic()
    build()
    names = ["floor-py", *(each for each in options.peers.split(",") if each and each != "floor-py")]
    peers, notes = installed(names)
    wanted, turns, facts, failed = options.only or ALL, [], {}, []
    give: dict[str, Any] = {"rounds": rounds, "rng": rng, "notes": notes}

    def do(name: str, measured: Callable[[], Any]) -> Any:
        if name not in wanted:
            return None
        since = time.monotonic()
        try:
            return measured()
        except Exception as error:
            traceback.print_exc()
            failed.append(f"{name}: {type(error).__name__}: {error}"[:600])
            return None
        finally:
            sys.stderr.write(f"# {name}: {time.monotonic() - since:.0f} s\n")

    if {*wanted} & {*IN_TURNS}:
        with (
            tempfile.TemporaryDirectory(prefix="docsession-sockets-") as directory,
            measure.together(Path(directory), peers) as subjects,
        ):
            sizes = options.tabs or measure.FANOUT
            turns += do("requests", lambda: measure.requests(subjects, **give)) or []
            turns += do("fanout", lambda: measure.fanouts(subjects, sizes=sizes, **give)) or []
            turns += do("handshakes", lambda: measure.handshakes(subjects, **give)) or []
    if (ways := do("front", lambda: front(**give))) is not None:
        turns += ways[0]
        facts["front"] = ways[1]
    facts["memory_of_peers"] = do("memory_of_peers", lambda: memory_of_peers(peers, quick=options.quick))
    for name, alone in ALONE.items():
        facts[name] = do(name, lambda alone=alone: alone(quick=options.quick))  # type: ignore[misc]
    return {
        "machine": f"{platform.platform()}, Python {platform.python_version()}, {rounds} rounds",
        "quick": options.quick,
        "seconds": round(time.monotonic() - began),
        "turns": [each.to_json() for each in turns],
        "facts": {name: fact for name, fact in facts.items() if fact is not None},
        "notes": notes,
        "failed": failed,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
