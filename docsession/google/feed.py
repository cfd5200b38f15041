"""A user's change log at Google, swept from a page token: which files something happened to.

The token moves only after a whole sweep has been read; a failed sweep is simply done again,
which repeats changes and loses none. What an entry says besides the file's id is not used:
it is a hint, and state is looked at.
"""

from __future__ import annotations

from typing import Any

import msgspec

from docsession.errors import GoogleUnavailable
from docsession.google.drive import AccessRefused, Account, Drive
from docsession.google.drive_request import compose
from docsession.google.table import TABLE

__all__ = ["Feed", "Sweep"]

_PAGE = 1000
# More than this between two sweeps is no log but a loop; then a new token is as good.
_MOST_PAGES = 100
# A page that cannot be had any more: the token is lost, and with it what came in between.
_LOST = frozenset({400, 404, 410})


class Sweep(msgspec.Struct, frozen=True):
    """``files``: ids with an entry since the last sweep. ``lost``: there may be others."""

    files: frozenset[str]
    lost: bool


class Feed:
    """One user's log (shared drives only as far as Google shows them in it)."""

    def __init__(self, drive: Drive, account: Account) -> None:
        self._drive = drive
        self._account = account
        self._token: str | None = None

    async def begin(self) -> None:
        """Take a start token, unless there is one: all from now on will be seen.

        Raises as :meth:`docsession.google.drive.Drive.call`.
        """
        if self._token is None:
            request = compose(TABLE.methods["drive.changes.getStartPageToken"], {})
            answer = await self._drive.call(self._account, request)
            # Two may have asked at once; the earlier token sees all that the later one does.
            if self._token is None:
                self._token = _token(answer, "startPageToken")

    def end(self) -> None:
        """Forget the token; nobody needs what happens from here on."""
        self._token = None

    async def sweep(self) -> Sweep:
        """Read to the end of the log. Raises as :meth:`docsession.google.drive.Drive.call`."""
        if self._token is None:
            await self.begin()
            return Sweep(frozenset(), lost=True)
        files: set[str] = set()
        others = False
        token = self._token
        for _ in range(_MOST_PAGES):
            request = compose(TABLE.methods["drive.changes.list"], _params(token))
            try:
                answer = await self._drive.ask(self._account, request, poll=True)
            except AccessRefused as refused:
                if refused.refusal.status in _LOST:
                    break
                raise refused.refusal.error() from None
            for entry in answer.get("changes", ()):
                if "fileId" in entry:
                    files.add(str(entry["fileId"]))
                else:
                    others = True  # a shared drive came, went or was renamed
            if "nextPageToken" in answer:  # an empty page may still have one
                token = str(answer["nextPageToken"])
            else:
                self._token = _token(answer, "newStartPageToken")
                return Sweep(frozenset(files), lost=others)
        self._token = None
        await self.begin()
        return Sweep(frozenset(files), lost=True)


def _token(answer: dict[str, Any], name: str) -> str:
    token = answer.get(name)
    if not isinstance(token, str) or not token:
        raise GoogleUnavailable("Google answered nonsense", retry_after=5)
    return token


def _params(token: str) -> dict[str, Any]:
    return {
        "pageToken": token,
        "pageSize": _PAGE,
        "includeItemsFromAllDrives": True,
        "fields": "nextPageToken,newStartPageToken,changes(fileId,removed)",
    }
