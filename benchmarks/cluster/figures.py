"""What was measured, beside what was to be reached; as a person reads it, and as the documentation has it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Figure", "rst", "spread", "text", "update"]

_BEGIN, _END = ".. cluster figures begin\n", ".. cluster figures end\n"


@dataclass
class Figure:
    """One row: ``what`` was measured, what was ``to_reach``, what was ``found``, and whether that will do.

    ``more`` is all that stands behind it.
    """

    what: str
    to_reach: str
    found: str
    reached: bool
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, p99 and worst."""
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "worst": ordered[-1],
    }


def _rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    rows = [
        (each.what, each.to_reach or "--", each.found, "ok" if each.reached else "MISSED") for each in figures
    ]
    return [("measured", "to reach", "found", ".."), *rows]


def _lines(rows: list[tuple[str, ...]]) -> tuple[list[int], list[str]]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return widths, ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def text(figures: Sequence[Figure]) -> str:
    """For a terminal."""
    return "\n".join(_lines(_rows(figures))[1])


def rst(figures: Sequence[Figure]) -> str:
    """A table of a document."""
    widths, (head, *body) = _lines(_rows(figures))
    rule = "  ".join("=" * width for width in widths)
    return "\n".join([rule, head, rule, *body, rule]) + "\n"


def update(document: Path, figures: Sequence[Figure]) -> None:
    """Put the table between the marks of this document. Raises ValueError where they are missing."""
    before, begun, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not begun or not ended:
        raise ValueError(f"{document} has no marks for the figures")
    document.write_text(f"{before}{begun}\n{rst(figures)}\n{ended}{after}", encoding="utf-8")
