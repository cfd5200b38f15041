"""The session cookie on the wire: its name, its attributes, and reading it back safely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from twisted.web.server import Request

from docsession.keys import CookieSigner
from docsession.model import Identity

__all__ = ["SessionCookie", "cookie_lines"]


def cookie_lines(request: Request) -> Sequence[bytes]:
    """The lines of a request's Cookie header."""
    return request.requestHeaders.getRawHeaders(b"Cookie") or []


class SessionCookie:
    """Writes and reads the cookie that says which session a browser is."""

    def __init__(self, signer: CookieSigner, public_url: str) -> None:
        self._signer = signer
        self._secure = urlsplit(public_url).scheme == "https"
        self.name = "__Host-docsession" if self._secure else "docsession"
        self._name = self.name.encode()

    def read(self, lines: Iterable[bytes]) -> Identity | None:
        """The identity that a genuine cookie in these lines of the header proves; None for anything else.

        Two cookies of our name mean that somebody planted one; then neither is believed.
        """
        found = []
        for line in lines:
            for pair in line.split(b";"):
                name, equals, value = pair.strip().partition(b"=")
                if equals and name == self._name:
                    found.append(value)
        if len(found) != 1:
            return None
        try:
            return self._signer.verify(found[0].decode("ascii"))
        except UnicodeDecodeError:
            return None

    def write(self, request: Request, identity: Identity, max_age: float) -> None:
        """Set the cookie, to last ``max_age`` seconds."""
        parts = [
            f"{self.name}={self._signer.sign(identity)}",
            "Path=/",
            "HttpOnly",
            "SameSite=Lax",
            f"Max-Age={max(0, int(max_age))}",
        ]
        if self._secure:
            parts.append("Secure")
        request.responseHeaders.addRawHeader(b"Set-Cookie", "; ".join(parts).encode())
