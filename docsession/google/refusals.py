"""What Google's refusals mean: Drive's error envelope in, what to do about it out.

Source: Google's "Resolve errors" guide. Reasons decide, never messages, which vary.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from docsession.errors import DocsessionError, Forbidden, GoogleRejected, NotFound, RateLimited
from docsession.google.http import NoAnswer, Reply

__all__ = ["ACCESS_LOST", "Kind", "Refusal", "read"]


class Kind(Enum):
    """What to do about a refusal."""

    STALE_TOKEN = "stale token"  # noqa: S105 - a name
    SLOW_USER = "slow this user down"
    SLOW_ALL = "slow everybody down"
    WEATHER = "try again later"
    SCOPE = "ask for consent"
    FINAL = "tell the caller"


class Refusal(msgspec.Struct, frozen=True):
    """A refusal, understood. ``patience`` is how long at least to wait, in seconds."""

    kind: Kind
    status: int
    reason: str
    message: str
    patience: float = 0.0

    def error(self) -> DocsessionError:
        """What the caller is told where the refusal is final."""
        if self.status == 404:
            return NotFound(self.message)
        if self.kind in (Kind.SLOW_USER, Kind.SLOW_ALL):
            return RateLimited("Google's limit is reached", retry_after=max(self.patience, 1.0))
        if self.status == 403:
            return Forbidden(self.message, reason=self.reason)
        return GoogleRejected(self.message, status=self.status, reason=self.reason)


# Reasons of a 403/404 by which a user's own look says: you may not see this (any more).
ACCESS_LOST = frozenset({"notFound", "insufficientFilePermissions", "appNotAuthorizedToFile"})

_SLOW_USER = {"userRateLimitExceeded": 0.0, "sharingRateLimitExceeded": 60.0}
_SLOW_ALL = {"rateLimitExceeded": 0.0, "dailyLimitExceeded": 600.0}
_SCOPE = frozenset({"insufficientPermissions", "insufficientScopes", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})


def read(reply: Reply) -> Refusal:
    """Understand an answer whose status is 400 or more."""
    status = reply.status
    try:
        envelope = reply.json().get("error")
    except NoAnswer:
        envelope = None
    error: dict[str, Any] = envelope if isinstance(envelope, dict) else {}
    details = _entries(error.get("errors"))
    reasons = {str(entry.get("reason", "")) for entry in (*details, *_entries(error.get("details")))}
    reason = str(details[0].get("reason", "")) if details else str(error.get("status", ""))
    message = str(error.get("message") or f"Google answered {status}")[:500]
    patience = reply.retry_after or 0.0

    if status == 401:
        return Refusal(Kind.STALE_TOKEN, status, reason, message)
    if status == 403 and reasons & _SCOPE:
        return Refusal(Kind.SCOPE, status, reason, message)
    for table, kind in ((_SLOW_USER, Kind.SLOW_USER), (_SLOW_ALL, Kind.SLOW_ALL)):
        for known in reasons & table.keys():
            return Refusal(kind, status, known, message, max(patience, table[known]))
    if status == 429:
        return Refusal(Kind.SLOW_USER, status, reason or "rateLimitExceeded", message, patience)
    if status == 408 or (status >= 500 and status != 501):
        return Refusal(Kind.WEATHER, status, reason or "backendError", message, patience)
    return Refusal(Kind.FINAL, status, reason, message)


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
