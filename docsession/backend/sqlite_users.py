"""Google accounts, the grants they gave us, and which of them have no browser left."""

from __future__ import annotations

from functools import partial
from sqlite3 import Cursor

from docsession.backend.sealing import encoded
from docsession.backend.sqlite_tables import SLICE, Tables
from docsession.model import Grant, User

__all__ = ["UserTables"]


class UserTables(Tables):
    """The tables ``users``, ``grants`` and ``orphans``."""

    async def load_user(self, user_id: str) -> User | None:
        def load(cursor: Cursor) -> User | None:
            row = cursor.execute("SELECT sealed FROM users WHERE user_id = ?", (user_id,)).fetchone()
            return row and self._sealed.unseal_value("user", user_id, row[0], User)

        return await self._read(load)

    async def save_user(self, user: User) -> None:
        data = encoded(user)

        def save(cursor: Cursor) -> None:
            sealed = self._sealed.seal("user", user.id, data)
            cursor.execute("INSERT OR REPLACE INTO users (user_id, sealed) VALUES (?, ?)", (user.id, sealed))

        await self._write(save)

    async def load_grant(self, user_id: str) -> Grant | None:
        return await self._read(lambda cursor: self._grant(cursor, user_id))

    async def save_grant(self, user_id: str, grant: Grant, *, replaces: int | None) -> bool:
        data = encoded(grant)

        def save(cursor: Cursor) -> bool:
            # One that cannot be unsealed is none: else its user could never sign in again.
            stored = self._grant(cursor, user_id)
            if (None if stored is None else stored.generation) != replaces:
                return False
            sealed = self._sealed.seal("grant", user_id, data)
            cursor.execute("INSERT OR REPLACE INTO grants (user_id, sealed) VALUES (?, ?)", (user_id, sealed))
            return True

        return await self._write(save)

    def _grant(self, cursor: Cursor, user_id: str) -> Grant | None:
        row = cursor.execute("SELECT sealed FROM grants WHERE user_id = ?", (user_id,)).fetchone()
        return row and self._sealed.unseal_value("grant", user_id, row[0], Grant)

    async def delete_user(self, user_id: str) -> None:
        def delete(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM users WHERE user_id = ?", (user_id,))
            cursor.execute("DELETE FROM grants WHERE user_id = ?", (user_id,))
            cursor.execute("DELETE FROM proofs WHERE user_id = ?", (user_id,))
            cursor.execute("DELETE FROM orphans WHERE user_id = ?", (user_id,))
            cursor.execute("DELETE FROM channels WHERE user_id = ?", (user_id,))

        await self._write(delete)

    async def mark_orphaned(self, user_id: str, since: float | None) -> None:
        if since is None:
            await self._do("DELETE FROM orphans WHERE user_id = ?", user_id)
        else:
            await self._do("INSERT OR REPLACE INTO orphans (user_id, since) VALUES (?, ?)", user_id, since)

    async def orphaned_users(self, before: float) -> list[str]:
        def find(cursor: Cursor) -> list[str]:
            query = "SELECT user_id FROM orphans WHERE since < ? ORDER BY since"
            return [user_id for (user_id,) in cursor.execute(query, (before,))]

        return await self._read(find)

    async def _mark_forsaken(self, now: float) -> None:
        """Whose last session expired is orphaned, as after a sign-out."""
        after = ""
        while users := await self._known_users(after):
            await self._write(partial(_orphan_without_session, users=users, now=now))
            after = users[-1]

    async def _known_users(self, after: str) -> list[str]:
        def find(cursor: Cursor) -> list[str]:
            query = """
                SELECT user_id FROM (SELECT user_id FROM users UNION SELECT user_id FROM grants)
                WHERE user_id > ? ORDER BY user_id LIMIT ?
            """
            return [user_id for (user_id,) in cursor.execute(query, (after, SLICE))]

        return await self._read(find)


def _orphan_without_session(cursor: Cursor, users: list[str], now: float) -> None:
    cursor.executemany(
        """
        INSERT INTO orphans (user_id, since) SELECT :user, :now
        WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = :user)
        AND NOT EXISTS (SELECT 1 FROM orphans WHERE user_id = :user)
        """,
        [{"user": user, "now": now} for user in users],
    )
