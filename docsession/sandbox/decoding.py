"""What a request to Drive says, checked against Google's description of its method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.web.iweb import IRequest

from docsession.sandbox import masks
from docsession.sandbox.errors import DriveError, invalid, required, type_error
from docsession.sandbox.masks import Mask
from docsession.sandbox.table import Method, Parameter, Shape, shape_of

__all__ = ["arguments", "body", "mask", "parameters", "raw_body"]

_ALIASES = {
    "supportsTeamDrives": "supportsAllDrives",
    "includeTeamDriveItems": "includeItemsFromAllDrives",
    "teamDriveId": "driveId",
}
_DEFAULT_MASKS = {
    "About": None,
    "File": "kind,id,name,mimeType",
    "FileList": "kind,incompleteSearch,nextPageToken,files(kind,id,name,mimeType)",
    "Permission": "kind,id,type,role",
    "PermissionList": "kind,nextPageToken,permissions(kind,id,type,role)",
    "Revision": "kind,id,mimeType,modifiedTime",
    "RevisionList": "kind,nextPageToken,revisions(kind,id,mimeType,modifiedTime)",
    "Drive": "kind,id,name",
    "DriveList": "kind,nextPageToken,drives(kind,id,name)",
    "ChangeList": "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,"
    "fileId,file(kind,id,name,mimeType),driveId,drive(kind,id,name))",
}
_MASK_IS_MANDATORY = ("drive.about.", "drive.comments.", "drive.replies.")
_MOST_BYTES = 5_000_000


def arguments(request: IRequest) -> dict[str, list[str]]:
    """All query parameters."""
    try:
        return {
            name.decode("utf-8"): [value.decode("utf-8") for value in values]
            for name, values in (request.args or {}).items()
        }
    except UnicodeDecodeError:
        raise DriveError(400, "badRequest", "Bad Request") from None


def parameters(method: Method, arguments: Mapping[str, list[str]]) -> dict[str, Any]:
    """The method's own parameters, in their types, under their newest names."""
    decoded: dict[str, Any] = {}
    for name, values in arguments.items():
        spec = method.params.get(name)
        if spec is None:
            continue
        own_name = _ALIASES.get(name, name)
        decoded[own_name] = values if spec.repeated else _value(name, spec, values[-1])
    for name, spec in method.params.items():
        if spec.required and decoded.get(name) in (None, ""):
            raise required(name)
    return decoded


def _value(name: str, spec: Parameter, text: str) -> Any:
    if spec.type == "boolean":
        if text.lower() not in ("true", "false"):
            raise _bad_value(name, text, "Values must match the following regular expression: 'true|false'")
        return text.lower() == "true"
    if spec.type == "integer":
        low, high = int(spec.minimum or 0), int(spec.maximum or 2**31 - 1)
        if not text.lstrip("-").isdecimal() or not low <= int(text) <= high:
            raise _bad_value(name, text, f"Values must be within the range: [{low}, {high}]")
        return int(text)
    if spec.enum is not None and text not in spec.enum:
        raise _bad_value(name, text, f"Allowed values: [{', '.join(spec.enum)}]")
    return text


def _bad_value(name: str, text: str, rule: str) -> DriveError:
    return invalid(name, f"Invalid value '{text}'. {rule}", reason="invalidParameter")


def mask(method_id: str, method: Method, arguments: Mapping[str, list[str]]) -> Mask:
    """The field mask asked for, or the one that goes without asking."""
    text = arguments["fields"][-1] if "fields" in arguments else None
    mandatory = method_id.startswith(_MASK_IS_MANDATORY) and method.response != ""
    if mandatory and not text:
        raise required("fields")
    if text is None:
        text = _DEFAULT_MASKS.get(method.response)
        return masks.EVERYTHING if text is None else masks.checked(text, "")
    return masks.checked(text, "@" + method.response if method.response else "")


def raw_body(request: IRequest) -> bytes:
    """What was sent, and a little more than is taken where that is too much."""
    return request.content.read(_MOST_BYTES + 1)  # type: ignore[no-any-return]


def body(raw: bytes, method: Method) -> dict[str, Any]:
    """The JSON body, its types checked."""
    if not method.request or not raw.strip():
        return {}
    if len(raw) > _MOST_BYTES:
        raise DriveError(413, "uploadTooLarge", "Request is too large.")
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise DriveError(400, "parseError", "Parse Error") from None
    if not isinstance(decoded, dict):
        raise DriveError(400, "parseError", "This API does not support parsing form-encoded input.")
    _check_types(decoded, "@" + method.request, "")
    return decoded


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def _check_types(value: Any, shape: Shape, path: str) -> None:
    if value is None:
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise type_error(path, f"Invalid value at '{path}' (list expected)")
        for place, item in enumerate(value):
            _check_types(item, shape[0], f"{path}[{place}]")
        return
    shape = shape_of(shape)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise type_error(path, f"Invalid value at '{path}' (object expected)")
        for name, item in value.items():
            inner = shape.get(name, shape.get("*"))
            if inner is not None:
                _check_types(item, inner, f"{path}.{name}" if path else name)
        return
    allowed = _TYPES.get(shape)
    if allowed is not None and (not isinstance(value, allowed) or (allowed[0] is int and value is True)):
        raise type_error(path, f"Invalid value at '{path}' (TYPE_{shape.upper()})")
