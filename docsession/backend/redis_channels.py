"""Push channels on Redis: which user each tells of, and what became of it."""

from __future__ import annotations

from typing import Any

from docsession.backend.redis_parts import LUA, Part, text
from docsession.backend.redis_script import Script
from docsession.backend.sealing import encoded
from docsession.model import ChannelRecord

__all__ = ["ChannelKeys"]

_CHANNELS = (
    LUA
    + """
-- Newest first; those that ended by themselves are taken out.
local function channels(user)
  local found = {}
  for _, id in ipairs(redis.call('ZREVRANGE', P .. 'channels-of:' .. user, 0, -1)) do
    local sealed = redis.call('HGET', P .. 'channel:' .. id, 'sealed')
    if sealed then found[#found + 1] = {id, sealed}
    else redis.call('ZREM', P .. 'channels-of:' .. user, id) end
  end
  return found
end
"""
)

_OF_USER = Script("load_channels", _CHANNELS + "return channels(ARGV[1])")

_ADD = Script(
    "add_channel",
    _CHANNELS
    + """
-- ARGV: user, id replaced ('' for none), id, generation, sealed, milliseconds it lasts, and the ids of
-- those that cannot be read.
local unreadable = {}
for i = 7, #ARGV do unreadable[ARGV[i]] = true end
local newest, found = '', channels(ARGV[1])
for i = #found, 1, -1 do
  if not unreadable[found[i][1]] then newest = found[i][1] end
end
if newest ~= ARGV[2] then return found end
local of = P .. 'channels-of:' .. ARGV[1]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', of, ARGV[4], '+inf')) do
  redis.call('DEL', P .. 'channel:' .. id)
  redis.call('ZREM', of, id)
end
redis.call('HSET', P .. 'channel:' .. ARGV[3], 'user', ARGV[1], 'sealed', ARGV[5])
redis.call('PEXPIRE', P .. 'channel:' .. ARGV[3], ARGV[6])
redis.call('ZADD', of, ARGV[4], ARGV[3])
keep(of, ARGV[6])
return 1
""",
)

_SAVE = Script(
    "save_channel",
    LUA
    + """
local key = P .. 'channel:' .. ARGV[1]
local user = redis.call('HGET', key, 'user')
if user then
  redis.call('HSET', key, 'sealed', ARGV[2])
  redis.call('PEXPIRE', key, ARGV[3])
  keep(P .. 'channels-of:' .. user, ARGV[3])
end
""",
)

_DELETE = Script(
    "delete_channel",
    LUA
    + """
local key = P .. 'channel:' .. ARGV[1]
local user = redis.call('HGET', key, 'user')
if user then redis.call('ZREM', P .. 'channels-of:' .. user, ARGV[1]) end
redis.call('DEL', key)
""",
)


class ChannelKeys(Part):
    """``channel:`` and ``channels-of:``."""

    async def add_channel(self, record: ChannelRecord, *, replaces: str | None) -> bool:
        new = (record.id, record.generation, self._seal(record), self._left(record.expires))
        stored = await self._run(_ADD, record.user_id, replaces or "", *new)
        if stored != 1:
            # Those that cannot be unsealed are none, or their user would never have another.
            unreadable = [each for each, sealed in stored if self._channel(text(each), sealed) is None]
            if unreadable:
                stored = await self._run(_ADD, record.user_id, replaces or "", *new, *unreadable)
        return bool(stored == 1)

    async def save_channel(self, record: ChannelRecord) -> None:
        await self._run(_SAVE, record.id, self._seal(record), self._left(record.expires))

    async def load_channels(self, user_id: str) -> list[ChannelRecord]:
        found = await self._run(_OF_USER, user_id)
        records = [self._channel(text(each), sealed) for each, sealed in found]
        return [record for record in records if record is not None]

    async def load_channel(self, channel_id: str) -> ChannelRecord | None:
        sealed = await self._redis.do("HGET", self._redis.key(f"channel:{channel_id}"), "sealed")
        return None if sealed is None else self._channel(channel_id, sealed)

    async def delete_channel(self, channel_id: str) -> None:
        await self._run(_DELETE, channel_id)

    def _seal(self, record: ChannelRecord) -> bytes:
        return self._sealed.seal("channel", record.id, encoded(record))

    def _channel(self, channel_id: str, sealed: Any) -> ChannelRecord | None:
        record = self._sealed.unseal_value("channel", channel_id, sealed, ChannelRecord)
        self._sealed.log_unreadable()
        return record
