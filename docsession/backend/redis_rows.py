"""The rows of a store on Redis, for a migration: found by going through all keys, or put where none is.

A target has no ``meta`` before it is complete, so that no daemon takes it for a store; instead it has
``migration``, which says where it comes from and how far it is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from docsession.backend.redis_kinds import RowKeys
from docsession.backend.redis_meta import Meta, read_meta
from docsession.backend.redis_parts import SLICE, text
from docsession.backend.redis_welcome import info
from docsession.backend.rows import KINDS, Kind, Row, Rows, expiry
from docsession.config import Sessions as Lifetimes
from docsession.errors import ConfigError
from docsession.keys import Keys, fingerprint

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["RedisRows"]

# What the names of the keys begin with.
_NAMES = {
    "users": "user:",
    "grants": "grant:",
    "sessions": "session:",
    "retired": "retired:",
    "sign_in_states": "state:",
    "journal": "journal:",
    "documents": "document:",
    "channels": "channel:",
    "spent": "spent:",
}
_PROGRAM = "docsession-migrate"


class RedisRows:
    """Implements :class:`docsession.backend.rows.Rows`; starts and stops the link it is given."""

    def __init__(
        self,
        redis: Redis,
        stamp: Mapping[str, str],
        keys: Keys,
        lifetimes: Lifetimes,
        clock: IReactorTime,
        *,
        slice_of: int = SLICE,
    ) -> None:
        self._redis = redis
        self._meta = Meta(redis, keys)
        self._kinds = RowKeys(redis, keys, clock=clock, lifetimes=lifetimes)
        self._stamp = stamp
        self._whose = {"program": _PROGRAM, "fingerprint": fingerprint(keys), **stamp}
        self._lifetimes = lifetimes
        self._slice = slice_of
        self._run = ""  # of the Redis process: another one has its keys in another order
        self._seen: set[str] = set()

    @property
    def name(self) -> str:
        return f"{self._redis.url} {self._redis.key('')}*"

    async def open_source(self) -> str:
        await self._start()
        found = await read_meta(self._redis)
        if not found:
            raise ConfigError(f"{self.name}: there is no store")
        await self._meta.open(self._stamp)
        # Every node moves the tick on while it runs.
        return f"{self.name} {found.get('epoch')} {found.get('tick')}"

    async def open_target(self, source: str) -> Mapping[str, str]:
        await self._start()
        if await read_meta(self._redis):
            raise ConfigError(f"{self.name}: there is a store already; choose another prefix or database")
        await self.check_unused()
        marker = self._redis.key("migration")
        flat = await self._redis.do("HGETALL", marker)
        noted = {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
        if noted.get("program") == _PROGRAM:
            if noted.get("source") == source and self._whose.items() <= noted.items():
                return noted
            await self._discard()
        async for names in self._found(""):
            for name in names:
                raise ConfigError(
                    f"{self.name}: is in use, there is {name}; choose another prefix or database"
                )
        await self.note({**self._whose, "source": source})
        return {}

    async def note(self, noted: Mapping[str, str]) -> None:
        words = [word for pair in noted.items() for word in pair]
        await self._redis.do("HSET", self._redis.key("migration"), *words)

    async def read(self, kind: Kind, after: str) -> tuple[Sequence[Row], str]:
        if kind.name == "orphans":  # all of them are in one key
            begin = int(after or 0)
            end = begin + self._slice
            values = await self._kinds.orphans(begin, end)
            after = str(end) if len(values) == self._slice else ""
        else:
            names, after = await self._some_names(_NAMES[kind.name], after)
            values = await getattr(self._kinds, kind.name)(names)
        return [Row(each, expiry(kind, each, self._lifetimes)) for each in values], after

    async def write(self, kind: Kind, rows: Sequence[Row]) -> None:
        await getattr(self._kinds, f"put_{kind.name}")(rows)

    async def finish(self) -> None:
        await self._meta.create(self._stamp)
        await self._redis.do("DEL", self._redis.key("migration"))

    async def check_unused(self) -> None:
        async for names in self._found("node:"):
            for name in names:
                raise ConfigError(f"{self.name}: {name} runs; stop all nodes first")

    async def close(self) -> None:
        await self._redis.stop()

    # -- inside

    async def _start(self) -> None:
        await self._redis.start()
        self._run = info(await self._redis.do("INFO", "server")).get("run_id", "")

    async def _some_names(self, beginning: str, after: str) -> tuple[list[str], str]:
        """Names of keys without this beginning, and where to go on. Each is given once."""
        run, _, cursor = after.rpartition(" ")
        if run != self._run:  # the first, or a cursor of a Redis that is no more
            cursor = "0"
            self._seen.clear()
        next_cursor, names = await self._scanned(beginning, cursor)
        new = [name.removeprefix(beginning) for name in names if name not in self._seen]
        self._seen.update(names)
        if next_cursor == "0":
            self._seen.clear()
            return new, ""
        return new, f"{self._run} {next_cursor}"

    async def _found(self, beginning: str) -> AsyncIterator[list[str]]:
        cursor = "0"
        while True:
            cursor, names = await self._scanned(beginning, cursor)
            yield names
            if cursor == "0":
                return

    async def _scanned(self, beginning: str, cursor: str) -> tuple[str, list[str]]:
        prefix = self._redis.key("")
        pattern = re.sub(r"([\\*?\[\]^])", r"\\\1", prefix + beginning) + "*"
        after, names = await self._redis.do("SCAN", cursor, "MATCH", pattern, "COUNT", self._slice)
        return text(after), list(dict.fromkeys(text(name).removeprefix(prefix) for name in names))

    async def _discard(self) -> None:
        async for names in self._found(""):
            if names := [name for name in names if name != "migration"]:
                await self._redis.do("UNLINK", *(self._redis.key(name) for name in names))
        await self._redis.do("DEL", self._redis.key("migration"))


assert {kind.name for kind in KINDS} == {*_NAMES, "orphans"}

if TYPE_CHECKING:
    _fits: type[Rows] = RedisRows
