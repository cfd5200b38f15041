"""Whether a file could be in a listing, from the listing's params and what is known of the file.

Says no only where that is certain. A ``q`` is read as terms joined by ``and``, and a few kinds of
terms are understood; one of those that is false for the file keeps it out. All else may be true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["FOLDER", "Query", "could_hold", "query_of"]

FOLDER = "application/vnd.google-apps.folder"

# A file as Google shows it; a field that is not there is not known.
File = Mapping[str, Any]
Refutes = Callable[[File], bool]

# ``\'`` and ``\\`` are the escapes that Google has; a string with another is not understood.
_TOKEN = re.compile(
    r"\s*(?:'(?P<string>(?:[^'\\]|\\['\\])*)'|(?P<word>[A-Za-z][A-Za-z.]*)|(?P<sign><=|>=|!=|[=<>(){}]))"
)
_ESCAPE = re.compile(r"\\(.)")
_PIECE = re.compile(r"[a-z0-9]+")
_OPENING, _CLOSING = ("({", ")}")
_FLAGS = frozenset({"trashed", "starred"})
_EXACT = frozenset({"mimeType", "name"})
# What a page may send as q has a bound elsewhere; a term more than this is not looked at.
_MOST_TERMS = 50

Token = tuple[str, str]


class Query(msgspec.Struct, frozen=True):
    """What is understood of a listing's params. ``parents``: the folders that it asks after."""

    refutes: tuple[Refutes, ...]
    parents: frozenset[str]


def query_of(params: Mapping[str, Any]) -> Query:
    """Of the params of a ``files.list``."""
    refutes = list(_of_params(params))
    parents: set[str] = set()
    q = params.get("q")
    for term in _terms(q if isinstance(q, str) else ""):
        parent = _parent(term)
        refute = _in_parents(parent) if parent is not None else _refute(term)
        if parent is not None:
            parents.add(parent)
        if refute is not None:
            refutes.append(refute)
    return Query(tuple(refutes), frozenset(parents))


def could_hold(query: Query, file: File) -> bool:
    """False where something the listing asks for is certainly not so.

    The file's present state decides; a listing that shows it now may have to lose it.
    """
    return not any(refutes(file) for refutes in query.refutes)


# -- params beside q


def _of_params(params: Mapping[str, Any]) -> Iterator[Refutes]:
    spaces = frozenset(str(params.get("spaces", "drive")).replace(" ", "").split(","))
    yield lambda file: bool(file.get("spaces")) and spaces.isdisjoint(file["spaces"])
    if "driveId" in params:
        drive_id = params["driveId"]
        yield lambda file: "driveId" in file and file["driveId"] != drive_id
    elif not params.get("includeItemsFromAllDrives"):
        yield lambda file: bool(file.get("driveId"))


# -- q


def _terms(q: str) -> list[list[Token]]:
    """The terms that must all be true, or none where they are joined in another way."""
    terms: list[list[Token]] = [[]]
    depth = 0
    for token in _tokens(q):
        kind, text = token
        word = text.lower() if kind == "word" else ""
        if kind == "sign" and text in _OPENING:
            depth += 1
        elif kind == "sign" and text in _CLOSING:
            depth -= 1
        # ``and`` and ``or`` weigh the same at Google, and how far a ``not`` reaches is not said.
        if kind == "unknown" or (not depth and word in ("or", "not")):
            return []
        if not depth and word == "and":
            terms.append([])
        else:
            terms[-1].append(token)
    return terms if not depth and len(terms) <= _MOST_TERMS else []


def _tokens(q: str) -> Iterator[Token]:
    q = q.strip()
    place = 0
    while place < len(q):
        found = _TOKEN.match(q, place)
        if found is None:
            yield "unknown", ""
            return
        kind = str(found.lastgroup)
        text = found[kind]
        yield kind, _ESCAPE.sub(r"\1", text) if kind == "string" else text
        place = found.end()


def _parent(term: list[Token]) -> str | None:
    """The folder, where the term is ``'X' in parents``."""
    if len(term) == 3 and term[0][0] == "string" and term[1:] == [("word", "in"), ("word", "parents")]:
        return term[0][1]
    return None


def _in_parents(folder: str) -> Refutes | None:
    if folder == "root":
        return None  # another id for everybody
    return lambda file: bool(file.get("parents")) and folder not in file["parents"]


def _refute(term: list[Token]) -> Refutes | None:
    if len(term) != 3 or term[0][0] != "word":
        return None
    (_, name), (_, sign), (kind, value) = term
    if name in _FLAGS and sign in ("=", "!=") and value in ("true", "false") and kind == "word":
        wrong = (value == "true") != (sign == "=")
        return lambda file: file.get(name) is wrong
    if name in _EXACT and kind == "string":
        return _of_text(name, sign, value)
    return None


def _of_text(name: str, sign: str, value: str) -> Refutes | None:
    if sign == "!=":
        return lambda file: file.get(name) == value
    # Nobody but Google knows how it compares letters beyond ASCII, or cases and blanks.
    if not value.isascii():
        return None
    if sign == "=":
        wanted = _plain(value)
        return lambda file: _is_ascii(file.get(name)) and _plain(file[name]) != wanted
    if sign == "contains":
        # Beginnings of words for Google; whatever a word is there, it stands in the name.
        pieces = _PIECE.findall(value.lower())
        return lambda file: (
            _is_ascii(file.get(name)) and not all(piece in file[name].lower() for piece in pieces)
        )
    return None


def _is_ascii(text: Any) -> bool:
    return isinstance(text, str) and text.isascii()


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
