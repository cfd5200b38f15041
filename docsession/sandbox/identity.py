"""Who somebody is: everything about a person follows from the address and the name.

The same address gets the same ids in every sandbox, so that a daemon knows people again.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from docsession.sandbox.records import Person

__all__ = ["person_of", "root_id_of"]


def person_of(email: str, display_name: str, base_url: str) -> Person:
    """The person with this address."""
    given, _, family = display_name.partition(" ")
    permission_id = _digits("permission", email, 20)
    return Person(
        email=email,
        sub=_digits("sub", email, 21),
        display_name=display_name,
        permission_id=permission_id,
        given_name=given,
        family_name=family,
        picture=f"{base_url}/sandbox/pictures/{permission_id}.svg",
    )


def root_id_of(email: str) -> str:
    """The id of this person's My Drive."""
    return "0A" + urlsafe_b64encode(_digest("root", email)).decode()[:17]


def _digits(purpose: str, email: str, length: int) -> str:
    # A first digit that is not zero, as with Google's.
    return str(int.from_bytes(_digest(purpose, email)) + 10**77)[:length]


def _digest(purpose: str, email: str) -> bytes:
    return sha256(f"{purpose}/{email}".encode()).digest()
