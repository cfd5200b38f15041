"""The write journal on Redis: what was about to be sent to Google, and what came of it."""

from __future__ import annotations

import hashlib
from typing import Any

from docsession.backend.redis_meta import Meta
from docsession.backend.redis_parts import LUA, Part, text
from docsession.backend.redis_script import Script
from docsession.backend.sealing import encoded
from docsession.errors import Unavailable
from docsession.model import JournalEntry, JournalKey

__all__ = ["JournalKeys"]

# A journal in another life than this node knows of may have lost what was in it.
_SAME_LIFE = (
    LUA
    + """
if redis.call('HGET', P .. 'meta', 'epoch') ~= ARGV[#ARGV] then return -1 end
"""
)

_BEGIN = Script(
    "journal_begin",
    _SAME_LIFE
    + """
-- ARGV: hash, socket, begun, node, outcome ('' for none yet), milliseconds it lasts, epoch.
local key = P .. 'journal:' .. ARGV[1]
local socket = redis.call('HGET', key, 'socket')
if socket and socket ~= ARGV[2] then return 0 end
redis.call('DEL', key)
redis.call('HSET', key, 'socket', ARGV[2], 'begun', ARGV[3], 'node', ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', key, 'outcome', ARGV[5]) end
redis.call('PEXPIRE', key, ARGV[6])
return 1
""",
)

_FIND = Script(
    "journal_find",
    _SAME_LIFE
    + """
-- ARGV: hash, epoch.
return redis.call('HMGET', P .. 'journal:' .. ARGV[1], 'socket', 'begun', 'outcome', 'node')
""",
)

_FINISH = Script(
    "journal_finish",
    LUA
    + """
local key = P .. 'journal:' .. ARGV[1]
if redis.call('HGET', key, 'socket') == ARGV[2] then redis.call('HSET', key, 'outcome', ARGV[3]) end
""",
)

_FORGET = Script(
    "journal_forget",
    LUA
    + """
local key = P .. 'journal:' .. ARGV[1]
if redis.call('HGET', key, 'socket') == ARGV[2] then redis.call('DEL', key) end
""",
)


class JournalKeys(Part):
    """``journal:``."""

    _meta: Meta  # which life of the store this node knows of

    async def journal_begin(self, entry: JournalEntry) -> bool:
        row = _hash(entry.key)
        outcome = self._sealed.seal("outcome", row, entry.outcome) if entry.outcome else ""
        left = self._left(entry.begun + self._lifetimes.journal)
        rest = (entry.socket, entry.begun, entry.node, outcome, left, self._meta.epoch)
        return bool(_of_this_life(await self._run(_BEGIN, row, *rest)))

    async def journal_finish(self, key: JournalKey, socket: str, outcome: bytes) -> None:
        row = _hash(key)
        await self._run(_FINISH, row, socket, self._sealed.seal("outcome", row, outcome))

    async def journal_forget(self, key: JournalKey, socket: str) -> None:
        await self._run(_FORGET, _hash(key), socket)

    async def journal_find(self, key: JournalKey) -> JournalEntry | None:
        row = _hash(key)
        found = _of_this_life(await self._run(_FIND, row, self._meta.epoch))
        socket, begun, sealed, node = found
        if socket is None:
            return None
        # An outcome that cannot be unsealed is an unknown one. Were the whole entry absent, the
        # write would be done a second time.
        outcome = None if sealed is None else self._sealed.unseal("outcome", row, sealed)
        self._sealed.log_unreadable()
        return JournalEntry(key, text(socket), float(begun), outcome, text(node))


def _of_this_life(answer: Any) -> Any:
    if answer == -1:
        raise Unavailable("the store has just lost what it had")
    return answer


def _hash(key: JournalKey) -> str:
    # Encoded as a list, so that no two keys run together into the same text.
    return hashlib.sha256(encoded([key.session_id, key.connection, key.call_id, key.digest])).hexdigest()
