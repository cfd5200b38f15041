"""Google's OAuth 2.0 and OpenID Connect for a web server: the requests and their checks.

Source: Google's "Using OAuth 2.0 for Web Server Applications" and OpenID Connect pages. State
of a sign-in and of a grant is kept elsewhere (:mod:`docsession.signin`,
:mod:`docsession.google.grant`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import msgspec
from google.auth import crypt
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.config import Google
from docsession.errors import GoogleUnavailable, TooLarge
from docsession.google.http import GoogleHttp, NoAnswer, NotSent, Reply
from docsession.model import SignInState, User
from docsession.tasks import Flights

__all__ = ["BadIdToken", "Granted", "OAuth", "OAuthRefused"]

# Asked for beside the operator's scopes: who it is that signs in.
IDENTITY_SCOPES = ("openid", "email", "profile")

# Google answers these under their long names.
_LONG_NAMES = {
    "email": "https://www.googleapis.com/auth/userinfo.email",
    "profile": "https://www.googleapis.com/auth/userinfo.profile",
}

# A clock may be off by this much, ours or Google's.
_SKEW = 300.0

_MAX_AGE = re.compile(r"max-age=(\d+)")


# Lets a request through when there is room for it (docsession.google.gate.Gate.oauth).
Door = Callable[[Callable[[], Awaitable[Reply]]], Awaitable[Reply]]


class OAuthRefused(Exception):
    """Google's token endpoint said no; ``error`` is its RFC 6749 code."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class BadIdToken(Exception):
    """The id_token proves nothing; the message says why and holds nothing secret."""


class Granted(msgspec.Struct, frozen=True):
    """What the token endpoint gave."""

    access_token: str
    expires_in: float
    scopes: tuple[str, ...] | None
    refresh_token: str | None
    id_token: str | None

    def __repr__(self) -> str:
        return "<Granted>"


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float = 3600.0
    scope: str | None = None
    refresh_token: str | None = None
    id_token: str | None = None


class OAuth:
    """Speaks with Google's authorization server for one client id."""

    _log = Logger()

    def __init__(
        self,
        http: GoogleHttp,
        clock: IReactorTime,
        google: Google,
        client_secret: str,
        *,
        door: Door = lambda work: work(),
    ) -> None:
        self._http = http
        self._door = door
        self._clock = clock
        self._google = google
        self._endpoints = google.endpoints
        self._secret = client_secret
        self._certificates: dict[str, str] = {}
        self._certificates_until = 0.0
        self._fetching: Flights[None] = Flights()

    def authorization_url(
        self, state: SignInState, redirect_uri: str, *, prompt: str = "select_account", login_hint: str = ""
    ) -> str:
        """Where to send the browser."""
        query = {
            "client_id": self._google.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": " ".join((*IDENTITY_SCOPES, *self._google.scopes)),
            "access_type": "offline",
            "include_granted_scopes": "true",
            "state": state.state,
            "nonce": state.nonce,
            "code_challenge": challenge(state.verifier),
            "code_challenge_method": "S256",
            "prompt": prompt,
        }
        if login_hint:
            query["login_hint"] = login_hint
        return f"{self._endpoints.authorization}?{urlencode(query)}"

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        """The grant for an authorization code.

        Raises:
            OAuthRefused: the code is used, expired, or not ours.
            GoogleUnavailable: no usable answer; the code may be spent.
        """
        return await self._token(
            {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
            | {"redirect_uri": redirect_uri}
        )

    async def refresh(self, refresh_token: str) -> Granted:
        """A new access token. Raises as :meth:`exchange`; only ``invalid_grant`` means revoked."""
        return await self._token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def revoke(self, token: str) -> bool:
        """Take the whole grant back. True when Google says it is (or was) gone."""
        try:
            reply = await self._send("POST", self._endpoints.revocation, form={"token": token})
        except (NotSent, NoAnswer, TooLarge) as error:
            self._log.warn("a grant could not be revoked: {error}", error=str(error))
            return False
        return reply.status in (200, 400)

    async def verify(self, id_token: str, nonce: str) -> User:
        """Who an id_token speaks of, after every check.

        Raises:
            BadIdToken: signature, issuer, audience, time or nonce are wrong.
            GoogleUnavailable: Google's certificates could not be had.
        """
        header, claims, signed, signature = _split(id_token)
        if header.get("alg") != "RS256":
            raise BadIdToken("not signed with RS256")
        certificate = await self._certificate(str(header.get("kid")))
        if certificate is None or not _signed_with(certificate, signed, signature):
            raise BadIdToken("the signature is not Google's")
        issuer = self._endpoints.issuer
        if claims.get("iss") not in (issuer, issuer.removeprefix("https://")):
            raise BadIdToken("another issuer")
        if claims.get("aud") != self._google.client_id:
            raise BadIdToken("another audience")
        now = self._clock.seconds()
        try:
            expires, issued = float(claims["exp"]), float(claims["iat"])
        except (KeyError, TypeError, ValueError):
            raise BadIdToken("without times") from None
        if not (issued - _SKEW <= now < expires + _SKEW):
            raise BadIdToken("expired, or from the future: is this machine's clock right?")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise BadIdToken("another nonce")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise BadIdToken("without a subject")
        return User(
            id=subject,
            email=str(claims.get("email", "")),
            name=str(claims.get("name") or claims.get("email") or subject),
            picture=str(claims.get("picture", "")),
        )

    async def reachable(self) -> None:
        """For --check: the certificates can be had. Raises GoogleUnavailable."""
        await self._fetch_certificates()

    async def _token(self, form: dict[str, str]) -> Granted:
        form = form | {"client_id": self._google.client_id, "client_secret": self._secret}
        try:
            reply = await self._send("POST", self._endpoints.token, form=form)
        except (NotSent, NoAnswer, TooLarge) as error:
            self._log.warn("Google's token endpoint does not answer: {error}", error=str(error))
            raise GoogleUnavailable("Google's sign-in does not answer", retry_after=5) from None
        if reply.status == 200:
            try:
                answer = msgspec.json.decode(reply.body, type=_TokenAnswer, strict=False)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise GoogleUnavailable("Google's sign-in answered nonsense", retry_after=5) from None
            return Granted(
                access_token=answer.access_token,
                expires_in=answer.expires_in,
                scopes=None if answer.scope is None else normal_scopes(answer.scope.split()),
                refresh_token=answer.refresh_token or None,
                id_token=answer.id_token,
            )
        raise self._refusal(reply)

    async def _send(self, method: str, url: str, form: dict[str, str] | None = None) -> Reply:
        return await self._door(lambda: self._http.send(method, url, form=form))

    def _refusal(self, reply: Reply) -> Exception:
        # Only a 4xx with an RFC 6749 error code is a verdict; all else is weather.
        if 400 <= reply.status < 500 and reply.status != 429:
            try:
                error = reply.json().get("error")
            except NoAnswer:
                error = None
            if isinstance(error, str) and re.fullmatch(r"[a-z_]{1,50}", error):
                return OAuthRefused(error)
        self._log.warn("Google's token endpoint answered {status}", status=reply.status)
        return GoogleUnavailable("Google's sign-in is unwell", retry_after=reply.retry_after or 5)

    async def _certificate(self, kid: str) -> str | None:
        if self._clock.seconds() >= self._certificates_until or kid not in self._certificates:
            await self._fetching.join("certificates", self._fetch_certificates)
        return self._certificates.get(kid)

    async def _fetch_certificates(self) -> None:
        try:
            reply = await self._send("GET", self._endpoints.certificates)
            if reply.status != 200:
                raise NoAnswer(f"status {reply.status}")
            certificates = {str(kid): str(pem) for kid, pem in reply.json().items()}
        except (NotSent, NoAnswer, TooLarge) as error:
            self._log.warn("Google's certificates cannot be had: {error}", error=str(error))
            raise GoogleUnavailable("Google's certificates cannot be had", retry_after=5) from None
        match = _MAX_AGE.search(",".join(reply.headers.getRawHeaders("Cache-Control") or []))
        self._certificates = certificates
        self._certificates_until = self._clock.seconds() + min(86400, int(match[1]) if match else 3600)


def _signed_with(certificate: str, signed: bytes, signature: bytes) -> bool:
    try:
        return bool(crypt.verify_signature(signed, signature, [certificate]))
    except ValueError:  # what was sent as a certificate is none
        return False


def challenge(verifier: str) -> str:
    """PKCE's S256 challenge (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def normal_scopes(scopes: Any) -> tuple[str, ...]:
    """Scopes as Google writes them in its answers, sorted, so that sets compare."""
    return tuple(sorted({_LONG_NAMES.get(scope, scope) for scope in scopes}))


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    try:
        header, claims, signature = token.encode("ascii").split(b".")
        decoded = [
            base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in (header, claims, signature)
        ]
        values = [msgspec.json.decode(part, type=dict[str, Any]) for part in decoded[:2]]
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        raise BadIdToken("not a JWT") from None
    return values[0], values[1], header + b"." + claims, decoded[2]
