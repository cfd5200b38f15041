"""What is said of a person in tokens and answers, and of the server in its discovery document."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Set
from typing import Any

from docsession.sandbox.grants import Issued
from docsession.sandbox.records import Person
from docsession.sandbox.scopes import EMAIL, PROFILE

__all__ = ["ID_TOKEN_LIFETIME", "discovery", "id_claims", "profile"]

ID_TOKEN_LIFETIME = 3600


def profile(person: Person, scopes: Set[str]) -> dict[str, Any]:
    """What these scopes tell of a person, beside their ``sub``."""
    told: dict[str, Any] = {}
    if PROFILE in scopes:
        told |= {"name": person.display_name, "picture": person.picture, "given_name": person.given_name}
        if person.family_name:
            told["family_name"] = person.family_name
    if EMAIL in scopes:
        told |= {"email": person.email, "email_verified": True}
    return told


def id_claims(person: Person, issued: Issued, issuer: str, nonce: str) -> dict[str, Any]:
    """The claims of an id_token that comes with these tokens."""
    access = issued.access
    claims: dict[str, Any] = {
        "iss": issuer,
        "azp": access.client_id,
        "aud": access.client_id,
        "sub": person.sub,
        "at_hash": _half_hash(issued.access_token),
        "iat": issued.at,
        "exp": issued.at + ID_TOKEN_LIFETIME,
    }
    if nonce:
        claims["nonce"] = nonce
    return claims | profile(person, access.scopes)


def _half_hash(token: str) -> str:
    """``at_hash`` of OpenID Connect Core §3.1.3.6."""
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def discovery(base_url: str) -> dict[str, Any]:
    """The discovery document of a server at this URL."""
    return {
        "issuer": base_url,
        "authorization_endpoint": f"{base_url}/o/oauth2/v2/auth",
        "token_endpoint": f"{base_url}/token",
        "userinfo_endpoint": f"{base_url}/v1/userinfo",
        "revocation_endpoint": f"{base_url}/revoke",
        "jwks_uri": f"{base_url}/oauth2/v3/certs",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": [
            "aud",
            "email",
            "email_verified",
            "exp",
            "family_name",
            "given_name",
            "iat",
            "iss",
            "name",
            "picture",
            "sub",
        ],
        "code_challenge_methods_supported": ["plain", "S256"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
    }
