"""What was spent of the quota of each day: a row for each node today, and none for long."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Cursor

from docsession.backend.sqlite_tables import Tables

__all__ = ["SpentTable"]


class SpentTable(Tables):
    """The table ``spent``."""

    async def load_spent(self, day: str) -> Mapping[str, int]:
        def load(cursor: Cursor) -> dict[str, int]:
            rows = cursor.execute("SELECT node, units FROM spent WHERE day = ?", (day,))
            return {str(node): int(units) for node, units in rows}

        return await self._read(load)

    async def save_spent(self, day: str, node: str, units: int) -> None:
        def save(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM spent WHERE day <> ?", (day,))
            cursor.execute(
                "INSERT OR REPLACE INTO spent (day, node, units) VALUES (?, ?, ?)", (day, node, units)
            )

        await self._write(save)
