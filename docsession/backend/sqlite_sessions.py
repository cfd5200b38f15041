"""Browser sessions, the ids that are retired for good, and sign-ins under way.

A session id or a sign-in state is found by its hash: a stolen file shows none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from sqlite3 import Cursor

from docsession.backend.sealing import encoded
from docsession.backend.sqlite_tables import SLICE, Tables
from docsession.model import SessionRecord, SignInState

__all__ = ["SessionTables"]


class SessionTables(Tables):
    """The tables ``sessions``, ``retired`` and ``sign_in_states``."""

    async def load_session(self, session_id: str) -> SessionRecord | None:
        def load(cursor: Cursor) -> SessionRecord | None:
            query = "SELECT issued, last_seen, user_id FROM sessions WHERE hash = ?"
            row = cursor.execute(query, (_hash(session_id),)).fetchone()
            return None if row is None else SessionRecord(session_id, *row)

        return await self._read(load)

    async def save_session(self, record: SessionRecord) -> None:
        """An id that was retired stays dead: then nothing is saved."""
        await self._write(lambda cursor: self._save_session(cursor, record))

    async def touch_sessions(self, seen: Mapping[str, float]) -> None:
        rows = [(when, _hash(session_id), when) for session_id, when in seen.items()]
        for start in range(0, len(rows), SLICE):
            await self._write(partial(_touch, rows=rows[start : start + SLICE]))

    async def retire_sessions(self, session_ids: Iterable[str], until: float) -> None:
        hashes = [_hash(session_id) for session_id in session_ids]
        await self._write(lambda cursor: _retire(cursor, hashes, until))

    async def is_retired(self, session_id: str) -> bool:
        return await self._read(lambda cursor: _is_retired(cursor, _hash(session_id)))

    async def retired_among(self, session_ids: Iterable[str]) -> set[str]:
        hashes = {_hash(session_id): session_id for session_id in session_ids}
        return await self._read(
            lambda cursor: {session_id for key, session_id in hashes.items() if _is_retired(cursor, key)}
        )

    async def sessions_of_user(self, user_id: str) -> list[SessionRecord]:
        def load(cursor: Cursor) -> list[SessionRecord]:
            query = "SELECT hash, sealed, issued, last_seen, user_id FROM sessions WHERE user_id = ?"
            found = []
            for key, sealed, *rest in cursor.execute(query, (user_id,)):
                session_id = self._sealed.unseal("session", key.hex(), sealed)
                if session_id is not None:
                    found.append(SessionRecord(session_id.decode("utf-8"), *rest))
            return found

        return await self._read(load)

    async def replace_session(self, old_id: str, new: SessionRecord, until: float) -> None:
        def replace(cursor: Cursor) -> None:
            _retire(cursor, [_hash(old_id)], until)
            self._save_session(cursor, new)

        await self._write(replace)

    def _save_session(self, cursor: Cursor, record: SessionRecord) -> None:
        key = _hash(record.id)
        if _is_retired(cursor, key):
            return
        sealed = self._sealed.seal("session", key.hex(), record.id.encode("utf-8"))
        cursor.execute(
            "INSERT OR REPLACE INTO sessions (hash, sealed, issued, last_seen, user_id)"
            " VALUES (?, ?, ?, ?, ?)",
            (key, sealed, record.issued, record.last_seen, record.user_id),
        )
        cursor.execute("DELETE FROM orphans WHERE user_id = ?", (record.user_id,))

    async def put_state(self, state: SignInState) -> None:
        key, data = _hash(state.state), encoded(state)

        def put(cursor: Cursor) -> None:
            cursor.execute(
                "INSERT OR REPLACE INTO sign_in_states (hash, session, expires, sealed) VALUES (?, ?, ?, ?)",
                (key, _hash(state.session_id), state.expires, self._sealed.seal("state", key.hex(), data)),
            )

        await self._write(put)

    async def take_state(self, state: str) -> SignInState | None:
        key = _hash(state)

        def take(cursor: Cursor) -> SignInState | None:
            row = cursor.execute("SELECT sealed FROM sign_in_states WHERE hash = ?", (key,)).fetchone()
            cursor.execute("DELETE FROM sign_in_states WHERE hash = ?", (key,))
            return row and self._sealed.unseal_value("state", key.hex(), row[0], SignInState)

        return await self._write(take)


def _touch(cursor: Cursor, rows: list[tuple[float, bytes, float]]) -> None:
    cursor.executemany("UPDATE sessions SET last_seen = ? WHERE hash = ? AND last_seen < ?", rows)


def _retire(cursor: Cursor, hashes: list[bytes], until: float) -> None:
    cursor.executemany("DELETE FROM sessions WHERE hash = ?", [(key,) for key in hashes])
    cursor.executemany("DELETE FROM sign_in_states WHERE session = ?", [(key,) for key in hashes])
    cursor.executemany(
        """
        INSERT INTO retired (hash, until) VALUES (?, ?)
        ON CONFLICT (hash) DO UPDATE SET until = max(until, excluded.until)
        """,
        [(key, until) for key in hashes],
    )


def _is_retired(cursor: Cursor, key: bytes) -> bool:
    return cursor.execute("SELECT 1 FROM retired WHERE hash = ?", (key,)).fetchone() is not None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8")).digest()
