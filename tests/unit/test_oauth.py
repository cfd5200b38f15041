"""Google's authorization server: what is asked of it, and what of its answers is believed."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Google
from docsession.errors import GoogleUnavailable, TooLarge
from docsession.google.http import NoAnswer, NotSent, Reply
from docsession.google.oauth import BadIdToken, OAuth, OAuthRefused, challenge, normal_scopes
from docsession.model import SignInState
from tests.unit.google import FakeHttp, clock, reply

CLIENT = "our-client"
NOW = 1_795_000_000.0


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(name: str) -> str:
    encoded = (
        key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return encoded.decode()


def certificates(*names: str, **headers: str) -> Reply:
    return reply(200, {name: public(name) for name in names}, **headers)


def part(value: Any) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def id_token(
    header: dict[str, Any] | None = None, *, signed_with: str = "one", drop: str = "", **claims: Any
) -> str:
    """A genuine one, but for what is said otherwise."""
    head = {"alg": "RS256", "kid": "one", "typ": "JWT"} | (header or {})
    body: dict[str, Any] = {
        "iss": "https://accounts.google.com",
        "aud": CLIENT,
        "sub": "1234",
        "iat": NOW - 5,
        "exp": NOW + 3600,
        "nonce": "our-nonce",
        "email": "ann@example.com",
        "name": "Ann Archer",
        "picture": "https://picture",
    }
    body |= claims
    body.pop(drop, None)
    signed = part(head) + b"." + part(body)
    signature = key(signed_with).sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + part(signature)).decode()


class OAuthTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock(NOW)

    def oauth(self, *answers: Any) -> OAuth:
        self.http = FakeHttp(*answers)
        google = Google(client_id=CLIENT, scopes=("https://www.googleapis.com/auth/drive",))
        return OAuth(self.http, self.clock, google, "our-secret")  # type: ignore[arg-type]


class IdTokens(OAuthTestCase):
    def verify(self, token: str, *answers: Any, nonce: str = "our-nonce") -> Deferred[Any]:
        oauth = self.oauth(*(answers or [certificates("one", "two")]))
        return Deferred.fromCoroutine(oauth.verify(token, nonce))

    def refused(self, token: str, **more: Any) -> None:
        error = self.failureResultOf(self.verify(token, **more), BadIdToken).value
        self.assertNotIn(token, str(error))

    def test_a_genuine_one_says_who_it_is(self) -> None:
        user = self.successResultOf(self.verify(id_token()))
        self.assertEqual(
            (user.id, user.email, user.name, user.picture),
            ("1234", "ann@example.com", "Ann Archer", "https://picture"),
        )
        bare = self.successResultOf(self.verify(id_token(drop="name", email="")))
        self.assertEqual(bare.name, "1234")

    def test_the_issuer_has_two_spellings(self) -> None:
        self.successResultOf(self.verify(id_token(iss="accounts.google.com")))
        for issuer in (
            "https://accounts.google.com/",
            "https://evil.example",
            "",
            None,
            ["https://accounts.google.com"],
        ):
            self.refused(id_token(iss=issuer))
        self.refused(id_token(drop="iss"))

    def test_another_audience(self) -> None:
        for audience in ("another", "", None, [CLIENT], f"{CLIENT} "):
            self.refused(id_token(aud=audience))
        self.refused(id_token(drop="aud"))

    def test_another_nonce(self) -> None:
        for nonce in ("another", "", None, 5, "our-nonce "):
            self.refused(id_token(nonce=nonce))
        self.refused(id_token(drop="nonce"))
        self.refused(id_token(nonce="ünï"))

    def test_expired_and_from_the_future_with_five_minutes_of_grace(self) -> None:
        self.successResultOf(self.verify(id_token(iat=NOW - 4000, exp=NOW - 299)))
        self.refused(id_token(iat=NOW - 4000, exp=NOW - 301))
        self.successResultOf(self.verify(id_token(iat=NOW + 299)))
        self.refused(id_token(iat=NOW + 301))
        for bad in ("soon", None, [], "nan"):
            self.refused(id_token(exp=bad))
            self.refused(id_token(iat=bad))
        self.refused(id_token(drop="exp"))
        self.refused(id_token(drop="iat"))

    def test_without_a_subject(self) -> None:
        for subject in ("", None, 5, "x" * 256):
            self.refused(id_token(sub=subject))

    def test_signed_by_nobody_or_somebody_else_or_otherwise(self) -> None:
        self.refused(id_token(signed_with="two"))
        self.refused(id_token({"alg": "none"}))
        self.refused(id_token({"alg": "HS256"}))
        self.refused(id_token({"alg": None}))
        head, body, signature = id_token().split(".")
        self.refused(f"{head}.{body}.")
        self.refused(f"{head}.{part({'sub': 'other'}).decode()}.{signature}")
        self.refused(f"{head}.{body}.{signature[:-4]}AAAA")

    def test_garbage(self) -> None:
        head, body, signature = id_token().split(".")
        for token in (
            "",
            "a",
            "..",
            "a.b.c",
            f"{head}.{body}",
            f"{head}.{body}.{signature}.{signature}",
            f"{part([1]).decode()}.{body}.{signature}",
            f"{head}.{part(b'[' * 50_000).decode()}.{signature}",
            f"{head}.{part(b'{' + b'!').decode()}.{signature}",
            "ä.ö.ü",
        ):
            self.failureResultOf(self.verify(token), BadIdToken)

    def test_a_certificate_that_is_none(self) -> None:
        self.failureResultOf(self.verify(id_token(), reply(200, {"one": "garbage"})), BadIdToken)
        jwks = reply(200, {"keys": [{"kid": "one"}]})
        self.failureResultOf(self.verify(id_token(), jwks), BadIdToken)

    def test_certificates_are_kept_as_long_as_google_says(self) -> None:
        oauth = self.oauth(
            certificates("one", Cache_Control="public, max-age=7200, must-revalidate"),
            certificates("one"),
            certificates("one"),
        )

        def verify() -> int:
            token = id_token(iat=self.clock.seconds(), exp=self.clock.seconds() + 60)
            self.successResultOf(Deferred.fromCoroutine(oauth.verify(token, "our-nonce")))
            return len(self.http.sent)

        self.assertEqual((verify(), verify()), (1, 1))
        self.clock.advance(7199)
        self.assertEqual(verify(), 1)
        self.clock.advance(1)
        self.assertEqual(verify(), 2)
        self.clock.advance(3600)  # said nothing, so an hour
        self.assertEqual(verify(), 3)

    def test_an_unknown_key_is_looked_for_once(self) -> None:
        oauth = self.oauth(certificates("one"), certificates("one", "two"), certificates("one", "two"))

        def verify(token: str) -> Deferred[Any]:
            return Deferred.fromCoroutine(oauth.verify(token, "our-nonce"))

        self.successResultOf(verify(id_token()))
        self.successResultOf(verify(id_token({"kid": "two"}, signed_with="two")))
        self.assertEqual(len(self.http.sent), 2)
        self.failureResultOf(verify(id_token({"kid": "three"})), BadIdToken)
        self.assertEqual(len(self.http.sent), 3)

    def test_many_at_once_fetch_once(self) -> None:
        answer: Deferred[Reply] = Deferred()
        oauth = self.oauth(answer)
        asked = [Deferred.fromCoroutine(oauth.verify(id_token(), "our-nonce")) for _ in range(5)]
        answer.callback(certificates("one"))
        for one in asked:
            self.successResultOf(one)
        self.assertEqual(len(self.http.sent), 1)

    def test_certificates_that_cannot_be_had_are_weather(self) -> None:
        for bad in (NotSent("x"), NoAnswer("x"), reply(500), reply(200, b"<html>"), TooLarge(5)):
            self.failureResultOf(self.verify(id_token(), bad), GoogleUnavailable)


class Tokens(OAuthTestCase):
    def exchange(self, *answers: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.oauth(*answers).exchange("code", "verifier", "https://back"))

    def refresh(self, *answers: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.oauth(*answers).refresh("1//refresh"))

    def test_what_is_asked_and_what_comes_back(self) -> None:
        answer = {
            "access_token": "ya29",
            "expires_in": 3599,
            "scope": "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/drive",
            "refresh_token": "1//x",
            "id_token": "a.b.c",
            "token_type": "Bearer",
            "refresh_token_expires_in": 604799,
        }
        granted = self.successResultOf(self.exchange(reply(200, answer)))
        self.assertEqual(
            (granted.access_token, granted.expires_in, granted.refresh_token, granted.id_token),
            ("ya29", 3599, "1//x", "a.b.c"),
        )
        self.assertEqual(
            granted.scopes, normal_scopes(["openid", "email", "https://www.googleapis.com/auth/drive"])
        )
        (sent,) = self.http.sent
        self.assertEqual(
            sent["form"],
            {
                "grant_type": "authorization_code",
                "code": "code",
                "code_verifier": "verifier",
                "redirect_uri": "https://back",
                "client_id": CLIENT,
                "client_secret": "our-secret",
            },
        )
        self.assertNotIn("our-secret", sent["url"])

    def test_a_refresh_repeats_no_refresh_token(self) -> None:
        granted = self.successResultOf(
            self.refresh(reply(200, {"access_token": "ya29", "expires_in": "3599"}))
        )
        self.assertEqual((granted.refresh_token, granted.scopes, granted.expires_in), (None, None, 3599))
        self.assertEqual(self.http.sent[0]["form"]["refresh_token"], "1//refresh")
        granted = self.successResultOf(self.refresh(reply(200, {"access_token": "a", "refresh_token": ""})))
        self.assertIsNone(granted.refresh_token)

    def test_a_verdict_is_told_by_its_code(self) -> None:
        for status, error in (
            (400, "invalid_grant"),
            (401, "invalid_client"),
            (400, "redirect_uri_mismatch"),
            (403, "unauthorized_client"),
        ):
            refused = self.failureResultOf(self.refresh(reply(status, {"error": error})), OAuthRefused).value
            self.assertEqual(refused.error, error)

    def test_all_else_is_weather(self) -> None:
        for bad in (
            NotSent("refused"),
            NoAnswer("no answer within 30 s"),
            TooLarge(5),
            reply(500, {"error": "invalid_grant"}),
            reply(503, b"<html>"),
            reply(429, {"error": "invalid_grant"}),
            reply(400, b"<html>"),
            reply(400, {"error": {"code": 400}}),
            reply(400, {"error": "<script>"}),
            reply(302, b""),
            reply(200, b"<html>"),
            reply(200, {"expires_in": 5}),
            reply(200, {"access_token": 5, "expires_in": []}),
            reply(200, b"[" * 100_000),
        ):
            self.failureResultOf(self.refresh(bad), GoogleUnavailable)

    def test_weather_says_when(self) -> None:
        error = self.failureResultOf(self.refresh(reply(503, {}, Retry_After="17"))).value
        self.assertEqual(error.retry_after, 17)

    def test_revoking(self) -> None:
        for answer, gone in (
            (reply(200), True),
            (reply(400, {"error": "invalid_token"}), True),
            (reply(503), False),
            (NotSent("x"), False),
            (NoAnswer("x"), False),
            (TooLarge(5), False),
        ):
            revoked = self.successResultOf(Deferred.fromCoroutine(self.oauth(answer).revoke("1//x")))
            self.assertIs(revoked, gone)
            self.assertEqual(self.http.sent[0]["form"], {"token": "1//x"})

    def test_where_the_browser_is_sent(self) -> None:
        state = SignInState("state", "s", "https://page", "/", "v" * 43, "nonce", NOW + 600)
        url = urlsplit(self.oauth().authorization_url(state, "https://back"))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.assertEqual(url.hostname, "accounts.google.com")
        self.assertEqual(query["code_challenge"], challenge("v" * 43))
        expected = {
            "client_id": CLIENT,
            "response_type": "code",
            "redirect_uri": "https://back",
            "access_type": "offline",
            "include_granted_scopes": "true",
            "state": "state",
            "nonce": "nonce",
            "code_challenge_method": "S256",
            "prompt": "select_account",
        }
        self.assertEqual({name: query[name] for name in expected}, expected)
        self.assertIn("openid", query["scope"].split())
        self.assertNotIn("login_hint", query)

    def test_the_challenge_of_rfc_7636(self) -> None:
        self.assertEqual(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        )
