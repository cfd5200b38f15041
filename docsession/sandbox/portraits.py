"""Portraits: a person's initials on a colour of their own."""

from __future__ import annotations

from html import escape

__all__ = ["colour_of", "initials", "portrait"]

_FILLS = ("#7b3f98", "#0b6e6e", "#b3261e", "#1f5fa8", "#7a5200", "#3c6e1f")


def initials(name: str) -> str:
    """The first letters of the first and the last word."""
    parts = name.split()
    return "".join(part[0] for part in (parts[:1] + parts[1:][-1:])).upper() or "?"


def colour_of(place: int) -> int:
    """The number of a colour, for the person in this place; style sheets call them ``avatar-0`` and so on."""
    return place % len(_FILLS)


def portrait(name: str, place: int) -> bytes:
    """An SVG picture."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96" viewBox="0 0 96 96">'
        f'<rect width="96" height="96" rx="48" fill="{_FILLS[colour_of(place)]}"/>'
        '<text x="48" y="50" font-family="system-ui, sans-serif" font-size="38" fill="#fff" '
        f'text-anchor="middle" dominant-baseline="central">{escape(initials(name))}</text></svg>'
    ).encode()
