"""Polls for three times a small quota: is it kept to, and how long does a person wait meanwhile?"""

from __future__ import annotations

from typing import Any

from benchmarks.google_cost.google import file_id, rng_of
from benchmarks.google_cost.ours import Ours
from benchmarks.google_cost.shape import LIVELY, READ, Day, Shape
from tests.support import Tab

__all__ = ["KINDS", "overload"]

_DELAY = 0.2
_STEP = 0.02
# Of a quota, polls may spend three quarters of four fifths.
_FOR_POLLS = 0.8 * 0.75
_TIMES = 3
_AMPLE = 1_000_000

# What the quota is too small for: nothing; all users' polls together; each user's own.
KINDS = ("unloaded", "project", "user")


def overload(number: int, kind: str, seconds: float) -> dict[str, Any]:
    """What is spent in a minute, what the sandbox refuses for its quota, and how long one person
    waits for ``drive.files.get`` with ``maxAge`` 0 every few seconds; Google takes 0.2 s to answer."""
    if kind == "user":
        shape = Shape("ten documents each, shared with nobody", 12, 12, 1, 120, visible=1.0)
        day = Day.of(
            shape, [list(range(10 * user, 10 * user + 10)) for user in range(12)], rng_of(number, kind)
        )
        quota = {"per_project_per_minute": _AMPLE, "per_user_per_minute": _a_third_of_polls(10)}
    else:
        users, documents = (40, 120) if kind == "project" else (1, 10)
        shape = Shape("ten of 120 shared documents each", users, users, 1, documents, visible=1.0)
        day = Day.deal(shape, rng_of(number, kind))
        quota = {"per_project_per_minute": _a_third_of_polls(120), "per_user_per_minute": _AMPLE}
    lines = "".join(f"{name} = {value}\n" for name, value in quota.items())
    ours = Ours(
        day,
        rng_of(number, kind, "google"),
        f"[google.quota]\nper_day = 0\n{lines}",
        quota={"model": "units", **quota},
    )
    ours.warm_up()
    stack = ours.stack
    stack.faults({"match": {"method": "drive.*"}, "delay": _DELAY})
    # The first answers of that kind are waited for by everybody: no part of the measure.
    ours.advance(60)
    waits = _waits(ours, seconds)
    spent = stack.control("GET", "/sandbox/calls")["quota"]
    stretch = stack.assembly.economy.demand.stretch
    found = {
        "wait_median": round(waits[len(waits) // 2], 3),
        "wait_p99": round(waits[int(len(waits) * 0.99)], 3),
        "wait_worst": round(waits[-1], 3),
        "quota": quota,
        "most_in_a_minute": {
            "project": spent["most_in_a_minute"]["project"],
            "user": max(spent["most_in_a_minute"]["by_user"].values()),
        },
        "refused_for_quota": sum(spent["overruns"].values()),
        "stretch": round(stretch, 2),
    }
    ours.close()
    return found


def _a_third_of_polls(documents: int) -> int:
    """The quota of a minute that looks at so many visible documents would fill three times."""
    return round(documents * 60 / LIVELY * READ / _TIMES / _FOR_POLLS)


def _waits(ours: Ours, seconds: float, every: float = 4.0) -> list[float]:
    """How long each of a person's reads took, in order of length."""
    stack = ours.stack
    person = Tab(stack, ours.identities[0])
    person.open()
    document = file_id(ours.day.watches[0][0])
    waits = []
    for _ in range(round(seconds / every)):
        began = stack.clock.seconds()
        asked = person.start("drive.files.get", fileId=document, maxAge=0)
        while (answer := person.answer(asked)) is None:
            ours.advance(_STEP, step=_STEP)
        assert "result" in answer, answer
        waits.append(stack.clock.seconds() - began)
        person.wire.sent.clear()
        ours.advance(max(_STEP, began + every - stack.clock.seconds()), step=0.1)
    return sorted(waits)
