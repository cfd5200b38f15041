"""Who may open a socket: a page of an Origin of ours with a session's cookie, while there is room."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable

from docsession.errors import DocsessionError, Forbidden, SessionUnknown, Unavailable
from docsession.model import Identity
from docsession.web.cookies import SessionCookie

__all__ = ["Admission", "Refused", "asks_socket"]

_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")


def asks_socket(header: Callable[[str], str | None]) -> bool:
    """Whether a request asks for a websocket of version 13. ``header`` is given a name in lower case."""
    connection = (header("connection") or "").lower()
    return (
        (header("upgrade") or "").lower() == "websocket"
        and "upgrade" in [token.strip() for token in connection.split(",")]
        and header("sec-websocket-version") == "13"
        and _KEY.fullmatch(header("sec-websocket-key") or "") is not None
    )


class Refused(Exception):
    """``why`` is the word for it in the metrics, ``error`` what the page is answered."""

    def __init__(self, why: str, error: DocsessionError) -> None:
        super().__init__(why)
        self.why = why
        self.error = error


class Admission:
    """Asked before ``101``, in this order: Origin, then cookie, then room, then the session."""

    def __init__(
        self,
        cookie: SessionCookie,
        origins: frozenset[str],
        admits: Callable[[Identity], Awaitable[bool]],
        *,
        is_live: Callable[[Identity], bool],
        is_full: Callable[[], bool],
    ) -> None:
        self._cookie = cookie
        self._origins = origins
        self._admits = admits
        self._is_live = is_live
        self._is_full = is_full

    async def admit(self, origin: str | None, site: str | None, cookies: Iterable[bytes]) -> Identity:
        """Whose socket it is. ``site`` is what the browser says in ``Sec-Fetch-Site``, ``cookies`` the
        lines of the Cookie header. Raises :class:`Refused`."""
        identity = self._checked(origin, site, cookies)
        try:
            admitted = await self._admits(identity)
        except DocsessionError as error:
            raise Refused("error", error) from None
        if not admitted:
            raise Refused("cookie", SessionUnknown())
        self._find_room()  # others may have come meanwhile
        return identity

    def admit_now(self, origin: str | None, site: str | None, cookies: Iterable[bytes]) -> Identity | None:
        """As :meth:`admit`, without waiting: None where the store would have to be asked."""
        identity = self._checked(origin, site, cookies)
        return identity if self._is_live(identity) else None

    def _checked(self, origin: str | None, site: str | None, cookies: Iterable[bytes]) -> Identity:
        if origin not in self._origins or site == "cross-site":
            raise Refused("origin", Forbidden("this Origin may not open a socket here"))
        identity = self._cookie.read(cookies)
        if identity is None:
            raise Refused("cookie", SessionUnknown())
        self._find_room()
        return identity

    def _find_room(self) -> None:
        if self._is_full():
            raise Refused("full", Unavailable("too many sockets here"))
