"""Signing in with Google: out with a state, back with a code, once, in the browser that asked.

A state is stored, taken once, lives ten minutes, and belongs to one browser session: a code
that comes back to another browser is refused (login CSRF). The identifier from before is
retired, so whoever knew it is not signed in (session fixation).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.directory import Directory
from docsession.errors import DocsessionError, InvalidParams
from docsession.google.oauth import BadIdToken, Granted, OAuth, OAuthRefused, normal_scopes
from docsession.interfaces import Store
from docsession.model import Grant, Identity, SignInState, User
from docsession.origins import origin_of

__all__ = ["Returned", "SignIn", "return_path"]

# Somebody else may store a newer grant of the same user meanwhile; twice in a row is unlikely.
_CAS_TRIES = 5


class Returned(msgspec.Struct, frozen=True):
    """Where the browser goes after Google, and its new identity where it is signed in now."""

    location: str
    identity: Identity | None = None


class SignIn:
    """The sign-ins under way."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        oauth: OAuth,
        directory: Directory,
        clock: IReactorTime,
        *,
        public_url: str,
        callback_url: str,
        within: float,
        scopes: tuple[str, ...],
        new_id: Callable[[], str],
        on_outcome: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._directory = directory
        self._clock = clock
        self._public_url = public_url
        self._callback_url = callback_url
        self._within = within
        self._scopes = scopes
        self._new_id = new_id
        self._on_outcome = on_outcome

    async def start(self, identity: Identity, *, origin: str, return_to: str, login_hint: str = "") -> str:
        """The URL to send the browser to.

        Raises InvalidParams for a ``return_to`` that is no path, Unavailable without a store.
        """
        state = await self._new_state(identity.session_id, origin, return_path(return_to, origin))
        return self._oauth.authorization_url(state, self._callback_url, login_hint=login_hint)

    async def returned(
        self, identity: Identity | None, *, state: str | None, code: str | None, error: str | None
    ) -> Returned:
        """The browser is back from Google with this identity (its cookie) and this query."""
        taken: SignInState | None = None
        try:
            taken = await self._store.take_state(state) if state else None
            if taken is None or identity is None or taken.session_id != identity.session_id:
                # Not this browser's: say nothing about the page that the other one was on.
                return self._failed(None, "state_mismatch", "unknown, used or another browser's state")
            if self._clock.seconds() > taken.expires:
                return self._failed(taken, "expired", "the state has expired")
            if error is not None or not code:
                name = "access_denied" if error == "access_denied" else "exchange_failed"
                return self._failed(taken, name, "Google sent no code")
            return await self._exchanged(identity, taken, code)
        except DocsessionError as failed:
            return self._failed(taken, "exchange_failed", failed.message)

    # -- inside

    async def _exchanged(self, identity: Identity, state: SignInState, code: str) -> Returned:
        try:
            granted = await self._oauth.exchange(code, state.verifier, self._callback_url)
            if granted.id_token is None:
                raise BadIdToken("missing")
            user = await self._oauth.verify(granted.id_token, state.nonce)
        except OAuthRefused as refused:
            return self._failed(state, "exchange_failed", f"Google refused the code: {refused.error}")
        except BadIdToken as bad:
            return self._failed(state, "exchange_failed", f"the id_token is no good: {bad}")
        if await self._store.is_retired(identity.session_id):
            return self._failed(state, "state_mismatch", "signed out, or in elsewhere, meanwhile")
        return await self._granted(identity, state, granted, user)

    async def _granted(
        self, identity: Identity, state: SignInState, granted: Granted, user: User
    ) -> Returned:
        scopes = granted.scopes if granted.scopes is not None else normal_scopes(self._scopes)
        user = msgspec.structs.replace(user, scopes=scopes)
        for _ in range(_CAS_TRIES):
            stored = await self._store.load_grant(user.id)
            # Google repeats no refresh token: the one we have goes on serving.
            kept = None if stored is None or stored.dead else stored.refresh_token
            refresh_token = granted.refresh_token or kept
            if refresh_token is None and not state.consent_forced:
                return await self._ask_again(state, user)
            # The time makes it newer also than one that the store lost and another node still lives by.
            grant = Grant(
                generation=max(0 if stored is None else stored.generation, int(self._clock.seconds())) + 1,
                scopes=scopes,
                access_token=granted.access_token,
                access_expires=self._clock.seconds() + granted.expires_in,
                refresh_token=refresh_token,
            )
            replaces = None if stored is None else stored.generation
            if await self._store.save_grant(user.id, grant, replaces=replaces):
                break
        else:
            return self._failed(state, "exchange_failed", "the grant is being changed elsewhere")
        new = Identity(self._new_id(), self._clock.seconds())
        await self._directory.signed_in(identity, new, user, grant)
        self._on_outcome("ok")
        return Returned(urljoin(state.origin, state.return_to), new)

    async def _ask_again(self, before: SignInState, user: User) -> Returned:
        """Consent was given before and its refresh token is lost: Google must ask once more."""
        state = await self._new_state(before.session_id, before.origin, before.return_to, consent_forced=True)
        self._on_outcome("consent_again")
        return Returned(
            self._oauth.authorization_url(state, self._callback_url, prompt="consent", login_hint=user.id)
        )

    async def _new_state(
        self, session_id: str, origin: str, return_to: str, *, consent_forced: bool = False
    ) -> SignInState:
        state = SignInState(
            state=self._new_id(),
            session_id=session_id,
            origin=origin,
            return_to=return_to,
            verifier=self._new_id() + self._new_id(),  # RFC 7636 wants 43 characters at least
            nonce=self._new_id(),
            expires=self._clock.seconds() + self._within,
            consent_forced=consent_forced,
        )
        await self._store.put_state(state)
        return state

    def _failed(self, state: SignInState | None, name: str, why: str) -> Returned:
        self._log.warn("a sign-in failed: {name}: {why}", name=name, why=why)
        self._on_outcome(name)
        page = urljoin(self._public_url, "/") if state is None else urljoin(state.origin, state.return_to)
        parts = urlsplit(page)
        query = "&".join(filter(None, (parts.query, urlencode({"docsession_error": name}))))
        return Returned(urlunsplit(parts._replace(query=query)))


def return_path(text: str, origin: str) -> str:
    """A path on the page's own origin, or :class:`InvalidParams`.

    Browsers read ``\\`` as ``/``, and drop tabs and line ends; so none of these may come.
    """
    if len(text) > 2000 or not text.startswith("/") or text.startswith("//"):
        raise InvalidParams("a path that begins with one slash", path="$.return_to")
    if "\\" in text or any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text):
        raise InvalidParams("a path without blanks, backslashes and control characters", path="$.return_to")
    try:
        text.encode("ascii")
        resolved = origin_of(urljoin(origin, text))
    except ValueError:
        raise InvalidParams("a path, percent-encoded", path="$.return_to") from None
    if resolved != origin:
        raise InvalidParams("a path on the page's own origin", path="$.return_to")
    return text
