"""Fills a Redis with sessions, through the store itself.

    python -m benchmarks.cluster.seed URL COUNT ISSUER CLIENT

The keys come from ``DOCSESSION_KEYS``, as a daemon's do.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from docsession.config import Backend, Sessions
from docsession.keys import load_keys
from docsession.model import SessionRecord

AT_ONCE = 500


async def fill(reactor: Any, url: str, count: int, stamp: dict[str, str]) -> None:
    """So many browser sessions, of half as many users, all in their first day."""
    # Only where there is a Redis: it starts with the reactor.
    from docsession.backend.redis import Redis
    from docsession.backend.redis_store import RedisStore

    redis = Redis(Backend(url=url, answer_within=60), None, reactor=reactor, rng=random.Random())
    keys = load_keys(Path(), configured=tuple(os.environ["DOCSESSION_KEYS"].split()))
    store = RedisStore(redis, keys, clock=reactor, lifetimes=Sessions())
    await redis.start()
    await store.open(stamp)
    now = reactor.seconds()
    for begin in range(0, count, AT_ONCE):
        saving = [
            Deferred.fromCoroutine(
                store.save_session(
                    SessionRecord(secrets.token_urlsafe(32), now - 3600, now, f"stored-user-{number // 2}")
                )
            )
            for number in range(begin, min(count, begin + AT_ONCE))
        ]
        await gatherResults(saving)
    await store.close()
    await redis.stop()


if __name__ == "__main__":
    place, many, issuer, client = sys.argv[1:]
    stamped = {"issuer": issuer, "client_id": client}
    react(lambda reactor: Deferred.fromCoroutine(fill(reactor, place, int(many), stamped)))
