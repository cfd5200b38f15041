"""The command: ``python -m benchmarks.cluster [--quick] [--only NAME] [--json FILE] [--rst FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks.cluster.cost import cost
from benchmarks.cluster.faults import killed, redis_faults
from benchmarks.cluster.figures import Figure, text, update
from benchmarks.cluster.latency import latency
from benchmarks.cluster.refreshes import refreshes
from benchmarks.cluster.round_trips import round_trips
from benchmarks.cluster.sessions import sessions

MEASURES: dict[str, Callable[..., list[Figure]]] = {
    "cost": cost,
    "latency": latency,
    "killed": killed,
    "redis": redis_faults,
    "refreshes": refreshes,
    "round_trips": round_trips,
    "sessions": sessions,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*MEASURES], help="only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="shorter and rougher")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--figures", type=Path, help="measure nothing: take what --json wrote")
    parser.add_argument("--rst", type=Path, help="write the table into this document, between its marks")
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    if options.figures:
        figures = [Figure(**each) for each in json.loads(options.figures.read_text(encoding="utf-8"))["rows"]]
    for name in () if options.figures else options.only or MEASURES:
        since = time.monotonic()
        try:
            figures += MEASURES[name](quick=options.quick)
        except Exception as error:  # the rest is worth having all the same
            traceback.print_exc()
            figures.append(Figure(name, "measured", f"{type(error).__name__}: {error}"[:60], False))
        print(f"# {name}: {time.monotonic() - since:.0f} s", file=sys.stderr)
    print(text(figures))
    if options.json:
        rows = {"quick": options.quick, "rows": [each.to_json() for each in figures]}
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if options.rst:
        update(options.rst, figures)
    return 0 if all(each.reached for each in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
