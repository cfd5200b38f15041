"""Watched documents on Redis: their last known states and comments, and who saw them when."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from docsession.backend.redis_parts import LUA, SLICE, Part, text
from docsession.backend.redis_script import Script
from docsession.backend.sealing import CommentsLookedAt, DocumentState, encoded
from docsession.model import CommentsRecord, DocumentRecord

__all__ = ["DocumentKeys"]

_DOCUMENTS = (
    LUA
    + """
local DOC, AT = P .. 'document:' .. ARGV[1], P .. 'proofs:' .. ARGV[1]
local COMMENTS_AT = P .. 'proofs-comments:' .. ARGV[1]
local COMMENTS = P .. 'comments:' .. ARGV[1]
local function known()
  local doc = redis.call('HMGET', DOC, 'sealed', 'as_of', 'doubted')
  if not doc[1] then return 0 end
  return {doc[1], doc[2], doc[3], redis.call('ZRANGE', AT, 0, -1, 'WITHSCORES'),
          redis.call('ZRANGE', COMMENTS_AT, 0, -1, 'WITHSCORES')}
end
"""
)

_LOAD = Script("load_document", _DOCUMENTS + "return known()")

_SAVE = Script(
    "save_document",
    _DOCUMENTS
    + """
-- ARGV: file, state that cannot be read ('' for none), sealed, as_of, mark, doubted, milliseconds
-- it lasts, since when others would last still, how many marks may be replaced, those marks, and for
-- each proof: user, time at the document, time at its comments.
local file, doubted, marks = ARGV[1], tonumber(ARGV[6]), tonumber(ARGV[9])
local stored = redis.call('HMGET', DOC, 'sealed', 'mark', 'doubted')
local free = not stored[1] or stored[1] == ARGV[2]
for i = 10, 9 + marks do free = free or stored[2] == ARGV[i] end
if free then
  redis.call('HSET', DOC, 'sealed', ARGV[3], 'as_of', ARGV[4], 'mark', ARGV[5])
  if tonumber(ARGV[7]) == 0 then redis.call('DEL', DOC, AT, COMMENTS_AT, COMMENTS) return 1 end
  redis.call('PEXPIRE', DOC, ARGV[7])
end
if not stored[3] or tonumber(stored[3]) < doubted then
  redis.call('HSET', DOC, 'doubted', ARGV[6])
else
  doubted = tonumber(stored[3])
end
local left = redis.call('PTTL', DOC)
for i = 10 + marks, #ARGV, 3 do
  local user, of = ARGV[i], P .. 'proofs-of:' .. ARGV[i]
  redis.call('ZADD', AT, 'GT', ARGV[i + 1], user)
  redis.call('ZADD', COMMENTS_AT, 'GT', ARGV[i + 2], user)
  redis.call('ZADD', of, 'GT', ARGV[4], file)
  redis.call('ZREMRANGEBYSCORE', of, '-inf', '(' .. ARGV[8])
  keep(of, left)
end
for _, user in ipairs(redis.call('ZRANGEBYSCORE', AT, '-inf', '(' .. string.format('%.17g', doubted))) do
  if tonumber(redis.call('ZSCORE', COMMENTS_AT, user) or 0) < doubted then
    redis.call('ZREM', AT, user)
    redis.call('ZREM', COMMENTS_AT, user)
  end
end
for _, key in ipairs({AT, COMMENTS_AT, COMMENTS}) do redis.call('PEXPIRE', key, left) end
if not free then return known() end
return 1
""",
)

_DROP_PROOFS = Script(
    "drop_proofs",
    LUA
    + """
for _, file in ipairs(redis.call('ZRANGE', P .. 'proofs-of:' .. ARGV[1], 0, -1)) do
  redis.call('ZREM', P .. 'proofs:' .. file, ARGV[1])
  redis.call('ZREM', P .. 'proofs-comments:' .. file, ARGV[1])
end
redis.call('DEL', P .. 'proofs-of:' .. ARGV[1])
""",
)

_SAVE_COMMENTS = Script(
    "save_comments",
    _DOCUMENTS
    + """
-- ARGV: file, when they were looked at, that sealed ('' with all slices but the last), and for each
-- comment: id, sealed.
local left = redis.call('PTTL', DOC)
if left < 0 then return end
for i = 4, #ARGV, 2 do redis.call('HSET', COMMENTS, ARGV[i], ARGV[i + 1]) end
local at = redis.call('HGET', DOC, 'comments_at')
if ARGV[3] ~= '' and (not at or tonumber(at) <= tonumber(ARGV[2])) then
  redis.call('HSET', COMMENTS, '', ARGV[3])
  redis.call('HSET', DOC, 'comments_at', ARGV[2])
end
redis.call('PEXPIRE', COMMENTS, left)
""",
)


class DocumentKeys(Part):
    """``document:``, ``proofs:``, ``proofs-comments:``, ``proofs-of:`` and ``comments:``."""

    mark_keys: Sequence[bytes]

    async def load_document(self, file_id: str) -> DocumentRecord | None:
        return self._record(file_id, await self._run(_LOAD, file_id))

    async def save_document(self, record: DocumentRecord, *, replaces: str | None) -> DocumentRecord | None:
        state = DocumentState(record.version, record.google_version, record.file, record.doubted)
        sealed = self._sealed.seal("document", record.file_id, encoded(state))
        lasts = self._lifetimes.idle
        marks = [] if replaces is None else self._marks(record.file_id, replaces)
        rest = (
            *(sealed, record.as_of, self._marks(record.file_id, record.mark)[0], record.doubted),
            *(self._left(record.as_of + lasts), self._clock.seconds() - lasts),
            *(len(marks), *marks),
            *(word for user, times in record.proofs.items() for word in (user, *times)),
        )
        stored = await self._run(_SAVE, record.file_id, "", *rest)
        if stored == 1:
            return None
        found = self._record(record.file_id, stored)
        if found is None:  # then it counts as none, and stands in nobody's way
            stored = await self._run(_SAVE, record.file_id, stored[0], *rest)
            found = None if stored == 1 else self._record(record.file_id, stored)
        return found

    async def delete_document(self, file_id: str) -> None:
        kinds = ("document", "proofs", "proofs-comments", "comments")
        await self._redis.do("DEL", *(self._redis.key(f"{kind}:{file_id}") for kind in kinds))

    async def drop_proofs(self, user_id: str) -> None:
        await self._run(_DROP_PROOFS, user_id)

    async def load_comments(self, file_id: str) -> CommentsRecord | None:
        found = await self._redis.do("HGETALL", self._redis.key(f"comments:{file_id}"))
        rows = {text(name): value for name, value in zip(found[::2], found[1::2], strict=True)}
        sealed = rows.pop("", None)
        looked_at = sealed and self._comment(file_id, "", sealed, CommentsLookedAt)
        comments = {each: self._comment(file_id, each, value, dict) for each, value in rows.items()}
        self._sealed.log_unreadable()
        if looked_at is None or None in comments.values():
            return None  # some of them would be taken for all
        return CommentsRecord(comments, looked_at.mark, looked_at.looked_at)

    async def save_comments(self, file_id: str, record: CommentsRecord) -> None:
        looked_at = self._seal_comment(file_id, "", CommentsLookedAt(record.mark, record.looked_at))
        rows = list(record.comments.items())
        slices = [rows[start : start + SLICE] for start in range(0, len(rows), SLICE)] or [[]]
        for number, some in enumerate(slices, start=1):
            sealed = [(each, self._seal_comment(file_id, each, value)) for each, value in some]
            last = looked_at if number == len(slices) else ""
            await self._run(_SAVE_COMMENTS, file_id, record.looked_at, last, *chain(*sealed))

    # -- inside

    def _record(self, file_id: str, found: Any) -> DocumentRecord | None:
        if not isinstance(found, list):
            return None
        sealed, as_of, doubted, proofs, comments = found
        state = self._sealed.unseal_value("document", file_id, sealed, DocumentState)
        self._sealed.log_unreadable()
        if state is None:
            return None
        comments_at = _scores(comments)
        return DocumentRecord(
            file_id,
            state.version,
            state.google_version,
            state.file,
            float(as_of),
            {user: (at, comments_at.get(user, 0.0)) for user, at in _scores(proofs).items()},
            max(state.doubted, float(doubted)),
        )

    def _marks(self, file_id: str, mark: str) -> list[bytes]:
        """What stands for a mark in Redis, by each of our keys: the mark itself tells of what Google
        said, by which something that was guessed could be recognised."""
        about = f"{file_id} {mark}".encode()
        return [hmac.digest(key, b"docsession mark " + about, "sha256")[:16] for key in self.mark_keys]

    def _seal_comment(self, file_id: str, comment_id: str, value: Any) -> bytes:
        return self._sealed.seal("comment", f"{file_id} {comment_id}", encoded(value))

    def _comment(self, file_id: str, comment_id: str, sealed: bytes, of: type[Any]) -> Any:
        return self._sealed.unseal_value("comment", f"{file_id} {comment_id}", sealed, of)


def _scores(flat: Sequence[bytes]) -> Mapping[str, float]:
    return {text(name): float(score) for name, score in zip(flat[::2], flat[1::2], strict=True)}
