"""Google's ``fields`` masks: read, joined, written, and applied to an answer.

``a,b/c,d(e,f)`` with ``*`` for any name. A mask has one canonical text, so that two ways to
say the same thing are one cache entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EVERYTHING", "BadMask", "Mask", "keeps", "parse", "render", "select", "union"]

_ANY = "*"
# Drive nests half as deep, and no URL holds more; a mask from a browser must not cost more
# stack or time than that.
_DEEPEST = 16
_LONGEST = 8192
_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<name>\*|[A-Za-z0-9_@-]+)|(?P<sign>[(),/]))")


class BadMask(ValueError):
    """The text is no mask. Says where and why."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What to keep of an object: the named parts, or everything where none is named."""

    parts: Mapping[str, Mask] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.parts


EVERYTHING = Mask()


def parse(text: str) -> Mask:
    """Read a mask. Raises :class:`BadMask`."""
    return _Reader(text).mask()


def union(one: Mask, other: Mask) -> Mask:
    """All that either keeps."""
    if one.whole or other.whole:
        return EVERYTHING
    parts = dict(one.parts)
    for name, part in other.parts.items():
        mine = parts.get(name)
        parts[name] = part if mine is None else union(mine, part)
    return _of(parts)


def render(mask: Mask) -> str:
    """The one canonical text of a mask."""
    return ",".join(_texts(mask)) if mask.parts else _ANY


def select(mask: Mask, value: Any) -> Any:
    """What the mask keeps of a JSON value, as Google would: lists element by element.

    A part that is asked into but is no object or list has nothing to show, and is left out.
    """
    if mask.whole:
        return value
    if isinstance(value, list):
        return [select(mask, element) for element in value if isinstance(element, (list, Mapping))]
    kept: dict[str, Any] = {}
    for name, part in value.items():
        wanted = _wanted(mask, name)
        if wanted is not None and (wanted.whole or isinstance(part, (list, Mapping))):
            kept[name] = select(wanted, part)
    return kept


def keeps(mask: Mask, *path: str) -> bool:
    """Whether what is found under these names, one within the other, is kept whole."""
    if not path or mask.whole:
        return mask.whole
    wanted = _wanted(mask, path[0])
    return wanted is not None and keeps(wanted, *path[1:])


def _wanted(mask: Mask, name: str) -> Mask | None:
    named, general = mask.parts.get(name), mask.parts.get(_ANY)
    if named is None or general is None:
        return named or general
    return union(named, general)


def _of(parts: dict[str, Mask]) -> Mask:
    general = parts.get(_ANY)
    return EVERYTHING if general is not None and general.whole else Mask(parts)


def _texts(mask: Mask) -> Iterator[str]:
    for name, part in sorted(mask.parts.items()):
        inner = list(_texts(part))
        if not inner:
            yield name
        elif len(inner) == 1:
            yield f"{name}/{inner[0]}"
        else:
            yield f"{name}({','.join(inner)})"


class _Reader:
    """One text on its way to a mask."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def mask(self) -> Mask:
        if len(self._text) > _LONGEST:
            raise BadMask(f"longer than {_LONGEST} characters")
        mask = self._list(depth=0)
        if self._text[self._at :].strip(" \t\r\n"):
            raise self._bad("a ',' or the end was expected")
        return mask

    def _list(self, depth: int) -> Mask:
        parts: dict[str, Mask] = {}
        while True:
            name, inner = self._item(depth)
            mine = parts.get(name)
            parts[name] = inner if mine is None else union(mine, inner)
            if not self._sign(","):
                return _of(parts)

    def _item(self, depth: int) -> tuple[str, Mask]:
        if depth >= _DEEPEST:
            raise self._bad(f"nested deeper than {_DEEPEST}")
        name = self._name()
        inner = EVERYTHING
        if self._sign("/"):
            name_inside, inside = self._item(depth + 1)
            inner = _of({name_inside: inside})
        elif self._sign("("):
            inner = self._list(depth + 1)
            if not self._sign(")"):
                raise self._bad("a ')' is missing")
        return name, inner

    def _name(self) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["name"] is None:
            raise self._bad("the name of a field was expected")
        self._at = match.end()
        return match["name"]

    def _sign(self, sign: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["sign"] != sign:
            return False
        self._at = match.end()
        return True

    def _bad(self, why: str) -> BadMask:
        hint = "; a field within a field is written a/b" if self._text[self._at : self._at + 1] == "." else ""
        return BadMask(f"at character {self._at + 1}: {why}{hint}")
