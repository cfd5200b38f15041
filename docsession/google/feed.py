"""A user's change log at Google, swept from a page token: which files something happened to.

The token moves only after a whole sweep has been read and acted on; a failed sweep is simply done
again, which repeats changes and loses none. What an entry says of a file serves to decide what it
could concern; it is told to nobody, state is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from docsession.errors import GoogleUnavailable, TooLarge
from docsession.google.drive import AccessRefused, Account, Drive
from docsession.google.drive_request import compose
from docsession.google.table import TABLE

__all__ = ["FILE_FIELDS", "Feed", "Sweep"]

_PAGE = 1000
# More than this between two sweeps is no log but a loop; then a new token is as good.
_MOST_PAGES = 100
# An empty page may lead back to its own token; one that always does leads nowhere.
_MOST_REPEATS = 5
# What decides to which listings a file could belong (docsession.belonging).
FILE_FIELDS = "id,name,mimeType,parents,trashed,version,driveId,starred,spaces"
# Of more files than this only the ids are kept: a log may be long, and memory is not.
_MOST_SHOWN = 20_000
_ENTRY = f"changeType,removed,time,fileId,driveId,file({FILE_FIELDS})"
# A page that cannot be had any more: the token is lost, and with it what came in between.
_LOST = frozenset({400, 404, 410})


class Sweep(msgspec.Struct, frozen=True):
    """What has an entry since the last sweep. ``files``: by id, what Google says of it now ({} where
    that was too much to keep); None for one that was deleted, lost or moved to another corpus, between
    which Google makes no difference. ``drives``: a shared drive came, went or changed. ``lost``: there
    may be others. ``token``: where the next sweep begins; ``since``: where this one began."""

    files: Mapping[str, Mapping[str, Any] | None]
    lost: bool
    token: str | None = None
    drives: bool = False
    since: str | None = None


class Feed:
    """One user's log (shared drives only as far as Google shows them in it)."""

    def __init__(self, drive: Drive, account: Account) -> None:
        self._drive = drive
        self._account = account
        self._token: str | None = None
        # A token was lost, and nobody has acted on that yet.
        self._lost = False

    @property
    def token(self) -> str | None:
        """Where the next sweep begins."""
        return self._token

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
        self._lost = False

    async def sweep(self) -> Sweep:
        """Read to the end of the log. Raises as :meth:`docsession.google.drive.Drive.call`."""
        if self._token is None:
            self._lost = True
            await self.begin()
            return Sweep({}, lost=True)
        files: dict[str, Mapping[str, Any] | None] = {}
        others, drives = self._lost, False
        token = since = self._token
        read: list[str] = []
        while read.count(token) < _MOST_REPEATS and len(read) < _MOST_PAGES:
            read.append(token)
            request = compose(TABLE.methods["drive.changes.list"], _params(token))
            try:
                answer = await self._drive.ask(self._account, request, poll=True)
            except AccessRefused as refused:
                if refused.refusal.status in _LOST:
                    break
                raise refused.refusal.error() from None
            except TooLarge:
                break  # and would be too large again
            for entry in _entries(answer):
                file_id = entry.get("fileId")
                if isinstance(file_id, str):
                    # What changes again while the pages are read comes again, at the end.
                    files[file_id] = _shown(entry) if len(files) < _MOST_SHOWN else {}
                elif entry.get("changeType") == "drive" or "driveId" in entry:
                    drives = True
                else:
                    others = True
            if "nextPageToken" not in answer:  # an empty page may still have one
                token = _token(answer, "newStartPageToken")
                return Sweep(files, lost=others, token=token, drives=drives, since=since)
            token = _token(answer, "nextPageToken")
        # A new token first: what happens while all is read again shows in the next sweep. Until
        # somebody has acted on it the loss is remembered, whoever begins anew meanwhile.
        self._token, self._lost = None, True
        await self.begin()
        return Sweep(files, lost=True)

    def done(self, sweep: Sweep) -> None:
        """All that it found was acted on: the next one begins where it ended."""
        self._lost = False
        if sweep.token is not None and self._token is not None:
            self._token = sweep.token


def _entries(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    entries = answer.get("changes", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise GoogleUnavailable("Google answered nonsense", retry_after=5)
    return iter(entries)


def _shown(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What Google shows of the file; asked for and not there means that it has none."""
    file = entry.get("file")
    if isinstance(file, dict):
        return {"driveId": "", **file}
    return None if entry.get("removed", True) else {}


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
        "fields": f"nextPageToken,newStartPageToken,changes({_ENTRY})",
    }
