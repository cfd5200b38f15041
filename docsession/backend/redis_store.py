"""The store on Redis, for several nodes: everything that must survive one of them, or all.

What is sealed, and for which row, is as in the embedded store; a row whose key is gone counts as
absent. Redis itself ends what has had its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from docsession.backend.redis_channels import ChannelKeys
from docsession.backend.redis_documents import DocumentKeys
from docsession.backend.redis_journal import JournalKeys
from docsession.backend.redis_meta import Meta
from docsession.backend.redis_sessions import SessionKeys
from docsession.backend.redis_users import UserKeys
from docsession.backend.sealing import SealedColumns
from docsession.config import Sessions
from docsession.interfaces import Store
from docsession.keys import Keys, Sealer

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["RedisStore"]

_TWO_DAYS = 2 * 86_400_000


class RedisStore(SessionKeys, UserKeys, JournalKeys, DocumentKeys, ChannelKeys):
    """Implements :class:`docsession.interfaces.Store` on a link whose owner starts and stops it."""

    def __init__(self, redis: Redis, keys: Keys, *, clock: IReactorTime, lifetimes: Sessions) -> None:
        super().__init__(redis, SealedColumns(Sealer(keys)), clock, lifetimes)
        self.mark_keys = keys.sealing
        self._meta = Meta(redis, keys)
        self._on_set_back: Callable[[], None] = lambda: None

    @property
    def unreadable(self) -> Counter[str]:
        """How many rows of each kind could not be unsealed since the start."""
        return Counter(self._sealed.unreadable)

    async def open(self, stamp: Mapping[str, str]) -> None:
        await self._meta.open(stamp)

    async def close(self) -> None:
        """Nothing is kept back."""

    def listen(self, on_away: Callable[[bool], None], on_set_back: Callable[[], None] = lambda: None) -> None:
        self._redis.on_away(on_away)
        self._on_set_back = on_set_back

    @property
    def epoch(self) -> str:
        return self._meta.epoch

    async def renew_meta(self) -> None:
        """Somebody saw that Redis lost what it had. Whoever comes first gives the store another epoch."""
        await self._meta.renew()

    def set_back(self, epoch: str | None = None) -> None:
        """It has lost what it had, as its other epoch shows (or as :meth:`renew_meta` found)."""
        if epoch is not None:
            self._meta.epoch = epoch
        self._on_set_back()

    async def ping(self) -> None:
        pulse = self._redis.key("pulse")
        await self._redis.do_all([("SET", pulse, self._clock.seconds(), "PX", 60_000), ("GET", pulse)])

    async def load_spent(self, day: str) -> Mapping[str, int]:
        found = await self._redis.do("HGETALL", self._redis.key(f"spent:{day}"))
        return {str(node, "utf-8"): int(units) for node, units in zip(found[::2], found[1::2], strict=True)}

    async def save_spent(self, day: str, node: str, units: int) -> None:
        key = self._redis.key(f"spent:{day}")
        await self._redis.do_all([("HSET", key, node, units), ("PEXPIRE", key, _TWO_DAYS)])

    async def prune(
        self,
        *,
        now: float,
        sessions_idle_before: float,
        sessions_issued_before: float,
        journal_before: float,
        documents_before: float,
    ) -> None:
        """All that expires does so by itself; what remains is to see whom that left without a session."""
        await self._mark_forsaken(now)


if TYPE_CHECKING:
    _fits_the_port: type[Store] = RedisStore
