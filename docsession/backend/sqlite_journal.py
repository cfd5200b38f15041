"""The write journal: what was about to be sent to Google, and what came of it."""

from __future__ import annotations

import hashlib
from sqlite3 import Cursor

from docsession.backend.sealing import encoded
from docsession.backend.sqlite_tables import Tables
from docsession.model import JournalEntry, JournalKey

__all__ = ["JournalTable"]


class JournalTable(Tables):
    """The table ``journal``."""

    async def journal_begin(self, entry: JournalEntry) -> bool:
        key = _hash(entry.key)

        def begin(cursor: Cursor) -> bool:
            row = cursor.execute("SELECT socket FROM journal WHERE hash = ?", (key,)).fetchone()
            if row is not None and row[0] != entry.socket:
                return False
            outcome = entry.outcome and self._sealed.seal("outcome", key.hex(), entry.outcome)
            cursor.execute(
                "INSERT OR REPLACE INTO journal (hash, socket, begun, outcome, node) VALUES (?, ?, ?, ?, ?)",
                (key, entry.socket, entry.begun, outcome, entry.node),
            )
            return True

        return await self._write(begin)

    async def journal_finish(self, key: JournalKey, socket: str, outcome: bytes) -> None:
        row = _hash(key)

        def finish(cursor: Cursor) -> None:
            sealed = self._sealed.seal("outcome", row.hex(), outcome)
            cursor.execute(
                "UPDATE journal SET outcome = ? WHERE hash = ? AND socket = ?", (sealed, row, socket)
            )

        await self._write(finish)

    async def journal_forget(self, key: JournalKey, socket: str) -> None:
        await self._do("DELETE FROM journal WHERE hash = ? AND socket = ?", _hash(key), socket)

    async def journal_find(self, key: JournalKey) -> JournalEntry | None:
        row = _hash(key)

        def find(cursor: Cursor) -> JournalEntry | None:
            query = "SELECT socket, begun, outcome, node FROM journal WHERE hash = ?"
            found = cursor.execute(query, (row,)).fetchone()
            if found is None:
                return None
            socket, begun, sealed, node = found
            # An outcome that cannot be unsealed is an unknown one. Were the whole entry absent, the
            # write would be done a second time.
            outcome = sealed and self._sealed.unseal("outcome", row.hex(), sealed)
            return JournalEntry(key, socket, begun, outcome, node)

        return await self._read(find)


def _hash(key: JournalKey) -> bytes:
    # Encoded as a list, so that no two keys run together into the same text.
    return hashlib.sha256(encoded([key.session_id, key.connection, key.call_id, key.digest])).digest()
