"""What the parts of the store have in common: the file, and the sealing of columns."""

from __future__ import annotations

from typing import Any, TypeVar

from docsession.backend.sealing import SealedColumns
from docsession.backend.sqlite_database import Database
from docsession.backend.sqlite_runner import Interaction

__all__ = ["SLICE", "Tables"]

T = TypeVar("T")

SLICE = 500  # rows in one transaction of what has many: others get their turn in between


class Tables:
    """A group of tables; :class:`~docsession.backend.sqlite.SqliteStore` is made of these."""

    def __init__(self, database: Database, sealed: SealedColumns) -> None:
        self._database = database
        self._sealed = sealed

    async def _read(self, interaction: Interaction[T]) -> T:
        result = await self._database.read(interaction)
        self._sealed.log_unreadable()
        return result

    async def _write(self, interaction: Interaction[T]) -> T:
        result = await self._database.write(interaction)
        self._sealed.log_unreadable()
        return result

    async def _do(self, command: str, *values: Any) -> int:
        """One statement; how many rows it touched."""
        return await self._write(lambda cursor: cursor.execute(command, values).rowcount)
