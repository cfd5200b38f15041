"""A store with something of every kind in it, for whoever moves stores."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from docsession.interfaces import Store
from docsession.keys import Keys, Sealer
from docsession.model import (
    ChannelRecord,
    CommentsRecord,
    DocumentRecord,
    Grant,
    JournalEntry,
    JournalKey,
    SessionRecord,
    SignInState,
    User,
)

__all__ = ["AT", "TABLES", "contents", "fill"]

AT = 1_800_000_000.0  # when all of it was stored


async def fill(store: Store, *, people: int = 3, at: float = AT) -> None:
    """``people`` users, each with all that a user may have, and half of them signed out."""
    for number in range(people):
        user_id = f"{number:021d}"
        user = User(user_id, f"p{number}@example.com", f"Ünïcode {number}", "https://x/p.png", ("openid",))
        await store.save_user(user)
        grant = Grant(1, ("openid",), f"ya29.{number}", at + 3600, f"1//{number}", dead=number % 3 == 2)
        assert await store.save_grant(user_id, grant, replaces=None)
        session = SessionRecord(f"session-of-{number:022d}", at - 10.25, at - 0.1, user_id)
        await store.save_session(session)
        await store.save_session(SessionRecord(f"nobody-at-{number:022d}", at - 7, at - 7))
        state = SignInState(
            state=f"state-{number:037d}",
            session_id=session.id,
            origin="http://127.0.0.1:8765",
            return_to="/x?y",
            verifier="v" * 64,
            nonce="n" * 32,
            expires=at + 500.5,
        )
        await store.put_state(state)
        await store.retire_sessions([f"retired-of-{number:022d}"], at + 86400.125 + number)
        if number % 2:
            await store.mark_orphaned(user_id, at - 100.5)
        key = JournalKey(session.id, "tab", str(number), f"{number:064d}")
        assert await store.journal_begin(JournalEntry(key, "socket", at - 3.3, node="node-1"))
        if number % 2:
            await store.journal_finish(key, "socket", b'{"result":%d}' % number)
        document = DocumentRecord(
            file_id=f"file-{number}",
            version=str(number),
            google_version=number + 7,
            file={"id": f"file-{number}", "name": f"Übersicht \u2028 {number}", "x": [1, 2.5, None]},
            as_of=at - 50.75,
            proofs={user_id: (at - 20.5, 0.0), "somebody": (at - 21.125, at - 22.0)},
            doubted=at - 1000.0 if number % 2 else 0.0,
        )
        assert await store.save_document(document, replaces=None) is None
        comments = {f"c{each}": {"id": f"c{each}", "content": "grün"} for each in range(number % 11)}
        await store.save_comments(document.file_id, CommentsRecord(comments, "2027-01-01T00:00:00Z", at - 5))
        channel = ChannelRecord(
            f"channel-{number}", user_id, 1, "live", at - 60, at + 5000.5, f"r{number}", True
        )
        assert await store.add_channel(channel, replaces=None)
    for node in ("node-1", "node-2"):
        await store.save_spent("2027-01-15", node, 123_456)


TABLES = (
    *("users", "grants", "sessions", "retired", "sign_in_states", "orphans", "journal", "documents"),
    *("proofs", "comments", "channels", "spent"),
)


def contents(path: Path, keys: Keys) -> dict[str, set[Any]]:
    """All rows of a store file, by table; of a document what is in its sealed part."""
    sealer = Sealer(keys)
    with closing(sqlite3.connect(path)) as connection:
        found = {name: set(connection.execute(f"SELECT * FROM {name}")) for name in TABLES}
    found["documents"] = {
        (file_id, as_of, sealer.unseal(sealed, about=f"document {file_id}"))
        for file_id, as_of, sealed in found["documents"]
    }
    return found
