"""What a store on Redis says of itself: whose it is, which schema, whose keys, and in which life.

It is one hash, ``meta``. Where it is not there, or is older than somebody saw it, the store has lost
what it had; whoever sees that first gives it another ``epoch``.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from docsession.backend.redis_parts import text
from docsession.backend.redis_script import Script
from docsession.errors import ConfigError
from docsession.keys import Keys, Sealer, Unreadable, fingerprint

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["SCHEMA", "Meta", "adopt_keys", "read_meta"]

SCHEMA = 1
PROGRAM = "docsession"

_PROBE = b"docsession"
_ABOUT = "meta probe"
# What nodes write while they run: others may be running while meta is gone.
_OF_NODES = ("node:", "nodes", "lease:", "share:", "pulse")

_MAKE = Script(
    "make_meta",
    """
-- KEYS: meta. ARGV: the epoch that is no more ('' where there is to be none yet), then names and values.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch or (ARGV[1] ~= '' and epoch == ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'tick', 0, unpack(ARGV, 2))
end
return redis.call('HGETALL', KEYS[1])
""",
)

_ADOPT = Script(
    "adopt_keys",
    """
-- KEYS: meta. ARGV: fingerprint now, fingerprint then, probe.
if redis.call('HGET', KEYS[1], 'fingerprint') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2], 'probe', ARGV[3])
return 1
""",
)


class Meta:
    """Made or checked when the store is opened, and written again when it was lost."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._stamp: Mapping[str, str] = {}
        self.epoch = ""

    async def open(self, stamp: Mapping[str, str]) -> None:
        """Raises :class:`ConfigError` where it is not ours, or not for us."""
        self._stamp = stamp
        found = await read_meta(self._redis)
        if not found:
            strange = await _strangers_key(self._redis)
            # A node that starts at the same moment may have made it by now.
            found = await read_meta(self._redis)
            if not found and strange is not None:
                raise ConfigError(_in_use(self._redis, strange))
            found = found or await self._make("")
        self._check(found)
        self.epoch = found["epoch"]

    async def create(self, stamp: Mapping[str, str]) -> None:
        """Of a store that is there already: from now on it is one, whose it is, and in its first life."""
        self._stamp = stamp
        await self._make("")

    async def renew(self) -> None:
        """The store has lost what it had: let that be known by another epoch, if it is not yet."""
        found = await self._make(self.epoch)
        self.epoch = found.get("epoch", self.epoch)

    async def _make(self, epoch: str) -> dict[str, str]:
        values = {
            "program": PROGRAM,
            "schema": str(SCHEMA),
            **self._stamp,
            "fingerprint": fingerprint(self._keys),
            "probe": _probe(self._keys),
            "epoch": secrets.token_hex(8),
        }
        words = [word for pair in values.items() for word in pair]
        return _named(await self._redis.run(_MAKE, [self._redis.key("meta")], [epoch, *words]))

    def _check(self, found: Mapping[str, str]) -> None:
        where = f"Redis at {self._redis.url}, {self._redis.key('')}meta"
        if found.get("program") != PROGRAM or not found.get("schema", "").isdigit():
            raise ConfigError(_in_use(self._redis, "meta"))
        if int(found["schema"]) > SCHEMA:
            raise ConfigError(
                f"{where}: this store has schema {found['schema']}, newer than this program's {SCHEMA}"
            )
        stored = {name: found.get(name, "") for name in self._stamp}
        if stored != self._stamp:
            raise ConfigError(
                f"{where}: belongs to {_spelled(stored)}, the configuration to {_spelled(self._stamp)};"
                " use another backend.prefix"
            )
        ours = fingerprint(self._keys)
        if found.get("fingerprint") != ours:
            raise ConfigError(
                f"{where}: the keys of its nodes have the fingerprint {found.get('fingerprint', '')[:12]},"
                f" these have {ours[:12]}; give all nodes the same keys in the same order (how they are"
                " changed is in docs/operations.rst)"
            )


async def read_meta(redis: Redis) -> dict[str, str]:
    """All of it; nothing where there is none. Raises :class:`ConfigError` where it is somebody else's."""
    kind = await redis.do("TYPE", redis.key("meta"))
    if kind == b"none":
        return {}
    if kind != b"hash":
        raise ConfigError(_in_use(redis, "meta"))
    return _named(await redis.do("HGETALL", redis.key("meta")))


async def adopt_keys(redis: Redis, keys: Keys) -> None:
    """Let the store have these keys from now on, by which what it holds can still be read.

    Raises :class:`ConfigError` where they can't read it, or where a node still runs: it would go on
    sealing with the keys that it has.
    """
    found = await read_meta(redis)
    if not found:
        raise ConfigError(f"Redis at {redis.url}: there is no store under {redis.key('')!r}")
    try:
        Sealer(keys).unseal(found.get("probe", "").encode(), about=_ABOUT)
    except Unreadable:
        raise ConfigError(
            f"Redis at {redis.url}: what is stored cannot be read with these keys; add the old ones behind"
        ) from None
    async for node in _names(redis, "node:"):
        raise ConfigError(f"Redis at {redis.url}: {node} still runs; stop all nodes first")
    words = [found.get("fingerprint", ""), fingerprint(keys), _probe(keys)]
    if not await redis.run(_ADOPT, [redis.key("meta")], words):
        raise ConfigError(f"Redis at {redis.url}: somebody else changed the keys meanwhile")


async def _strangers_key(redis: Redis) -> str | None:
    """A name that no node of ours gives, where none of ours runs: those write again what was lost."""
    strange = None
    async for name in _names(redis, ""):
        if name.startswith("node:"):
            return None
        if not name.startswith(_OF_NODES):
            strange = strange or name
    return strange


async def _names(redis: Redis, beginning: str) -> AsyncIterator[str]:
    """Names of keys that begin like this, without the prefix."""
    prefix, cursor = redis.key(""), b"0"
    while True:
        cursor, found = await redis.do("SCAN", cursor, "MATCH", f"{prefix}{beginning}*", "COUNT", 1000)
        for name in found:
            yield text(name).removeprefix(prefix)
        if cursor == b"0":
            return


def _in_use(redis: Redis, name: str) -> str:
    prefix = redis.key("")
    return f"backend.prefix: {prefix!r} is in use by something else, which has {prefix}{name}; choose another"


def _probe(keys: Keys) -> str:
    return Sealer(keys).seal(_PROBE, about=_ABOUT).decode("ascii")


def _spelled(stamp: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(stamp.items()))


def _named(flat: list[bytes]) -> dict[str, str]:
    words = [word.decode("utf-8", "replace") for word in flat]
    return dict(zip(words[::2], words[1::2], strict=True))
