"""The figures as a person reads them, as the documentation shows them, and held to their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["bounds", "rst", "text", "update"]

_FIRST = "every tab polls every document"
# The blind ones: they poll whether anybody looks or not.
_BLIND = (_FIRST, "one poll per user and document", "one feed per user")
_PLAIN, _PUSH = "docsession", "docsession with push"
_BEGIN, _END = ".. figures begin\n", ".. figures end\n"

Row = tuple[str, ...]
_COSTS: Row = ("strategy", "units an hour", "calls an hour", "of the first", "of the floor", "measured")
_STALE: Row = ("strategy", "visible: median", "p99", "worst", "hidden: median", "p99", "worst")
_OPENING: Row = ("strategy", "calls to open", "units to open", "within", "told twice", "not told")


# --- tables -------------------------------------------------------------------------------------


def _costs(case: dict[str, Any]) -> list[Row]:
    first = case["strategies"].get(_FIRST)
    return [
        _COSTS,
        *(
            (
                name,
                f"{found['units']:,}",
                f"{found['calls']:,}",
                "--"
                if first is None
                else "1"
                if name == _FIRST
                else f"1/{first['units'] / found['units']:.1f}",
                f"{found['units'] / case['floor']:.2f}",
                f"{found['window']:.0f} s",
            )
            for name, found in case["strategies"].items()
        ),
    ]


def _staleness(case: dict[str, Any]) -> list[Row]:
    def seconds(spread: dict[str, float] | None) -> Row:
        return tuple(
            "--" if spread is None else f"{spread[what]:.1f} s" for what in ("median", "p99", "worst")
        )

    return [
        _STALE,
        *(
            (name, *seconds(found["staleness"]["visible"]), *seconds(found["staleness"]["hidden"]))
            for name, found in case["strategies"].items()
        ),
    ]


def _opening(case: dict[str, Any]) -> list[Row]:
    rows = [
        (
            name,
            f"{found['opening']['calls']:,}",
            f"{found['opening']['units']:,}",
            f"{found['opening']['seconds']} s",
            str(found["doubled"]),
            str(found["untold"]),
        )
        for name, found in case["strategies"].items()
        if "opening" in found
    ]
    return [_OPENING, *rows] if rows else []


def _growth(figures: dict[str, Any]) -> list[Row]:
    rows = [
        (f"{count} {what}", *(f"{found[name]:,}" for name in ("opening", "beside_proofs", "proofs")))
        for name, what in (("watchers", "watchers of one document"), ("tabs", "tabs of one user"))
        for count, found in figures.get(name, {}).items()
    ]
    return [("what grows", "calls to open", "calls an hour", "and proofs"), *rows] if rows else []


def _overload(figures: dict[str, Any]) -> list[Row]:
    rows = [
        (
            {"unloaded": "none", "project": "the project's", "user": "each user's"}[kind],
            f"{found['wait_median']:.2f} s",
            f"{found['wait_p99']:.2f} s",
            f"{found['wait_worst']:.2f} s",
            "{project:,} of {quota:,}".format(
                project=found["most_in_a_minute"]["project"], quota=found["quota"]["per_project_per_minute"]
            ),
            "{user:,} of {quota:,}".format(
                user=found["most_in_a_minute"]["user"], quota=found["quota"]["per_user_per_minute"]
            ),
            str(found["refused_for_quota"]),
        )
        for kind, found in figures.get("overload", {}).items()
    ]
    head = ("quota passed", "wait: median", "p99", "worst", "project's worst minute", "a user's", "refused")
    return [head, *rows] if rows else []


def _chaos(figures: dict[str, Any]) -> list[Row]:
    names = ("changes", "faults", "tokens_lost", "sockets_cut", "restarts", "lost", "doubled")
    head = ("", "changes", "faults", "tokens lost", "sockets cut", "restarts", "not told", "told twice")
    rows = [
        (kind, *(f"{found[name]:,}" for name in names)) for kind, found in figures.get("chaos", {}).items()
    ]
    return [head, *rows] if rows else []


def _million(figures: dict[str, Any]) -> list[Row]:
    found = figures.get("million")
    if not found:
        return []
    head = (f"{found['users']:,} users, stretch {found['stretch']:g}", "median", "worst", "worst by median")
    rows = [
        (name, f"{one['median']:g} s", f"{one['worst']:g} s", f"{one['worst_by_median']:.2f}")
        for name, one in ((name, found[name]) for name in ("visible", "hidden"))
    ]
    return [head, *rows]


def _bound_rows(figures: dict[str, Any]) -> list[Row]:
    rows = [
        (bound["what"], bound["found"], "ok" if bound["reached"] else "MISSED") for bound in figures["bounds"]
    ]
    return [("to reach", "found", ""), *rows] if rows else []


def _tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    for case in figures.get("cases", {}).values():
        floor = f"{case['name']}; the floor is {case['floor']:,.0f} units an hour"
        yield floor[0].upper() + floor[1:], _costs(case)
        yield "From a change to a tab being told", _staleness(case)
        yield "Until everybody is there, apart from the above", _opening(case)
    yield "Growth", _growth(figures)
    yield "Polls for three times a quota; a person reads every four seconds", _overload(figures)
    yield "Random changes, and everything that can go wrong", _chaos(figures)
    yield "From one look at a document to the next, by the schedule and the budget alone", _million(figures)
    yield "What is to be reached", _bound_rows(figures)


def text(figures: dict[str, Any]) -> str:
    """Everything, for a terminal."""
    return "\n\n".join("\n".join([title, *_lines(rows, "  ")]) for title, rows in _tables(figures) if rows)


def rst(figures: dict[str, Any]) -> str:
    """Everything, as tables of a document."""
    parts = []
    for title, rows in _tables(figures):
        if rows:
            widths = _widths(rows)
            rule = "  ".join("=" * width for width in widths)
            head, *body = _lines([tuple(cell or ".." for cell in row) for row in rows], "  ")
            parts.append("\n".join([f"{title}:", "", rule, head, rule, *body, rule]))
    return "\n\n".join(parts) + "\n"


def update(document: Path, figures: dict[str, Any]) -> None:
    """Put the tables between the marks of this document. Raises ValueError where they are missing."""
    before, begun, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not begun or not ended:
        raise ValueError(f"{document} has no marks for the figures")
    document.write_text(f"{before}{begun}\n{rst(figures)}\n{ended}{after}", encoding="utf-8")


def _widths(rows: list[Row]) -> list[int]:
    # An empty first cell would join two rows: it is written as two dots.
    return [max(2, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]


def _lines(rows: list[Row], between: str) -> list[str]:
    widths = _widths(rows)
    return [
        between.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


# --- bounds -------------------------------------------------------------------------------------


def bounds(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What is to be reached, as far as it was measured: ``what``, what was ``found``, ``reached``."""
    sources = (_of_costs, _of_growth, _of_overload, _of_losses, _of_million)
    return [
        {"what": what, "found": found, "reached": reached}
        for source in sources
        for what, found, reached in source(figures)
    ]


_Bounds = Iterator[tuple[str, str, bool]]


def _of_costs(figures: dict[str, Any]) -> _Bounds:
    case = figures.get("cases", {}).get("hundred", {"strategies": {}})
    units = {name: found["units"] for name, found in case["strategies"].items()}
    plain, pushed, first = units.get(_PLAIN), units.get(_PUSH), units.get(_FIRST)
    who = case.get("name", "")
    if plain and first:
        yield f"{who}: of every-tab-polls, <= 1/15", f"1/{first / plain:.1f}", first >= 15 * plain
    if plain and all(name in units for name in _BLIND):
        cheapest = min(units[name] for name in _BLIND)
        yield "of the cheapest blind strategy, <= 1/5", f"1/{cheapest / plain:.1f}", cheapest >= 5 * plain
    if plain:
        yield "of the floor, <= 1.15", f"{plain / case['floor']:.2f}", plain <= 1.15 * case["floor"]
    if pushed and first:
        yield "with push: of every-tab-polls, <= 1/60", f"1/{first / pushed:.1f}", first >= 60 * pushed


def _of_growth(figures: dict[str, Any]) -> _Bounds:
    for name, what in (("watchers", "watchers of one document"), ("tabs", "tabs of one user")):
        growth = figures.get(name)
        if growth:
            calls = [found["beside_proofs"] for found in growth.values()]
            said = ", ".join(f"{each:,}" for each in calls)
            # The times of looks are random: so are some looks in a hundred.
            yield (
                f"{' -> '.join(growth)} {what}: calls an hour unchanged",
                said,
                max(calls) <= 1.05 * min(calls),
            )
    if figures.get("watchers"):
        most = max(found["proofs"] / int(count) for count, found in figures["watchers"].items())
        yield "proofs by watcher and hour, <= 6", f"{most:.2f}", most <= 6


def _of_overload(figures: dict[str, Any]) -> _Bounds:
    found = figures.get("overload", {})
    for kind, whose in (("project", "the project"), ("user", "a user")):
        if kind in found and "unloaded" in found:
            one, base = found[kind], found["unloaded"]["wait_p99"]
            most = one["most_in_a_minute"][kind]
            quota = one["quota"][f"per_{kind}_per_minute"]
            refused = one["refused_for_quota"]
            good = refused == 0 and most <= quota
            yield f"refused for the quota of {whose} at 3 x overload, 0", str(refused), good
            said = f"{one['wait_p99'] / base:.2f} ({one['wait_p99']:.2f} s)"
            yield "p99 wait of a read there by unloaded, <= 2", said, one["wait_p99"] <= 2 * base


def _of_losses(figures: dict[str, Any]) -> _Bounds:
    for kind, found in figures.get("chaos", {}).items():
        yield f"lost of {found['changes']:,} random changes {kind}, 0", str(found["lost"]), found["lost"] == 0
    twice = [found["doubled"] for found in figures.get("chaos", {}).values()]
    cases = [one for case in figures.get("cases", {}).values() for one in case["strategies"].values()]
    grown = [one for name in ("watchers", "tabs") for one in figures.get(name, {}).values()]
    ordinary = [one for one in (*cases, *grown) if "doubled" in one]
    if ordinary:
        untold = sum(one["untold"] for one in ordinary)
        yield "not told to a tab, on ordinary days, 0", str(untold), untold == 0
    if twice or ordinary:
        count = sum(twice) + sum(one["doubled"] for one in ordinary)
        yield "told twice on one connection, 0", str(count), count == 0


def _of_million(figures: dict[str, Any]) -> _Bounds:
    found = figures.get("million")
    if found:
        worst = max(found[name]["worst_by_median"] for name in ("visible", "hidden"))
        yield f"{found['users']:,} users: worst by median of its class, <= 3", f"{worst:.2f}", worst <= 3
        yield "never looked at, 0", str(found["never_looked_at"]), found["never_looked_at"] == 0
