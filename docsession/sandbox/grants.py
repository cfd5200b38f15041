"""What people allowed to which app: authorization codes, tokens, and the memory of consent.

Google's rules, as far as they are known: a code is good once; a refresh token comes only with
a consent that is new, or was demanded anew; a hundred refresh tokens of one person live per
app; and revoking any token ends everything that the person ever allowed to that app.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from docsession.sandbox.records import Person
from docsession.sandbox.scopes import normal

__all__ = ["ACCESS_LIFETIME", "MOST_REFRESH_TOKENS", "Access", "Code", "Grants", "Issued"]

ACCESS_LIFETIME = 3599
MOST_REFRESH_TOKENS = 100
_CODE_LIFETIME = 600.0
_LETTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True)
class Access:
    """What an access token stands for: whose it is, for what, and in which app's hands."""

    email: str
    scopes: frozenset[str]
    client_id: str


class Code(Struct, frozen=True, kw_only=True):
    """An authorization code, with everything it is bound to."""

    email: str
    client_id: str
    redirect_uri: str
    scopes: frozenset[str]
    challenge: str = ""
    challenge_method: str = ""
    nonce: str = ""
    with_refresh: bool = False
    expires: float = 0.0


@dataclass(frozen=True)
class Issued:
    """What the token endpoint hands out. Lifetimes in seconds."""

    access: Access
    at: int
    access_token: str
    expires_in: int
    refresh_token: str | None = None
    refresh_expires_in: int | None = None


class _Token(Struct, frozen=True):
    """A live token of either kind; ``expires`` is None for one that does not end by itself."""

    email: str
    client_id: str
    scopes: frozenset[str]
    expires: float | None

    def is_over(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def belongs_to(self, client_id: str, email: str) -> bool:
        return self.client_id == client_id and self.email == email


class _Consent(Struct):
    """What a person has allowed to an app so far."""

    client_id: str
    email: str
    scopes: frozenset[str]
    offline: bool


class _State(Struct):
    """Everything, as it is kept. Tokens stand in the order they were made in."""

    codes: dict[str, Code]
    access: dict[str, _Token]
    refresh: dict[str, _Token]
    consents: list[_Consent]
    refresh_lifetime: float | None = None


class Grants:
    """Hands out codes and tokens, and knows what they stand for."""

    def __init__(self, clock: IReactorTime, rng: Random, people: Mapping[str, Person]) -> None:
        self._clock = clock
        self._rng = rng
        self._people = people
        self._codes: dict[str, Code] = {}
        self._access: dict[str, _Token] = {}
        self._refresh: dict[str, _Token] = {}
        self._consents: dict[tuple[str, str], _Consent] = {}
        self.refresh_lifetime: float | None = None
        """Seconds that refresh tokens made from now on live; at Google 7 days for apps in testing."""
        self.on_change: list[Callable[[], None]] = []
        # Each is called with (client id, email) of what was taken back.
        self.on_revoked: list[Callable[[str, str], None]] = []

    # --- the consent page -------------------------------------------------------------------

    def consented(self, client_id: str, email: str) -> frozenset[str]:
        """All that the person has allowed to the app so far."""
        consent = self._consents.get((client_id, email))
        return consent.scopes if consent is not None else frozenset()

    def allow(self, code: Code, *, offline: bool, anew: bool) -> str:
        """The person allows what the code says; returns the code to send to the app.

        A refresh token will come with it if the app wants one (``offline``) and this consent is
        one: the first, one that adds something, or one demanded ``anew``.
        """
        key = (code.client_id, code.email)
        before = self._consents.get(key)
        adds = before is None or not code.scopes <= before.scopes or (offline and not before.offline)
        if before is None:
            self._consents[key] = _Consent(code.client_id, code.email, code.scopes, offline)
        else:
            before.scopes |= code.scopes
            before.offline |= offline
        now = self._clock.seconds()
        self._codes = {name: each for name, each in self._codes.items() if each.expires > now}
        name = self._new("4/0A", 72)
        self._codes[name] = msgspec.structs.replace(
            code, with_refresh=offline and (adds or anew), expires=now + _CODE_LIFETIME
        )
        self._changed()
        return name

    # --- the token endpoint -----------------------------------------------------------------

    def whose(self, name: str) -> str | None:
        """The email of whoever a code or a token belongs to. Nothing is spent by asking."""
        held = self._codes.get(name) or self._refresh.get(name) or self._access.get(name)
        return held.email if held is not None else None

    def take_code(self, name: str) -> Code | None:
        """What a code is bound to, once: the first who shows a code has spent it."""
        code = self._codes.pop(name, None)
        if code is None:
            return None
        self._changed()
        return code if code.expires > self._clock.seconds() and code.email in self._people else None

    def redeem(self, code: Code) -> Issued:
        """The tokens for a code that was taken."""
        access = Access(code.email, code.scopes, code.client_id)
        refresh_token = self._new_refresh(access) if code.with_refresh else None
        issued = self._issued(access, refresh_token)
        self._changed()
        return issued

    def renew(self, refresh_token: str, scopes: frozenset[str] | None = None) -> Issued | None:
        """Another access token, perhaps for less; None when the refresh token is no good.

        Raises ValueError for scopes that the grant does not have.
        """
        held = self.refreshable(refresh_token)
        if held is None:
            return None
        if scopes is not None and not scopes <= held.scopes:
            raise ValueError("scopes that were not granted")
        wanted = held.scopes if scopes is None else scopes
        issued = self._issued(Access(held.email, wanted, held.client_id), None)
        self._changed()
        return issued

    def refreshable(self, refresh_token: str) -> Access | None:
        """What a live refresh token stands for."""
        return self._live(self._refresh, refresh_token)

    # --- access -----------------------------------------------------------------------------

    def issue(self, email: str, scopes: frozenset[str], client_id: str = "sandbox") -> str:
        """An access token without a consent page. Raises KeyError for somebody unknown."""
        if email not in self._people:
            raise KeyError(email)
        issued = self._issued(Access(email, normal(scopes), client_id), None)
        self._changed()
        return issued.access_token

    def lookup(self, token: str) -> Access | None:
        """What an access token stands for; None when it is unknown, expired or revoked."""
        return self._live(self._access, token)

    def lifetime(self, token: str) -> tuple[int, int]:
        """When a live access token ends, and how many whole seconds that leaves it."""
        expires = self._access[token].expires or 0.0
        return int(expires), int(expires - self._clock.seconds())

    # --- ends -------------------------------------------------------------------------------

    def revoke_token(self, token: str) -> bool:
        """End all that its owner allowed to its app; false for a token that is not live."""
        access = self.lookup(token) or self.refreshable(token)
        if access is None:
            return False
        self._revoke(access.client_id, access.email)
        self._changed()
        return True

    def revoke(self, email: str) -> None:
        """The person takes everything back, from every app."""
        clients = {client_id for client_id, who in self._consents if who == email}
        clients |= {held.client_id for held in self._access.values() if held.email == email}
        clients |= {held.client_id for held in self._refresh.values() if held.email == email}
        for client_id in clients:
            self._revoke(client_id, email)
        self._changed()

    def expire_access(self, email: str) -> None:
        """The person's access tokens are over; refresh tokens still work."""
        self._access = {name: held for name, held in self._access.items() if held.email != email}
        self._changed()

    def expire_refresh(self, email: str) -> None:
        """The person's refresh tokens are over; access tokens work for the rest of their hour."""
        self._refresh = {name: held for name, held in self._refresh.items() if held.email != email}
        self._changed()

    def _revoke(self, client_id: str, email: str) -> None:
        for tokens in (self._access, self._refresh):
            for name in [name for name, held in tokens.items() if held.belongs_to(client_id, email)]:
                del tokens[name]
        for name, code in list(self._codes.items()):
            if (code.client_id, code.email) == (client_id, email):
                del self._codes[name]
        self._consents.pop((client_id, email), None)
        for tell in self.on_revoked:
            tell(client_id, email)

    # --- making -----------------------------------------------------------------------------

    def _issued(self, access: Access, refresh_token: str | None) -> Issued:
        now = self._clock.seconds()
        self._drop_expired(now)
        token = self._new("ya29.a0", 200)
        self._access[token] = _Token(access.email, access.client_id, access.scopes, now + ACCESS_LIFETIME)
        lifetime = self.refresh_lifetime if refresh_token is not None else None
        left = int(lifetime) if lifetime is not None else None
        return Issued(access, int(now), token, ACCESS_LIFETIME, refresh_token, left)

    def _new_refresh(self, access: Access) -> str:
        token = self._new("1//0", 103)
        lifetime = self.refresh_lifetime
        expires = None if lifetime is None else self._clock.seconds() + lifetime
        self._refresh[token] = _Token(access.email, access.client_id, access.scopes, expires)
        own = [
            name for name, held in self._refresh.items() if held.belongs_to(access.client_id, access.email)
        ]
        for oldest in own[:-MOST_REFRESH_TOKENS]:
            del self._refresh[oldest]
        return token

    def _drop_expired(self, now: float) -> None:
        # All live equally long, so the oldest end first.
        for name in list(self._access):
            if not self._access[name].is_over(now):
                return
            del self._access[name]

    def _live(self, tokens: Mapping[str, _Token], name: str) -> Access | None:
        held = tokens.get(name)
        if held is None or held.is_over(self._clock.seconds()) or held.email not in self._people:
            return None
        return Access(held.email, held.scopes, held.client_id)

    def _new(self, prefix: str, length: int) -> str:
        return prefix + "".join(self._rng.choices(_LETTERS, k=length - len(prefix)))

    # --- keeping ----------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        state = _State(
            self._codes, self._access, self._refresh, list(self._consents.values()), self.refresh_lifetime
        )
        return msgspec.to_builtins(state)  # type: ignore[no-any-return]

    def load_json(self, stored: Mapping[str, Any]) -> None:
        """Become what :meth:`to_json` gave. Raises msgspec.ValidationError, and then nothing changed."""
        state = msgspec.convert(stored, _State)
        self._codes, self._access, self._refresh = state.codes, state.access, state.refresh
        self._consents = {(each.client_id, each.email): each for each in state.consents}
        self.refresh_lifetime = state.refresh_lifetime
        self._changed()

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()
