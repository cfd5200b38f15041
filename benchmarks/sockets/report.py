"""Tables of what was measured: for a terminal, and for a document between its marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sockets.figures import FLOOR, Turns, rounded
from benchmarks.sockets.goals import Goal

__all__ = ["BEGIN", "END", "Table", "images", "of_facts", "of_goals", "rst", "tables", "text", "update"]

BEGIN, END = ".. sockets figures begin\n", ".. sockets figures end\n"

Rows = list[tuple[str, ...]]
Table = tuple[str, Rows]


def tables(turns: Turns) -> list[Table]:
    """One for each measure: the cheapest first."""
    made = []
    for measure in turns.measures():
        servers = sorted(turns.servers(measure), key=lambda name: turns.us(measure, name).median)
        has_last = measure.startswith("fan-out")
        head = (
            "server",
            "CPU us each",
            "a second",
            "x floor-py (CPU)",
            "last receiver p50, ms" if has_last else "p50, ms",
            "p99, ms",
        )
        rows: Rows = [head]
        for server in servers:
            ratio = turns.times_faster(measure, server, FLOOR)
            rows.append(
                (
                    server,
                    str(turns.us(measure, server)),
                    rounded(turns.rate(measure, server).median),
                    "--" if ratio is None else str(ratio),
                    rounded(turns.time(measure, server, "p50").median),
                    rounded(turns.time(measure, server, "p99").median),
                )
            )
        made.append((measure, rows))
    return made


def of_goals(found: Sequence[Goal]) -> Table:
    """What was to be reached."""
    head = ("measure", "to reach", "found", "..")
    return "to reach", [head, *((each.what, each.to_reach, each.found, each.verdict) for each in found)]


def of_facts(facts: Mapping[str, Any]) -> list[Table]:
    """What was measured once, beside the goals."""
    made: list[Table] = []
    if bare := facts.get("memory_of_peers"):
        rows = [(name, f"{kib:.2f}") for name, kib in sorted(bare.items(), key=lambda item: item[1])]
        made.append(("memory of a bare idle connection", [("server", "KiB"), *rows]))
    rest: Rows = []
    if whole := facts.get("whole"):
        rest.append(
            (
                f"drive.files.update on one tab until the last of {whole['tabs']:,} has it, sandbox included",
                f"p50 {whole['p50']:.0f} ms, p99 {whole['p99']:.0f} ms ({whole['sent']:.0f} writes)",
            )
        )
    for name, us in facts.get("front", {}).get("nginx_us", {}).items():
        rest.append((f"{name}: nginx's own CPU for each delivery", f"{rounded(us)} us"))
    if rest:
        made.append(("beside these", [("measure", "found"), *rest]))
    return made


def images(names: Sequence[str]) -> str:
    """The plots, for a document."""
    return "\n".join(f".. image:: plots/{name}.svg\n   :alt: {name}\n" for name in names)


def _lines(rows: Rows) -> tuple[list[int], list[str]]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return widths, ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def text(table: Table) -> str:
    """For a terminal."""
    title, rows = table
    return "\n".join([title, *("  " + line for line in _lines(rows)[1]), ""])


def rst(table: Table) -> str:
    """A table of a document, with its title above."""
    title, rows = table
    widths, (head, *body) = _lines(rows)
    rule = "  ".join("=" * width for width in widths)
    return "\n".join([f"*{title[0].upper()}{title[1:]}*", "", rule, head, rule, *body, rule, ""])


def update(document: Path, parts: Sequence[str]) -> None:
    """Put these between the marks of this document. Raises ValueError where they are missing."""
    before, begun, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{document} has no marks for the figures")
    document.write_text(f"{before}{begun}\n" + "\n".join(parts) + f"\n{ended}{after}", encoding="utf-8")
