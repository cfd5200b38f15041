"""Faults to order: what Google is to get wrong, for whom, and how often."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from docsession.sandbox.answers import JSON, Answer
from docsession.sandbox.reasons import refusal_of, status_of

__all__ = ["Fault", "Faults", "Match"]

HTML = "text/html; charset=UTF-8"


class Match(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Which requests a fault meets; what is not named matches all."""

    method: str | None = None
    """A method id, or a pattern such as ``drive.comments.*``."""
    user: str | None = None
    file: str | None = None

    def meets(self, method: str, user: str | None, file_id: str | None) -> bool:
        """Whether a request is one of these."""
        return (
            (self.method is None or fnmatchcase(method, self.method))
            and (self.user is None or self.user == user)
            and (self.file is None or self.file == file_id)
        )


class Fault(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One fault. With ``times`` it wears off; without, it stays until cleared."""

    match: Match = msgspec.field(default_factory=Match)
    times: int | None = None
    status: int | None = None
    reason: str | None = None
    body: Any | UnsetType = UNSET
    retry_after: float | None = None
    delay: float = 0.0
    hang: bool = False
    drop: bool = False
    after: bool = False
    cut: bool = False
    """Send half of the true answer, as if the line broke in the middle."""

    def __post_init__(self) -> None:
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status must be from 200 to 599")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be at least 1")
        if self.delay < 0:
            raise ValueError("delay must not be negative")
        if not self.breaks and not self.delay:
            raise ValueError("this fault does nothing")

    @property
    def answers(self) -> bool:
        """Whether something is answered in Google's place."""
        said = self.status is not None or self.reason is not None or self.body is not UNSET
        return said and not self.hang and not self.drop

    @property
    def drops(self) -> bool:
        """Whether the connection is closed without an answer."""
        return self.drop or (self.after and not self.answers and not self.hang)

    @property
    def breaks(self) -> bool:
        """Whether it does more than delay."""
        return self.answers or self.hang or self.drop or self.after or self.cut

    @property
    def status_code(self) -> int:
        """What is answered; 0 for nothing."""
        if not self.answers:
            return 0
        if self.status is not None:
            return self.status
        return status_of(self.reason or "")

    def answer(self, method: str, file_id: str | None) -> Answer:
        """What is answered: as ordered, or as Google would write this reason."""
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        status = self.status_code
        if isinstance(self.body, str):
            kind = HTML if self.body.lstrip().startswith("<") else JSON
            return Answer(status, self.body.encode(), kind, headers)
        if self.body is not UNSET:
            return Answer(status, msgspec.json.encode(self.body), JSON, headers)
        reason = self.reason or ("backendError" if status >= 500 else "badRequest")
        if method.startswith("oauth2."):
            said = {"error": reason, "error_description": "Ordered of the sandbox."}
            return Answer(status, msgspec.json.encode(said), JSON, headers)
        refusal = refusal_of(reason, status, file_id or "")
        return Answer(status, msgspec.json.encode(refusal.body), JSON, refusal.headers | headers)


class Faults:
    """The faults in force, tried in their order; the first that matches is taken."""

    def __init__(self) -> None:
        self.in_force: list[Fault] = []

    def take(self, method: str, user: str | None, file_id: str | None) -> Fault | None:
        """The fault that this request meets, used up by one."""
        for fault in self.in_force:
            if fault.match.meets(method, user, file_id):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self.in_force.remove(fault)
                return fault
        return None
