"""The benchmark of what Google is asked, on small cases: what must hold does, and it would be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.google_cost.__main__ import OURS, main, strategy, tasks
from benchmarks.google_cost.blind import STRATEGIES
from benchmarks.google_cost.chaos import chaos
from benchmarks.google_cost.google import rng_of
from benchmarks.google_cost.growth import of_tabs, of_watchers
from benchmarks.google_cost.million import million
from benchmarks.google_cost.overload import overload
from benchmarks.google_cost.report import bounds, text, update
from benchmarks.google_cost.shape import Day, Shape
from docsession.connection import Connection
from docsession.google.budget import Budget

# Few watchers by document, so that some are in hidden tabs only.
SHAPE = Shape("8 users of 3 tabs each", 8, 8, 3, 48, change_every=120.0)


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    found = {name: strategy(SHAPE, 1, name, calls=1000, seconds=60.0) for name in (*STRATEGIES, *OURS)}
    return {"name": SHAPE.name, "floor": Day.deal(SHAPE, rng_of(1, SHAPE.name)).floor(), "strategies": found}


def test_what_the_strategies_ask_is_what_they_are(case: dict[str, Any]) -> None:
    calls = {
        name: {method.removeprefix("drive."): sums["calls"] for method, sums in found["by_method"].items()}
        for name, found in case["strategies"].items()
    }
    every_tab, each_user, feeds, attentive, ours, pushed = calls.values()
    assert every_tab["files.get"] == 8 * 3 * 10 * 720
    assert each_user["files.get"] == 8 * 10 * 720
    assert feeds["changes.list"] == 8 * 720
    assert attentive["files.get"] < each_user["files.get"]
    # Thirty changes an hour of each document: whoever sees one asks for the comments, once.
    day = Day.deal(SHAPE, rng_of(1, SHAPE.name))
    assert each_user["comments.list"] == pytest.approx(30 * 8 * 10, rel=0.3)
    assert every_tab["comments.list"] == pytest.approx(30 * 8 * 10 * 3, rel=0.6)  # in a short window
    assert ours["comments.list"] == pytest.approx(30 * len(day.watched_documents), rel=0.3)
    assert "changes.list" not in ours
    assert ours["files.get"] <= 720 * len(day.visible_documents) + 100 * len(day.watched_documents)
    assert pushed["files.get"] < ours["files.get"] / 1.5


def test_the_price(case: dict[str, Any]) -> None:
    units = {name: found["units"] for name, found in case["strategies"].items()}
    first, *_, ours, pushed = units.values()
    assert ours * 6 < first
    assert pushed * 9 < first
    assert ours < 1.15 * case["floor"]


def test_every_change_was_told_once_and_in_time(case: dict[str, Any]) -> None:
    # With push one change may explain another's message: the next look for safety finds that one.
    for name, worst in zip(OURS, (8, 75), strict=True):
        found = case["strategies"][name]
        assert (found["doubled"], found["untold"]) == (0, 0)
        assert found["staleness"]["visible"]["worst"] <= worst
    for name in list(STRATEGIES)[:3]:
        for spread in case["strategies"][name]["staleness"].values():
            # Changes come at moments of their own, not at those of the polls.
            assert 0.5 < spread["median"] < 4.5
            assert spread["worst"] <= 5


def test_with_push_a_change_by_itself_is_told_at_once() -> None:
    shape = Shape("one change at a time", 2, 2, 1, 3, per_tab=2, visible=1.0, change_every=180.0)
    found = strategy(shape, 1, "docsession with push", calls=0, seconds=360.0)
    assert found["staleness"]["visible"]["count"] >= 4
    assert found["staleness"]["visible"]["median"] <= 4


def test_growth_costs_nothing() -> None:
    for measured, few, many in ((of_watchers, 1, 8), (of_tabs, 1, 10)):
        one, other = measured(1, few, 120), measured(1, many, 120)
        assert other["calls"] == pytest.approx(one["calls"], rel=0.15)


def test_a_quota_is_kept_to_and_nobody_waits_for_polls() -> None:
    found = overload(1, "project", 12)
    assert found["refused_for_quota"] == 0
    assert found["most_in_a_minute"]["project"] <= found["quota"]["per_project_per_minute"]
    assert found["stretch"] > 2
    assert found["wait_worst"] <= 2 * 0.22


def test_a_quota_that_is_not_kept_to_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "project_wait", lambda *_, **__: 0.0)
    found = overload(1, "project", 12)
    assert found["refused_for_quota"] > 0
    assert not all(bound["reached"] for bound in bounds({"overload": {"unloaded": found, "project": found}}))


@pytest.mark.parametrize("push", [False, True])
def test_nothing_is_lost(push: bool) -> None:
    found = chaos(1, 100, push=push)
    assert (found["lost"], found["doubled"]) == (0, 0)
    assert found["faults"]


def _badly(send: Callable[..., None]) -> Callable[..., None]:
    """Of three events one is sent, one is not, one is sent twice."""
    counted = [0]

    def sent(connection: Connection, payload: bytes) -> None:
        counted[0] += 1
        for _ in range(counted[0] % 3):
            send(connection, payload)

    return sent


def test_what_is_lost_or_doubled_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "send_event", _badly(Connection.send_event))
    found = chaos(1, 50)
    assert found["lost"] > 0
    assert found["doubled"] > 0


def test_nobody_is_starved() -> None:
    found = million(1, users=2000, seconds=600)
    assert found["stretch"] > 10
    assert found["never_looked_at"] == 0
    assert max(found[name]["worst_by_median"] for name in ("visible", "hidden")) <= 3


# --- the report ---------------------------------------------------------------------------------


def test_bounds_are_those_of_what_was_measured(case: dict[str, Any]) -> None:
    assert bounds({}) == []
    figures: dict[str, Any] = {"cases": {"hundred": case}}
    said = {bound["what"]: bound for bound in bounds(figures)}
    assert said["of the floor, <= 1.15"]["reached"]
    assert not next(
        bound
        for bound in bounds({"cases": {"hundred": {**case, "floor": case["floor"] / 2}}})
        if bound["what"] == "of the floor, <= 1.15"
    )["reached"]
    assert "MISSED" not in text(figures | {"bounds": []})


def test_the_document_takes_the_tables(case: dict[str, Any], tmp_path: Path) -> None:
    figures = {"cases": {"hundred": case}, "bounds": bounds({"cases": {"hundred": case}})}
    document = tmp_path / "performance.rst"
    document.write_text("before\n\n.. figures begin\nlast year\n.. figures end\n\nafter\n", encoding="utf-8")
    update(document, figures)
    once = document.read_text(encoding="utf-8")
    update(document, figures)
    assert document.read_text(encoding="utf-8") == once
    assert "last year" not in once
    assert once.startswith("before\n") and once.endswith("after\n")
    assert "docsession with push" in once
    document.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="marks"):
        update(document, figures)


def test_all_that_is_wanted_is_measured_and_no_more() -> None:
    everything = tasks(1, ["hundred", "million", "tabs"], list(OURS), quick=True)
    assert {place[:2] for place, _ in everything} == {
        ("cases", "hundred"), ("tabs", "1"), ("tabs", "10"), ("million",)
    }  # fmt: skip


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--case", "thousand"])
    assert "invalid choice" in capsys.readouterr().err
