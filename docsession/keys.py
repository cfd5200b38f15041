"""The daemon's own keys: they sign cookies and seal what is stored.

A *secret* is text of at least 32 characters, from the configuration or from the file ``keys``
in the state directory. It is stretched into one signing and one sealing key. Secrets rotate: put
a new one in front, the newest signs and seals, and all of them verify and unseal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, Signer

from docsession.errors import ConfigError
from docsession.model import Identity

__all__ = ["ChannelSigner", "CookieSigner", "Keys", "Sealer", "Unreadable", "fingerprint", "load_keys"]

SHORTEST_SECRET = 32
LARGEST_KEYS_FILE = 64 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Signing and sealing keys, newest first, 32 bytes each."""

    signing: tuple[bytes, ...]
    sealing: tuple[bytes, ...]

    def __repr__(self) -> str:  # a key must not reach a log by accident
        return "<Keys>"


def load_keys(state_directory: Path, *, configured: tuple[str, ...] | None) -> Keys:
    """The configured keys, or else those of the state directory, made there at first start.

    Raises :class:`ConfigError` where there is none, one is too short, or others may read the file.
    """
    if configured is not None:
        return _stretched(configured, "the configured keys")
    path = state_directory / "keys"
    try:
        state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        text = _read_private(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read or made: {error}") from None
    return _stretched(text.split(), str(path))


def fingerprint(keys: Keys) -> str:
    """A short name for these keys in this order: it tells whether two nodes have the same ones."""
    whole = hashlib.sha256(b"docsession keys")
    for key in (*keys.signing, *keys.sealing):
        whole.update(key)
    return whole.hexdigest()[:32]


class Unreadable(Exception):
    """Sealed with a key we don't have, damaged, or moved from the place it was sealed for."""


class Sealer:
    """Encrypts what is stored, and binds each ciphertext to the row it was made for."""

    def __init__(self, keys: Keys) -> None:
        self._fernets = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys.sealing])

    def seal(self, data: bytes, *, about: str) -> bytes:
        # Fernet would write the wall clock's time beside the ciphertext; nothing here needs it.
        return self._fernets.encrypt_at_time(_place(about) + data, 0)

    def unseal(self, blob: bytes, *, about: str) -> bytes:
        """Raises :class:`Unreadable`."""
        try:
            plain = self._fernets.decrypt(blob)
        except InvalidToken:
            raise Unreadable(about) from None
        place = _place(about)
        if not hmac.compare_digest(plain[: len(place)], place):
            raise Unreadable(about)
        return plain[len(place) :]


# How long the value of a cookie can be, and of how many it is remembered what they are.
_LONGEST_COOKIE = 185
_COOKIES = 10_000


class CookieSigner:
    """Turns an identity into a cookie's value and back: ``<session id>.<issued>.<signature>``.

    ``issued`` is kept in whole seconds.
    """

    # The signature's last character carries four bits: only the spelling that has the other
    # two at zero is taken, so that one cookie has one value.
    _FORM = re.compile(r"([A-Za-z0-9_-]{22,128})\.(0|[1-9][0-9]{0,11})\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
    _SESSION_ID = re.compile(r"[A-Za-z0-9_-]{22,128}")

    def __init__(self, keys: Keys) -> None:
        self._signer = Signer(
            # itsdangerous signs with the last key of its list, we keep the newest first.
            list(reversed(keys.signing)),
            salt=b"docsession cookie",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # All tabs of a browser come with the same cookie, and after a restart at the same time.
        self._identity = lru_cache(_COOKIES)(self._read)

    def sign(self, identity: Identity) -> str:
        if not self._SESSION_ID.fullmatch(identity.session_id):
            raise ValueError("not a session id that a cookie can carry")
        return self._signer.sign(f"{identity.session_id}.{int(identity.issued)}").decode("ascii")

    def verify(self, value: str) -> Identity | None:
        """Who a cookie is, or None for whatever we did not sign."""
        return self._identity(value) if len(value) <= _LONGEST_COOKIE else None

    def _read(self, value: str) -> Identity | None:
        if not (form := self._FORM.fullmatch(value)):
            return None
        try:
            self._signer.unsign(value)
        except BadSignature:
            return None
        return Identity(session_id=form[1], issued=float(form[2]))


class ChannelSigner:
    """Makes the token that Google repeats with every notification of a push channel.

    The token follows from the channel's id: that a post is genuine is known without looking
    anything up, and whoever has no key learns nothing by trying.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = tuple(hmac.digest(key, b"docsession push channel", "sha256") for key in keys.signing)

    def token(self, channel_id: str) -> str:
        """43 characters, by the newest key."""
        return self._tag(self._keys[0], channel_id).decode("ascii")

    def verify(self, channel_id: str, token: str) -> bool:
        """Whether we made this token for this id. Takes the same time whatever is wrong."""
        given = token.encode("utf-8", "replace")
        genuine = False
        for key in self._keys:  # all of them, whichever fits
            genuine |= hmac.compare_digest(self._tag(key, channel_id), given)
        return genuine

    def _tag(self, key: bytes, channel_id: str) -> bytes:
        tag = hmac.digest(key, channel_id.encode("utf-8", "replace"), "sha256")
        return base64.urlsafe_b64encode(tag).rstrip(b"=")


def _stretched(texts: Sequence[str], source: str) -> Keys:
    if not texts:
        raise ConfigError(f"{source}: there is no key")
    for number, text in enumerate(texts, start=1):
        if len(text) < SHORTEST_SECRET:
            raise ConfigError(f"{source}: number {number} has fewer than {SHORTEST_SECRET} characters")
    return Keys(
        signing=tuple(_derived(text, b"docsession signing key") for text in texts),
        sealing=tuple(_derived(text, b"docsession sealing key") for text in texts),
    )


def _derived(text: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(text.encode("utf-8"))


def _place(about: str) -> bytes:
    return hashlib.sha256(about.encode("utf-8")).digest()


def _make(path: Path) -> None:
    """A new secret in a file that is whole from the moment it has its name."""
    handle, temporary = tempfile.mkstemp(prefix=".keys-", dir=path.parent)  # mode 0600, O_EXCL
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # Not a rename: it would replace the file of another daemon that was quicker.
            os.link(temporary, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        os.unlink(temporary)


def _read_private(path: Path) -> str:
    with path.open("rb") as file:
        # Of the open file, not of its name: what is checked is what is read.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is not a file")
        if status.st_mode & 0o077:
            raise ConfigError(f"{path}: others may read it; chmod 600 it, and better replace its keys")
        return file.read(LARGEST_KEYS_FILE).decode("utf-8")
