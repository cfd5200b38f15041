"""The orders of ``orderBy``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from docsession.sandbox.errors import DriveError, invalid
from docsession.sandbox.query import Query, Seen
from docsession.sandbox.records import FOLDER, File, Person
from docsession.sandbox.world import World

__all__ = ["order"]


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


_ORDERS: Mapping[str, Callable[[Seen], Any]] = {
    "createdTime": lambda seen: seen.file.created,
    "folder": lambda seen: seen.file.mime_type != FOLDER,
    "modifiedByMeTime": lambda seen: seen.view.modified,
    "modifiedTime": lambda seen: seen.file.modified,
    "name": lambda seen: seen.file.name.lower(),
    "name_natural": lambda seen: _natural(seen.file.name),
    "quotaBytesUsed": lambda seen: sum(len(each.content) for each in seen.file.revisions),
    "recency": lambda seen: max(seen.view.viewed, seen.view.shared, seen.file.modified),
    "sharedWithMeTime": lambda seen: seen.view.shared,
    "starred": lambda seen: not seen.view.starred,
    "viewedByMeTime": lambda seen: seen.view.viewed,
}


def order(found: list[File], order_by: str, world: World, person: Person, query: Query | None) -> list[File]:
    """The files in the order asked for; without one, the most recently modified first."""
    if order_by and query is not None and query.full_text:
        raise DriveError(
            400,
            "badRequest",
            "Sorting is not supported for queries with fullText terms. "
            "Results are always in descending relevance order.",
            location="orderBy",
        )
    seen = sorted((Seen(world, file, person) for file in found), key=lambda each: each.file.id)
    for wish in reversed((order_by or "modifiedTime desc").split(",")):
        key, _, direction = wish.strip().partition(" ")
        if key not in _ORDERS or direction.strip() not in ("", "asc", "desc"):
            raise invalid("orderBy")
        seen.sort(key=_ORDERS[key], reverse=direction.strip() == "desc")
    return [each.file for each in seen]
