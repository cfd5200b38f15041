"""Every way docsession says no: one table of errors and one of close codes.

Server, documentation, browser client and tests all read these two; nothing else in the
package makes up a code. A :class:`DocsessionError` may be raised anywhere; the adapters
(JSON-RPC, HTTP) only translate it.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, ClassVar

__all__ = [
    "CloseCode",
    "ConfigError",
    "DocsessionError",
    "Forbidden",
    "GoogleRejected",
    "GoogleUnavailable",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "MethodNotFound",
    "NotFound",
    "NotSignedIn",
    "OutcomeUnknown",
    "ParseError",
    "RateLimited",
    "ScopeMissing",
    "SessionNotOpen",
    "SessionUnknown",
    "TooLarge",
    "TooMany",
    "Unavailable",
]


class DocsessionError(Exception):
    """A failure that the other side is told of, by name.

    ``data`` is what goes into JSON-RPC's ``error.data`` beside ``name``; it must never hold
    anything secret.
    """

    name: ClassVar[str] = "internal_error"
    code: ClassVar[int] = -32603
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = {"name": self.name}
        self.data.update((key, value) for key, value in data.items() if value is not None)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which another try makes sense, where that is known."""
        value = self.data.get("retry_after")
        return None if value is None else float(value)


def _soon(seconds: float) -> float:
    """Tenths of a second, and never too early."""
    return max(1, math.ceil(seconds * 10)) / 10


# --- JSON-RPC's own -------------------------------------------------------------------------


class ParseError(DocsessionError):
    name, code, http_status = "parse_error", -32700, 400


class InvalidRequest(DocsessionError):
    name, code, http_status = "invalid_request", -32600, 400


class MethodNotFound(DocsessionError):
    name, code, http_status = "method_not_found", -32601, 404

    def __init__(self, method: str) -> None:
        super().__init__(f"there is no method {method[:100]!r}")


class InvalidParams(DocsessionError):
    """``path`` is where in the params the fault lies, as ``$.requestBody.name``."""

    name, code, http_status = "invalid_params", -32602, 400

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(message, path=path)


class InternalError(DocsessionError):
    name, code, http_status = "internal_error", -32603, 500

    def __init__(self) -> None:
        super().__init__("something went wrong here; it has been logged")


# --- ours -----------------------------------------------------------------------------------


class SessionNotOpen(DocsessionError):
    name, code, http_status = "session_not_open", 1001, 400

    def __init__(self) -> None:
        super().__init__("session.open comes first")


class SessionUnknown(DocsessionError):
    name, code, http_status = "session_unknown", 1002, 401

    def __init__(self, message: str = "this session is not known here: generate a cookie first") -> None:
        super().__init__(message)


class NotSignedIn(DocsessionError):
    name, code, http_status = "not_signed_in", 1003, 401

    def __init__(self) -> None:
        super().__init__("nobody is signed in: call session.sign_in")


class ScopeMissing(DocsessionError):
    name, code, http_status = "scope_missing", 1004, 403

    def __init__(self, scopes: list[str]) -> None:
        super().__init__("the user has not allowed this: ask for consent", scopes=scopes)


class Forbidden(DocsessionError):
    name, code, http_status = "forbidden", 1005, 403

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)


class NotFound(DocsessionError):
    name, code, http_status = "not_found", 1006, 404

    def __init__(self, message: str = "there is no such thing, or no access to it") -> None:
        super().__init__(message)


class RateLimited(DocsessionError):
    name, code, http_status = "rate_limited", 1007, 429

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, retry_after=_soon(retry_after))


class GoogleUnavailable(DocsessionError):
    name, code, http_status = "google_unavailable", 1008, 502

    def __init__(self, message: str = "Google does not answer", *, retry_after: float) -> None:
        super().__init__(message, retry_after=_soon(retry_after))


class GoogleRejected(DocsessionError):
    name, code, http_status = "google_rejected", 1009, 502

    def __init__(self, message: str, *, status: int, reason: str) -> None:
        super().__init__(message, status=status, reason=reason)


class OutcomeUnknown(DocsessionError):
    name, code, http_status = "outcome_unknown", 1010, 502

    def __init__(self) -> None:
        super().__init__("this write may or may not have happened; look before doing it again")


class TooMany(DocsessionError):
    name, code, http_status = "too_many", 1011, 429

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"too many {what}", limit=limit)


class Unavailable(DocsessionError):
    name, code, http_status = "unavailable", 1012, 503

    def __init__(self, message: str = "the store is away", *, retry_after: float = 5.0) -> None:
        super().__init__(message, retry_after=retry_after)


class TooLarge(DocsessionError):
    name, code, http_status = "too_large", 1013, 413

    def __init__(self, limit: int) -> None:
        super().__init__("the answer is too large: ask for less", limit=limit)


class ConfigError(Exception):
    """The daemon cannot start like this. One line, for the operator; never sent to a browser."""


class CloseCode(IntEnum):
    """Why a socket was closed. 4000-4499: come back. 4500-4999: not by yourself."""

    NORMAL = 1000
    GOING_AWAY = 1001
    TOO_BIG = 1009
    OUR_FAULT = 1011
    DRAINING = 4000
    SLOW_CONSUMER = 4001
    REPLACED = 4002
    HEARTBEAT_LOST = 4003
    SESSION_REPLACED = 4004
    SIGNED_OUT = 4500
    PROTOCOL_MISUSE = 4501
    TOO_MANY_CONNECTIONS = 4502
    NOT_OPENED_IN_TIME = 4503

    @property
    def comes_back(self) -> bool:
        """Whether a client is meant to reconnect by itself."""
        return self < 4500
