"""A user's change log at Google, swept from a page token: which files something happened to.

The token moves only after a whole sweep has been read and acted on; a failed sweep is simply done
again, which repeats changes and loses none. What an entry says of a file serves to decide what it
could concern; it is told to nobody, state is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
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
# What decides to which listings a file could belong (docsession.belonging).
_FILE = "id,name,mimeType,parents,trashed,starred"
# A page that cannot be had any more: the token is lost, and with it what came in between.
_LOST = frozenset({400, 404, 410})


class Sweep(msgspec.Struct, frozen=True):
    """What has an entry since the last sweep. ``files``: by id, what Google says of it now; None for
    one that was deleted, lost or moved to another corpus, between which Google makes no difference.
    ``lost``: there may be others. ``token``: where the next sweep begins."""

    files: Mapping[str, Mapping[str, Any] | None]
    lost: bool
    token: str | None = None


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
            return Sweep({}, lost=True)
        files: dict[str, Mapping[str, Any] | None] = {}
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
                    # What changes again while the pages are read comes again, at the end.
                    file = entry.get("file")
                    files[str(entry["fileId"])] = file if isinstance(file, dict) else None
                else:
                    others = True  # a shared drive came, went or was renamed
            if "nextPageToken" in answer:  # an empty page may still have one
                token = str(answer["nextPageToken"])
            else:
                return Sweep(files, lost=others, token=_token(answer, "newStartPageToken"))
        # A new token first: what happens while all is read again shows in the next sweep.
        self._token = None
        await self.begin()
        return Sweep(files, lost=True)

    def done(self, sweep: Sweep) -> None:
        """All that it found was acted on: the next one begins where it ended."""
        if sweep.token is not None and self._token is not None:
            self._token = sweep.token


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
        "includeCorpusRemovals": True,
        "fields": f"nextPageToken,newStartPageToken,changes(fileId,driveId,removed,file({_FILE}))",
    }
