"""The figures as a person reads them, and as the documentation shows them."""

from __future__ import annotations

from typing import Any

__all__ = ["bounds", "rst_table", "text_table"]

_COLUMNS = ("strategy", "units/h", "calls/h", "of every tab's", "visible: median, p99, worst", "hidden")


def _rows(case: dict[str, Any]) -> list[tuple[str, ...]]:
    strategies: dict[str, Any] = case["strategies"]
    dearest = next(iter(strategies.values()))["units"]
    rows = []
    for name, found in strategies.items():
        ratio = dearest / found["units"] if found["units"] else float("inf")
        rows.append(
            (
                name,
                f"{found['units']:,}",
                f"{found['calls']:,}",
                "1" if name == next(iter(strategies)) else f"1/{ratio:.1f}",
                _spread(found["staleness"]["visible"]),
                _spread(found["staleness"]["hidden"]),
            )
        )
    return rows


def _spread(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "--"
    return f"{spread['median']:g}, {spread['p99']:g}, {spread['worst']:g} s"


def text_table(case: dict[str, Any]) -> str:
    """One case for a terminal."""
    rows = [_COLUMNS, *_rows(case)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return f"{case['name']} (floor {case['floor']:,.0f} units/h)\n" + "\n".join(lines)


def rst_table(case: dict[str, Any]) -> str:
    """The same for the documentation."""
    rows = [_COLUMNS, *_rows(case)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    rule = " ".join("=" * width for width in widths)
    body = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    title = f"{case['name']}; floor {case['floor']:,.0f} units an hour"
    return "\n".join([title, "", rule, body[0], rule, *body[1:], rule])


def bounds(figures: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """What is to be reached: (what, what was found, whether it is so)."""
    found: list[tuple[str, str, bool]] = []

    def say(what: str, value: str, good: bool) -> None:
        found.append((what, value, good))

    hundred = figures.get("cases", {}).get("hundred")
    if hundred is not None:
        units = {name: entry["units"] for name, entry in hundred["strategies"].items()}
        if "docsession" in units and len(units) >= 4:
            ours, (first, *blind) = units["docsession"], list(units.values())
            cheapest = min(first, *blind[:2])
            say("100 users, no push: of every-tab-polls <= 1/15", f"1/{first / ours:.1f}", first >= 15 * ours)
            say("... of the cheapest blind strategy <= 1/5", f"1/{cheapest / ours:.1f}", cheapest >= 5 * ours)
            say("... to the floor <= 1.15", f"{ours / hundred['floor']:.2f}", ours <= 1.15 * hundred["floor"])
        if "docsession with push" in units:
            pushed, first = units["docsession with push"], next(iter(units.values()))
            say(
                "100 users, push: of every-tab-polls <= 1/60", f"1/{first / pushed:.1f}", first >= 60 * pushed
            )
    for name, what in (("watchers", "watchers of one document"), ("tabs", "tabs of one user")):
        growth = figures.get(name)
        if growth:
            calls = [entry["beside_proofs"] for entry in growth.values()]
            many = " -> ".join(str(count) for count in growth)
            value = " -> ".join(f"{each:,}" for each in calls)
            say(f"{what} {many}: calls/h (beside proofs) unchanged", value, max(calls) <= 1.05 * min(calls))
            proofs = max(entry["proofs"] / int(count) for count, entry in growth.items())
            say("... proofs per watcher and hour <= 6", f"{proofs:.2f}", proofs <= 6)
    lost = figures.get("nothing_lost")
    if lost:
        say(f"lost of {lost['changes']:,} random changes", str(lost["lost"]), lost["lost"] == 0)
        say("events sent twice to one connection", str(lost["doubled"]), lost["doubled"] == 0)
    overload = figures.get("overload")
    if overload:
        unloaded, overloaded = overload["unloaded"], overload["overloaded"]
        refused = overloaded["refused_for_quota"]
        say("quota windows overrun at 3 x overload", str(refused), refused == 0)
        waits = f"{overloaded['wait_p99']} s, {unloaded['wait_p99']} s unloaded"
        good = overloaded["wait_p99"] <= 2 * unloaded["wait_p99"]
        say("p99 wait of an interactive read there <= 2 x", waits, good)
    million = figures.get("million")
    if million:
        worst = max(million[name]["worst_by_median"] for name in ("visible", "hidden"))
        say(f"{million['users']:,} users: worst <= 3 x median of its class", f"{worst:.2f}", worst <= 3)
        never = million["never_looked_at"]
        say("... nobody starved", str(never), never == 0)
    return found
