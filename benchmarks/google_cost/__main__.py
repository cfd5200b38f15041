"""The command: ``python -m benchmarks.google_cost [--quick] [--case NAME] [--json FILE] [--rst]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.google_cost.blind import STRATEGIES, Blind
from benchmarks.google_cost.bounds import growth_with_tabs, growth_with_watchers, nothing_lost, overload
from benchmarks.google_cost.google import rng_of
from benchmarks.google_cost.million import Million
from benchmarks.google_cost.ours import Ours
from benchmarks.google_cost.report import bounds, rst_table, text_table
from benchmarks.google_cost.shape import CASES, Day, Shape

OURS = ("docsession", "docsession with push")
PUSH = '[push]\nurl = "http://127.0.0.1:8765"\n'
# A stationary strategy is measured for about so many calls, and scaled to an hour.
_CALLS = 40_000
_MOST_SECONDS = 1200.0


def _blind_window(day: Day, name: str) -> float:
    looks = len(day.tabs) * day.shape.per_tab if name.startswith("every tab") else sum(map(len, day.watches))
    return max(10.0, min(_MOST_SECONDS, _CALLS / (looks / 5.0)))


def cost(shape: Shape, seed: int, *, strategies: list[str], seconds: float) -> dict[str, Any]:
    """One case under all strategies."""
    day = Day.deal(shape, rng_of(seed, shape.name))
    found: dict[str, Any] = {}
    for name in STRATEGIES:
        if name in strategies:
            found[name] = Blind(day, name, rng_of(seed, name)).run(min(seconds, _blind_window(day, name)))
    for name, toml in zip(OURS, ("", PUSH), strict=True):
        if name in strategies:
            ours = Ours(day, rng_of(seed, name), toml)
            found[name] = ours.run(seconds, warm_up=60)
            ours.close()
    return {"name": shape.name, "floor": day.floor(), "strategies": found}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="google_cost", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", action="append", choices=[*CASES, "bounds", "million"])
    parser.add_argument("--strategy", action="append", choices=[*STRATEGIES, *OURS])
    parser.add_argument("--quick", action="store_true", help="small and rough, in a few seconds")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--rst", action="store_true", help="print the tables for the documentation")
    options = parser.parse_args(arguments)
    wanted = options.case or [*CASES, "bounds", "million"]
    figures: dict[str, Any] = {"seed": options.seed, "cases": {}}

    def measure(what: str, work: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = work()
        print(f"# {what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return result

    strategies = options.strategy or [*STRATEGIES, *OURS]
    for name, seconds in (("one", 1200.0), ("hundred", 1200.0), ("active", 240.0)):
        if name in wanted:
            window = 60.0 if options.quick else seconds
            work = partial(cost, CASES[name], options.seed, strategies=strategies, seconds=window)
            case = figures["cases"][name] = measure(name, work)
            print(rst_table(case) if options.rst else text_table(case), end="\n\n", flush=True)
    if "bounds" in wanted:
        quick = options.quick
        seed = options.seed
        figures["tabs"] = measure("tabs", lambda: growth_with_tabs(seed, 10 if quick else 100))
        figures["watchers"] = measure("watchers", lambda: growth_with_watchers(seed, 10 if quick else 1000))
        figures["overload"] = measure("overload", lambda: overload(seed, 30 if quick else 240))
        figures["nothing_lost"] = measure("chaos", lambda: nothing_lost(seed, 300 if quick else 10_000))
    if "million" in wanted:
        users = 20_000 if options.quick else 1_000_000
        million = Million(rng_of(options.seed, "million"), users=users)
        figures["million"] = measure("million", lambda: million.run(600 if options.quick else 3600))
    reached = bounds(figures)
    for what, value, good in reached:
        print(f"{'ok    ' if good else 'MISSED'}  {what}: {value}")
    figures["bounds"] = [{"what": what, "found": value, "reached": good} for what, value, good in reached]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if all(good for _, _, good in reached) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
