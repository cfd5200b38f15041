"""The embedded backend: one SQLite file, and this process, which shares nothing with any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docsession.backend.memory import Switchboard, WholeQuota
from docsession.backend.sqlite import AdbapiRunner, SqliteStore
from docsession.interfaces import Backend
from docsession.keys import Sealer
from docsession.telemetry import Metrics

__all__ = ["EmbeddedBackend"]


class EmbeddedBackend:
    """Everything that must survive is in the file at ``path``."""

    def __init__(self, path: Path, sealer: Sealer, *, reactor: Any) -> None:
        self._store = SqliteStore(path, sealer, run=AdbapiRunner(path, reactor), clock=reactor)
        self.backend = Backend(self._store, *Switchboard(reactor).node("one"), WholeQuota())

    async def start(self, stamp: Mapping[str, str]) -> None:
        """Open the file. Raises :class:`docsession.errors.ConfigError`."""
        await self._store.open(stamp)

    async def stop(self) -> None:
        await self._store.close()

    async def health(self) -> Mapping[str, str]:
        """Nothing beside the store."""
        return {}

    def measure(self, metrics: Metrics) -> None:
        """Nothing to show."""
