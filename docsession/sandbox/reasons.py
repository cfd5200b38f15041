"""Google's reasons for refusing, each with its status and its envelope: what faults are ordered by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docsession.sandbox.errors import (
    DriveError,
    forbidden,
    invalid,
    not_found,
    rate_limited,
    required,
    scope_missing,
    unauthenticated,
)

__all__ = ["REASONS", "refusal_of", "status_of"]

_FORBIDDEN: Mapping[str, str] = {
    "accessNotConfigured": "Google Drive API has not been used in this project before or it is disabled.",
    "activeItemCreationLimitExceeded": "This account has exceeded the creation limit of 500 million items.",
    "appNotAuthorizedToFile": "The user has not granted the app read access to the file {file}.",
    "cannotDownloadAbusiveFile": "This file has been identified as malware or spam and cannot be downloaded.",
    "cannotModifyInheritedTeamDrivePermission": "Cannot update or delete an inherited permission.",
    "domainPolicy": "The domain administrators have disabled Drive apps.",
    "downloadQuotaExceeded": "The download quota for this file has been exceeded.",
    "exportSizeLimitExceeded": "This file is too large to be exported.",
    "fieldNotWritable": "The resource body includes fields which are not directly writable.",
    "fileNotDownloadable": "Only files with binary content can be downloaded. "
    "Use Export with Docs Editors files.",
    "fileNotExportable": "Export only supports Docs Editors files.",
    "forbidden": "Forbidden",
    "insufficientFilePermissions": "The user does not have sufficient permissions for file {file}.",
    "myDriveHierarchyDepthLimitExceeded": "The folder depth limit of 100 has been exceeded.",
    "numChildrenInNonRootLimitExceeded": "The limit for this folder's number of children has been exceeded.",
    "sharingRateLimitExceeded": "Sharing rate limit exceeded.",
    "storageQuotaExceeded": "The user's Drive storage quota has been exceeded.",
    "teamDriveFileLimitExceeded": "The file limit for this shared drive has been exceeded.",
    "teamDriveHierarchyTooDeep": "The shared drive hierarchy depth will exceed the limit.",
    "teamDriveMembershipRequired": "The attempted action requires shared drive membership.",
    "teamDrivesParentLimit": "A shared drive item must have exactly one parent.",
}
_LIMITS = (
    "dailyLimitExceeded",
    "rateLimitExceeded",
    "subscriptionRateLimitExceeded",
    "userRateLimitExceeded",
)
_OTHERS: Mapping[str, tuple[int, str]] = {
    "backendError": (503, "Backend Error"),
    "badRequest": (400, "Bad Request"),
    "channelIdNotUnique": (400, "Channel id not unique"),
    "conditionNotMet": (412, "Precondition Failed"),
    "fileIdInUse": (409, "A file already exists with the provided ID."),
    "gone": (410, "Gone"),
    "internalError": (500, "Internal Error"),
    "invalidParameter": (400, "Invalid parameter value."),
    "invalidSharingRequest": (400, 'Bad Request. User message: "Sorry, the items were not shared."'),
    "push.webhookUrlUnauthorized": (401, "Unauthorized WebHook callback channel"),
}
_OF_OAUTH: Mapping[str, int] = {
    "invalid_client": 401,
    "invalid_grant": 400,
    "invalid_request": 400,
    "invalid_scope": 400,
    "server_error": 500,
    "temporarily_unavailable": 503,
    "unauthorized_client": 401,
    "unsupported_grant_type": 400,
}
_SPECIAL: Mapping[str, Callable[[str], DriveError]] = {
    "authError": lambda file: unauthenticated(),
    "insufficientPermissions": lambda file: scope_missing(),
    "invalid": lambda file: invalid("pageToken"),
    "notFound": not_found,
    "required": lambda file: required("pageToken"),
}
REASONS = frozenset({*_FORBIDDEN, *_LIMITS, *_OTHERS, *_OF_OAUTH, *_SPECIAL})
"""All that are known; others are answered with a 503."""


def status_of(reason: str) -> int:
    """The status that goes with a reason."""
    return _OF_OAUTH.get(reason) or refusal_of(reason, None, "").status


def refusal_of(reason: str, status: int | None, file_id: str) -> DriveError:
    """The refusal as Google would write it, under another status where one is ordered."""
    if reason in _LIMITS:
        return rate_limited(status or 403, reason)
    if reason in _SPECIAL:
        refusal = _SPECIAL[reason](file_id)
    elif reason in _FORBIDDEN:
        refusal = forbidden(reason, _FORBIDDEN[reason].format(file=file_id))
    else:
        own, message = _OTHERS.get(reason, (503, "Ordered of the sandbox."))
        refusal = DriveError(own, reason, message)
    if reason == "accessNotConfigured":
        refusal.body["error"]["errors"][0]["domain"] = "usageLimits"
    if status is not None and status != refusal.status:
        refusal.status = refusal.body["error"]["code"] = status
    return refusal
