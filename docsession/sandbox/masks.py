"""Field masks: the language of the ``fields`` parameter.

``kind,files(id,owners/displayName),*`` is parsed into nested dictionaries; a name that leads
to None is wanted with all that is in it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from docsession.sandbox.errors import DriveError, invalid
from docsession.sandbox.table import Shape, shape_of

__all__ = ["EVERYTHING", "Mask", "check", "checked", "parse", "select", "under", "wants"]

_Names = dict[str, Any]
Mask = _Names | None
EVERYTHING: Mask = None

_TOKEN = re.compile(r"\s*([A-Za-z0-9_\-]+|\*|[,/()])")
_DEEPEST = 20
_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 4000


def parse(text: str) -> Mask:
    """The mask that a ``fields`` parameter spells. Raises a 400 for what is no mask."""
    tokens, place = [], 0
    text = text.strip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise _bad_selection(text)
        tokens.append(found.group(1))
        place = found.end()
    return _Parser(tokens, text).whole()


def _bad_selection(text: str) -> DriveError:
    return invalid("fields", f"Invalid field selection {text}", reason="invalidParameter")


class _Parser:
    """Recursive descent over ``list := path (',' path)*``, ``path := name ('/' name)* ['(' list ')']``."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._place = 0

    def whole(self) -> _Names:
        mask = self._list(0) if self._tokens else {}
        if self._place < len(self._tokens):
            raise _bad_selection(self._text)
        return mask

    def _next(self) -> str:
        token = self._tokens[self._place] if self._place < len(self._tokens) else ""
        self._place += 1
        return token

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _list(self, depth: int) -> _Names:
        if depth > _DEEPEST:
            raise _bad_selection(self._text)
        mask: _Names = {}
        while True:
            self._path(mask, depth)
            if self._peek() != ",":
                return mask
            self._next()

    def _path(self, mask: _Names, depth: int) -> None:
        names = [self._name()]
        while self._peek() == "/":
            self._next()
            names.append(self._name())
        below: Mask = None
        if self._peek() == "(":
            self._next()
            below = self._list(depth + 1)
            if self._next() != ")":
                raise _bad_selection(self._text)
        for name in reversed(names[1:]):
            below = {name: below}
        mask[names[0]] = _union(mask[names[0]], below) if names[0] in mask else below

    def _name(self) -> str:
        name = self._next()
        if not name or name in ",/()":
            raise _bad_selection(self._text)
        return name


def _union(one: Mask, other: Mask) -> Mask:
    if one is None or other is None:
        return None
    both = dict(one)
    for name, below in other.items():
        both[name] = _union(both[name], below) if name in both else below
    return both


def check(mask: Mask, shape: Shape, path: str = "") -> None:
    """Raise a 400 where the mask names a field that the shape does not have."""
    if mask is None:
        return
    fields = shape_of(shape)
    for name, below in mask.items():
        full = f"{path}/{name}" if path else name
        if not isinstance(fields, dict):
            raise _bad_selection(full)
        if name == "*":
            for each in fields.values():
                if below is not None and isinstance(shape_of(each), dict):
                    check(below, each, full)
        elif name in fields:
            check(below, fields[name], full)
        elif "*" in fields:
            check(below, fields["*"], full)
        else:
            raise _bad_selection(full)


def checked(text: str, shape: str) -> Mask:
    """The mask that a ``fields`` parameter spells for a shape (empty: any). Raises a 400.

    An app sends few masks, and each of them often. Who gets one must not change it.
    """
    return (_remembered if len(text) <= _LONGEST_REMEMBERED else _checked)(text, shape)


def _checked(text: str, shape: str) -> Mask:
    mask = parse(text)
    if shape:
        check(mask, shape)
    return mask


_remembered = lru_cache(_MOST_REMEMBERED)(_checked)


def wants(mask: Mask, name: str) -> bool:
    """Whether the mask asks for anything of this field."""
    return mask is None or name in mask or "*" in mask


def under(mask: Mask, name: str) -> Mask:
    """The mask for what is inside this field."""
    if mask is None:
        return None
    if name in mask and "*" in mask:
        return _union(mask[name], mask["*"])
    return mask.get(name, mask.get("*", {}))


def select(value: Any, mask: Mask) -> Any:
    """What the mask leaves of a value."""
    if mask is None:
        return value
    if isinstance(value, list):
        return [select(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    if "*" in mask:
        return {name: select(item, under(mask, name)) for name, item in value.items()}
    return {
        name: item if mask[name] is None else select(item, mask[name])
        for name, item in value.items()
        if name in mask
    }
