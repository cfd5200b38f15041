"""What Redis does in one go: a few lines of Lua, by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

__all__ = ["Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script for :meth:`docsession.backend.redis.Redis.run`. ``name`` is for metrics."""

    name: str
    source: str = field(repr=False)
    sha: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Redis names scripts by this; nothing of security rests on it.
        sha = hashlib.sha1(self.source.encode("utf-8"), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)
