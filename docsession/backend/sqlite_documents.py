"""Watched documents: their last known states, and who saw them when."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Cursor
from typing import Any

import msgspec

from docsession.backend.sqlite_sealing import encoded
from docsession.backend.sqlite_tables import Tables
from docsession.model import DocumentRecord

__all__ = ["DocumentTables"]


class _DocumentState(msgspec.Struct, frozen=True):
    """The part of a document's record that Google said."""

    version: str
    google_version: int
    file: Mapping[str, Any]


class DocumentTables(Tables):
    """The tables ``documents`` and ``proofs``."""

    async def load_document(self, file_id: str) -> DocumentRecord | None:
        def load(cursor: Cursor) -> DocumentRecord | None:
            query = "SELECT as_of, sealed FROM documents WHERE file_id = ?"
            row = cursor.execute(query, (file_id,)).fetchone()
            state = row and self._sealed.unseal_value("document", file_id, row[1], _DocumentState)
            if state is None:
                return None
            query = "SELECT user_id, document_at, comments_at FROM proofs WHERE file_id = ?"
            proofs = {user: (at, comments_at) for user, at, comments_at in cursor.execute(query, (file_id,))}
            return DocumentRecord(file_id, state.version, state.google_version, state.file, row[0], proofs)

        return await self._read(load)

    async def save_document(self, record: DocumentRecord) -> None:
        data = encoded(_DocumentState(record.version, record.google_version, record.file))
        proofs = [(record.file_id, user, *times) for user, times in record.proofs.items()]

        def save(cursor: Cursor) -> None:
            sealed = self._sealed.seal("document", record.file_id, data)
            cursor.execute("DELETE FROM documents WHERE file_id = ?", (record.file_id,))  # proofs as well
            cursor.execute(
                "INSERT INTO documents (file_id, as_of, sealed) VALUES (?, ?, ?)",
                (record.file_id, record.as_of, sealed),
            )
            cursor.executemany(
                "INSERT INTO proofs (file_id, user_id, document_at, comments_at) VALUES (?, ?, ?, ?)", proofs
            )

        await self._write(save)

    async def delete_document(self, file_id: str) -> None:
        await self._do("DELETE FROM documents WHERE file_id = ?", file_id)

    async def drop_proofs(self, user_id: str) -> None:
        await self._do("DELETE FROM proofs WHERE user_id = ?", user_id)
