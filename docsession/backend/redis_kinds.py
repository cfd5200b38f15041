"""How the keys of a store on Redis are a store's rows: each kind of them read, and put.

While rows are put nobody else uses the store; so what daemons do in one step may here take several.
"""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, FirstError, gatherResults

from docsession.backend.redis_parts import LUA, text
from docsession.backend.redis_script import Script
from docsession.backend.redis_sessions import SESSIONS
from docsession.backend.redis_store import RedisStore
from docsession.backend.rows import Row, Values
from docsession.backend.sealing import CommentsLookedAt, DocumentState, encoded
from docsession.model import ChannelRecord, DocumentRecord, Grant, SignInState

__all__ = ["RowKeys"]

T = TypeVar("T")

_SESSIONS = Script(
    "put_sessions",
    SESSIONS + "for i = 4, #ARGV, 5 do save(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) end",
)
_STATES = Script(
    "put_states",
    LUA
    + """
for i = 1, #ARGV, 4 do
  redis.call('SET', P .. 'state:' .. ARGV[i], ARGV[i + 1], 'PX', ARGV[i + 3])
  redis.call('SADD', P .. 'states-of:' .. ARGV[i + 2], ARGV[i])
  keep(P .. 'states-of:' .. ARGV[i + 2], ARGV[i + 3])
end
""",
)
_CHANNELS = Script(
    "put_channels",
    LUA
    + """
for i = 1, #ARGV, 5 do
  local key, of = P .. 'channel:' .. ARGV[i], P .. 'channels-of:' .. ARGV[i + 1]
  redis.call('HSET', key, 'user', ARGV[i + 1], 'sealed', ARGV[i + 2])
  redis.call('PEXPIRE', key, ARGV[i + 4])
  redis.call('ZADD', of, ARGV[i + 3], ARGV[i])
  keep(of, ARGV[i + 4])
end
""",
)
_COMMENTS = Script(
    "put_comments",
    LUA
    + """
-- ARGV: file, when they were looked at, and for each: id, sealed.
local doc, key = P .. 'document:' .. ARGV[1], P .. 'comments:' .. ARGV[1]
redis.call('DEL', key)
redis.call('HSET', doc, 'comments_at', ARGV[2])
for i = 3, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', key, redis.call('PTTL', doc))
""",
)


class RowKeys(RedisStore):
    """A store on Redis, by rows. Hashes are bytes here and hexadecimal there."""

    # -- reading: values for names that were found, those without that are gone, or closed to us

    async def users(self, names: Sequence[str]) -> list[Values]:
        found = await self._each("GET", "user", names)
        return [(name, sealed) for name, sealed in zip(names, found, strict=True) if sealed is not None]

    async def grants(self, names: Sequence[str]) -> list[Values]:
        found = await self._each("HGET", "grant", names, "sealed")
        return [(name, sealed) for name, sealed in zip(names, found, strict=True) if sealed is not None]

    async def sessions(self, names: Sequence[str]) -> list[Values]:
        found = await self._each("HMGET", "session", names, "sealed", "issued", "last_seen", "user")
        return [
            (bytes.fromhex(name), sealed, float(issued), float(seen), user and text(user))
            for name, (sealed, issued, seen, user) in zip(names, found, strict=True)
            if sealed is not None
        ]

    async def retired(self, names: Sequence[str]) -> list[Values]:
        found = await self._each("GET", "retired", names)
        return [
            (bytes.fromhex(name), float(until))
            for name, until in zip(names, found, strict=True)
            if until is not None
        ]

    async def sign_in_states(self, names: Sequence[str]) -> list[Values]:
        rows: list[Values] = []
        for name, sealed in zip(names, await self._each("GET", "state", names), strict=True):
            state = sealed and self._sealed.unseal_value("state", name, sealed, SignInState)
            if state:
                session = hashlib.sha256(state.session_id.encode("utf-8")).digest()
                rows.append((bytes.fromhex(name), session, state.expires, sealed))
        return rows

    async def journal(self, names: Sequence[str]) -> list[Values]:
        found = await self._each("HMGET", "journal", names, "socket", "begun", "outcome", "node")
        return [
            (bytes.fromhex(name), text(socket), float(begun), outcome, text(node))
            for name, (socket, begun, outcome, node) in zip(names, found, strict=True)
            if socket is not None
        ]

    async def documents(self, names: Sequence[str]) -> list[Values]:
        records = await self._together([self.load_document(name) for name in names])
        comments = await self._each("HGETALL", "comments", names)
        rows: list[Values] = []
        for record, flat in zip(records, comments, strict=True):
            if record is not None:
                state = DocumentState(record.version, record.google_version, record.file, record.doubted)
                proofs = tuple((user, *times) for user, times in sorted(record.proofs.items()))
                said = sorted(zip(map(text, flat[::2]), flat[1::2], strict=True))
                rows.append((record.file_id, record.as_of, encoded(state), proofs, tuple(said)))
        return rows

    async def channels(self, names: Sequence[str]) -> list[Values]:
        rows: list[Values] = []
        for name, sealed in zip(names, await self._each("HGET", "channel", names, "sealed"), strict=True):
            channel = sealed and self._sealed.unseal_value("channel", name, sealed, ChannelRecord)
            if channel:
                rows.append((name, channel.user_id, channel.generation, channel.expires, sealed))
        return rows

    async def spent(self, names: Sequence[str]) -> list[Values]:
        rows: list[Values] = []
        for day in sorted({name.partition(":")[0] for name in names}):
            rows += [(day, node, units) for node, units in (await self.load_spent(day)).items()]
        return rows

    async def orphans(self, begin: int, end: int) -> list[Values]:
        """Those between two ranks; they are in one key."""
        flat = await self._redis.do("ZRANGE", self._redis.key("orphans"), begin, end - 1, "WITHSCORES")
        return [(text(name), float(since)) for name, since in zip(flat[::2], flat[1::2], strict=True)]

    # -- putting

    async def put_users(self, rows: Sequence[Row]) -> None:
        await self._put(
            command
            for user, sealed in (row.values for row in rows)
            for command in (("SET", self._redis.key(f"user:{user}"), sealed), self._looked_after(user))
        )

    async def put_grants(self, rows: Sequence[Row]) -> None:
        commands: list[Sequence[Any]] = []
        for user, sealed in (row.values for row in rows):
            grant = self._sealed.unseal_value("grant", user, sealed, Grant)
            generation = 0 if grant is None else grant.generation
            key = self._redis.key(f"grant:{user}")
            commands.append(("HSET", key, "generation", generation, "sealed", sealed))
            commands.append(self._looked_after(user))
        await self._put(commands)

    async def put_sessions(self, rows: Sequence[Row]) -> None:
        words = [
            word
            for key, sealed, issued, seen, user in (row.values for row in rows)
            for word in (key.hex(), sealed, issued, seen, user or "")
        ]
        await self._run(_SESSIONS, *self._lives(), *words)

    async def put_retired(self, rows: Sequence[Row]) -> None:
        await self._put(
            ("SET", self._redis.key(f"retired:{key.hex()}"), until, "PX", self._lasts(until))
            for key, until in (row.values for row in rows)
        )

    async def put_sign_in_states(self, rows: Sequence[Row]) -> None:
        words = [
            word
            for key, session, expires, sealed in (row.values for row in rows)
            for word in (key.hex(), sealed, session.hex(), self._lasts(expires))
        ]
        await self._run(_STATES, *words)

    async def put_orphans(self, rows: Sequence[Row]) -> None:
        key = self._redis.key("orphans")
        await self._put(("ZADD", key, since, user) for user, since in (row.values for row in rows))

    async def put_journal(self, rows: Sequence[Row]) -> None:
        commands: list[Sequence[Any]] = []
        for row in rows:
            digest, socket, begun, outcome, node = row.values
            key = self._redis.key(f"journal:{digest.hex()}")
            words = ("socket", socket, "begun", begun, "node", node)
            commands += [
                ("DEL", key),
                ("HSET", key, *words, *(() if outcome is None else ("outcome", outcome))),
                ("PEXPIRE", key, self._lasts(row.expires)),
            ]
        await self._put(commands)

    async def put_documents(self, rows: Sequence[Row]) -> None:
        await self._together([self._put_document(*row.values) for row in rows])

    async def _put_document(
        self, file_id: str, as_of: float, state: bytes, proofs: Values, comments: Values
    ) -> None:
        known = msgspec.json.decode(state, type=DocumentState)
        record = DocumentRecord(
            file_id,
            known.version,
            known.google_version,
            known.file,
            as_of,
            {user: (at, comments_at) for user, at, comments_at in proofs},
            known.doubted,
        )
        # What an earlier try may have put there already is the same.
        await self.save_document(record, replaces=record.mark)
        if comments:
            sealed = dict(comments).get("")
            looked_at = sealed and self._comment(file_id, "", sealed, CommentsLookedAt)
            words = [word for comment in comments for word in comment]
            await self._run(_COMMENTS, file_id, looked_at.looked_at if looked_at else 0.0, *words)

    async def put_channels(self, rows: Sequence[Row]) -> None:
        words = [
            word
            for name, user, generation, expires, sealed in (row.values for row in rows)
            for word in (name, user, sealed, generation, self._lasts(expires))
        ]
        await self._run(_CHANNELS, *words)

    async def put_spent(self, rows: Sequence[Row]) -> None:
        for day, node, units in (row.values for row in rows):
            await self.save_spent(day, node, units)

    # -- inside

    async def _each(self, verb: str, kind: str, names: Sequence[str], *fields: str) -> list[Any]:
        return await self._redis.do_all(
            [(verb, self._redis.key(f"{kind}:{name}"), *fields) for name in names]
        )

    async def _put(self, commands: Iterable[Sequence[Any]]) -> None:
        if listed := list(commands):
            await self._redis.do_all(listed)

    async def _together(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """All at once: on the way they share a connection, and its round trips."""
        try:
            return await gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
            raise

    def _looked_after(self, user: str) -> Sequence[Any]:
        """Somebody looks soon whether this user has a session."""
        return "ZADD", self._redis.key("users"), "NX", self._clock.seconds(), user

    def _lasts(self, until: float) -> int:
        return max(1, self._left(until))
