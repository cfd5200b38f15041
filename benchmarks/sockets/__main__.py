"""The command: ``python -m benchmarks.sockets [--quick] [--only NAME] [--peers a,b] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sockets import turns as measure
from benchmarks.sockets.figures import Turn, Turns
from benchmarks.sockets.peers import PEERS, installed
from benchmarks.sockets.report import rst, tables, text, update

IN_TURNS = ("fanout", "requests", "handshakes")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sockets", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*IN_TURNS], help="only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: rougher")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, by commas; floor-py is always there")
    parser.add_argument("--rounds", type=int, help="how many rounds of turns")
    parser.add_argument("--tabs", type=int, action="append", help="only this size of fan-out")
    parser.add_argument("--seed", type=int, default=1, help="of the order of turns")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--figures", type=Path, help="measure nothing: take what --json wrote")
    parser.add_argument("--rst", type=Path, help="write the tables into this document, between its marks")
    options = parser.parse_args(arguments)
    found = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures else run(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    made = tables(Turns([Turn(**each) for each in found["turns"]]))
    for table in made:
        print(text(table))
    for note in found["notes"]:
        print(f"note: {note}")
    if options.rst:
        update(options.rst, [rst(table) for table in made])
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    wanted = options.only or IN_TURNS
    rounds = options.rounds or (3 if options.quick else 7)
    rng, began = random.Random(options.seed), time.monotonic()
    names = ["floor-py", *(each for each in options.peers.split(",") if each and each != "floor-py")]
    peers, notes = installed(names)
    turns: list[Turn] = []
    if set(wanted) & set(IN_TURNS):
        sizes = options.tabs or measure.FANOUT
        with (
            tempfile.TemporaryDirectory(prefix="docsession-sockets-") as directory,
            measure.together(Path(directory), peers) as subjects,
        ):
            if "requests" in wanted:
                turns += measure.requests(subjects, rounds=rounds, notes=notes, rng=rng)
            if "fanout" in wanted:
                turns += measure.fanouts(subjects, rounds=rounds, sizes=sizes, notes=notes, rng=rng)
            if "handshakes" in wanted:
                turns += measure.handshakes(subjects, rounds=rounds, notes=notes, rng=rng)
    return {
        "machine": f"{platform.platform()}, Python {platform.python_version()}",
        "quick": options.quick,
        "rounds": rounds,
        "seconds": round(time.monotonic() - began),
        "turns": [each.to_json() for each in turns],
        "notes": notes,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
