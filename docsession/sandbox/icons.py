"""Icons of file types, as ``iconLink`` points to them."""

from __future__ import annotations

from docsession.sandbox.records import DOCUMENT, FOLDER, PRESENTATION, SPREADSHEET

__all__ = ["icon", "icon_name"]

_COLOURS = {
    DOCUMENT: "#1f5fa8",
    SPREADSHEET: "#3c6e1f",
    PRESENTATION: "#b07800",
    FOLDER: "#5f6368",
    "application/pdf": "#b3261e",
}
_LINES = '<path d="M5 6h6M5 8.5h6M5 11h4" stroke="#fff" stroke-width="1.2"/>'
_SHEET = '<path d="M3 1h7l3 3v11H3z" fill="{colour}"/>' + _LINES
_FOLDER = '<path d="M1 3h5l2 2h7v9H1z" fill="{colour}"/>'


def icon_name(mime_type: str) -> str:
    """The file name of a type's icon."""
    return mime_type.replace("/", "-") + ".svg"


def icon(name: str) -> bytes:
    """The picture of that name. Types without an icon of their own share a grey sheet."""
    mime_type = next((each for each in _COLOURS if icon_name(each) == name), "")
    drawing = _FOLDER if mime_type == FOLDER else _SHEET
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">'
        + drawing.format(colour=_COLOURS.get(mime_type, "#5f6368"))
        + "</svg>"
    ).encode()
