"""Plots as plain SVG: bars, the best first, each with its figure and the spread of its rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.sockets.figures import FLOOR, Spread, Turns, rounded
from benchmarks.sockets.goals import ASKED_MUCH, EIGHT, ONE, OURS

__all__ = ["bars", "plots", "write"]

_WIDTH, _LABELS, _FIGURES, _BAR, _GAP, _TOP = 760, 230, 150, 20, 8, 46
_OURS, _FLOOR, _OTHER, _INK, _FAINT = "#1f6f8b", "#8a8f94", "#c3cdd3", "#1d252b", "#5d6870"
_US = "\u00b5s"
_STYLE = "font-family='DejaVu Sans, Verdana, Helvetica, sans-serif'"

Row = tuple[str, Spread]


def bars(title: str, notes: Sequence[str], rows: Sequence[Row], *, unit: str) -> str:
    """The smallest first; a whisker from quartile to quartile. What is off the scale is cut, and says so."""
    ordered = sorted(rows, key=lambda row: row[1].median)
    # One that is many times as long as the others would make all of them stubs.
    scale = _scale([spread.median for _, spread in ordered])
    room = _WIDTH - _LABELS - _FIGURES
    first = _TOP + 17 * len(notes)
    height = first + len(ordered) * (_BAR + _GAP) + 14
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}'"
        f" viewBox='0 0 {_WIDTH} {height}' {_STYLE} role='img'>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='16' y='26' font-size='16' font-weight='bold' fill='{_INK}'>{escape(title)}</text>",
        *(
            f"<text x='16' y='{45 + 17 * place}' font-size='12' fill='{_FAINT}'>{escape(note)}</text>"
            for place, note in enumerate(notes)
        ),
    ]
    for place, (name, spread) in enumerate(ordered):
        top = first + place * (_BAR + _GAP)
        middle = top + _BAR / 2
        own = name.startswith(OURS)
        colour = _OURS if own else _FLOOR if name == FLOOR else _OTHER
        weight = "bold" if own else "normal"
        length = min(spread.median, scale) / scale * room
        cut = spread.median > scale
        parts += [
            f"<text x='{_LABELS - 10}' y='{middle + 4.5}' font-size='13' text-anchor='end'"
            f" font-weight='{weight}' fill='{_INK}'>{escape(name)}</text>",
            f"<rect x='{_LABELS}' y='{top}' width='{max(1.5, length):.1f}' height='{_BAR}' rx='2'"
            f" fill='{colour}'/>",
        ]
        end = float(length)
        if cut:
            at = _LABELS + length - 26
            parts.append(f"<path d='M{at:.1f} {top - 2} l7 {_BAR + 4} h7 l-7 -{_BAR + 4} z' fill='#ffffff'/>")
        elif spread.high > spread.low:
            low, high = (min(each, scale) / scale * room for each in (spread.low, spread.high))
            end = max(length, high)
            x1, x2 = _LABELS + low, _LABELS + high
            # Where it goes on beyond the drawing it has no end.
            stop = f"M{x2:.1f} {middle - 4} v8" if spread.high <= scale else ""
            parts.append(
                f"<path d='M{x1:.1f} {middle} H{x2:.1f} M{x1:.1f} {middle - 4} v8 {stop}'"
                f" stroke='{_INK}' stroke-width='1.2' fill='none'/>"
            )
        parts.append(
            f"<text x='{_LABELS + end + 8:.1f}' y='{middle + 4.5}' font-size='13' font-weight='{weight}'"
            f" fill='{_INK}'>{rounded(spread.median)} {escape(unit)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _scale(medians: Sequence[float]) -> float:
    """The longest bar's length that is drawn."""
    kept = list(medians)
    while len(kept) > 3 and kept[-1] > 4 * kept[-2]:
        kept.pop()
    cut = len(kept) < len(medians)
    return (kept[-1] * 1.25 if cut else kept[-1] * 1.08) or 1.0


def plots(turns: Turns, facts: Mapping[str, Any]) -> dict[str, str]:
    """By file name, of whatever was measured."""
    made = {}
    for name, measure, title, unit in (
        ("fanout-1", ONE, "One event to 1,000 tabs: CPU for each delivery", _US),
        ("fanout-8", EIGHT, "Eight events at once to 1,000 tabs: CPU for each delivery", _US),
        ("requests", ASKED_MUCH, "Requests, ten in flight on each of 50 sockets: CPU for each", _US),
        ("handshakes", "handshakes", "Handshakes: CPU for each", _US),
    ):
        servers = turns.servers(measure)
        if OURS in servers:
            rows = [(server, turns.us(measure, server)) for server in servers]
            made[name] = bars(title, _NOTES[name], rows, unit=unit)
    if ONE in turns.measures() and OURS in turns.servers(ONE):
        rows = [(server, turns.time(ONE, server, "p50")) for server in turns.servers(ONE)]
        made["last-receiver"] = bars(
            "One event to 1,000 tabs: until the last has it", _NOTES["fanout-1"], rows, unit="ms"
        )
    standing, bare = facts.get("standing"), facts.get("memory_of_peers")
    if standing and bare:
        rows = [(name, _one(kib)) for name, kib in bare.items()]
        rows.append((f"{OURS}: a tab", _one(standing["tab_kib"])))
        rows.append((f"{OURS}: a user", _one(standing["user_kib"])))
        notes = [
            "docsession's tabs are signed in and watch five documents; peers' connections are bare. One run."
        ]
        made["memory"] = bars("Memory of an idle connection", notes, rows, unit="KiB")
    return made


_SPREAD = "Median of the rounds, whiskers from quartile to quartile; shorter is better."
_NOTES = {
    "fanout-1": [_SPREAD],
    "fanout-8": [_SPREAD],
    "requests": ["docsession: through JSON-RPC, session and cache; others as named.", _SPREAD],
    "handshakes": ["docsession: with cookie and session.open; others bare.", _SPREAD],
}


def _one(value: float) -> Spread:
    return Spread(value, value, value)


def write(directory: Path, turns: Turns, facts: Mapping[str, Any]) -> list[str]:
    """Returns the names of what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    made = plots(turns, facts)
    for name, text in made.items():
        (directory / f"{name}.svg").write_text(text, encoding="utf-8")
    return list(made)
