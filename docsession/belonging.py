"""Whether a file could belong to a listing, as far as its query can be read.

Drive's search language is Google's. What is understood here are conditions that all must hold and
that a file's present state can prove false; whatever else stands there counts as fulfilled. So a
listing is run again too often now and then, and never too seldom.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["could_hold"]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z][A-Za-z.]*)|(?P<sign><=|>=|!=|[=<>(){}]))",
    re.DOTALL,
)
_WORD_ONLY = re.compile(r"\w+")

# Says whether a file may fulfil one condition.
_Condition = Callable[[Mapping[str, Any]], bool]


def could_hold(query: str, file: Mapping[str, Any]) -> bool:
    """``file`` is what Google says of it now (a File resource, fields may be missing)."""
    return all(may_fulfil(file) for may_fulfil in _conditions(query))


@lru_cache(maxsize=1000)
def _conditions(query: str) -> tuple[_Condition, ...]:
    tokens = _tokens(query)
    if tokens is None or any(kind == "sign" and text in "(){}" for kind, text in tokens):
        return ()
    # ``and`` and ``or`` weigh the same at Google: with one ``or`` nothing must hold.
    if any(kind == "word" and text in ("or", "not") for kind, text in tokens):
        return ()
    parts: list[list[tuple[str, str]]] = [[]]
    for token in tokens:
        if token == ("word", "and"):
            parts.append([])
        else:
            parts[-1].append(token)
    read = [_condition([text for _, text in part], [kind for kind, _ in part]) for part in parts]
    return tuple(condition for condition in read if condition is not None)


def _tokens(query: str) -> list[tuple[str, str]] | None:
    tokens: list[tuple[str, str]] = []
    place, query = 0, query.strip()
    while place < len(query):
        found = _TOKEN.match(query, place)
        if found is None:
            return None
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
        place = found.end()
    return tokens


def _condition(texts: list[str], kinds: list[str]) -> _Condition | None:
    """One condition, or None for one that is not understood."""
    if kinds == ["string", "word", "word"] and texts[1:] == ["in", "parents"]:
        return _in_parents(_text(texts[0]))
    if len(texts) != 3 or kinds[0] != "word":
        return None
    name, sign, value = texts
    if kinds == ["word", "sign", "word"] and name in ("trashed", "starred") and value in ("true", "false"):
        return _equals(name, value == "true", sign)
    if kinds == ["word", "sign", "string"] and name in ("mimeType", "name"):
        return _equals(name, _text(value), sign)
    if kinds == ["word", "word", "string"] and (name, sign) == ("name", "contains"):
        return _contains(_text(value))
    return None


def _in_parents(parent: str) -> _Condition | None:
    if parent == "root":
        return None  # an alias: it is another folder for everybody
    # Who does not see the folder sees no parents either, and may see them in a moment.
    return lambda file: parent in file.get("parents", [parent])


def _equals(name: str, value: str | bool, sign: str) -> _Condition | None:
    if sign == "=":
        return lambda file: name not in file or _folded(file[name]) == _folded(value)
    if sign == "!=" and name != "name":
        return lambda file: name not in file or file[name] != value
    return None


def _contains(text: str) -> _Condition | None:
    # Google looks for words by how they begin, and goes over what stands between them.
    if not _WORD_ONLY.fullmatch(text):
        return None
    return lambda file: "name" not in file or _folded(text) in _folded(file["name"])


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _text(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
