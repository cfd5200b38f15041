"""What more watchers of one document cost, and more tabs of one user: next to nothing."""

from __future__ import annotations

from typing import Any

from benchmarks.google_cost.google import rng_of
from benchmarks.google_cost.ours import Ours
from benchmarks.google_cost.shape import Day, Shape
from tests.support import Stack

__all__ = ["of_tabs", "of_watchers"]

_MANY_TABS = "[limits]\nconnections_per_session = 200\nconnections_per_user = 200\n"
# Two lives of a proof, and two changes of each document.
_SECONDS = 1200.0


def of_watchers(number: int, users: int, seconds: float = _SECONDS) -> dict[str, Any]:
    """One document, and so many users with one visible tab each."""
    shape = Shape(f"{users} watchers", users, users, 1, 1, per_tab=1, visible=1.0)
    return _measured(shape, number, "", seconds)


def of_tabs(number: int, tabs: int, seconds: float = _SECONDS) -> dict[str, Any]:
    """One user with so many tabs, all visible, and ten documents."""
    return _measured(Shape(f"{tabs} tabs", 1, 1, tabs, 10, visible=1.0), number, _MANY_TABS, seconds)


def _measured(shape: Shape, number: int, toml: str, seconds: float) -> dict[str, Any]:
    """Calls an hour, those of them that are proofs apart; and calls while all this was opened."""
    ours = Ours(Day.deal(shape, rng_of(number, "growth")), rng_of(number, shape.name), toml)
    ours.warm_up()
    before = _proofs(ours.stack)
    found = ours.measure(seconds)
    proofs = round((_proofs(ours.stack) - before) * 3600 / seconds)
    ours.close()
    return {
        "calls": found["calls"],
        "proofs": proofs,
        "beside_proofs": found["calls"] - proofs,
        "opening": found["opening"]["calls"],
        "untold": found["untold"],
        "doubled": found["doubled"],
    }


def _proofs(stack: Stack) -> float:
    """Looks so far, at files and at comments, that were made for a proof of access alone."""
    return sum(
        sample.value
        for family in stack.assembly.metrics.registry.collect()
        if family.name == "docsession_looks"
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["why"] == "proof"
    )
