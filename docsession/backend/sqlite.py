"""The embedded store: everything that must survive, in one SQLite file.

Google's words and tokens are sealed; ids and times are not, for rows are found by them. A sealed
row whose key is gone counts as absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from sqlite3 import Cursor
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from docsession.backend.sealing import SealedColumns
from docsession.backend.sqlite_channels import ChannelTable
from docsession.backend.sqlite_database import Database
from docsession.backend.sqlite_documents import DocumentTables
from docsession.backend.sqlite_journal import JournalTable
from docsession.backend.sqlite_runner import AdbapiRunner, InlineRunner, Runner
from docsession.backend.sqlite_sessions import SessionTables
from docsession.backend.sqlite_spent import SpentTable
from docsession.backend.sqlite_tables import SLICE
from docsession.backend.sqlite_users import UserTables
from docsession.interfaces import Store
from docsession.keys import Sealer

__all__ = ["AdbapiRunner", "InlineRunner", "Runner", "SqliteStore"]


class SqliteStore(SessionTables, UserTables, JournalTable, DocumentTables, ChannelTable, SpentTable):
    """Implements :class:`docsession.interfaces.Store`; ``run`` must be for the same ``path``."""

    def __init__(
        self, path: Path, sealer: Sealer, *, run: Runner, clock: IReactorTime, busy_timeout: float = 2.0
    ) -> None:
        super().__init__(Database(path, run, busy_timeout=busy_timeout), SealedColumns(sealer))
        self._clock = clock

    @property
    def unreadable(self) -> Counter[str]:
        """How many rows of each kind could not be unsealed since the start."""
        return Counter(self._sealed.unreadable)

    async def open(self, stamp: Mapping[str, str]) -> None:
        await self._database.open(stamp, now=self._clock.seconds())

    async def close(self) -> None:
        await self._database.close()

    def listen(self, on_away: Callable[[bool], None], on_set_back: Callable[[], None] = lambda: None) -> None:
        self._database.on_away = on_away  # and what is on a disk stays: it is never set back

    @property
    def epoch(self) -> str:
        return ""

    async def ping(self) -> None:
        now = self._clock.seconds()

        def beat(cursor: Cursor) -> None:
            cursor.execute("UPDATE pulse SET at = ?", (now,))
            cursor.execute("SELECT at FROM pulse").fetchone()

        await self._write(beat)

    async def prune(
        self,
        *,
        now: float,
        sessions_idle_before: float,
        sessions_issued_before: float,
        journal_before: float,
        documents_before: float,
    ) -> None:
        for table, key, column, before in (
            ("sessions", "hash", "last_seen", sessions_idle_before),
            ("sessions", "hash", "issued", sessions_issued_before),
            ("retired", "hash", "until", now),
            ("sign_in_states", "hash", "expires", now),
            ("journal", "hash", "begun", journal_before),
            ("documents", "file_id", "as_of", documents_before),
            ("channels", "id", "expires", now),
        ):
            some = f"SELECT {key} FROM {table} WHERE {column} < ? LIMIT {SLICE}"  # noqa: S608 - names above
            command = f"DELETE FROM {table} WHERE {key} IN ({some})"  # noqa: S608
            while await self._do(command, before) == SLICE:
                pass
        await self._mark_forsaken(now)


if TYPE_CHECKING:
    _fits_the_port: type[Store] = SqliteStore
