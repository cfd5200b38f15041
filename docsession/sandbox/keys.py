"""The keys that sign id_tokens, and the certificates by which others check them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

__all__ = ["CERTIFICATES_GOOD_FOR", "Keys", "new_private_key"]

CERTIFICATES_GOOD_FOR = 21600
"""Seconds that others may keep the certificates."""

_PUBLISHED = 2
_TEN_YEARS = timedelta(days=3650)


def new_private_key() -> rsa.RSAPrivateKey:
    """A key of the size Google uses."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class _Key(Struct, frozen=True):
    """A private key and its self-signed certificate, both PEM."""

    private: str
    certificate: str

    @property
    def id(self) -> str:
        """Follows from the key itself, so that it stays the same across restarts."""
        public = x509.load_pem_x509_certificate(self.certificate.encode()).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()[:40]

    def to_jwk(self) -> dict[str, str]:
        private = load_pem_private_key(self.private.encode(), None)
        assert isinstance(private, rsa.RSAPrivateKey)
        numbers = private.public_key().public_numbers()
        return {
            "kid": self.id,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": _base64_of_number(numbers.n),
            "e": _base64_of_number(numbers.e),
        }


class Keys:
    """Signs with its newest key. The first is made when it is first needed, as making one is slow."""

    def __init__(
        self, clock: IReactorTime, generate: Callable[[], rsa.RSAPrivateKey] = new_private_key
    ) -> None:
        self._clock = clock
        self._generate = generate
        self._keys: list[_Key] = []
        self.on_change: list[Callable[[], None]] = []

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT with these claims."""
        key = self._published()[-1]
        signer = crypt.RSASigner.from_string(key.private, key.id)
        return jwt.encode(signer, dict(claims)).decode("ascii")  # type: ignore[no-any-return]

    def verified(self, token: str) -> dict[str, Any] | None:
        """Header and claims, in one, of a JWT that was signed here and is not over; None for any other."""
        signed, _, signature = token.rpartition(".")
        try:
            header, claims = jwt.decode_header(token), jwt.decode(token, verify=False)
            certificate = self.certificates()[str(header["kid"])]
            raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            good = claims["exp"] > self._clock.seconds() and crypt.verify_signature(
                signed.encode("ascii"), raw, [certificate]
            )
        except (ValueError, KeyError):
            return None
        return {**header, **claims} if good else None

    def certificates(self) -> dict[str, str]:
        """PEM certificates by key id."""
        return {key.id: key.certificate for key in self._published()}

    def jwks(self) -> dict[str, Any]:
        """The same public keys as a JSON Web Key Set."""
        return {"keys": [key.to_jwk() for key in self._published()]}

    def rotate(self) -> None:
        """Sign with another key from now on; the one before stays published."""
        self._keys = [*self._keys, self._new_key()][-_PUBLISHED:]
        for tell in self.on_change:
            tell()

    def to_json(self) -> dict[str, Any]:
        """The keys, as plain data."""
        return {"keys": msgspec.to_builtins(self._keys)}

    def load_json(self, stored: Mapping[str, Any]) -> None:
        """Become what :meth:`to_json` gave. Raises ValueError, and then nothing changed."""
        keys = msgspec.convert(stored.get("keys", []), list[_Key])
        for key in keys:
            load_pem_private_key(key.private.encode(), None)
            _ = key.id
        self._keys = keys

    def _published(self) -> list[_Key]:
        if not self._keys:
            self.rotate()
        return self._keys

    def _new_key(self) -> _Key:
        private = self._generate()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox.docsession.invalid")])
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _TEN_YEARS)
            .sign(private, hashes.SHA256())
        )
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return _Key(pem.decode(), certificate.public_bytes(Encoding.PEM).decode())


def _base64_of_number(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
