"""The consent page: who are you, and what may this app do in your name?

A plain form that works without a script. The request travels with it and is read again with
the decision, so nothing is kept here between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from urllib.parse import urlsplit

from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, renderer, tags

from docsession.sandbox.authorization import AuthorizationRequest, RefusedOnPage
from docsession.sandbox.grants import Code, Grants
from docsession.sandbox.parameters import RepeatedParameter, form_of, query_of
from docsession.sandbox.portraits import colour_of, initials
from docsession.sandbox.records import Person
from docsession.sandbox.scopes import IDENTITY, spelled, words

__all__ = ["Consent"]

_HERE = files(__package__)
_CONSENT_PAGE = XMLString(_HERE.joinpath("consent.html").read_bytes())
_REFUSAL_PAGE = XMLString(_HERE.joinpath("refusal.html").read_bytes())

# No form-action: Chromium holds the redirect back to the app against it.
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"

_IDENTITY_ORDER = sorted(IDENTITY, key=len)


class Consent:
    """Shows the page, and acts on what the person decides."""

    def __init__(self, grants: Grants, people: Mapping[str, Person]) -> None:
        self._grants = grants
        self._people = people

    def ask(self, request: IRequest) -> Element | bytes:
        """The app sent the browser here."""
        _set_headers(request)
        try:
            asked = AuthorizationRequest.read(query_of(request))
        except RefusedOnPage as refusal:
            return _refuse(request, refusal)
        hinted = self._hinted(asked)
        if "none" in asked.prompt:
            return _redirect(request, self._without_asking(asked, hinted))
        return self._page(asked, hinted)

    def decide(self, request: IRequest) -> Element | bytes:
        """The person pressed a button."""
        _set_headers(request)
        if not _from_our_page(request):
            return _refuse(request, RefusedOnPage("invalid_request", "This form was sent from another site"))
        form = form_of(request)
        try:
            asked = AuthorizationRequest.read(type(form)(form.get("request")))
            decision, email = form.get("decision"), form.get("account")
        except RepeatedParameter as repeated:
            return _refuse(request, RefusedOnPage("invalid_request", f"{repeated.args[0]} is there twice"))
        except RefusedOnPage as refusal:
            return _refuse(request, refusal)
        if decision == "cancel":
            return _redirect(request, asked.refused("access_denied"))
        person = self._people.get(email)
        if decision != "allow" or person is None:
            request.setResponseCode(400)
            return self._page(asked, self._hinted(asked), complaint="Choose an account, then press Allow.")
        ticked = asked.scopes & (IDENTITY | frozenset(form.all("scope")))
        if not ticked:
            return _redirect(request, asked.refused("access_denied"))
        return _redirect(request, self._allow(asked, person, ticked, prompt="consent"))

    def _without_asking(self, asked: AuthorizationRequest, hinted: Person | None) -> str:
        """The answer to ``prompt=none``: yes only where everything has been allowed before."""
        if hinted is None:
            return asked.refused("login_required")
        if not asked.scopes <= self._grants.consented(asked.client_id, hinted.email):
            return asked.refused("interaction_required")
        return self._allow(asked, hinted, asked.scopes, prompt="none")

    def _allow(
        self, asked: AuthorizationRequest, person: Person, scopes: frozenset[str], *, prompt: str
    ) -> str:
        if asked.include_granted:
            scopes |= self._grants.consented(asked.client_id, person.email)
        code = Code(
            email=person.email,
            client_id=asked.client_id,
            redirect_uri=asked.redirect_uri,
            scopes=scopes,
            challenge=asked.challenge,
            challenge_method=asked.challenge_method,
            nonce=asked.nonce,
        )
        anew = "consent" in asked.prompt
        name = self._grants.allow(code, offline=asked.offline, anew=anew)
        return asked.allowed(name, spelled(scopes), prompt=prompt)

    def _hinted(self, asked: AuthorizationRequest) -> Person | None:
        """Whom ``login_hint`` means: an email address or a ``sub``."""
        hint = asked.login_hint
        return next((each for each in self._people.values() if hint in (each.email, each.sub)), None)

    def _page(self, asked: AuthorizationRequest, hinted: Person | None, complaint: str = "") -> ConsentPage:
        people = [(person, colour_of(place)) for place, person in enumerate(self._people.values())]
        people.sort(key=lambda each: each[0] is not hinted)
        return ConsentPage(asked, people, complaint)


class ConsentPage(Element):
    """The form."""

    loader = _CONSENT_PAGE

    def __init__(
        self, asked: AuthorizationRequest, people: Sequence[tuple[Person, int]], complaint: str
    ) -> None:
        super().__init__()
        self._asked = asked
        self._people = people
        self._complaint = complaint

    @renderer
    def page(self, request: IRequest, tag: Tag) -> Tag:
        """Fill in what is there once."""
        back = urlsplit(self._asked.redirect_uri)
        return tag.fillSlots(
            client=self._asked.client_id,
            request=self._asked.encoded,
            back=f"{back.scheme}://{back.netloc}",
        )

    @renderer
    def complaint(self, request: IRequest, tag: Tag) -> Tag | str:
        """What was wrong with the decision."""
        return tag(self._complaint) if self._complaint else ""

    @renderer
    def account(self, request: IRequest, tag: Tag) -> list[Tag]:
        """One choice for each person; the first is chosen."""
        choices: list[Tag] = []
        for person, colour in self._people:
            chosen = {} if choices else {"checked": "checked"}
            radio = tags.input(
                type="radio", name="account", value=person.email, required="required", **chosen
            )
            choices.append(
                tag.clone().fillSlots(
                    radio=radio,
                    initials=initials(person.display_name),
                    avatar=f"avatar avatar-{colour}",
                    name=person.display_name,
                    email=person.email,
                )
            )
        return choices

    @renderer
    def given(self, request: IRequest, tag: Tag) -> list[Tag]:
        """What every sign-in gives."""
        return [
            tag.clone().fillSlots(words=words(scope))
            for scope in _IDENTITY_ORDER
            if scope in self._asked.scopes
        ]

    @renderer
    def wishes(self, request: IRequest, tag: Tag) -> Tag | str:
        """The part with scopes to untick, where there are any."""
        return tag if self._asked.scopes - IDENTITY else ""

    @renderer
    def wish(self, request: IRequest, tag: Tag) -> list[Tag]:
        """One scope to untick."""
        return [
            tag.clone().fillSlots(
                box=tags.input(type="checkbox", name="scope", value=scope, checked="checked"),
                words=words(scope),
                scope=scope,
            )
            for scope in sorted(self._asked.scopes - IDENTITY)
        ]


class RefusalPage(Element):
    """What is wrong with the app's request."""

    loader = _REFUSAL_PAGE

    def __init__(self, refusal: RefusedOnPage) -> None:
        super().__init__()
        self._refusal = refusal

    @renderer
    def page(self, request: IRequest, tag: Tag) -> Tag:
        """Fill in the error."""
        return tag.fillSlots(error=self._refusal.error, explanation=self._refusal.explanation)


def _refuse(request: IRequest, refusal: RefusedOnPage) -> RefusalPage:
    request.setResponseCode(400)
    return RefusalPage(refusal)


def _redirect(request: IRequest, url: str) -> bytes:
    request.setResponseCode(302)
    request.setHeader(b"Location", url.encode("ascii"))
    return b""


def _from_our_page(request: IRequest) -> bool:
    """A browser says where a form comes from; what is no browser need not."""
    origin: bytes | None = request.getHeader(b"Origin")
    if origin is None:
        return True
    host: bytes = request.getHeader(b"Host") or b""
    return urlsplit(origin).netloc == host


def _set_headers(request: IRequest) -> None:
    for name, value in {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }.items():
        request.responseHeaders.setRawHeaders(name, [value])
