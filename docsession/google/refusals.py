"""What Google's refusals mean: Drive's error envelope in, what to do about it out.

Source: Google's "Resolve errors" guide. Reasons decide, never messages, which vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from docsession.errors import DocsessionError, Forbidden, GoogleRejected, NotFound, RateLimited
from docsession.google.http import NoAnswer, Reply

__all__ = ["ACCESS_LOST", "Kind", "Refusal", "kinds_of", "read"]


class Kind(Enum):
    """What to do about a refusal."""

    STALE_TOKEN = "stale token"  # noqa: S105 - a name
    SLOW_USER = "slow this user down"
    SLOW_ALL = "slow everybody down"
    NEXT_DAY = "nobody asks before Google's next day"
    SLOW_SHARING = "slow this user's sharing down"
    SLOW_CHANNELS = "open no channel for a while"
    NO_POLLS = "tell this user, and do not poll in their name"
    WEATHER = "try again later"
    SCOPE = "ask for consent"
    FINAL = "tell the caller"

    @property
    def is_limit(self) -> bool:
        """Whether too much was asked."""
        return self in _LIMITS


_LIMITS = frozenset({Kind.SLOW_USER, Kind.SLOW_ALL, Kind.NEXT_DAY, Kind.SLOW_SHARING, Kind.SLOW_CHANNELS})

SHARING, CHANNELS = "sharing", "channels"


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
        if self.kind.is_limit:
            return RateLimited("Google's limit is reached", retry_after=max(self.patience, 1.0))
        if self.status == 403:
            return Forbidden(self.message, reason=self.reason)
        return GoogleRejected(self.message, status=self.status, reason=self.reason)


class _Rule(msgspec.Struct, frozen=True):
    """``least``: how long at least, in seconds, whatever Google says."""

    kind: Kind
    least: float = 0.0


# Reasons of a 403/404 by which a user's own look says: you may not see this (any more).
ACCESS_LOST = frozenset({"notFound", "insufficientFilePermissions", "appNotAuthorizedToFile"})

# What is not in here is final: the caller is told Google's own word for it.
_RULES: Mapping[str, _Rule] = {
    "userRateLimitExceeded": _Rule(Kind.SLOW_USER),
    "rateLimitExceeded": _Rule(Kind.SLOW_ALL),
    "dailyLimitExceeded": _Rule(Kind.NEXT_DAY),
    "sharingRateLimitExceeded": _Rule(Kind.SLOW_SHARING, 60.0),
    "subscriptionRateLimitExceeded": _Rule(Kind.SLOW_CHANNELS, 120.0),
    "domainPolicy": _Rule(Kind.NO_POLLS, 3600.0),
    "insufficientPermissions": _Rule(Kind.SCOPE),
    "insufficientScopes": _Rule(Kind.SCOPE),
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": _Rule(Kind.SCOPE),
}


def read(reply: Reply) -> Refusal:
    """Understand an answer whose status is 400 or more."""
    status = reply.status
    try:
        envelope = reply.json().get("error")
    except NoAnswer:
        envelope = None
    error: dict[str, Any] = envelope if isinstance(envelope, dict) else {}
    details = _entries(error.get("errors"))
    reasons = [str(entry.get("reason", "")) for entry in (*details, *_entries(error.get("details")))]
    reason = str(details[0].get("reason", "")) if details else str(error.get("status", ""))
    message = str(error.get("message") or f"Google answered {status}")[:500]
    patience = reply.retry_after or 0.0

    if status == 401:
        return Refusal(Kind.STALE_TOKEN, status, reason, message)
    if status in (403, 429):
        for known in reasons:
            rule = _RULES.get(known)
            if rule is not None:
                return Refusal(rule.kind, status, known, message, max(patience, rule.least))
    if status == 429:
        return Refusal(Kind.SLOW_USER, status, reason or "rateLimitExceeded", message, patience)
    if status == 408 or (status >= 500 and status != 501):
        return Refusal(Kind.WEATHER, status, reason or "backendError", message, patience)
    return Refusal(Kind.FINAL, status, reason, message)


def kinds_of(method_id: str) -> tuple[str, ...]:
    """The kinds of request that a method is, by which it can be held back alone."""
    family, _, verb = method_id.removeprefix("drive.").partition(".")
    if verb == "watch":
        return (CHANNELS,)
    if family == "permissions" and verb in ("create", "update", "delete"):
        return (SHARING,)
    return ()


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
