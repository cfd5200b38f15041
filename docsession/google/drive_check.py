"""Values from a browser against what Google publishes of them: parameters and request bodies.

Whatever is refused is refused with its path and, where a name is wrong, the nearest right one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from docsession.errors import InvalidParams
from docsession.google.table import TABLE, DriveMethod, Parameter, Shape

__all__ = ["body_of", "inside", "nearest", "texts_of"]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_DECIMAL = re.compile(r"-?[0-9]{1,19}\Z")
# Longer than any name of Google's; looking for what is near such a text is wasted time.
_LONGEST_NAME = 64
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
_WIDE = ("int64", "uint64")


def inside(path: str, name: str) -> str:
    """The path of a named part."""
    return f"{path}.{name}" if _PLAIN_NAME.match(name) else f"{path}[{json.dumps(name[:_LONGEST_NAME])}]"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the right spelling, or nothing."""
    close = get_close_matches(name, list(known), n=1) if len(name) <= _LONGEST_NAME else []
    return f"; did you mean {close[0]!r}?" if close else ""


def texts_of(parameter: Parameter, value: Any, path: str) -> list[str]:
    """A parameter's value as it stands in a URL. Raises :class:`InvalidParams`."""
    if not parameter.repeated:
        return [_text_of(parameter, value, path)]
    if not isinstance(value, list):
        raise InvalidParams("must be a list", path=path)
    return [_text_of(parameter, element, f"{path}[{index}]") for index, element in enumerate(value)]


def body_of(method: DriveMethod, body: Any) -> Mapping[str, Any] | None:
    """The request body (None where there is none), checked whole. Raises :class:`InvalidParams`."""
    path = "$.requestBody"
    if method.body is None:
        raise InvalidParams(f"{method.id} takes no requestBody", path=path)
    if not isinstance(body, Mapping):
        raise InvalidParams("must be an object", path=path)
    _check_object(TABLE.schemas[method.body], body, path, method)
    return body


def _text_of(parameter: Parameter, value: Any, path: str) -> str:
    _check_scalar(parameter, value, path)
    if isinstance(value, bool):
        return "true" if value else "false"
    number = int(value) if parameter.type == "integer" else None
    if number is not None:
        if parameter.minimum is not None and number < parameter.minimum:
            raise InvalidParams(f"must be at least {parameter.minimum}", path=path)
        if parameter.maximum is not None and number > parameter.maximum:
            raise InvalidParams(f"must be at most {parameter.maximum}", path=path)
        return str(number)
    return str(value)


def _check(shape: Shape, value: Any, path: str, method: DriveMethod) -> None:
    if shape.ref is not None:
        _check_object(TABLE.schemas[shape.ref], value, path, method)
    elif shape.type == "array":
        if not isinstance(value, list):
            raise InvalidParams("must be a list", path=path)
        for index, element in enumerate(value):
            _check(shape.items or Shape(), element, f"{path}[{index}]", method)
    elif shape.properties is not None:
        _check_object(shape.properties, value, path, method)
    elif shape.type == "object":
        if not isinstance(value, Mapping):
            raise InvalidParams("must be an object", path=path)
        for name, part in value.items():
            _check_string(name, inside(path, name))
            if part is not None:
                _check(shape.additional_properties or Shape(), part, inside(path, name), method)
    else:
        _check_scalar(shape, value, path)


def _check_object(properties: Mapping[str, Shape], value: Any, path: str, method: DriveMethod) -> None:
    if not isinstance(value, Mapping):
        raise InvalidParams("must be an object", path=path)
    for name, part in value.items():
        shape = properties.get(name)
        if shape is None:
            raise InvalidParams(f"unknown{nearest(name, properties)}", path=inside(path, name))
        if part is not None:  # null clears what was there; whether it may, Google says
            _check(shape, part, inside(path, name), method)
    for name, shape in properties.items():
        if method.id in shape.required_by and value.get(name) is None:
            raise InvalidParams(f"{method.id} requires it", path=inside(path, name))


def _check_scalar(described: Parameter | Shape, value: Any, path: str) -> None:
    if described.type == "boolean":
        if not isinstance(value, bool):
            raise InvalidParams("must be true or false", path=path)
    elif described.type == "integer":
        _check_integer(described.format or "int32", value, path)
    elif described.type == "number":
        _check_number(value, path)
    elif described.type == "string" and described.format in _WIDE:
        _check_integer(described.format or "", value, path)
    elif described.type == "string":
        _check_string(value, path)
        if described.enum is not None and value not in described.enum:
            hint = nearest(value, described.enum)
            raise InvalidParams(f"must be one of {', '.join(described.enum)}{hint}", path=path)


def _check_number(value: Any, path: str) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, float) and math.isfinite(value)):
        raise InvalidParams("must be a number", path=path)


def _check_integer(width: str, value: Any, path: str) -> None:
    # JSON numbers lose digits past 2**53 in a browser, so Google writes wide ones as strings too.
    if width in _WIDE and isinstance(value, str) and _DECIMAL.match(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParams("must be an integer", path=path)
    least, most = _RANGES.get(width, _RANGES["int64"])
    if not least <= value <= most:
        raise InvalidParams(f"must fit {width}", path=path)


def _check_string(value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise InvalidParams("must be a string", path=path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidParams("has half a character in it", path=path) from None
