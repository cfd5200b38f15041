"""Watched documents: their last known states and comments, and who saw them when."""

from __future__ import annotations

from sqlite3 import Cursor
from typing import Any

from msgspec.structs import replace

from docsession.backend.sealing import CommentsLookedAt, DocumentState, encoded
from docsession.backend.sqlite_tables import Tables
from docsession.model import CommentsRecord, DocumentRecord

__all__ = ["DocumentTables"]


# The row beside the comments that says when they were looked at: no comment has this id.
_LOOKED_AT = ""


class DocumentTables(Tables):
    """The tables ``documents``, ``proofs`` and ``comments``."""

    async def load_document(self, file_id: str) -> DocumentRecord | None:
        return await self._read(lambda cursor: self._record(cursor, file_id))

    async def save_document(self, record: DocumentRecord, *, replaces: str | None) -> DocumentRecord | None:
        def save(cursor: Cursor) -> DocumentRecord | None:
            stored = self._document(cursor, record.file_id)
            doubted = record.doubted if stored is None else max(stored.doubted, record.doubted)
            free = stored is None or stored.mark == replaces
            if stored is None or free or doubted != stored.doubted:
                state = record if stored is None or free else stored
                self._put_state(cursor, state, doubted)
            _put_proofs(cursor, record, doubted)
            if stored is None or doubted != stored.doubted:
                _drop_doubted(cursor, record.file_id, doubted)
            return None if free else self._record(cursor, record.file_id)

        return await self._write(save)

    async def delete_document(self, file_id: str) -> None:
        await self._do("DELETE FROM documents WHERE file_id = ?", file_id)

    async def drop_proofs(self, user_id: str) -> None:
        await self._do("DELETE FROM proofs WHERE user_id = ?", user_id)

    async def load_comments(self, file_id: str) -> CommentsRecord | None:
        def load(cursor: Cursor) -> CommentsRecord | None:
            query = "SELECT id, sealed FROM comments WHERE file_id = ?"
            rows = dict(cursor.execute(query, (file_id,)).fetchall())
            sealed = rows.pop(_LOOKED_AT, None)
            looked_at = sealed and self._unsealed_comment(file_id, _LOOKED_AT, sealed, CommentsLookedAt)
            found = {each: self._unsealed_comment(file_id, each, rows[each], dict) for each in rows}
            if looked_at is None or None in found.values():
                return None  # some of them would be taken for all
            return CommentsRecord(found, looked_at.mark, looked_at.looked_at)

        return await self._read(load)

    async def save_comments(self, file_id: str, record: CommentsRecord) -> None:
        def save(cursor: Cursor) -> None:
            if cursor.execute("SELECT 1 FROM documents WHERE file_id = ?", (file_id,)).fetchone() is None:
                return
            query = "SELECT sealed FROM comments WHERE file_id = ? AND id = ?"
            row = cursor.execute(query, (file_id, _LOOKED_AT)).fetchone()
            known = row and self._unsealed_comment(file_id, _LOOKED_AT, row[0], CommentsLookedAt)
            looked_at = CommentsLookedAt(record.mark, record.looked_at)
            if known is not None and known.looked_at > record.looked_at:
                looked_at = known
            for comment_id, value in ((_LOOKED_AT, looked_at), *record.comments.items()):
                sealed = self._sealed.seal("comment", f"{file_id} {comment_id}", encoded(value))
                cursor.execute(
                    "INSERT OR REPLACE INTO comments (file_id, id, sealed) VALUES (?, ?, ?)",
                    (file_id, comment_id, sealed),
                )

        await self._write(save)

    # -- inside

    def _record(self, cursor: Cursor, file_id: str) -> DocumentRecord | None:
        """All there is of it."""
        state = self._document(cursor, file_id)
        if state is None:
            return None
        query = "SELECT user_id, document_at, comments_at FROM proofs WHERE file_id = ?"
        proofs = {user: (at, comments_at) for user, at, comments_at in cursor.execute(query, (file_id,))}
        return replace(state, proofs=proofs)

    def _document(self, cursor: Cursor, file_id: str) -> DocumentRecord | None:
        """Without proofs."""
        query = "SELECT as_of, sealed FROM documents WHERE file_id = ?"
        row = cursor.execute(query, (file_id,)).fetchone()
        state = row and self._sealed.unseal_value("document", file_id, row[1], DocumentState)
        if state is None:
            return None
        return DocumentRecord(
            file_id, state.version, state.google_version, state.file, row[0], {}, state.doubted
        )

    def _put_state(self, cursor: Cursor, record: DocumentRecord, doubted: float) -> None:
        data = encoded(DocumentState(record.version, record.google_version, record.file, doubted))
        sealed = self._sealed.seal("document", record.file_id, data)
        cursor.execute(
            """
            INSERT INTO documents (file_id, as_of, sealed) VALUES (?, ?, ?)
            ON CONFLICT (file_id) DO UPDATE SET as_of = excluded.as_of, sealed = excluded.sealed
            """,
            (record.file_id, record.as_of, sealed),
        )

    def _unsealed_comment(self, file_id: str, comment_id: str, sealed: bytes, of: type[Any]) -> Any:
        return self._sealed.unseal_value("comment", f"{file_id} {comment_id}", sealed, of)


def _put_proofs(cursor: Cursor, record: DocumentRecord, doubted: float) -> None:
    """Of each user's times the later one, and none that the document's doubts void."""
    cursor.executemany(
        """
        INSERT INTO proofs (file_id, user_id, document_at, comments_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (file_id, user_id) DO UPDATE SET
            document_at = max(document_at, excluded.document_at),
            comments_at = max(comments_at, excluded.comments_at)
        """,
        [(record.file_id, user, *times) for user, times in record.proofs.items() if max(times) >= doubted],
    )


def _drop_doubted(cursor: Cursor, file_id: str, doubted: float) -> None:
    cursor.execute(
        "DELETE FROM proofs WHERE file_id = ? AND max(document_at, comments_at) < ?", (file_id, doubted)
    )
