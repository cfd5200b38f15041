"""Faults to order: what Google is to get wrong, for whom, and how often."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from docsession.sandbox.errors import envelope

__all__ = ["Fault", "Faults", "Match"]

_STATUS_OF_REASON = {
    "rateLimitExceeded": 403,
    "userRateLimitExceeded": 403,
    "dailyLimitExceeded": 403,
    "sharingRateLimitExceeded": 403,
    "subscriptionRateLimitExceeded": 403,
    "insufficientFilePermissions": 403,
    "forbidden": 403,
    "storageQuotaExceeded": 403,
    "numChildrenInNonRootLimitExceeded": 403,
    "teamDriveFileLimitExceeded": 403,
    "activeItemCreationLimitExceeded": 403,
    "myDriveHierarchyDepthLimitExceeded": 403,
    "teamDriveHierarchyTooDeep": 403,
    "teamDriveMembershipRequired": 403,
    "cannotModifyInheritedTeamDrivePermission": 403,
    "teamDrivesParentLimit": 403,
    "fileNotDownloadable": 403,
    "fileNotExportable": 403,
    "exportSizeLimitExceeded": 403,
    "downloadQuotaExceeded": 403,
    "cannotDownloadAbusiveFile": 403,
    "fieldNotWritable": 403,
    "accessNotConfigured": 403,
    "insufficientPermissions": 403,
    "appNotAuthorizedToFile": 403,
    "domainPolicy": 403,
    "notFound": 404,
    "authError": 401,
    "invalid": 400,
    "badRequest": 400,
    "required": 400,
    "invalidParameter": 400,
    "invalidSharingRequest": 400,
    "invalid_grant": 400,
    "invalid_client": 401,
    "invalid_request": 400,
    "unauthorized_client": 401,
    "backendError": 503,
    "internalError": 500,
}
_USAGE_LIMITS = frozenset(
    {
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "dailyLimitExceeded",
        "subscriptionRateLimitExceeded",
        "accessNotConfigured",
    }
)


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
        return _STATUS_OF_REASON.get(self.reason or "", 503)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}

    def render(self, method: str) -> bytes:
        """The body: as ordered, or as Google would write this reason."""
        if isinstance(self.body, str):
            return self.body.encode()
        if self.body is not UNSET:
            return msgspec.json.encode(self.body)
        reason = self.reason or ("backendError" if self.status_code >= 500 else "badRequest")
        if method.startswith("oauth2."):
            return msgspec.json.encode({"error": reason, "error_description": "Ordered of the sandbox."})
        domain = "usageLimits" if reason in _USAGE_LIMITS else "global"
        return msgspec.json.encode(
            envelope(self.status_code, reason, "Ordered of the sandbox.", domain=domain)
        )


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
