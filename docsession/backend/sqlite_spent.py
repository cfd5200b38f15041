"""What was spent of the quota of each day: a row for today, and none for long."""

from __future__ import annotations

from sqlite3 import Cursor

from docsession.backend.sqlite_tables import Tables

__all__ = ["SpentTable"]


class SpentTable(Tables):
    """The table ``spent``."""

    async def load_spent(self, day: str) -> int:
        def load(cursor: Cursor) -> int:
            row = cursor.execute("SELECT units FROM spent WHERE day = ?", (day,)).fetchone()
            return 0 if row is None else int(row[0])

        return await self._read(load)

    async def save_spent(self, day: str, units: int) -> None:
        def save(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM spent WHERE day <> ?", (day,))
            cursor.execute("INSERT OR REPLACE INTO spent (day, units) VALUES (?, ?)", (day, units))

        await self._write(save)
