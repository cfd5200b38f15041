"""Pages of a listing, and their tokens.

A token remembers the last item given, so that a page neither repeats nor skips what stays in
the list while other items come and go. It is good for the listing it came from only.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from docsession.sandbox.errors import invalid

__all__ = ["after", "page_token"]


def page_token(digest: int, offset: int, last: str) -> str:
    """The token of the page that begins after the item with the key ``last``."""
    return urlsafe_b64encode(msgspec.json.encode([digest, offset, last])).decode().rstrip("=")


def after(token: str, digest: int, keys: list[str]) -> int:
    """Where in ``keys`` the page of a token begins. Raises a 400 for a token of something else."""
    try:
        padded = token + "=" * (-len(token) % 4)
        of, offset, last = msgspec.json.decode(urlsafe_b64decode(padded), type=tuple[int, int, str])
    except (ValueError, msgspec.MsgspecError):
        raise invalid("pageToken") from None
    if of != digest or offset < 0:
        raise invalid("pageToken")
    try:
        return keys.index(last) + 1
    except ValueError:
        return offset
