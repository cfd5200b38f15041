"""A user's change log at Google, swept from a page token: which files something happened to.

The token moves only after a whole sweep has been read; a failed sweep is simply done again,
which repeats changes and loses none. What an entry says besides the file's id is not used:
it is a hint, and state is looked at.
"""

from __future__ import annotations

from typing import Any

import msgspec

from docsession.google.drive import AccessRefused, Account, Drive
from docsession.google.drive_request import compose
from docsession.google.table import TABLE

__all__ = ["Feed", "Sweep"]

_PAGE = 1000
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
        """Take a start token, unless there is one: all from now on will be seen."""
        if self._token is None:
            answer = await self._ask("drive.changes.getStartPageToken", {}, poll=False)
            self._token = str(answer["startPageToken"])

    def end(self) -> None:
        """Forget the token; nobody needs what happens from here on."""
        self._token = None

    async def sweep(self) -> Sweep:
        """Read to the end of the log. Raises as :meth:`docsession.google.drive.Drive.call`."""
        if self._token is None:
            await self.begin()
            return Sweep(frozenset(), lost=True)
        files: set[str] = set()
        token = self._token
        while True:
            try:
                answer = await self._ask("drive.changes.list", _params(token), poll=True)
            except AccessRefused as refused:
                if refused.refusal.status not in _LOST:
                    raise refused.refusal.error() from None
                self._token = None
                await self.begin()
                return Sweep(frozenset(), lost=True)
            files.update(str(entry["fileId"]) for entry in answer.get("changes", ()) if "fileId" in entry)
            if "nextPageToken" in answer:  # an empty page may still have one
                token = str(answer["nextPageToken"])
            else:
                self._token = str(answer.get("newStartPageToken", token))
                return Sweep(frozenset(files), lost=False)

    async def _ask(self, method_id: str, params: dict[str, Any], *, poll: bool) -> dict[str, Any]:
        request = compose(TABLE.methods[method_id], params)
        return await self._drive.ask(self._account, request, poll=poll)


def _params(token: str) -> dict[str, Any]:
    return {
        "pageToken": token,
        "pageSize": _PAGE,
        "includeItemsFromAllDrives": True,
        "fields": "nextPageToken,newStartPageToken,changes(fileId,removed)",
    }
