"""Browser sessions on Redis, the ids that are retired for good, and sign-ins under way.

A session id or a sign-in state is found by its hash, as in the embedded store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from docsession.backend.redis_parts import LUA, SLICE, Part, text
from docsession.backend.redis_script import Script
from docsession.backend.sealing import encoded
from docsession.model import SessionRecord, SignInState

__all__ = ["SESSIONS", "SessionKeys"]

# A session ends by itself, at the earlier of two times. "users" holds until when each user has a
# session for sure: then somebody has to look again.
SESSIONS = (
    LUA
    + """
local now, idle, absolute = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function lasts(hash, issued, seen, user)
  local ends = math.min(issued + absolute, seen + idle)
  local left = milliseconds(math.max(0, ends - now))
  redis.call('PEXPIRE', P .. 'session:' .. hash, left)
  if user then
    local of = P .. 'sessions-of:' .. user
    redis.call('ZADD', of, ends, hash)
    redis.call('ZREMRANGEBYSCORE', of, '-inf', '(' .. now)
    keep(of, left)
    redis.call('ZADD', P .. 'users', 'GT', ends, user)
  end
end
local function gone(hash)
  local user = redis.call('HGET', P .. 'session:' .. hash, 'user')
  redis.call('DEL', P .. 'session:' .. hash)
  if user then
    redis.call('ZREM', P .. 'sessions-of:' .. user, hash)
    redis.call('ZADD', P .. 'users', 'LT', now, user)
  end
end
local function save(hash, sealed, issued, seen, user)
  if redis.call('EXISTS', P .. 'retired:' .. hash) == 1 then return end
  gone(hash)
  redis.call('HSET', P .. 'session:' .. hash, 'sealed', sealed, 'issued', issued, 'last_seen', seen)
  if user == '' then user = nil else
    redis.call('HSET', P .. 'session:' .. hash, 'user', user)
    redis.call('ZREM', P .. 'orphans', user)
  end
  lasts(hash, tonumber(issued), tonumber(seen), user)
end
local function retire(hash, left, till)
  gone(hash)
  for _, state in ipairs(redis.call('SMEMBERS', P .. 'states-of:' .. hash)) do
    redis.call('DEL', P .. 'state:' .. state)
  end
  redis.call('DEL', P .. 'states-of:' .. hash)
  -- (A key that is not there has -2.)
  if math.max(0, redis.call('PTTL', P .. 'retired:' .. hash)) < tonumber(left) then
    redis.call('SET', P .. 'retired:' .. hash, till, 'PX', left)
  end
end
"""
)

_SAVE = Script("save_session", SESSIONS + "save(ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])")

_TOUCH = Script(
    "touch_sessions",
    SESSIONS
    + """
for i = 4, #ARGV, 2 do
  local key = P .. 'session:' .. ARGV[i]
  local known = redis.call('HMGET', key, 'issued', 'last_seen', 'user')
  if known[1] and tonumber(known[2]) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', key, 'last_seen', ARGV[i + 1])
    lasts(ARGV[i], tonumber(known[1]), tonumber(ARGV[i + 1]), known[3])
  end
end
""",
)

_RETIRE = Script("retire_sessions", SESSIONS + "for i = 6, #ARGV do retire(ARGV[i], ARGV[4], ARGV[5]) end")

_REPLACE = Script(
    "replace_session",
    SESSIONS
    + """
retire(ARGV[6], ARGV[4], ARGV[5])
save(ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11])
""",
)

_OF_USER = Script(
    "sessions_of_user",
    LUA
    + """
local found = {}
for _, hash in ipairs(redis.call('ZRANGE', P .. 'sessions-of:' .. ARGV[1], 0, -1)) do
  local known = redis.call('HMGET', P .. 'session:' .. hash, 'sealed', 'issued', 'last_seen')
  if known[1] then found[#found + 1] = {hash, known[1], known[2], known[3]} end
end
return found
""",
)

_PUT_STATE = Script(
    "put_state",
    LUA
    + """
if tonumber(ARGV[4]) == 0 then return end
redis.call('SET', P .. 'state:' .. ARGV[1], ARGV[2], 'PX', ARGV[4])
redis.call('SADD', P .. 'states-of:' .. ARGV[3], ARGV[1])
keep(P .. 'states-of:' .. ARGV[3], ARGV[4])
""",
)


class SessionKeys(Part):
    """``session:``, ``sessions-of:``, ``retired:``, ``state:`` and ``states-of:``."""

    async def load_session(self, session_id: str) -> SessionRecord | None:
        key = self._redis.key(f"session:{_hash(session_id)}")
        issued, last_seen, user = await self._redis.do("HMGET", key, "issued", "last_seen", "user")
        if issued is None:
            return None
        return SessionRecord(session_id, float(issued), float(last_seen), user and text(user))

    async def save_session(self, record: SessionRecord) -> None:
        """An id that was retired stays dead: then nothing is saved."""
        await self._run(_SAVE, *self._lives(), *self._row(record))

    async def touch_sessions(self, seen: Mapping[str, float]) -> None:
        rows = [(_hash(session_id), when) for session_id, when in seen.items()]
        for start in range(0, len(rows), SLICE):
            some = rows[start : start + SLICE]
            await self._run(_TOUCH, *self._lives(), *(word for row in some for word in row))

    async def retire_sessions(self, session_ids: Iterable[str], until: float) -> None:
        hashes = [_hash(session_id) for session_id in session_ids]
        for start in range(0, len(hashes), SLICE):
            some = hashes[start : start + SLICE]
            await self._run(_RETIRE, *self._lives(), self._left(until), until, *some)

    async def is_retired(self, session_id: str) -> bool:
        return bool(await self._redis.do("EXISTS", self._redis.key(f"retired:{_hash(session_id)}")))

    async def retired_among(self, session_ids: Iterable[str]) -> set[str]:
        ids = list(session_ids)
        if not ids:
            return set()
        keys = [self._redis.key(f"retired:{_hash(session_id)}") for session_id in ids]
        found = await self._redis.do("MGET", *keys)
        return {session_id for session_id, value in zip(ids, found, strict=True) if value is not None}

    async def sessions_of_user(self, user_id: str) -> list[SessionRecord]:
        records = []
        for key, sealed, issued, last_seen in await self._run(_OF_USER, user_id):
            session_id = self._sealed.unseal("session", text(key), sealed)
            if session_id is not None:
                records.append(SessionRecord(text(session_id), float(issued), float(last_seen), user_id))
        self._sealed.log_unreadable()
        return records

    async def replace_session(self, old_id: str, new: SessionRecord, until: float) -> None:
        old = (self._left(until), until, _hash(old_id))
        await self._run(_REPLACE, *self._lives(), *old, *self._row(new))

    async def put_state(self, state: SignInState) -> None:
        key = _hash(state.state)
        sealed = self._sealed.seal("state", key, encoded(state))
        await self._run(_PUT_STATE, key, sealed, _hash(state.session_id), self._left(state.expires))

    async def take_state(self, state: str) -> SignInState | None:
        key = _hash(state)
        sealed = await self._redis.do("GETDEL", self._redis.key(f"state:{key}"))
        taken = sealed and self._sealed.unseal_value("state", key, sealed, SignInState)
        self._sealed.log_unreadable()
        return taken or None

    def _lives(self) -> tuple[float, float, float]:
        return self._clock.seconds(), self._lifetimes.idle, self._lifetimes.absolute

    def _row(self, record: SessionRecord) -> tuple[Any, ...]:
        key = _hash(record.id)
        sealed = self._sealed.seal("session", key, record.id.encode("utf-8"))
        return key, sealed, record.issued, record.last_seen, record.user_id or ""


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()
