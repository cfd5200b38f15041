"""Make docsession/sandbox/drive_v3.json from Google's discovery document of Drive v3.

The document is the one that the PyPI package google-api-python-client ships. The table keeps
what the sandbox needs of it: each method's verb, path, scopes and parameters, and the shapes
of the resources, by which field masks and bodies are checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import googleapiclient

SOURCE = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "drive.v3.json"
TARGET = Path(__file__).parent.parent / "docsession" / "sandbox" / "drive_v3.json"
KEPT_OF_A_PARAMETER = ("type", "required", "repeated", "enum", "minimum", "maximum", "default")


def shape(schema: dict[str, Any]) -> Any:
    """A type's name, ``@Name`` of a schema, ``[shape]``, ``{field: shape}`` or ``{"*": shape}``."""
    if "$ref" in schema:
        return "@" + schema["$ref"]
    if schema.get("type") == "array":
        return [shape(schema["items"])]
    if schema.get("type") == "object":
        if "additionalProperties" in schema:
            return {"*": shape(schema["additionalProperties"])}
        return {name: shape(sub) for name, sub in schema.get("properties", {}).items()}
    return schema["type"]


def methods(resource: dict[str, Any]) -> dict[str, Any]:
    """Every method of a resource and of those below it, by id."""
    found: dict[str, Any] = {}
    for method in resource.get("methods", {}).values():
        found[method["id"]] = {
            "verb": method["httpMethod"],
            "path": method["path"],
            "scopes": [scope.rsplit("/", 1)[1] for scope in method["scopes"]],
            "params": {
                name: {key: spec[key] for key in KEPT_OF_A_PARAMETER if key in spec}
                for name, spec in sorted(method.get("parameters", {}).items())
                if spec["location"] == "query"
            },
            "request": method.get("request", {}).get("$ref", ""),
            "response": method.get("response", {}).get("$ref", ""),
        }
    for below in resource.get("resources", {}).values():
        found |= methods(below)
    return found


def table_of(document: dict[str, Any]) -> dict[str, Any]:
    """The table of a discovery document."""
    return {
        "revision": document["revision"],
        "methods": dict(sorted(methods(document).items())),
        "schemas": {name: shape(schema) for name, schema in sorted(document["schemas"].items())},
    }


def main() -> None:
    TARGET.write_text(json.dumps(table_of(json.loads(SOURCE.read_text())), indent=1) + "\n")


if __name__ == "__main__":
    main()
