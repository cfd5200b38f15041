"""The search language of ``q``.

A query becomes a predicate over a file as one person sees it. ``and`` and ``or`` weigh the
same and are taken from left to right, as Google's guide says.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from docsession.sandbox.errors import invalid
from docsession.sandbox.records import File, Person, View, is_binary, parse_time
from docsession.sandbox.sharing import ANYONE, ANYONE_WITH_LINK, at_least
from docsession.sandbox.world import World

__all__ = ["Query", "Seen", "parse"]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<name>[A-Za-z][A-Za-z.]*)"
    r"|(?P<sign><=|>=|!=|[=<>(){}]))",
    re.DOTALL,
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DEEPEST = 50
_NO_VIEW = View()


@dataclass(frozen=True, slots=True)
class Seen:
    """A file, and whose eyes are on it."""

    world: World
    file: File
    person: Person

    @property
    def view(self) -> View:
        """What the person has to do with the file."""
        return self.file.views.get(self.person.email, _NO_VIEW)


Predicate = Callable[[Seen], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood."""

    matches: Predicate
    full_text: bool


def parse(text: str) -> Query:
    """Understand a query, or raise a 400."""
    tokens: list[tuple[str, str]] = []
    place, text = 0, text.strip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise invalid("q")
        tokens.append((str(found.lastgroup), found.group(str(found.lastgroup))))
        place = found.end()
    parser = _Parser(tokens)
    return Query(parser.whole(), ("name", "fullText") in tokens)


class _Parser:
    """``any := one (('and'|'or') one)*``, ``one := 'not' one | '(' any ')' | term``."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0

    def whole(self) -> Predicate:
        predicate = self._any(0)
        if self._place < len(self._tokens):
            raise invalid("q")
        return predicate

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "")

    def _next(self, *kinds: str) -> str:
        kind, token = self._peek()
        if kind not in kinds:
            raise invalid("q")
        self._place += 1
        return token

    def _expect(self, *tokens: str) -> str:
        token = self._next("name", "sign")
        if token not in tokens:
            raise invalid("q")
        return token

    def _text(self) -> str:
        return re.sub(r"\\(.)", r"\1", self._next("string")[1:-1], flags=re.DOTALL)

    def _any(self, depth: int) -> Predicate:
        if depth > _DEEPEST:
            raise invalid("q")
        left = self._one(depth)
        while self._peek() in (("name", "and"), ("name", "or")):
            word = self._next("name")
            right = self._one(depth)
            left = _both(left, right) if word == "and" else _either(left, right)
        return left

    def _one(self, depth: int) -> Predicate:
        if depth > _DEEPEST:
            raise invalid("q")
        if self._peek() == ("name", "not"):
            self._next("name")
            denied = self._one(depth + 1)
            return lambda seen: not denied(seen)
        if self._peek() == ("sign", "("):
            self._next("sign")
            inside = self._any(depth + 1)
            self._expect(")")
            return inside
        if self._peek()[0] == "string":
            value = self._text()
            self._expect("in")
            return _membership(value, self._expect("parents", "owners", "writers", "readers", "labels"))
        return self._term(self._next("name"))

    def _term(self, name: str) -> Predicate:
        if name in _WORDS:
            sign = self._expect("contains") if name == "fullText" else self._expect("contains", "=", "!=")
            return _WORDS[name](sign, self._text())
        if name in _TIMES:
            sign = self._expect(*_COMPARE)
            return _time(_COMPARE[sign], _TIMES[name], self._text())
        if name in _FLAGS:
            sign = self._expect("=", "!=")
            wanted = (self._expect("true", "false") == "true") == (sign == "=")
            flag = _FLAGS[name]
            return lambda seen: flag(seen) == wanted
        if name in ("visibility", "shortcutDetails.targetId"):
            compare = _COMPARE[self._expect("=", "!=")]
            value, read = self._text(), _VALUES[name]
            return lambda seen: compare(read(seen), value)
        if name in ("properties", "appProperties"):
            return self._has(name)
        raise invalid("q")

    def _has(self, name: str) -> Predicate:
        pair: dict[str, str] = {}
        self._expect("has")
        self._expect("{")
        for part, end in (("key", "and"), ("value", "}")):
            self._expect(part)
            self._expect("=")
            pair[part] = self._text()
            self._expect(end)
        key, value = pair["key"], pair["value"]
        if name == "properties":
            return lambda seen: seen.file.properties.get(key) == value
        return lambda seen: any(own.get(key) == value for own in seen.file.app_properties.values())


def _both(left: Predicate, right: Predicate) -> Predicate:
    return lambda seen: left(seen) and right(seen)


def _either(left: Predicate, right: Predicate) -> Predicate:
    return lambda seen: left(seen) or right(seen)


# --- terms ----------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _name(sign: str, value: str) -> Predicate:
    if sign != "contains":
        return lambda seen: _COMPARE[sign](seen.file.name, value)
    wanted = _words(value)
    # Google matches the beginnings of words only.
    return lambda seen: all(any(word.startswith(part) for word in _words(seen.file.name)) for part in wanted)


def _mime_type(sign: str, value: str) -> Predicate:
    if sign != "contains":
        return lambda seen: _COMPARE[sign](seen.file.mime_type, value)
    return lambda seen: value in seen.file.mime_type


def _full_text(sign: str, value: str) -> Predicate:
    phrase = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else None
    wanted = _words(value)

    def matches(seen: Seen) -> bool:
        file = seen.file
        text = f"{file.name}\n{file.description}"
        if not is_binary(file.mime_type) or file.mime_type.startswith("text/"):
            text += "\n" + file.content.decode("utf-8", "replace")
        if phrase is not None:
            return " ".join(_words(phrase)) in " ".join(_words(text))
        return set(wanted) <= set(_words(text))

    return matches


def _time(compare: Callable[[Any, Any], bool], read: Callable[[Seen], str], text: str) -> Predicate:
    try:
        limit = parse_time(text)
    except ValueError:
        raise invalid("q") from None
    return lambda seen: bool(read(seen)) and compare(read(seen), limit)


def _membership(value: str, collection: str) -> Predicate:
    if collection == "parents":
        return lambda seen: (
            seen.file.parent != ""
            and seen.file.parent == (seen.world.roots[seen.person.email] if value == "root" else value)
        )
    if collection == "labels":
        return lambda seen: False
    role = {"owners": "owner", "writers": "writer", "readers": "reader"}[collection]

    def matches(seen: Seen) -> bool:
        person = seen.person if value == "me" else seen.world.people.get(value)
        return person is not None and at_least(seen.world.role(person, seen.file), role)

    return matches


def _shared_with_me(seen: Seen) -> bool:
    return bool(seen.view.shared) and seen.person.permission_id in seen.file.permissions


def _visibility(seen: Seen) -> str:
    best = "limited"
    for permission in seen.file.permissions.values():
        if permission.id == ANYONE:
            return "anyoneCanFind"
        if permission.id == ANYONE_WITH_LINK:
            best = "anyoneWithLink"
        elif permission.type == "domain" and best == "limited":
            best = "domainCanFind" if permission.allow_file_discovery else "domainWithLink"
    return best


_WORDS: Mapping[str, Callable[[str, str], Predicate]] = {
    "name": _name,
    "mimeType": _mime_type,
    "fullText": _full_text,
}
_TIMES: Mapping[str, Callable[[Seen], str]] = {
    "modifiedTime": lambda seen: seen.file.modified,
    "createdTime": lambda seen: seen.file.created,
    "viewedByMeTime": lambda seen: seen.view.viewed,
}
_FLAGS: Mapping[str, Predicate] = {
    "trashed": lambda seen: seen.world.is_trashed(seen.file),
    "starred": lambda seen: seen.view.starred,
    "sharedWithMe": _shared_with_me,
}
_VALUES: Mapping[str, Callable[[Seen], str]] = {
    "visibility": _visibility,
    "shortcutDetails.targetId": lambda seen: seen.file.shortcut_to,
}
