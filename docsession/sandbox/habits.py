"""What Google does now and then that is no fault: it lags, it pages oddly, it forgets tokens."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
from msgspec import Struct

from docsession.sandbox.errors import DriveError, invalid
from docsession.sandbox.records import File

__all__ = ["Habits", "Wanted"]


class _Stale(Struct, forbid_unknown_fields=True):
    """Reads of this file, so many, that come from a replica which has not heard of the next change."""

    file: str
    times: int = 1


class Wanted(Struct, forbid_unknown_fields=True, kw_only=True):
    """What can be ordered. ``editor_lag``: seconds from typing into a document to anything that shows.
    ``empty_pages``: pages of the next sweeps that hold nothing but a next token. ``lost_tokens``: all
    page tokens of change feeds handed out until now are answered with this status."""

    editor_lag: float = 0.0
    empty_pages: int = 0
    lost_tokens: int | None = None
    stale: list[_Stale] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.editor_lag <= 86400:
            raise ValueError("editor_lag must be from 0 to 86400")
        if self.lost_tokens not in (None, 400, 404, 410):
            raise ValueError("lost_tokens must be 400, 404 or 410")
        if self.empty_pages < 0 or any(each.times < 1 for each in self.stale):
            raise ValueError("that cannot be counted")


class Habits:
    """The habits in force."""

    def __init__(self) -> None:
        self.editor_lag = 0.0
        self.empty_pages = 0
        self._lost_until = 0
        self._lost_status = 400
        self._older: dict[str, tuple[File, int]] = {}

    def set(self, wanted: Wanted, files: dict[str, File], next_number: int) -> None:
        """These, and no others; tokens that are lost stay lost. Raises KeyError for an unknown file."""
        older = {each.file: (deepcopy(files[each.file]), each.times) for each in wanted.stale}
        self.editor_lag, self.empty_pages, self._older = wanted.editor_lag, wanted.empty_pages, older
        if wanted.lost_tokens is not None:
            self._lost_until, self._lost_status = next_number, wanted.lost_tokens

    def to_json(self) -> dict[str, Any]:
        """What is in force."""
        return {
            "editor_lag": self.editor_lag,
            "empty_pages": self.empty_pages,
            "stale": [{"file": file, "times": times} for file, (_, times) in self._older.items()],
        }

    def takes_empty_page(self) -> bool:
        """Whether the page that is asked for is an empty one."""
        if not self.empty_pages:
            return False
        self.empty_pages -= 1
        return True

    def check_token(self, number: int) -> None:
        """Raises what Google might say of a token it has forgotten."""
        if number > self._lost_until:
            return
        if self._lost_status == 400:
            raise invalid("pageToken")
        reason = "notFound" if self._lost_status == 404 else "gone"
        raise DriveError(self._lost_status, reason, "Page token not found.", location="pageToken")

    def as_read(self, file: File) -> File:
        """The file as this reader's replica has it."""
        older, times = self._older.get(file.id, (file, 0))
        if not times or older.version == file.version:
            return file
        self._older[file.id] = (older, times - 1)
        if times == 1:
            del self._older[file.id]
        return older
