"""The world as it is kept in a file, and checked when it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from docsession.sandbox.changelog import KeptLog
from docsession.sandbox.records import File, SharedDrive

__all__ = ["KeptPerson", "KeptWorld", "read"]


class KeptPerson(Struct):
    """A person: the rest follows from the address."""

    email: str
    name: str


class KeptWorld(Struct):
    """A world."""

    people: list[KeptPerson]
    roots: dict[str, str]
    files: list[File]
    drives: list[SharedDrive]
    log: KeptLog


def read(state: Mapping[str, Any]) -> KeptWorld:
    """The world that plain data describe. Raises ValueError for one that could not be lived in."""
    kept = msgspec.convert(state, KeptWorld)
    parents = {file.id: file.parent for file in kept.files}
    _refuse_circles(parents)
    wanted = [*kept.roots.values(), *(drive.id for drive in kept.drives), *(e.key for e in kept.log.common)]
    missing = next((each for each in wanted if each not in parents), None)
    if missing is not None:
        raise ValueError(f"there is no file {missing}")
    return kept


def _refuse_circles(parents: Mapping[str, str]) -> None:
    ends_well: set[str] = {""}
    for start in parents:
        path: set[str] = set()
        place = start
        while place not in ends_well:
            if place in path:
                raise ValueError(f"the folder {place} is inside itself")
            path.add(place)
            place = parents.get(place, "")
        ends_well |= path
