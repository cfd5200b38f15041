"""The link to Redis over real redis-server processes: answers, refusals, losses and returns."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from docsession.backend.redis_script import Script
from docsession.config import Backend
from docsession.errors import Unavailable
from tests.daemon.redis_server import RedisServer, needs_redis

pytestmark = needs_redis

Link = Callable[..., Coroutine[Any, Any, Any]]

ADD = Script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with RedisServer(tmp_path / "redis") as running:
        yield running


@pytest_twisted.async_yield_fixture
async def link(server: RedisServer) -> AsyncIterator[Link]:
    from twisted.internet import reactor

    from docsession.backend.redis import Redis

    opened: list[Redis] = []

    async def open(password: str | None = None, **settings: Any) -> Redis:
        redis = Redis(
            Backend(**{"url": server.url, "answer_within": 30, **settings}),
            password,
            reactor=reactor,
            rng=random.Random(4),
        )
        opened.append(redis)
        await redis.start()
        return redis

    yield open
    for redis in opened:
        await redis.stop()


def said(register: Callable[[Callable[..., None]], None]) -> Deferred[Any]:
    """Fires with what the next call of a listener is given."""
    first: Deferred[Any] = Deferred()

    def heard(*values: Any) -> None:
        if not first.called:
            first.callback(values)

    register(heard)
    return first


@pytest_twisted.ensureDeferred
async def test_answers_are_as_redis_sends_them(link: Link) -> None:
    redis = await link()
    big = bytes(range(256)) * 5000
    assert await redis.do("SET", redis.key("x"), big) == b"OK"
    assert redis.key("x") == "docsession:x"
    assert await redis.do("GET", "docsession:x") == big
    assert await redis.do("GET", "docsession:y") is None
    assert await redis.do("RPUSH", "docsession:l", 7, "ü", 1700000000.123456) == 3
    assert await redis.do("LRANGE", "docsession:l", 0, -1) == [b"7", "ü".encode(), b"1700000000.123456"]


@pytest_twisted.ensureDeferred
async def test_many_at_once_are_one_way_there_and_back(link: Link) -> None:
    redis = await link()
    before = redis.round_trips
    assert await redis.do_all([("SET", "a", 1), ("INCR", "a"), ("GET", "a")]) == [b"OK", 2, b"2"]
    assert redis.round_trips - before == 1
    answers = await gatherResults([Deferred.fromCoroutine(redis.do("INCR", "n")) for _ in range(500)])
    assert answers == list(range(1, 501))
    assert redis.commands == {"SET": 1, "INCR": 501, "GET": 1}
    assert redis.connections == 2


@pytest_twisted.ensureDeferred
async def test_a_script_is_taught_once_and_again_after_it_was_forgotten(link: Link) -> None:
    redis = await link()
    assert await redis.run(ADD, ["k"], [2]) == 2
    assert await redis.run(ADD, ["k"], [2]) == 4
    await redis.do("SCRIPT", "FLUSH")
    assert await redis.run(ADD, ["k"], [2]) == 6
    assert redis.commands == {"add": 3, "SCRIPT": 1}
    assert redis.round_trips == 6


@pytest_twisted.ensureDeferred
async def test_what_only_a_bug_would_do_is_not_explained_away(link: Link) -> None:
    from docsession.backend.redis import RedisError

    redis = await link()
    with pytest.raises(RedisError, match="WRONGTYPE"):
        await redis.do_all([("SET", "a", 1), ("LPOP", "a"), ("SET", "b", 2)])
    assert await redis.do("GET", "b") == b"2"


@pytest_twisted.ensureDeferred
async def test_who_goes_away_does_not_disturb_the_order(link: Link) -> None:
    redis = await link()
    first = Deferred.fromCoroutine(redis.do("INCR", "n"))
    second = Deferred.fromCoroutine(redis.do("INCR", "n"))
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    assert await second == 2
    assert await redis.do("INCR", "n") == 3


@pytest_twisted.ensureDeferred
async def test_refusals_that_pass_are_unavailable(link: Link, server: RedisServer) -> None:
    redis = await link()
    server.cli("config", "set", "maxmemory", "1")
    with pytest.raises(Unavailable):
        await redis.do("SET", "a", 1)
    with pytest.raises(Unavailable):
        await redis.run(ADD, ["k"], [2])
    assert not redis.away
    server.cli("config", "set", "maxmemory", "0")
    await redis.do("SET", "a", 1)


@pytest_twisted.ensureDeferred
async def test_one_that_became_a_replica_is_left(link: Link, server: RedisServer) -> None:
    """Writes are unavailable; the connection is made anew, for the master may be another by now."""
    redis = await link()
    server.cli("replicaof", "127.0.0.1", "1")
    away = said(redis.on_away)
    with pytest.raises(Unavailable):
        await redis.do("SET", "a", 1)
    assert await away == (True,)
    back = said(redis.on_away)
    server.cli("replicaof", "no", "one")
    assert await back == (False,)
    await redis.do("SET", "a", 1)


@pytest_twisted.ensureDeferred
async def test_killed_and_started_again(link: Link, server: RedisServer) -> None:
    """Nothing is queued meanwhile; afterwards all is as before, subscriptions included."""
    redis, other = await link(), await link()
    redis.subscribe("docsession:c")
    await redis.do("SET", "a", 1)
    away, others = said(redis.on_away), said(other.on_away)
    server.kill()
    assert (await away, await others) == ((True,), (True,))
    assert redis.away
    with pytest.raises(Unavailable):
        await redis.do("GET", "a")
    redis.subscribe("docsession:d")
    redis.unsubscribe("docsession:c")
    back, again, others = said(redis.on_away), said(redis.on_subscribed_again), said(other.on_away)
    server.start()
    assert await back == (False,)
    await again
    await others
    assert not redis.away
    heard = said(redis.on_message)
    assert await other.do("PUBLISH", "docsession:c", "lost") == 0
    assert await other.do("PUBLISH", "docsession:d", b"\xff") == 1
    assert await heard == ("docsession:d", b"\xff")


@pytest_twisted.ensureDeferred
async def test_stopped_by_who_hears_that_it_is_back(link: Link, server: RedisServer) -> None:
    redis = await link()
    away = said(redis.on_away)
    server.kill()
    await away
    stopped: Deferred[None] = Deferred()
    redis.on_away(lambda away: Deferred.fromCoroutine(redis.stop()).chainDeferred(stopped))
    server.start()
    await stopped
    assert redis.away
    with pytest.raises(Unavailable):
        await redis.do("PING")


@pytest_twisted.ensureDeferred
async def test_one_that_does_not_answer_is_away(link: Link, server: RedisServer) -> None:
    """The late answer is not taken for that to a later question."""
    redis = await link(answer_within=0.2)
    await redis.do("SET", "a", "first")
    away = said(redis.on_away)
    server.hold()
    with pytest.raises(Unavailable):
        await redis.do("GET", "a")
    assert await away == (True,)
    back = said(redis.on_away)
    server.let_go()
    assert await back == (False,)
    assert await redis.do("PING") == b"PONG"


@pytest_twisted.ensureDeferred
async def test_a_silent_one_is_noticed_without_a_question(link: Link, server: RedisServer) -> None:
    redis = await link(answer_within=0.1)
    away = said(redis.on_away)
    server.hold()
    assert await away == (True,)
    server.let_go()


@pytest_twisted.ensureDeferred
async def test_messages_are_heard_while_they_are_wanted(link: Link) -> None:
    redis, other = await link(), await link()
    redis.subscribe("docsession:c")
    heard: list[tuple[str, bytes]] = []
    redis.on_message(lambda channel, payload: heard.append((channel, payload)))
    while not await other.do("PUBLISH", "docsession:c", "one"):
        pass
    redis.unsubscribe("docsession:c")
    while await other.do("PUBLISH", "docsession:c", "two"):
        pass
    assert heard[0] == ("docsession:c", b"one")
