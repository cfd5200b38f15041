"""The OpenRPC document of the catalogue, for ``rpc.discover``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from docsession import __version__
from docsession.connection import Method
from docsession.errors import DocsessionError
from docsession.google.table import DriveMethod, Parameter
from docsession.method import DriveEntry, Entry

__all__ = ["describe"]


def describe(methods: Mapping[str, Method]) -> dict[str, Any]:
    """An OpenRPC 1.3 document."""
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "docsession",
            "version": __version__,
            "description": "A live session with the signed-in user's Google Drive.",
        },
        "methods": [
            _method(entry) for _, entry in sorted(methods.items()) if getattr(entry, "switched_on", True)
        ],
        "components": {"errors": {kind.name: _error(kind) for kind in _kinds(DocsessionError)}},
    }


def _method(entry: Method) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": entry.name,
        "paramStructure": "by-name",
        "params": [],
        "result": {"name": "result", "schema": {"type": "object"}},
    }
    if isinstance(entry, DriveEntry):
        described |= {"summary": entry.summary, "params": _drive_params(entry.method)}
        described["result"]["schema"] |= {"required": ["data", "as_of", "source"]}
    elif isinstance(entry, Entry):
        described |= {"summary": entry.summary, "params": _own_params(entry)}
    return described


def _own_params(entry: Entry) -> list[dict[str, Any]]:
    if entry.like is not None:
        return _drive_params(entry.like)
    schema = msgspec.json.schema(entry.params)
    definition = schema["$defs"][entry.params.__name__]
    required = set(definition.get("required", ()))
    return [
        {"name": name, "required": name in required, "schema": value}
        for name, value in definition.get("properties", {}).items()
    ]


def _drive_params(method: DriveMethod) -> list[dict[str, Any]]:
    described = [
        {"name": name, "required": parameter.required, "schema": _drive_schema(parameter)}
        for name, parameter in sorted(method.parameters.items())
        if not parameter.deprecated
    ]
    described.append({"name": "fields", "required": False, "schema": {"type": "string"}})
    if method.takes_body:
        described.append({"name": "requestBody", "required": False, "schema": {"type": "object"}})
    if not method.is_write:
        described.append({"name": "maxAge", "required": False, "schema": {"type": "number", "minimum": 0}})
    return described


def _drive_schema(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.type}
    for name in ("enum", "minimum", "maximum"):
        value = getattr(parameter, name)
        if value is not None:
            schema[name] = value
    return {"type": "array", "items": schema} if parameter.repeated else schema


def _error(kind: type[DocsessionError]) -> dict[str, Any]:
    return {"code": kind.code, "message": kind.name}


def _kinds(base: type[DocsessionError]) -> list[type[DocsessionError]]:
    return sorted(base.__subclasses__(), key=lambda kind: kind.code)
