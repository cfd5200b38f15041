"""The page where a person plays the other people, and what pages here are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files

from klein import Klein
from twisted.web.http import CACHED
from twisted.web.iweb import IRequest

from docsession.sandbox.portraits import portrait
from docsession.sandbox.records import Person

__all__ = ["Pages"]

_HERE = files(__package__)
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_PARTS = (
    "base.css",
    "consent.css",
    "page.css",
    "api.js",
    "dom.js",
    "page.js",
    "page_channels.js",
    "page_controls.js",
    "page_discussion.js",
    "page_file.js",
    "page_files.js",
)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_INERT = "default-src 'none'; sandbox"


class Pages:
    """The page at ``/sandbox/``, its static parts, and people's portraits."""

    app = Klein()

    def __init__(self, people: Mapping[str, Person]) -> None:
        self._people = people
        self._page = _HERE.joinpath("page.html").read_bytes()
        self._parts = {name: _HERE.joinpath(name).read_bytes() for name in _PARTS}
        self._parts["icon.svg"] = portrait("S", 4)

    @app.route("/sandbox/", methods=["GET", "HEAD"])
    def page(self, request: IRequest) -> bytes:
        """The page for a person."""
        return _send(request, self._page, "text/html; charset=utf-8", _POLICY)

    @app.route("/sandbox", methods=["GET", "HEAD"])
    def without_slash(self, request: IRequest) -> bytes:
        """The same, for those who leave the slash out."""
        request.setResponseCode(302)
        request.setHeader(b"Location", b"/sandbox/")
        return b""

    @app.route("/sandbox/static/<name>", methods=["GET", "HEAD"])
    def part(self, request: IRequest, name: str) -> bytes:
        """A style sheet, a script, the icon."""
        body = self._parts.get(name)
        if body is None:
            return _missing(request)
        return _send(request, body, _TYPES[name.rpartition(".")[2]], _INERT)

    @app.route("/sandbox/pictures/<name>", methods=["GET", "HEAD"])
    def picture(self, request: IRequest, name: str) -> bytes:
        """Somebody's portrait, as ``Person.picture`` points to it."""
        # Pages of other origins show it; that is what it is for.
        request.setHeader(b"Cross-Origin-Resource-Policy", b"cross-origin")
        for place, person in enumerate(self._people.values()):
            if name == f"{person.permission_id}.svg":
                return _send(request, portrait(person.display_name, place), _TYPES["svg"], _INERT)
        return _missing(request)


def _send(request: IRequest, body: bytes, content_type: str, policy: str) -> bytes:
    for name, value in {
        "Content-Type": content_type,
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }.items():
        request.responseHeaders.setRawHeaders(name, [value])
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'.encode()
    return b"" if request.setETag(etag) is CACHED else body


def _missing(request: IRequest) -> bytes:
    request.setResponseCode(404)
    return _send(request, b"There is nothing here.\n", "text/plain; charset=utf-8", _INERT)
