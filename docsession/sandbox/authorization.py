"""An app's request for authorization: what it may ask, and what is wrong with it if it may not.

Nothing that is wrong here is told to the app by a redirect: as at Google, the person sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from docsession.sandbox.loopback import is_loopback
from docsession.sandbox.parameters import Parameters, RepeatedParameter
from docsession.sandbox.scopes import is_scope, normal

__all__ = ["CHALLENGE", "AuthorizationRequest", "RefusedOnPage", "with_query"]

CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""What RFC 7636 allows as a challenge, and as a verifier."""

_URI = re.compile(r"[!-\[\]-~]+")
_PROMPTS = frozenset({"none", "consent", "select_account"})


class RefusedOnPage(Exception):
    """The request cannot be served; ``error`` is Google's name for why."""

    def __init__(self, error: str, explanation: str) -> None:
        super().__init__(f"{error}: {explanation}")
        self.error = error
        self.explanation = explanation


@dataclass(frozen=True)
class AuthorizationRequest:
    """A request that is in order."""

    client_id: str
    redirect_uri: str
    scopes: frozenset[str]
    state: str
    nonce: str
    prompt: frozenset[str]
    login_hint: str
    offline: bool
    include_granted: bool
    challenge: str
    challenge_method: str
    encoded: str
    """The request as it came, to be sent along with the person's decision."""

    @classmethod
    def read(cls, given: Parameters) -> AuthorizationRequest:
        """Read a request. Raises RefusedOnPage."""
        try:
            return cls._read(given)
        except RepeatedParameter as repeated:
            raise _invalid(f"OAuth 2 parameters can only have a single value: {repeated.args[0]}") from None

    @classmethod
    def _read(cls, given: Parameters) -> AuthorizationRequest:
        client_id, redirect_uri = _needed(given, "client_id"), _needed(given, "redirect_uri")
        _check_redirect_uri(redirect_uri)
        response_type = _needed(given, "response_type")
        if response_type != "code":
            raise RefusedOnPage(
                "unsupported_response_type", f"Only code is served as response_type, not {response_type}"
            )
        challenge, challenge_method = _challenge(given)
        return cls(
            client_id=client_id,
            redirect_uri=redirect_uri,
            scopes=_scopes(given),
            state=given.get("state"),
            nonce=given.get("nonce"),
            prompt=_prompt(given),
            login_hint=given.get("login_hint"),
            offline=_choice(given, "access_type", "online", "offline") == "offline",
            include_granted=_choice(given, "include_granted_scopes", "false", "true") == "true",
            challenge=challenge,
            challenge_method=challenge_method,
            encoded=given.encoded,
        )

    def refused(self, error: str) -> str:
        """Where to send the browser when the answer is no."""
        return self._back({"error": error})

    def allowed(self, code: str, scope: str, *, prompt: str) -> str:
        """Where to send the browser when the answer is yes."""
        return self._back({"code": code, "scope": scope, "authuser": "0", "prompt": prompt})

    def _back(self, query: dict[str, str]) -> str:
        return with_query(self.redirect_uri, ({"state": self.state} if self.state else {}) | query)


def with_query(uri: str, query: dict[str, str]) -> str:
    """The URI with more in its query."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(query)}"


def _invalid(explanation: str) -> RefusedOnPage:
    return RefusedOnPage("invalid_request", explanation)


def _needed(given: Parameters, name: str) -> str:
    value = given.get(name)
    if not value:
        raise _invalid(f"Required parameter is missing: {name}")
    return value


def _choice(given: Parameters, name: str, default: str, other: str) -> str:
    value = given.get(name) or default
    if value not in (default, other):
        raise _invalid(f"Invalid parameter value for {name}: {value}")
    return value


def _check_redirect_uri(uri: str) -> None:
    """Any path on a loopback host will do: there is no list of clients here to register it in."""
    refusal = RefusedOnPage(
        "redirect_uri_mismatch", f"The sandbox only sends people back to a loopback address, not to {uri}"
    )
    if not _URI.fullmatch(uri) or "#" in uri or "*" in uri or "/.." in uri:
        raise refusal
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise refusal from None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not is_loopback(parts.hostname or ""):
        raise refusal


def _scopes(given: Parameters) -> frozenset[str]:
    names = _needed(given, "scope").split()
    unknown = [name for name in names if not is_scope(name)]
    if unknown or not names:
        raise RefusedOnPage("invalid_scope", f"There is no scope called {', '.join(unknown) or 'nothing'}")
    return normal(names)


def _prompt(given: Parameters) -> frozenset[str]:
    prompt = frozenset(given.get("prompt").split())
    if given.get("approval_prompt") and prompt:
        raise _invalid("Conflict params: approval_prompt and prompt")
    if given.get("approval_prompt") == "force":
        prompt = frozenset({"consent"})
    if not prompt <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise _invalid(f"Invalid parameter value for prompt: {given.get('prompt')}")
    return prompt


def _challenge(given: Parameters) -> tuple[str, str]:
    challenge, method = given.get("code_challenge"), given.get("code_challenge_method")
    if not challenge:
        if method:
            raise _invalid("code_challenge_method without a code_challenge")
        return "", ""
    if method not in ("", "plain", "S256"):
        raise _invalid(f"Invalid parameter value for code_challenge_method: {method}")
    if not CHALLENGE.fullmatch(challenge):
        raise _invalid("Invalid parameter value for code_challenge")
    return challenge, method or "plain"
