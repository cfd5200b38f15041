"""Push channels: which user each tells of, and what became of it."""

from __future__ import annotations

from sqlite3 import Cursor

from docsession.backend.sealing import encoded
from docsession.backend.sqlite_tables import Tables
from docsession.model import ChannelRecord

__all__ = ["ChannelTable"]


class ChannelTable(Tables):
    """The table ``channels``. The whole record is sealed; beside it stands what rows are found by."""

    async def add_channel(self, record: ChannelRecord, *, replaces: str | None) -> bool:
        data = encoded(record)

        def add(cursor: Cursor) -> bool:
            # Those that cannot be unsealed are none, or their user would never have another.
            newest = next(iter(self._channels(cursor, record.user_id)), None)
            if (None if newest is None else newest.id) != replaces:
                return False
            cursor.execute(
                "DELETE FROM channels WHERE user_id = ? AND generation >= ?",
                (record.user_id, record.generation),
            )
            sealed = self._sealed.seal("channel", record.id, data)
            cursor.execute(
                "INSERT INTO channels (id, user_id, generation, expires, sealed) VALUES (?, ?, ?, ?, ?)",
                (record.id, record.user_id, record.generation, record.expires, sealed),
            )
            return True

        return await self._write(add)

    async def save_channel(self, record: ChannelRecord) -> None:
        data = encoded(record)

        def save(cursor: Cursor) -> None:
            sealed = self._sealed.seal("channel", record.id, data)
            cursor.execute(
                "UPDATE channels SET expires = ?, sealed = ? WHERE id = ?",
                (record.expires, sealed, record.id),
            )

        await self._write(save)

    async def load_channels(self, user_id: str) -> list[ChannelRecord]:
        return await self._read(lambda cursor: self._channels(cursor, user_id))

    async def load_channel(self, channel_id: str) -> ChannelRecord | None:
        def load(cursor: Cursor) -> ChannelRecord | None:
            query = "SELECT sealed FROM channels WHERE id = ?"
            row = cursor.execute(query, (channel_id,)).fetchone()
            return row and self._sealed.unseal_value("channel", channel_id, row[0], ChannelRecord)

        return await self._read(load)

    async def delete_channel(self, channel_id: str) -> None:
        await self._do("DELETE FROM channels WHERE id = ?", channel_id)

    def _channels(self, cursor: Cursor, user_id: str) -> list[ChannelRecord]:
        query = "SELECT id, sealed FROM channels WHERE user_id = ? ORDER BY generation DESC"
        rows = cursor.execute(query, (user_id,)).fetchall()
        records = [self._sealed.unseal_value("channel", row[0], row[1], ChannelRecord) for row in rows]
        return [record for record in records if record is not None]
