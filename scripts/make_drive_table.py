"""Makes docsession/google/drive_v3.json: what of Google's discovery document the daemon needs.

Methods with their parameters, and of the schemas only those that request bodies reach.
Sorted and mostly one thing to a line, so that a new revision shows as a readable diff.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parent.parent / "docsession" / "google" / "drive_v3.json"

_SCOPE_PREFIX = "https://www.googleapis.com/auth/"
_PARAMETER_KEYS = ("location", "type", "format", "required", "repeated", "enum", "default", "deprecated")
_SCHEMA_KEYS = ("type", "format", "enum", "$ref")
_INSTEAD = re.compile(r"\bUse `(\w+)` instead")
# A literal, {name}, or {name}:verb; nothing else is understood, so nothing else may pass.
_SEGMENT = re.compile(r"[\w:]+|\{\w+\}(?::\w+)?")


def shipped_document() -> str:
    """The document that google-api-python-client brings along."""
    package = resources.files("googleapiclient")
    return package.joinpath("discovery_cache", "documents", "drive.v3.json").read_text("utf-8")


def table_of(document: dict[str, Any]) -> dict[str, Any]:
    """The table as data."""
    methods = {method["id"]: _method(method) for method in _walk(document)}
    bodies = (method["request"] for method in methods.values() if "request" in method)
    schemas = document["schemas"]
    return {
        "revision": document["revision"],
        "servicePath": document["servicePath"],
        "scopePrefix": _SCOPE_PREFIX,
        "globalParameters": sorted(document["parameters"]),
        "methods": methods,
        "schemas": {
            name: {key: _shape(value) for key, value in schemas[name]["properties"].items()}
            for name in _reached(schemas, bodies)
        },
    }


def text_of(table: dict[str, Any]) -> str:
    """The table as it is written to the file."""
    lines = [f"{_line(key)}: {_line(value)}" for key, value in table.items() if not isinstance(value, dict)]
    methods = [f"{_line(name)}: {_line(method)}" for name, method in sorted(table["methods"].items())]
    lines.append('"methods": ' + _block(methods))
    schemas = []
    for name, shape in sorted(table["schemas"].items()):
        properties = [f"{_line(key)}: {_line(value)}" for key, value in sorted(shape.items())]
        schemas.append(f"{_line(name)}: " + _block(properties))
    lines.append('"schemas": ' + _block(schemas))
    return _block(lines) + "\n"


def _block(lines: list[str]) -> str:
    return "{\n" + ",\n".join(lines) + "\n}"


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _walk(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in resource.get("resources", {}).values():
        yield from child.get("methods", {}).values()
        yield from _walk(child)


def _method(method: dict[str, Any]) -> dict[str, Any]:
    for segment in method["path"].split("/"):
        if not _SEGMENT.fullmatch(segment):
            raise SystemExit(f"{method['id']}: the path {method['path']} is of a kind not understood")
    entry: dict[str, Any] = {
        "httpMethod": method["httpMethod"],
        "path": method["path"],
        "parameters": {name: _parameter(value) for name, value in method.get("parameters", {}).items()},
        "scopes": sorted(scope.removeprefix(_SCOPE_PREFIX) for scope in method["scopes"]),
    }
    for role in ("request", "response"):
        if role in method:
            entry[role] = method[role]["$ref"]
    if method.get("supportsMediaDownload"):
        entry["mediaDownload"] = True
    if method.get("supportsMediaUpload"):
        entry["mediaUpload"] = True
    return entry


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    entry = {key: parameter[key] for key in _PARAMETER_KEYS if key in parameter}
    for bound in ("minimum", "maximum"):
        if bound in parameter:
            entry[bound] = int(parameter[bound])
    instead = _INSTEAD.search(parameter.get("description", ""))
    if parameter.get("deprecated") and instead is not None:
        entry["instead"] = instead[1]
    return entry


def _shape(schema: dict[str, Any]) -> dict[str, Any]:
    entry = {key: schema[key] for key in _SCHEMA_KEYS if key in schema}
    for key in ("items", "additionalProperties"):
        if key in schema:
            entry[key] = _shape(schema[key])
    if "properties" in schema:
        entry["properties"] = {name: _shape(value) for name, value in schema["properties"].items()}
    required = schema.get("annotations", {}).get("required")
    if required:
        entry["requiredBy"] = sorted(required)
    return entry


def _reached(schemas: dict[str, Any], names: Iterator[str]) -> set[str]:
    """These schemas and all they refer to."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(_references(schemas[name]))
    return reached


def _references(schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"]
    for value in schema.get("properties", {}).values():
        yield from _references(value)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _references(schema[key])


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--document", type=Path, help="a drive.v3 discovery document (JSON)")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the table is not this")
    options = parser.parse_args(arguments)
    document = options.document.read_text("utf-8") if options.document else shipped_document()
    table = table_of(json.loads(document))
    text = text_of(table)
    if options.check and options.document is None and TABLE.exists():
        committed = json.loads(TABLE.read_text("utf-8"))["revision"]
        if table["revision"] != committed:
            print(f"the installed document is of {table['revision']}, the table of {committed}: not compared")
            return 0
    if not options.check:
        TABLE.write_text(text, "utf-8")
        print(f"wrote {TABLE.name}, {len(text)} bytes")
        return 0
    if TABLE.exists() and TABLE.read_text("utf-8") == text:
        return 0
    print(f"{TABLE.name} is not what the document says; run {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
