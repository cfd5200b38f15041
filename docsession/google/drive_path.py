"""Ids from a browser into the path of a Drive URL, so that no id can become another method.

Google tells ``files/{fileId}`` from ``files/trash`` only by the word, so an id that is such a
word at its place is refused; which words, the table of methods says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from docsession.errors import InvalidParams
from docsession.google.table import TABLE

__all__ = ["expand", "path_parameters"]

_LONGEST = 256
_TEMPLATE = re.compile(r"\{(\w+)\}")
# Visible ASCII without what parts URLs (/ \ ? #), escapes in them (%), or sets a verb off (:).
_ID = re.compile(r"(?!\.+\Z)[!-~]+\Z")
_NEVER = frozenset("/\\?#%:")


def path_parameters(template: str) -> list[str]:
    """The names of the parameters in a path template, in order."""
    return _TEMPLATE.findall(template)


def expand(template: str, ids: Mapping[str, Any]) -> str:
    """The path with its ids in place, quoted. Raises :class:`InvalidParams` for an unfit one."""
    words = _words(template)
    fit = {name: _fit(ids[name], f"$.{name}", words[name]) for name in words}
    return _TEMPLATE.sub(lambda match: fit[match[1]], template)


def _fit(value: Any, path: str, words: frozenset[str]) -> str:
    if not isinstance(value, str):
        raise InvalidParams("an id is a string", path=path)
    if not value:
        raise InvalidParams("an id is not empty", path=path)
    if len(value) > _LONGEST:
        raise InvalidParams(f"an id has at most {_LONGEST} characters", path=path)
    if not _ID.match(value) or not _NEVER.isdisjoint(value):
        raise InvalidParams("this cannot be an id", path=path)
    if value.casefold() in words:
        raise InvalidParams("this is a word of Google's own at this place, not an id", path=path)
    return quote(value, safe="")


@cache
def _words(template: str) -> Mapping[str, frozenset[str]]:
    """For each parameter of the template, the literals that stand at its place elsewhere."""
    ours = template.split("/")
    words: dict[str, set[str]] = {name: set() for name in path_parameters(template)}
    for method in TABLE.methods.values():
        theirs = method.path.split("/")
        for mine, other in zip(ours, theirs, strict=False):
            for name in path_parameters(mine):
                if not path_parameters(other):
                    words[name].add(other.casefold())
            if mine != other and not path_parameters(mine) and not path_parameters(other):
                break
    return {name: frozenset(found) for name, found in words.items()}
