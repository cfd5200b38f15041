"""Google accounts on Redis, the grants they gave us, and which of them have no browser left."""

from __future__ import annotations

from docsession.backend.redis_parts import LUA, SLICE, Part, text
from docsession.backend.redis_script import Script
from docsession.backend.sealing import encoded
from docsession.model import Grant, User

__all__ = ["UserKeys"]

_SAVE_GRANT = Script(
    "save_grant",
    LUA
    + """
-- ARGV: user, generation replaced ('' for none), unreadable grant ('' for none), generation, sealed, now.
local key = P .. 'grant:' .. ARGV[1]
local stored = redis.call('HMGET', key, 'generation', 'sealed')
local generation = stored[1] or ''
if stored[2] and stored[2] == ARGV[3] then generation = '' end
if generation ~= ARGV[2] then return stored[2] or 0 end
redis.call('HSET', key, 'generation', ARGV[4], 'sealed', ARGV[5])
redis.call('ZADD', P .. 'users', 'NX', ARGV[6], ARGV[1])
return 1
""",
)

_DELETE = Script(
    "delete_user",
    LUA
    + """
local user = ARGV[1]
redis.call('DEL', P .. 'user:' .. user, P .. 'grant:' .. user)
redis.call('ZREM', P .. 'users', user)
redis.call('ZREM', P .. 'orphans', user)
for _, file in ipairs(redis.call('ZRANGE', P .. 'proofs-of:' .. user, 0, -1)) do
  redis.call('ZREM', P .. 'proofs:' .. file, user)
  redis.call('ZREM', P .. 'proofs-comments:' .. file, user)
end
for _, channel in ipairs(redis.call('ZRANGE', P .. 'channels-of:' .. user, 0, -1)) do
  redis.call('DEL', P .. 'channel:' .. channel)
end
redis.call('DEL', P .. 'proofs-of:' .. user, P .. 'channels-of:' .. user)
""",
)

# Whose time in "users" has come may have lost the last session, which ended by itself.
_FORSAKEN = Script(
    "forsaken_users",
    LUA
    + """
local due = redis.call('ZRANGEBYSCORE', P .. 'users', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, user in ipairs(due) do
  local left = -1
  for _, hash in ipairs(redis.call('ZRANGE', P .. 'sessions-of:' .. user, 0, -1)) do
    left = math.max(left, redis.call('PTTL', P .. 'session:' .. hash))
  end
  if left >= 0 then
    redis.call('ZADD', P .. 'users', tonumber(ARGV[1]) + (left + 1) / 1000, user)
  else
    redis.call('ZREM', P .. 'users', user)
    if redis.call('EXISTS', P .. 'user:' .. user, P .. 'grant:' .. user) > 0 then
      redis.call('ZADD', P .. 'orphans', 'NX', ARGV[1], user)
    end
  end
end
return #due
""",
)


class UserKeys(Part):
    """``user:`` and ``grant:``, ``users`` and ``orphans``."""

    async def load_user(self, user_id: str) -> User | None:
        sealed = await self._redis.do("GET", self._redis.key(f"user:{user_id}"))
        user = sealed and self._sealed.unseal_value("user", user_id, sealed, User)
        self._sealed.log_unreadable()
        return user or None

    async def save_user(self, user: User) -> None:
        sealed = self._sealed.seal("user", user.id, encoded(user))
        await self._redis.do_all(
            [
                ("ZADD", self._redis.key("users"), "NX", self._clock.seconds(), user.id),
                ("SET", self._redis.key(f"user:{user.id}"), sealed),
            ]
        )

    async def load_grant(self, user_id: str) -> Grant | None:
        sealed = await self._redis.do("HGET", self._redis.key(f"grant:{user_id}"), "sealed")
        return None if sealed is None else self._grant(user_id, sealed)

    async def save_grant(self, user_id: str, grant: Grant, *, replaces: int | None) -> bool:
        sealed = self._sealed.seal("grant", user_id, encoded(grant))
        generation = "" if replaces is None else str(replaces)
        new = (grant.generation, sealed, self._clock.seconds())
        stored = await self._run(_SAVE_GRANT, user_id, generation, "", *new)
        if isinstance(stored, bytes) and self._grant(user_id, stored) is None:
            # One that cannot be unsealed is none: else its user could never sign in again.
            stored = await self._run(_SAVE_GRANT, user_id, generation, stored, *new)
        return bool(stored == 1)

    def _grant(self, user_id: str, sealed: bytes) -> Grant | None:
        grant = self._sealed.unseal_value("grant", user_id, sealed, Grant)
        self._sealed.log_unreadable()
        return grant

    async def delete_user(self, user_id: str) -> None:
        await self._run(_DELETE, user_id)

    async def mark_orphaned(self, user_id: str, since: float | None) -> None:
        if since is None:
            # Somebody is back. Should it come to nothing, the next look finds no session.
            await self._redis.do_all(
                [
                    ("ZADD", self._redis.key("users"), "LT", self._clock.seconds(), user_id),
                    ("ZREM", self._redis.key("orphans"), user_id),
                ]
            )
        else:
            await self._redis.do("ZADD", self._redis.key("orphans"), since, user_id)

    async def orphaned_users(self, before: float) -> list[str]:
        found = await self._redis.do("ZRANGEBYSCORE", self._redis.key("orphans"), "-inf", f"({before!r}")
        return [text(user_id) for user_id in found]

    async def _mark_forsaken(self, now: float) -> None:
        """Whose last session expired is orphaned, as after a sign-out."""
        while await self._run(_FORSAKEN, now, SLICE) == SLICE:
            pass
