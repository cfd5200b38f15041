"""The command: ``python -m benchmarks.google_cost [--quick] [--case NAME] [--json FILE] [--rst FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.google_cost.blind import STRATEGIES, Blind
from benchmarks.google_cost.chaos import chaos
from benchmarks.google_cost.google import rng_of
from benchmarks.google_cost.growth import of_tabs, of_watchers
from benchmarks.google_cost.million import million
from benchmarks.google_cost.ours import PUSH, Ours
from benchmarks.google_cost.overload import KINDS, overload
from benchmarks.google_cost.report import bounds, text, update
from benchmarks.google_cost.shape import CASES, Day, Shape

__all__ = ["OURS", "main", "strategy"]

OURS = {"docsession": "", "docsession with push": PUSH}
# A strategy that does always the same is measured for about so many calls, and scaled to an hour.
_CALLS, _QUICK_CALLS = 20_000, 2_000
_SECONDS = {"one": 1200.0, "hundred": 1200.0, "active": 180.0}
_OTHERS = ("watchers", "tabs", "overload", "chaos", "million")

# Where its result belongs, and what is to be done for it.
Task = tuple[tuple[str, ...], Callable[[], Any]]


def strategy(shape: Shape, seed: int, name: str, *, calls: int, seconds: float) -> dict[str, Any]:
    """What one strategy costs in one case, an hour."""
    day = Day.deal(shape, rng_of(seed, shape.name))
    rng = rng_of(seed, shape.name, name)
    if name in STRATEGIES:
        return Blind(day, name, rng).run(most_calls=calls, most_seconds=seconds)
    ours = Ours(day, rng, OURS[name])
    try:
        return ours.run(seconds)
    finally:
        ours.close()


def tasks(seed: int, wanted: list[str], strategies: list[str], *, quick: bool) -> list[Task]:
    """All that is to be measured; each can be done by itself."""
    found: list[Task] = []
    for name, shape in _cases(quick).items():
        calls, seconds = (_QUICK_CALLS, 60.0) if quick else (_CALLS, _SECONDS[name])
        for each in strategies if name in wanted else ():
            work = partial(strategy, shape, seed, each, calls=calls, seconds=seconds)
            found.append((("cases", name, "strategies", each), work))
    watchers, tabs = ((1, 10), (1, 10)) if quick else ((1, 10, 100, 1000), (1, 10, 100))
    found += [(("watchers", str(count)), partial(of_watchers, seed, count)) for count in watchers]
    found += [(("tabs", str(count)), partial(of_tabs, seed, count)) for count in tabs]
    read_for = 60.0 if quick else 600.0
    found += [(("overload", kind), partial(overload, seed, kind, read_for)) for kind in KINDS]
    changes = 500 if quick else 10_000
    for push, name in ((False, "without push"), (True, "with push")):
        found.append((("chaos", name), partial(chaos, seed, changes, push=push)))
    found.append((("million",), partial(million, seed, users=20_000 if quick else 1_000_000)))
    return [(place, work) for place, work in found if place[0] == "cases" or place[0] in wanted]


def measure(todo: list[Task], jobs: int) -> dict[str, Any]:
    """The results, each in its place, whatever the order they come in."""
    results: dict[tuple[str, ...], Any] = {}
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        began = time.monotonic()
        # The longest last come last: begun last, they would be waited for alone.
        running = {pool.submit(work): place for place, work in reversed(todo)}
        for done in as_completed(running):
            results[running[done]] = done.result()
            passed = time.monotonic() - began
            print(
                f"# {len(results)} of {len(todo)}, {passed:.0f} s: {', '.join(running[done])}",
                file=sys.stderr,
            )
    figures: dict[str, Any] = {}
    for place, _ in todo:
        inner = figures
        for part in place[:-1]:
            inner = inner.setdefault(part, {})
        inner[place[-1]] = results[place]
    return figures


def _cases(quick: bool) -> dict[str, Shape]:
    return {name: shape.smaller(5) for name, shape in CASES.items() if name != "active"} if quick else CASES


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="google_cost", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--case", action="append", choices=[*CASES, *_OTHERS], help="only this; may be repeated"
    )
    parser.add_argument("--strategy", action="append", choices=[*STRATEGIES, *OURS])
    parser.add_argument("--quick", action="store_true", help="smaller and rougher, in some seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; decides no figure")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--figures", type=Path, help="measure nothing: take what --json wrote")
    parser.add_argument("--rst", type=Path, help="write the tables into this document, between its marks")
    options = parser.parse_args(arguments)
    if options.figures:
        figures = json.loads(options.figures.read_text(encoding="utf-8"))
    else:
        wanted = options.case or [*CASES, *_OTHERS]
        names = options.strategy or [*STRATEGIES, *OURS]
        figures = {"seed": options.seed, "quick": options.quick}
        figures |= measure(tasks(options.seed, wanted, names, quick=options.quick), options.jobs)
        for name, case in figures.get("cases", {}).items():
            shape = _cases(options.quick)[name]
            case |= {"name": shape.name, "floor": Day.deal(shape, rng_of(options.seed, shape.name)).floor()}
        figures["bounds"] = bounds(figures)
    print(text(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.rst:
        update(options.rst, figures)
    return 0 if all(bound["reached"] for bound in figures["bounds"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
