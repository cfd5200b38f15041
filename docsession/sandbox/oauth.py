"""Google's authorization server: the consent page, tokens, and who is behind them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.template import Element

from docsession.sandbox.answers import Answer, json_answer
from docsession.sandbox.authorization import CHALLENGE
from docsession.sandbox.claims import discovery, id_claims, profile
from docsession.sandbox.consent import Consent
from docsession.sandbox.grants import Code, Grants, Issued
from docsession.sandbox.keys import CERTIFICATES_GOOD_FOR, Keys
from docsession.sandbox.parameters import Parameters, RepeatedParameter, form_of, query_of
from docsession.sandbox.records import Person
from docsession.sandbox.scopes import EMAIL, OPENID, normal, spelled

__all__ = ["OAuth", "Perform"]

Perform = Callable[[IRequest, str, str | None, str | None, Callable[[], Answer]], Awaitable[bytes]]
"""Around every request, the meter and the faults: :meth:`docsession.sandbox.exchange.Exchange.perform`."""

_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Refused(Exception):
    """A refusal in the words of RFC 6749 §5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


class OAuth:
    """The routes. Any client id with any secret is a client."""

    app = Klein()

    def __init__(
        self,
        grants: Grants,
        people: Mapping[str, Person],
        keys: Keys,
        base_url: str,
        perform: Perform,
    ) -> None:
        self._grants = grants
        self._people = people
        self._keys = keys
        self._base_url = base_url.rstrip("/")
        self._perform = perform
        self._consent = Consent(grants, people)

    # --- the consent page -------------------------------------------------------------------

    @app.route("/o/oauth2/v2/auth", methods=["GET"])
    def ask(self, request: IRequest) -> Element | bytes:
        """The consent page."""
        return self._consent.ask(request)

    @app.route("/o/oauth2/v2/auth", methods=["POST"])
    def decide(self, request: IRequest) -> Element | bytes:
        """The person's decision."""
        return self._consent.decide(request)

    # --- tokens -----------------------------------------------------------------------------

    @app.route("/token", methods=["POST"])
    async def token(self, request: IRequest) -> bytes:
        """Tokens for a code, or for a refresh token."""
        form = form_of(request)
        refreshing = "refresh_token" in form.all("grant_type")
        method = "oauth2.token.refresh" if refreshing else "oauth2.token.exchange"
        spent = (form.all("refresh_token" if refreshing else "code") or [""])[0]
        return await self._answer(
            request, method, self._grants.whose(spent), lambda: self._tokens(request, form)
        )

    @app.route("/revoke", methods=["POST"])
    async def revoke(self, request: IRequest) -> bytes:
        """End all that a person ever allowed to an app."""
        token = _token_in(request, "token")
        return await self._answer(
            request, "oauth2.revoke", self._grants.whose(token), lambda: self._revoked(token)
        )

    @app.route("/tokeninfo", methods=["GET", "POST"])
    async def tokeninfo(self, request: IRequest) -> bytes:
        """What a token says of itself."""
        token, id_token = _token_in(request, "access_token"), _token_in(request, "id_token")
        return await self._answer(
            request, "oauth2.tokeninfo", self._grants.whose(token), lambda: self._told(token, id_token)
        )

    @app.route("/v1/userinfo", methods=["GET", "POST"])
    async def userinfo(self, request: IRequest) -> bytes:
        """Who an access token belongs to."""
        token = _bearer(request)
        return await self._answer(
            request, "oauth2.userinfo", self._grants.whose(token), lambda: self._who(token)
        )

    # --- what is published ------------------------------------------------------------------

    @app.route("/oauth2/v1/certs", methods=["GET"])
    async def certificates(self, request: IRequest) -> bytes:
        """Certificates as google-auth wants them."""
        return await self._answer(request, "oauth2.certs", None, lambda: _public(self._keys.certificates()))

    @app.route("/oauth2/v3/certs", methods=["GET"])
    async def jwks(self, request: IRequest) -> bytes:
        """The same as a JSON Web Key Set."""
        return await self._answer(request, "oauth2.certs", None, lambda: _public(self._keys.jwks()))

    @app.route("/.well-known/openid-configuration", methods=["GET"])
    async def configuration(self, request: IRequest) -> bytes:
        """Where everything is."""
        return await self._answer(
            request, "oauth2.configuration", None, lambda: _public(discovery(self._base_url))
        )

    # --- how --------------------------------------------------------------------------------

    async def _answer(
        self, request: IRequest, method: str, email: str | None, action: Callable[[], Answer]
    ) -> bytes:
        def act() -> Answer:
            try:
                return action()
            except RepeatedParameter as repeated:
                name = repeated.args[0]
                refused = Refused("invalid_request", f"Parameter is there more than once: {name}")
            except Refused as error:
                refused = error
            body = {"error": refused.error, "error_description": refused.description}
            return _private(body, status=refused.status)

        return await self._perform(request, method, email, None, act)

    def _tokens(self, request: IRequest, form: Parameters) -> Answer:
        grant_type = form.get("grant_type")
        if not grant_type:
            raise Refused("invalid_request", "Required parameter is missing: grant_type")
        client_id = _client(request, form)
        if grant_type == "authorization_code":
            code = self._taken(form, client_id)
            return _private(self._shown(self._grants.redeem(code), nonce=code.nonce))
        if grant_type == "refresh_token":
            return _private(self._shown(self._renewed(form, client_id)))
        raise Refused("unsupported_grant_type", f"Invalid grant_type: {grant_type}")

    def _taken(self, form: Parameters, client_id: str) -> Code:
        verifier, redirect_uri = form.get("code_verifier"), _needed(form, "redirect_uri")
        code = self._grants.take_code(_needed(form, "code"))
        if code is None or code.client_id != client_id:
            raise Refused("invalid_grant", "Bad Request")
        if code.redirect_uri != redirect_uri:
            raise Refused("redirect_uri_mismatch", "Bad Request")
        if not code.challenge:
            if verifier:
                raise Refused("invalid_grant", "code_verifier is given, but there was no code_challenge")
        elif not verifier:
            raise Refused("invalid_grant", "Missing code verifier.")
        elif not _answers_challenge(verifier, code):
            raise Refused("invalid_grant", "Invalid code verifier.")
        return code

    def _renewed(self, form: Parameters, client_id: str) -> Issued:
        refresh_token = _needed(form, "refresh_token")
        held = self._grants.refreshable(refresh_token)
        if held is None:
            raise Refused("invalid_grant", "Token has been expired or revoked.")
        if held.client_id != client_id:
            raise Refused("unauthorized_client", "Unauthorized", 401)
        scope = form.get("scope").split()
        try:
            issued = self._grants.renew(refresh_token, normal(scope) if scope else None)
        except ValueError:
            raise Refused("invalid_scope", "Some requested scopes were not granted.") from None
        assert issued is not None, "it was live a moment ago"
        return issued

    def _shown(self, issued: Issued, nonce: str = "") -> dict[str, Any]:
        access = issued.access
        shown: dict[str, Any] = {
            "access_token": issued.access_token,
            "expires_in": issued.expires_in,
            "scope": spelled(access.scopes),
            "token_type": "Bearer",
        }
        if issued.refresh_token is not None:
            shown["refresh_token"] = issued.refresh_token
        if issued.refresh_expires_in is not None:
            shown["refresh_token_expires_in"] = issued.refresh_expires_in
        if OPENID in access.scopes:
            person = self._people[access.email]
            shown["id_token"] = self._keys.sign(id_claims(person, issued, self._base_url, nonce))
        return shown

    def _revoked(self, token: str) -> Answer:
        if not token:
            raise Refused("invalid_request", "Required parameter is missing: token")
        if not self._grants.revoke_token(token):
            raise Refused("invalid_token", "Token expired or revoked")
        return _private({})

    def _told(self, token: str, id_token: str) -> Answer:
        if id_token:
            claims = self._keys.verified(id_token)
            if claims is None:
                raise Refused("invalid_token", "Invalid Value")
            return _private({name: _text(value) for name, value in claims.items()})
        access = self._grants.lookup(token)
        if access is None:
            raise Refused("invalid_token", "Invalid Value")
        expires, left = self._grants.lifetime(token)
        told = {
            "azp": access.client_id,
            "aud": access.client_id,
            "scope": spelled(access.scopes),
            "exp": str(expires),
            "expires_in": str(left),
            "access_type": "offline",
        }
        if OPENID in access.scopes:
            told["sub"] = self._people[access.email].sub
        if EMAIL in access.scopes:
            told |= {"email": access.email, "email_verified": "true"}
        return _private(told)

    def _who(self, token: str) -> Answer:
        access = self._grants.lookup(token)
        if access is None:
            raise Refused("invalid_request", "Invalid Credentials", 401)
        if OPENID not in access.scopes:
            raise Refused("insufficient_scope", "The token was not granted for openid", 403)
        person = self._people[access.email]
        return _private({"sub": person.sub} | profile(person, access.scopes))


def _private(value: object, *, status: int = 200) -> Answer:
    made = json_answer(value, status=status, pretty=True)
    return Answer(made.status, made.body, made.content_type, _NOT_STORED)


def _public(value: object) -> Answer:
    made = json_answer(value, pretty=True)
    kept = {"Cache-Control": f"public, max-age={CERTIFICATES_GOOD_FOR}, must-revalidate, no-transform"}
    return Answer(made.status, made.body, made.content_type, kept)


def _needed(form: Parameters, name: str) -> str:
    value = form.get(name)
    if not value:
        raise Refused("invalid_request", f"Required parameter is missing: {name}")
    return value


def _client(request: IRequest, form: Parameters) -> str:
    """The client id, from the Authorization header or from the form."""
    header = request.getHeader(b"Authorization") or b""
    client_id = form.get("client_id")
    if header[:6].lower() == b"basic ":
        try:
            named = base64.b64decode(header[6:].strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Refused("invalid_client", "The Authorization header makes no sense.", 401) from None
        client_id = unquote_plus(named.partition(":")[0])
    if not client_id:
        raise Refused("invalid_request", "Could not determine client ID from request.")
    return client_id


def _answers_challenge(verifier: str, code: Code) -> bool:
    if not CHALLENGE.fullmatch(verifier):
        return False
    if code.challenge_method == "S256":
        digest = hashlib.sha256(verifier.encode()).digest()
        verifier = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(verifier, code.challenge)


def _token_in(request: IRequest, name: str) -> str:
    """A token in the form, or in the query, where Google takes it too."""
    return (form_of(request).all(name) or query_of(request).all(name) or [""])[0]


def _bearer(request: IRequest) -> str:
    header = (request.getHeader(b"Authorization") or b"").decode("latin-1")
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _text(value: object) -> str:
    """Claims come back from here as strings, all of them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
