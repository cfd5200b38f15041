"""A browser's params for a Drive method, checked, into the one request to send to Google.

Two doors: :func:`prepare` for what a browser asks, :func:`compose` for what the daemon itself
does with methods that no browser may call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from docsession.errors import Forbidden, InvalidParams, MethodNotFound
from docsession.google import fields as masks
from docsession.google.drive_check import body_of, inside, nearest, texts_of
from docsession.google.drive_path import expand, path_parameters
from docsession.google.table import TABLE, DriveMethod

__all__ = [
    "COMMENT_FIELDS",
    "REPLY_FIELDS",
    "DriveRequest",
    "Policy",
    "callable_methods",
    "compose",
    "escape_query",
    "find_method",
    "prepare",
    "widen_fields",
]

REPLY_FIELDS = "id,createdTime,modifiedTime,author(displayName,photoLink),content,htmlContent,deleted,action"
COMMENT_FIELDS = (
    "id,createdTime,modifiedTime,author(displayName,photoLink),content,htmlContent,"
    f"quotedFileContent,anchor,resolved,deleted,replies({REPLY_FIELDS})"
)

# Google wants a mask for what is answered with one of these.
_DEMANDED = {
    "About": "user,storageQuota",
    "Comment": COMMENT_FIELDS,
    "CommentList": f"nextPageToken,comments({COMMENT_FIELDS})",
    "Reply": REPLY_FIELDS,
    "ReplyList": f"nextPageToken,replies({REPLY_FIELDS})",
}

# What Google answers without a mask, so that widening takes nothing away.
_FILE = "kind,id,name,mimeType,resourceKey"
_UNASKED = {"File": _FILE, "FileList": f"kind,nextPageToken,incompleteSearch,files({_FILE})"}

_OURS = ("fields", "maxAge")
# Far more than anything is kept; a number has to end somewhere.
_LONGEST_AGE = 86_400
_ALL_DRIVES = "supportsAllDrives"

# Push channels, change feeds and encryption keys are the daemon's or nobody's business; bytes
# go over HTTP, where they can be streamed.
_NEVER_GROUPS = frozenset({"channels", "changes", "teamdrives"})
_NEVER = frozenset({"drive.files.generateCseToken", "drive.files.export"})


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator has switched on beyond the ordinary."""

    empty_trash: bool = False
    delete_drives: bool = False
    transfer_ownership: bool = False
    domain_admin: bool = False

    def allows(self, method: DriveMethod) -> bool:
        """Whether the method as such is switched on."""
        if method.id == "drive.files.emptyTrash":
            return self.empty_trash
        return method.id != "drive.drives.delete" or self.delete_drives


@dataclass(frozen=True, slots=True)
class DriveRequest:
    """One request. ``path`` is relative to the service path and quoted, ``query`` in canonical
    order and unquoted; ``fields`` is the mask in it. ``max_age`` is how old an answer may be.
    ``params`` are those it was made from, checked."""

    method: DriveMethod
    path: str
    query: tuple[tuple[str, str], ...]
    body: Mapping[str, Any] | None
    file_id: str | None
    max_age: float | None
    fields: str | None
    params: Mapping[str, Any]

    def url(self, api: str, *more: tuple[str, str]) -> str:
        """Where it goes, under the API's base URL; ``more`` is added to the query."""
        query = urlencode((*self.query, *more))
        return f"{api}/drive/v3/{self.path}" + (f"?{query}" if query else "")

    def key(self) -> str:
        """Equal for two reads that ask the same, and for no others."""
        return f"{self.method.id} {self.path}?{urlencode(self.query)}"


def find_method(method_id: str) -> DriveMethod:
    """The method of that id (``drive.files.get``), switched on or not.

    Raises :class:`MethodNotFound` for those that no browser ever calls, too.
    """
    method = TABLE.methods.get(method_id)
    if method is None or not _reachable(method):
        raise MethodNotFound(method_id)
    return method


def callable_methods(policy: Policy) -> Mapping[str, DriveMethod]:
    """What a browser may call under this policy, by id."""
    return MappingProxyType(
        {
            method.id: method
            for method in TABLE.methods.values()
            if _reachable(method) and policy.allows(method)
        }
    )


def prepare(method: DriveMethod, params: Mapping[str, Any], policy: Policy) -> DriveRequest:
    """What a browser asked for, as a request.

    Raises :class:`InvalidParams`, :class:`Forbidden` or :class:`MethodNotFound`.
    """
    if not _reachable(method):
        raise MethodNotFound(method.id)
    if not policy.allows(method):
        raise Forbidden(f"{method.id} is switched off here")
    request = compose(method, params)
    if params.get("useDomainAdminAccess") and not policy.domain_admin:
        raise Forbidden("useDomainAdminAccess is switched off here")
    if not policy.transfer_ownership and (params.get("transferOwnership") or _hands_over(request.body or {})):
        raise Forbidden("transfer of ownership is switched off here")
    return request


def compose(method: DriveMethod, params: Mapping[str, Any]) -> DriveRequest:
    """The params as a request, without asking who wants it. Raises :class:`InvalidParams`."""
    in_path = path_parameters(method.path)
    query = {"prettyPrint": ["false"]}
    for name, value in params.items():
        parameter = method.parameters.get(name)
        if parameter is None:
            if name not in _OURS and name != "requestBody":
                raise _unknown(method, name)
        elif parameter.deprecated:
            hint = f"; use {parameter.instead!r}" if parameter.instead else ""
            raise InvalidParams(f"deprecated by Google{hint}", path=inside("$", name))
        elif name not in in_path:
            query[name] = texts_of(parameter, value, inside("$", name))
    for name, parameter in method.parameters.items():
        if parameter.required and name not in params:
            raise InvalidParams(f"{method.id} requires it", path=inside("$", name))
    if _ALL_DRIVES in method.parameters:
        query[_ALL_DRIVES] = ["true"]
    mask = _mask(method, params)
    if mask is not None:
        query["fields"] = [mask]
    return DriveRequest(
        method=method,
        path=expand(method.path, params),
        query=tuple((name, text) for name, texts in sorted(query.items()) for text in texts),
        body=_body(method, params),
        file_id=params["fileId"] if "fileId" in in_path else None,
        max_age=_max_age(params.get("maxAge")) if "maxAge" in params else None,
        fields=mask,
        params=MappingProxyType(dict(params)),
    )


def widen_fields(request: DriveRequest, needed: str) -> DriveRequest:
    """The same request, with an answer that has ``needed`` in it too.

    Where Google sends no answer there is nothing to widen.
    """
    response = request.method.response
    if response is None:
        return request
    asked = request.fields if request.fields is not None else _UNASKED.get(response, "*")
    mask = masks.render(masks.union(masks.parse(asked), masks.parse(needed)))
    others = [pair for pair in request.query if pair[0] != "fields"]
    return replace(request, query=tuple(sorted([*others, ("fields", mask)], key=_name)), fields=mask)


def escape_query(text: str) -> str:
    """The text as it stands between the single quotes of a ``q``."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _name(pair: tuple[str, str]) -> str:
    return pair[0]


def _reachable(method: DriveMethod) -> bool:
    words = method.id.split(".")
    return words[-1] != "watch" and words[1] not in _NEVER_GROUPS and method.id not in _NEVER


def _hands_over(body: Mapping[str, Any]) -> bool:
    """Whether this body makes somebody an owner, or begins to."""
    roles = body.get("role")
    listed = roles if isinstance(roles, list) else [roles]
    named = any(isinstance(role, str) and role.strip().casefold() == "owner" for role in listed)
    return named or bool(body.get("pendingOwner"))


def _unknown(method: DriveMethod, name: str) -> InvalidParams:
    if name in TABLE.global_parameters:
        why = "of Google's global parameters only 'fields' is accepted"
    else:
        known = [known for known, parameter in method.parameters.items() if not parameter.deprecated]
        known.extend(_OURS)
        if method.takes_body:
            known.append("requestBody")
        why = f"{method.id} has no such parameter{nearest(name, known)}"
    return InvalidParams(why, path=inside("$", name))


def _body(method: DriveMethod, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "requestBody" in params:
        return body_of(method, params["requestBody"])
    if method.takes_body:
        body_of(method, {})  # for what it must hold
    return None


def _mask(method: DriveMethod, params: Mapping[str, Any]) -> str | None:
    if "fields" not in params:
        demanded = _DEMANDED.get(method.response or "")
        return None if demanded is None else masks.render(masks.parse(demanded))
    text = params["fields"]
    if not isinstance(text, str):
        raise InvalidParams("must be a string", path="$.fields")
    try:
        return masks.render(masks.parse(text))
    except masks.BadMask as error:
        raise InvalidParams(str(error), path="$.fields") from None


def _max_age(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise InvalidParams("must be a number of seconds, 0 or more", path="$.maxAge")
    return float(min(value, _LONGEST_AGE))
