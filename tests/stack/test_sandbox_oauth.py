"""The sandbox's authorization server over HTTP, in memory: consent, tokens, and every refusal."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import time
from functools import cache
from random import Random
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox.calls import Calls, Quota
from docsession.sandbox.exchange import Exchange
from docsession.sandbox.faults import Fault, Faults, Match
from docsession.sandbox.grants import Grants
from docsession.sandbox.keys import Keys, new_private_key
from docsession.sandbox.oauth import OAuth
from docsession.sandbox.records import Person
from docsession.sandbox.scopes import EMAIL, OPENID, PROFILE

BASE = "http://127.0.0.1:8766"
CALLBACK = "http://127.0.0.1:8765/api/oauth/callback"
DRIVE = "https://www.googleapis.com/auth/drive"
READONLY = DRIVE + ".readonly"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

ANN = Person(
    "ann@example.com", "101", "Ann Archer", "901", "Ann", "Archer", f"{BASE}/sandbox/pictures/901.svg"
)
BOB = Person("bob@example.com", "102", "Bob <b>Baker</b>", "902", "Bob", "", "")


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return new_private_key()


class Answer:
    """An answer with its body read."""

    def __init__(self, response: Any, body: str) -> None:
        self.status: int = response.code
        self.headers = response.headers
        self.body = body

    def header(self, name: str) -> str:
        return ", ".join(self.headers.getRawHeaders(name, []))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def redirected(self) -> dict[str, str]:
        """The query of the redirect."""
        return dict(parse_qsl(urlsplit(self.header("Location")).query, strict_parsing=True))


class OAuthTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        # google.auth looks at the real clock.
        self.clock.advance(time.time())
        self.people = {each.email: each for each in (ANN, BOB)}
        self.grants = Grants(self.clock, Random(1), self.people)
        self.keys = Keys(self.clock, _private_key)
        self.calls, self.faults = Calls(self.clock), Faults()
        exchange = Exchange(self.clock, self.calls, self.faults, Quota(self.clock))
        oauth = OAuth(self.grants, self.people, self.keys, BASE, exchange.perform)
        self.treq = StubTreq(oauth.app.resource())

    # --- asking -----------------------------------------------------------------------------

    def send(self, method: str, url: str, **more: Any) -> Answer:
        sent = self.treq.request(method, BASE + url, allow_redirects=False, **more)
        self.treq.flush()
        response = self.successResultOf(sent)
        body = self.treq.content(response)
        self.treq.flush()
        return Answer(response, self.successResultOf(body).decode())

    def request_of(self, **changes: str | None) -> dict[str, str]:
        asked: dict[str, str | None] = {
            "client_id": "an-app",
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": f"openid email profile {DRIVE}",
            "access_type": "offline",
            "state": "a state & more",
            "nonce": "a nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def ask(self, **changes: str | None) -> Answer:
        return self.send("GET", f"/o/oauth2/v2/auth?{urlencode(self.request_of(**changes))}")

    def decide(
        self, *, decision: str = "allow", account: str = ANN.email, untick: str = "", **changes: str | None
    ) -> Answer:
        """Get the page, and send its form as a browser would."""
        page = self.ask(**changes)
        self.assertEqual(page.status, 200, page.body)
        fields = [("account", account), ("decision", decision)]
        for tag in re.findall(r"<input[^>]*>", page.body):
            field = {name: html.unescape(value) for name, value in re.findall(r'([a-z]+)="([^"]*)"', tag)}
            if field["type"] == "hidden" or (field["type"] == "checkbox" and field["value"] != untick):
                fields.append((field["name"], field["value"]))
        return self.send("POST", "/o/oauth2/v2/auth", data=fields)

    def token(self, **form: str | None) -> Answer:
        whole = {"client_id": "an-app", "client_secret": "any"} | form
        given = {name: value for name, value in whole.items() if value is not None}
        return self.send("POST", "/token", data=given)

    def exchange(self, code: str, /, **changes: str | None) -> Answer:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }
        return self.token(**(form | changes))

    def sign_in(self, **more: Any) -> Any:
        """Consent, and the tokens for it."""
        answer = self.exchange(self.decide(**more).redirected["code"])
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def refuses(self, answer: Answer, error: str, status: int = 400) -> None:
        self.assertEqual((answer.status, answer.json["error"]), (status, error), answer.body)
        self.assertIn("no-store", answer.header("Cache-Control"))


class SigningIn(OAuthTest):
    def test_the_whole_way(self) -> None:
        back = self.decide()
        self.assertEqual(back.status, 302)
        self.assertTrue(back.header("Location").startswith(CALLBACK + "?"))
        self.assertEqual(back.redirected["state"], "a state & more")
        self.assertEqual(
            set(back.redirected["scope"].split()), {OPENID, EMAIL, PROFILE, DRIVE}, "under their long names"
        )
        self.assertEqual((back.redirected["authuser"], back.redirected["prompt"]), ("0", "consent"))
        answer = self.exchange(back.redirected["code"])
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        tokens = answer.json
        self.assertEqual((tokens["token_type"], tokens["expires_in"]), ("Bearer", 3599))
        self.assertEqual(set(tokens["scope"].split()), {OPENID, EMAIL, PROFILE, DRIVE})
        self.assertNotIn("refresh_token_expires_in", tokens)
        self.assertIsNotNone(self.grants.refreshable(tokens["refresh_token"]))
        access = self.grants.lookup(tokens["access_token"])
        assert access is not None
        self.assertEqual((access.email, access.client_id), (ANN.email, "an-app"))

    def test_the_id_token_stands_up_to_google_auth(self) -> None:
        tokens = self.sign_in()
        certificates = self.send("GET", "/oauth2/v1/certs")
        self.assertIn("max-age=", certificates.header("Cache-Control"))
        claims = jwt.decode(tokens["id_token"], certs=certificates.json, audience="an-app")
        digest = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
        self.assertEqual(
            claims,
            {
                "iss": BASE,
                "aud": "an-app",
                "azp": "an-app",
                "sub": ANN.sub,
                "nonce": "a nonce",
                "email": ANN.email,
                "email_verified": True,
                "name": "Ann Archer",
                "given_name": "Ann",
                "family_name": "Archer",
                "picture": ANN.picture,
                "at_hash": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
                "iat": int(self.clock.seconds()),
                "exp": int(self.clock.seconds()) + 3600,
            },
        )
        keys = self.send("GET", "/oauth2/v3/certs").json["keys"]
        self.assertEqual([key["kid"] for key in keys], list(certificates.json))

    def test_the_issuer_is_the_one_that_is_published(self) -> None:
        published = self.send("GET", "/.well-known/openid-configuration").json
        claims = jwt.decode(self.sign_in()["id_token"], verify=False)
        self.assertEqual(claims["iss"], published["issuer"])
        self.assertEqual(published["token_endpoint"], f"{BASE}/token")

    def test_claims_follow_the_scopes(self) -> None:
        tokens = self.sign_in(scope=f"openid email {DRIVE}")
        claims = jwt.decode(tokens["id_token"], verify=False)
        self.assertEqual((claims["email"], claims.get("name")), (ANN.email, None))
        self.assertNotIn("id_token", self.sign_in(scope=DRIVE, account=BOB.email))

    def test_without_pkce_and_nonce(self) -> None:
        bare = {"code_challenge": None, "code_challenge_method": None, "nonce": None, "state": None}
        back = self.decide(**bare)
        self.assertNotIn("state", back.redirected)
        tokens = self.exchange(back.redirected["code"], code_verifier=None)
        self.assertEqual(tokens.status, 200)
        self.assertNotIn("nonce", jwt.decode(tokens.json["id_token"], verify=False))

    def test_plain_pkce(self) -> None:
        for method in ("plain", None):
            back = self.decide(code_challenge=VERIFIER, code_challenge_method=method)
            self.assertEqual(self.exchange(back.redirected["code"]).status, 200)

    def test_a_query_in_the_redirect_uri_stays(self) -> None:
        back = self.decide(redirect_uri="http://localhost:9/cb?a=1")
        self.assertTrue(back.header("Location").startswith("http://localhost:9/cb?a=1&"))
        self.assertEqual(back.redirected["a"], "1")

    def test_online_access_brings_no_refresh_token(self) -> None:
        self.assertNotIn("refresh_token", self.sign_in(access_type=None))

    def test_a_refresh_token_comes_once_unless_consent_is_demanded(self) -> None:
        self.assertIn("refresh_token", self.sign_in(prompt="select_account"))
        self.assertNotIn("refresh_token", self.sign_in(prompt="select_account"))
        self.assertNotIn("refresh_token", self.sign_in())
        self.assertIn("refresh_token", self.sign_in(prompt="select_account consent"))
        self.assertIn("refresh_token", self.sign_in(approval_prompt="force"))

    def test_time_based_access_says_so(self) -> None:
        self.grants.refresh_lifetime = 604799.0
        self.assertEqual(self.sign_in()["refresh_token_expires_in"], 604799)


class Consenting(OAuthTest):
    def test_the_page_needs_no_script_and_allows_none(self) -> None:
        page = self.ask()
        self.assertEqual(page.header("Content-Type"), "text/html; charset=utf-8")
        policy = page.header("Content-Security-Policy")
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("form-action", policy)
        self.assertNotRegex(page.body, r"<script|<style| on\w+=| style=")
        self.assertTrue(page.body.startswith("<!DOCTYPE html>"))

    def test_nothing_of_the_request_becomes_markup(self) -> None:
        evil = "\"'><script>alert(1)</script>"
        page = self.ask(client_id=evil, state=evil, nonce=evil, login_hint=evil)
        self.assertEqual(page.status, 200)
        self.assertNotIn("<script", page.body)
        self.assertIn("&lt;script&gt;", page.body)
        self.assertNotIn("<b>Baker", page.body, "nor of a name")
        for changes in ({"scope": evil}, {"response_type": evil}, {"redirect_uri": evil}, {"prompt": evil}):
            refusal = self.ask(**changes)
            self.assertEqual(refusal.status, 400)
            self.assertNotIn("<script", refusal.body)
            self.assertIn("&lt;script&gt;", refusal.body)

    def test_everybody_can_be_chosen_and_the_hinted_one_is(self) -> None:
        def chosen(page: Answer) -> list[str]:
            radios = re.findall(r'<input[^>]*type="radio"[^>]*>', page.body)
            self.assertEqual(len(radios), 2)
            values = [re.search(r'value="([^"]*)"', each) for each in radios if "checked" in each]
            return [match[1] for match in values if match]

        self.assertEqual(chosen(self.ask()), [ANN.email])
        self.assertEqual(chosen(self.ask(login_hint=BOB.email)), [BOB.email])
        self.assertEqual(chosen(self.ask(login_hint=BOB.sub)), [BOB.email])
        self.assertEqual(chosen(self.ask(login_hint="nobody@example.com")), [ANN.email])
        self.assertEqual(self.sign_in(account=BOB.email, login_hint=ANN.sub)["token_type"], "Bearer")
        self.assertEqual(self.grants.consented("an-app", ANN.email), frozenset(), "bob it was")

    def test_what_is_unticked_is_not_granted(self) -> None:
        tokens = self.sign_in(scope=f"openid {DRIVE} {READONLY}", untick=DRIVE)
        self.assertEqual(set(tokens["scope"].split()), {OPENID, READONLY})
        access = self.grants.lookup(tokens["access_token"])
        assert access is not None
        self.assertEqual(access.scopes, {OPENID, READONLY})

    def test_identity_cannot_be_unticked(self) -> None:
        self.assertEqual(self.sign_in(scope=f"openid {DRIVE}", untick=DRIVE)["scope"], OPENID)

    def test_nothing_ticked_is_a_no(self) -> None:
        self.assertEqual(self.decide(scope=DRIVE, untick=DRIVE).redirected["error"], "access_denied")

    def test_more_cannot_be_ticked_than_was_asked_for(self) -> None:
        form = {
            "request": urlencode(self.request_of(scope="openid")),
            "account": ANN.email,
            "scope": DRIVE,
            "decision": "allow",
        }
        back = self.send("POST", "/o/oauth2/v2/auth", data=form)
        self.assertEqual(back.redirected["scope"], OPENID)

    def test_earlier_grants_come_along_when_asked(self) -> None:
        self.sign_in(scope=f"openid {DRIVE}")
        alone = self.sign_in(scope=f"openid {READONLY}")
        self.assertEqual(set(alone["scope"].split()), {OPENID, READONLY})
        both = self.sign_in(scope="openid", include_granted_scopes="true")
        self.assertEqual(set(both["scope"].split()), {OPENID, DRIVE, READONLY})

    def test_cancel(self) -> None:
        back = self.decide(decision="cancel")
        self.assertEqual(back.status, 302)
        self.assertEqual(back.redirected, {"state": "a state & more", "error": "access_denied"})

    def test_a_decision_without_account_or_button_shows_the_page_again(self) -> None:
        for form in ({"account": "nobody@example.com"}, {"decision": "perhaps"}):
            again = self.decide(**form)  # type: ignore[arg-type]
            self.assertEqual(again.status, 400)
            self.assertIn('role="alert"', again.body)
            self.assertIn("<form", again.body)

    def test_a_decision_from_another_site_counts_for_nothing(self) -> None:
        form = {"request": urlencode(self.request_of()), "account": ANN.email, "decision": "allow"}
        for origin, status in (("https://evil.example", 400), ("null", 400), (BASE, 302)):
            answer = self.send("POST", "/o/oauth2/v2/auth", data=form, headers={"Origin": origin})
            self.assertEqual(answer.status, status, origin)

    def test_without_asking(self) -> None:
        quiet = {"prompt": "none", "login_hint": ANN.sub}
        self.assertEqual(self.ask(prompt="none").redirected["error"], "login_required")
        self.assertEqual(self.ask(**quiet).redirected["error"], "interaction_required")
        self.sign_in()
        back = self.ask(**quiet)
        self.assertEqual((back.status, back.redirected["prompt"]), (302, "none"))
        tokens = self.exchange(back.redirected["code"])
        self.assertEqual(tokens.status, 200)
        self.assertNotIn("refresh_token", tokens.json)
        more = self.ask(**quiet, scope=READONLY)
        self.assertEqual(more.redirected["error"], "interaction_required")


class RefusedOnThePage(OAuthTest):
    def refuses_on_page(self, answer: Answer, error: str) -> None:
        self.assertEqual((answer.status, answer.header("Location")), (400, ""))
        self.assertIn(f"<code>{error}</code>", answer.body)

    def test_what_is_missing(self) -> None:
        for name in ("client_id", "redirect_uri", "response_type", "scope"):
            for nothing in (None, ""):
                with self.subTest(name):
                    answer = self.ask(**{name: nothing})
                    self.refuses_on_page(answer, "invalid_request")
                    self.assertIn(name, answer.body)

    def test_what_is_wrong(self) -> None:
        for error, changes in (
            ("unsupported_response_type", {"response_type": "token"}),
            ("invalid_scope", {"scope": "openid drive"}),
            ("invalid_scope", {"scope": " "}),
            ("invalid_request", {"prompt": "none consent"}),
            ("invalid_request", {"prompt": "please"}),
            ("invalid_request", {"prompt": "consent", "approval_prompt": "force"}),
            ("invalid_request", {"access_type": "always"}),
            ("invalid_request", {"include_granted_scopes": "perhaps"}),
            ("invalid_request", {"code_challenge_method": "S512"}),
            ("invalid_request", {"code_challenge": None}),
            ("invalid_request", {"code_challenge": "short"}),
        ):
            with self.subTest(changes=changes):
                self.refuses_on_page(self.ask(**changes), error)

    def test_no_redirect_but_to_loopback(self) -> None:
        for uri in (
            "https://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "http://127.0.0.1\\@example.com/",
            "http://example.com#@localhost/",
            "http://user@localhost/",
            "http://localhost:99999/",
            "http://localhost:x/",
            "http://0.0.0.0/",
            "http://[::2]/",
            "http://localhost/#fragment",
            "http://localhost/a/../b",
            "http://localhost/*",
            "http://localhost/a\\b",
            "http://localhost/\r\nX: y",
            "http://localhost/ü",
            "javascript:alert(1)//localhost",
            "//localhost/",
            "localhost",
            "http://",
            "http://[/",
        ):
            with self.subTest(uri):
                self.refuses_on_page(self.ask(redirect_uri=uri), "redirect_uri_mismatch")

    def test_every_loopback_will_do(self) -> None:
        for uri in (
            "http://localhost",
            "https://127.0.0.2:1/x?y",
            "http://[::1]:8765/cb",
            "http://LOCALHOST/",
        ):
            with self.subTest(uri):
                self.assertEqual(self.ask(redirect_uri=uri).status, 200)

    def test_what_is_there_twice(self) -> None:
        twice = [*self.request_of().items(), ("client_id", "another")]
        self.refuses_on_page(self.send("GET", f"/o/oauth2/v2/auth?{urlencode(twice)}"), "invalid_request")

    def test_a_form_with_a_broken_request(self) -> None:
        for form in (
            {},
            {"request": "client_id=x", "decision": "cancel"},
            {
                "request": urlencode(self.request_of(redirect_uri="https://evil.example")),
                "decision": "cancel",
            },
            [("request", urlencode(self.request_of())), ("decision", "allow"), ("decision", "cancel")],
        ):
            with self.subTest(form=form):
                answer = self.send("POST", "/o/oauth2/v2/auth", data=form)
                self.assertEqual((answer.status, answer.header("Location")), (400, ""))


class ExchangingCodes(OAuthTest):
    def code(self) -> str:
        return self.decide().redirected["code"]

    def test_once(self) -> None:
        code = self.code()
        self.assertEqual(self.exchange(code).status, 200)
        self.refuses(self.exchange(code), "invalid_grant")

    def test_within_ten_minutes(self) -> None:
        code = self.code()
        self.clock.advance(600)
        self.refuses(self.exchange(code), "invalid_grant")

    def test_what_it_is_bound_to(self) -> None:
        for error, changes in (
            ("redirect_uri_mismatch", {"redirect_uri": CALLBACK + "/"}),
            ("invalid_grant", {"client_id": "another-app"}),
            ("invalid_grant", {"code_verifier": "w" * 43}),
            ("invalid_grant", {"code_verifier": "short"}),
            ("invalid_grant", {"code_verifier": CHALLENGE}),
            ("invalid_grant", {"code_verifier": None}),
        ):
            with self.subTest(changes=changes):
                code = self.code()
                self.refuses(self.exchange(code, **changes), error)
                # And whoever got it wrong has spent it.
                self.refuses(self.exchange(code), "invalid_grant")

    def test_a_missing_verifier_is_called_so(self) -> None:
        answer = self.exchange(self.code(), code_verifier=None)
        self.assertIn("Missing", answer.json["error_description"])

    def test_a_verifier_that_nobody_announced(self) -> None:
        code = self.decide(code_challenge=None, code_challenge_method=None).redirected["code"]
        self.refuses(self.exchange(code), "invalid_grant")

    def test_what_is_missing(self) -> None:
        code = self.code()
        for name in ("grant_type", "code", "redirect_uri", "client_id"):
            with self.subTest(name):
                self.refuses(self.exchange(code, **{name: None}), "invalid_request")
        self.assertEqual(self.exchange(code, client_secret=None).status, 200, "nothing of that spent it")

    def test_other_grants_are_not_served(self) -> None:
        for grant_type in ("urn:ietf:params:oauth:grant-type:jwt-bearer", "password"):
            self.refuses(self.token(grant_type=grant_type), "unsupported_grant_type")

    def test_what_is_there_twice(self) -> None:
        form = {"grant_type": "authorization_code", "code": self.code(), "redirect_uri": CALLBACK}
        for again in ("grant_type", "code", "client_id"):
            twice = [*form.items(), ("client_id", "an-app"), (again, "x")]
            self.refuses(self.send("POST", "/token", data=twice), "invalid_request")

    def test_the_client_may_come_in_a_header(self) -> None:
        basic = base64.b64encode(b"an-app:any").decode()
        for header, status in ((f"Basic {basic}", 200), ("Basic ?", 401)):
            form = {
                "grant_type": "authorization_code",
                "code": self.code(),
                "redirect_uri": CALLBACK,
                "code_verifier": VERIFIER,
            }
            answer = self.send("POST", "/token", data=form, headers={"Authorization": header})
            self.assertEqual(answer.status, status, answer.body)

    def test_no_form_no_token(self) -> None:
        self.refuses(self.send("POST", "/token", json={"grant_type": "refresh_token"}), "invalid_request")
        self.assertEqual(self.send("GET", "/token").status, 405)


class Refreshing(OAuthTest):
    def renew(self, token: str, **changes: str | None) -> Answer:
        return self.token(**({"grant_type": "refresh_token", "refresh_token": token} | changes))

    def test_another_access_token(self) -> None:
        tokens = self.sign_in()
        answer = self.renew(tokens["refresh_token"])
        self.assertEqual((answer.status, answer.header("Cache-Control")), (200, "no-store"))
        self.assertNotEqual(answer.json["access_token"], tokens["access_token"])
        self.assertNotIn("refresh_token", answer.json)
        self.assertEqual(answer.json["scope"], tokens["scope"])
        self.assertEqual(jwt.decode(answer.json["id_token"], verify=False)["sub"], ANN.sub)
        for token in (tokens["access_token"], answer.json["access_token"]):
            self.assertIsNotNone(self.grants.lookup(token), "both work")

    def test_for_less(self) -> None:
        token = self.sign_in()["refresh_token"]
        self.assertEqual(self.renew(token, scope=DRIVE).json["scope"], DRIVE)
        self.assertNotIn("id_token", self.renew(token, scope=DRIVE).json)
        self.refuses(self.renew(token, scope=f"{DRIVE} {READONLY}"), "invalid_scope")

    def test_refusals(self) -> None:
        tokens = self.sign_in()
        self.refuses(self.renew("1//unknown"), "invalid_grant")
        self.refuses(self.renew(tokens["access_token"]), "invalid_grant")
        self.refuses(self.renew(tokens["refresh_token"], refresh_token=None), "invalid_request")
        self.refuses(self.renew(tokens["refresh_token"], client_id=None), "invalid_request")
        self.refuses(self.renew(tokens["refresh_token"], client_id="x"), "unauthorized_client", 401)
        self.assertEqual(self.renew(tokens["refresh_token"]).status, 200)

    def test_after_it_expired_or_was_revoked(self) -> None:
        for end in (self.grants.expire_refresh, self.grants.revoke):
            token = self.sign_in(prompt="consent")["refresh_token"]
            end(ANN.email)
            self.refuses(self.renew(token), "invalid_grant")


class Revoking(OAuthTest):
    def test_either_token_ends_both(self) -> None:
        for kind in ("access_token", "refresh_token"):
            tokens = self.sign_in()
            answer = self.send("POST", "/revoke", data={"token": tokens[kind]})
            self.assertEqual((answer.status, answer.json), (200, {}))
            self.assertIsNone(self.grants.lookup(tokens["access_token"]))
            self.refuses(
                self.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]), "invalid_grant"
            )
            self.refuses(self.send("POST", "/revoke", data={"token": tokens[kind]}), "invalid_token")

    def test_the_token_may_stand_in_the_url(self) -> None:
        token = self.sign_in()["access_token"]
        self.assertEqual(self.send("POST", f"/revoke?token={token}").status, 200)

    def test_nothing_to_revoke(self) -> None:
        self.refuses(self.send("POST", "/revoke"), "invalid_request")
        self.refuses(self.send("POST", "/revoke", data={"token": "ya29.unknown"}), "invalid_token")


class Asking(OAuthTest):
    def userinfo(self, authorization: str | None) -> Answer:
        headers = {} if authorization is None else {"Authorization": authorization}
        return self.send("GET", "/v1/userinfo", headers=headers)

    def test_who_it_is(self) -> None:
        token = self.sign_in()["access_token"]
        self.assertEqual(
            self.userinfo(f"Bearer {token}").json,
            {
                "sub": ANN.sub,
                "name": "Ann Archer",
                "given_name": "Ann",
                "family_name": "Archer",
                "picture": ANN.picture,
                "email": ANN.email,
                "email_verified": True,
            },
        )
        bare = self.grants.issue(BOB.email, frozenset({OPENID}))
        self.assertEqual(self.userinfo(f"bearer {bare}").json, {"sub": BOB.sub})

    def test_who_it_is_not(self) -> None:
        for authorization in (None, "", "Bearer", "Bearer ya29.unknown", "Basic YTpi"):
            self.refuses(self.userinfo(authorization), "invalid_request", 401)
        token = self.grants.issue(ANN.email, frozenset({DRIVE}))
        self.refuses(self.userinfo(f"Bearer {token}"), "insufficient_scope", 403)

    def test_what_a_token_says_of_itself(self) -> None:
        tokens = self.sign_in()
        self.clock.advance(99)
        told = self.send("GET", f"/tokeninfo?access_token={tokens['access_token']}").json
        self.assertEqual((told["aud"], told["sub"], told["email"]), ("an-app", ANN.sub, ANN.email))
        self.assertEqual(told["expires_in"], "3500")
        self.assertEqual(set(told["scope"].split()), {OPENID, EMAIL, PROFILE, DRIVE})
        bare = self.grants.issue(ANN.email, frozenset({DRIVE}))
        told = self.send("POST", "/tokeninfo", data={"access_token": bare}).json
        self.assertNotIn("email", told)
        self.assertNotIn("sub", told)

    def test_what_an_id_token_says(self) -> None:
        token = self.sign_in()["id_token"]
        told = self.send("GET", f"/tokeninfo?id_token={token}").json
        self.assertEqual((told["sub"], told["email_verified"], told["alg"]), (ANN.sub, "true", "RS256"))
        self.clock.advance(3600)
        self.refuses(self.send("GET", f"/tokeninfo?id_token={token}"), "invalid_token")

    def test_nothing_is_said_of_unknown_tokens(self) -> None:
        for query in ("", "access_token=ya29.unknown", "id_token=a.b.c"):
            self.refuses(self.send("GET", f"/tokeninfo?{query}"), "invalid_token")


class MetersAndFaults(OAuthTest):
    def test_every_request_is_counted_under_its_name_and_person(self) -> None:
        tokens = self.sign_in()
        self.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        self.send("GET", "/v1/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        self.send("GET", f"/tokeninfo?access_token={tokens['access_token']}")
        self.send("GET", "/oauth2/v1/certs")
        self.send("GET", "/oauth2/v3/certs")
        self.send("POST", "/revoke", data={"token": tokens["refresh_token"]})
        counted = self.calls.to_json()
        self.assertEqual(
            {name: total["calls"] for name, total in counted["by_method"].items()},
            {
                "oauth2.token.exchange": 1,
                "oauth2.token.refresh": 1,
                "oauth2.userinfo": 1,
                "oauth2.tokeninfo": 1,
                "oauth2.certs": 2,
                "oauth2.revoke": 1,
            },
        )
        self.assertEqual(counted["by_user"][ANN.email]["calls"], 5)

    def test_a_fault_meets_the_one_it_is_for(self) -> None:
        anns = self.sign_in()["refresh_token"]
        bobs = self.sign_in(account=BOB.email)["refresh_token"]
        match = Match(method="oauth2.token.refresh", user=ANN.email)
        self.faults.in_force.append(Fault(match=match, status=503))
        statuses = [
            self.token(grant_type="refresh_token", refresh_token=token).status for token in (anns, bobs)
        ]
        self.assertEqual(statuses, [503, 200])

    def test_a_fault_after_the_fact_has_spent_the_code(self) -> None:
        code = self.decide().redirected["code"]
        self.faults.in_force.append(Fault(after=True, status=502, times=1))
        self.assertEqual(self.exchange(code).status, 502)
        self.refuses(self.exchange(code), "invalid_grant")

    def test_refusals_come_in_the_words_of_oauth(self) -> None:
        self.faults.in_force.append(Fault(reason="invalid_grant"))
        self.assertEqual(self.token(grant_type="refresh_token").json["error"], "invalid_grant")


class Reading(OAuthTest):
    def test_a_mass_of_parameters_is_no_request(self) -> None:
        query = "&".join(f"a{number}=1" for number in range(1000))
        self.assertEqual(self.send("GET", f"/o/oauth2/v2/auth?{query}").status, 400)

    def test_bytes_that_are_no_text(self) -> None:
        query = urlencode(self.request_of()) + "&login_hint=%ff%00"
        page = self.send("GET", f"/o/oauth2/v2/auth?{query}")
        self.assertEqual(page.status, 200)
        sent = re.search(r'name="request"[^>]*value="([^"]*)"', page.body)
        assert sent is not None
        self.assertEqual(parse_qs(html.unescape(sent[1]))["state"], ["a state & more"])
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self.refuses(self.send("POST", "/token", data=b"\xff=\xff&%ff", headers=headers), "invalid_request")
