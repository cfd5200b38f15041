"""Google's refusals, in Google's envelope."""

from __future__ import annotations

from typing import Any

__all__ = [
    "DriveError",
    "bad_request",
    "does_not_exist",
    "envelope",
    "forbidden",
    "invalid",
    "no_such_path",
    "not_found",
    "not_served",
    "rate_limited",
    "required",
    "scope_missing",
    "type_error",
    "unauthenticated",
    "unregistered_caller",
]


def envelope(
    status: int,
    reason: str,
    message: str,
    *,
    domain: str = "global",
    location: str = "",
    location_type: str = "parameter",
    top_message: str = "",
    status_name: str = "",
    details: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The JSON body of a refusal. Drive always has ``errors``; ``status`` only where named."""
    item = {"message": message, "domain": domain, "reason": reason}
    if location:
        item |= {"location": location, "locationType": location_type}
    error: dict[str, Any] = {"code": status, "message": top_message or message, "errors": [item]}
    if status_name:
        error["status"] = status_name
    if details:
        error["details"] = details
    return {"error": error}


class DriveError(Exception):
    """A refusal, with everything that goes into its envelope."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.headers = headers or {}
        self.body = envelope(status, reason, message, **more)


# --- who is calling -------------------------------------------------------------------------


def unregistered_caller() -> DriveError:
    """There is no Authorization header."""
    return DriveError(
        403,
        "forbidden",
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
        status_name="PERMISSION_DENIED",
    )


def unauthenticated() -> DriveError:
    """The token is unknown, expired or revoked."""
    return DriveError(
        401,
        "authError",
        "Invalid Credentials",
        location="Authorization",
        location_type="header",
        top_message="Request had invalid authentication credentials. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        status_name="UNAUTHENTICATED",
        headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'},
    )


def scope_missing() -> DriveError:
    """The token is good, but not for this method."""
    return DriveError(
        403,
        "insufficientPermissions",
        "Insufficient Permission",
        top_message="Request had insufficient authentication scopes.",
        status_name="PERMISSION_DENIED",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "domain": "googleapis.com",
            }
        ],
        headers={
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="insufficient_scope"'
        },
    )


# --- what is asked --------------------------------------------------------------------------


def required(parameter: str) -> DriveError:
    """A parameter that the method cannot do without."""
    if parameter == "fields":
        message = "The 'fields' parameter is required for this method."
    else:
        message = f"Required parameter: {parameter}"
    return DriveError(400, "required", message, location=parameter)


def invalid(parameter: str, message: str = "Invalid Value", *, reason: str = "invalid") -> DriveError:
    """A parameter whose value is no good."""
    return DriveError(400, reason, message, location=parameter)


def bad_request(message: str, location: str = "") -> DriveError:
    """A request that is wrong as a whole."""
    return DriveError(400, "badRequest", message, location=location)


def type_error(field: str, message: str) -> DriveError:
    """A value of the wrong type: the newer kind of envelope, with ``status`` and ``details``."""
    return DriveError(
        400,
        "badRequest",
        message,
        status_name="INVALID_ARGUMENT",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": message}],
            }
        ],
    )


# --- what it is about -----------------------------------------------------------------------


def not_found(file_id: str) -> DriveError:
    """The file is missing, or may not be seen: Google does not tell which."""
    return DriveError(404, "notFound", f"File not found: {file_id}.", location="fileId")


def does_not_exist(what: str, identifier: str, parameter: str) -> DriveError:
    """Something else than a file is missing: a comment, a permission, a shared drive."""
    return DriveError(404, "notFound", f"{what} not found: {identifier}.", location=parameter)


def forbidden(
    reason: str = "insufficientFilePermissions",
    message: str = "The user does not have sufficient permissions for this file.",
    *,
    location: str = "",
) -> DriveError:
    """It can be seen, but this may not be done with it."""
    return DriveError(403, reason, message, location=location)


# --- what is not here -----------------------------------------------------------------------


def no_such_path() -> DriveError:
    """No method of Drive v3 has this path and verb."""
    return DriveError(404, "notFound", "Not Found")


def not_served(method: str) -> DriveError:
    """A method that Google has and the sandbox does not play."""
    return DriveError(
        501, "notImplemented", f"{method} is not served by the sandbox.", status_name="UNIMPLEMENTED"
    )


def rate_limited(status: int, reason: str, retry_after: float | None = None) -> DriveError:
    """Over a quota. ``retry_after`` is given only on request, as Google rarely sends it."""
    message = {
        "userRateLimitExceeded": "User Rate Limit Exceeded",
        "dailyLimitExceeded": "Daily Limit Exceeded",
    }.get(reason, "Rate Limit Exceeded")
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return DriveError(status, reason, message, domain="usageLimits", headers=headers)
