"""The embedded backend: one SQLite file, and a process that is alone with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docsession.backend.memory import Switchboard, WholeQuota
from docsession.backend.sqlite import AdbapiRunner, SqliteStore
from docsession.interfaces import Backend
from docsession.keys import Keys, Sealer
from docsession.telemetry import Metrics

__all__ = ["EmbeddedBackend"]

# A document that changes all the time is stored once in so many seconds: each time costs a write to
# the disk, and nobody but who starts after this process reads it.
_REST = 1.0


class EmbeddedBackend:
    """Started and stopped as :class:`docsession.backend.redis_backend.RedisBackend` is."""

    def __init__(self, path: Path, keys: Keys, *, reactor: Any) -> None:
        store = SqliteStore(path, Sealer(keys), run=AdbapiRunner(path, reactor), clock=reactor)
        self.backend = Backend(store, *Switchboard(reactor).node("one"), WholeQuota(), rest=_REST)

    async def start(self, stamp: Mapping[str, str]) -> None:
        """Raises :class:`docsession.errors.ConfigError`."""
        await self.backend.store.open(stamp)

    async def stop(self) -> None:
        await self.backend.store.close()

    async def health(self) -> Mapping[str, str]:
        """The store is all there is, and is asked anyway."""
        return {}

    def measure(self, metrics: Metrics) -> None:
        """There is nothing but the store."""
