"""The sandbox's signing keys, as those see them who check its signatures."""

from __future__ import annotations

import base64
import json
import time
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox.keys import Keys, new_private_key


@cache
def _one_of_many(number: int) -> rsa.RSAPrivateKey:
    return new_private_key()


class KeysTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        # google.auth looks at the real clock.
        self.clock.advance(time.time())
        self.made = 0
        self.keys = Keys(self.clock, self._generate)

    def _generate(self) -> rsa.RSAPrivateKey:
        self.made += 1
        return _one_of_many(self.made)

    def claims(self, **more: object) -> dict[str, object]:
        now = int(self.clock.seconds())
        return {"iss": "http://127.0.0.1:8766", "aud": "app", "iat": now, "exp": now + 60, **more}

    def test_google_auth_accepts_what_is_signed(self) -> None:
        token = self.keys.sign(self.claims(sub="1"))
        self.assertEqual(jwt.decode(token, certs=self.keys.certificates(), audience="app")["sub"], "1")
        header = jwt.decode_header(token)
        self.assertEqual((header["alg"], header["typ"]), ("RS256", "JWT"))
        self.assertIn(header["kid"], self.keys.certificates())

    def test_google_auth_refuses_another_signature(self) -> None:
        other = Keys(self.clock, lambda: _one_of_many(7))
        with self.assertRaises(ValueError):
            jwt.decode(other.sign(self.claims()), certs=self.keys.certificates(), audience="app")

    def test_the_key_set_holds_the_same_keys_as_the_certificates(self) -> None:
        self.keys.rotate()
        self.keys.rotate()
        certificates = self.keys.certificates()
        published = self.keys.jwks()["keys"]
        self.assertEqual([key["kid"] for key in published], list(certificates))
        for key in published:
            self.assertEqual((key["kty"], key["alg"], key["use"]), ("RSA", "RS256", "sig"))
            public = x509.load_pem_x509_certificate(certificates[key["kid"]].encode()).public_key()
            assert isinstance(public, rsa.RSAPublicKey)
            numbers = public.public_numbers()
            self.assertEqual((_number(key["n"]), _number(key["e"])), (numbers.n, numbers.e))

    def test_one_key_is_made_when_it_is_needed(self) -> None:
        self.assertEqual((self.made, self.keys.to_json()), (0, {"keys": []}))
        self.keys.sign(self.claims())
        self.keys.certificates()
        self.assertEqual(self.made, 1)

    def test_kept(self) -> None:
        told: list[None] = []
        self.keys.on_change.append(lambda: told.append(None))
        token = self.keys.sign(self.claims())
        self.assertEqual(len(told), 1)
        again = Keys(self.clock, self._generate)
        again.load_json(json.loads(json.dumps(self.keys.to_json())))
        self.assertEqual(again.certificates(), self.keys.certificates())
        self.assertEqual(again.sign(self.claims()), token)
        self.assertEqual(self.made, 1)

    def test_nonsense_changes_nothing(self) -> None:
        certificates = self.keys.certificates()
        for nonsense in ({"keys": [{}]}, {"keys": [{"private": "x", "certificate": "y"}]}):
            with self.assertRaises(ValueError):
                self.keys.load_json(nonsense)
        self.assertEqual(self.keys.certificates(), certificates)

    def test_rotation_keeps_the_key_before(self) -> None:
        old = self.keys.sign(self.claims())
        self.keys.rotate()
        new = self.keys.sign(self.claims())
        self.assertNotEqual(jwt.decode_header(old)["kid"], jwt.decode_header(new)["kid"])
        for token in (old, new):
            self.assertIsNotNone(self.keys.verified(token))
        self.keys.rotate()
        self.assertIsNone(self.keys.verified(old))
        self.assertIsNotNone(self.keys.verified(new))

    def test_verifies_its_own_until_they_are_over(self) -> None:
        token = self.keys.sign(self.claims(sub="1"))
        told = self.keys.verified(token) or {}
        self.assertEqual((told["sub"], told["alg"]), ("1", "RS256"))
        self.clock.advance(61)
        self.assertIsNone(self.keys.verified(token))

    def test_verifies_nothing_else(self) -> None:
        token = self.keys.sign(self.claims())
        header, claims, signature = token.split(".")
        forged = base64.urlsafe_b64encode(b'{"exp":99999999999}').decode().rstrip("=")
        for other in ("", "a.b.c", "ü.ü.ü", f"{header}.{claims}", f"{header}.{forged}.{signature}"):
            self.assertIsNone(self.keys.verified(other), other)


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
