"""Google's published description of Drive v3, as far as the sandbox goes by it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Method", "Parameter", "Shape", "methods", "shape_of"]

Shape = Any
"""A type's name, ``@Name`` of a schema, ``[shape]``, ``{field: shape}`` or ``{"*": shape}``."""


class Parameter(Struct, frozen=True):
    """A query parameter."""

    type: str
    required: bool = False
    repeated: bool = False
    enum: list[str] | None = None
    minimum: str | None = None
    maximum: str | None = None
    default: str | None = None


class Method(Struct, frozen=True):
    """One method."""

    verb: str
    path: str
    scopes: frozenset[str]
    params: dict[str, Parameter]
    request: str
    response: str


class _Table(Struct, frozen=True):
    revision: str
    methods: dict[str, Method]
    schemas: dict[str, dict[str, Any]]


@cache
def _table() -> _Table:
    return msgspec.json.decode(files(__package__).joinpath("drive_v3.json").read_bytes(), type=_Table)


def methods() -> dict[str, Method]:
    """All methods of Drive v3, by id."""
    return _table().methods


def shape_of(shape: Shape) -> Shape:
    """The shape with a reference followed and an array opened: what a field mask goes into."""
    while True:
        if isinstance(shape, list):
            shape = shape[0]
        elif isinstance(shape, str) and shape.startswith("@"):
            shape = _table().schemas[shape[1:]]
        else:
            return shape
