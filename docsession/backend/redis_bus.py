"""Hints between nodes over Redis: sealed where they tell of people, dropped where there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from docsession.errors import Unavailable
from docsession.interfaces import Bus, Hear
from docsession.keys import Sealer, Unreadable
from docsession.tasks import Background

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["RedisBus"]

# So many may be on their way; and so large may one be.
MOST = 1000
LARGEST = 64 * 1024
# Those about documents hold ids, times and marks. Others may hold session ids.
_OPEN = "document:"
# Here a node says that it dropped some of its own.
_DROPPED = "dropped"
# What follows from a gap is work: it is said no more often than this.
_GAPS_APART = 1.0


class RedisBus:
    """Implements :class:`docsession.interfaces.Bus`."""

    _log = Logger()

    def __init__(self, redis: Redis, sealer: Sealer, clock: IReactorTime, *, node: str) -> None:
        self._redis = redis
        self._sealer = sealer
        self._clock = clock
        self._node = node
        self._work = Background(self._log)
        # By full name: what a listener calls it, and the listener.
        self._hear: dict[str, tuple[str, Hear]] = {}
        # What is to be said to Redis at the end of this turn: hear it (True), or no more.
        self._turn: dict[str, bool] = {}
        self._on_gap: list[Callable[[], None]] = []
        self._gap_at = float("-inf")
        self._gap_call: IDelayedCall | None = None
        self._unanswered = 0
        self._owing = False
        self.counts: Counter[str] = Counter(dict.fromkeys(("sent", "heard", "dropped", "unreadable"), 0))
        redis.on_message(self._arrived)
        redis.on_subscribed_again(self._gap)
        redis.on_away(self._away)
        self.subscribe(_DROPPED, lambda message: self._gap())

    @property
    def node(self) -> str:
        return self._node

    async def stop(self) -> None:
        """Wait for what was published; nothing is heard any more."""
        for name in self._hear:
            self._in_turn(name, False)
        self._hear.clear()
        await self._work.settle()
        if self._gap_call is not None and self._gap_call.active():
            self._gap_call.cancel()

    # -- out

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        try:
            payload = self._packed(channel, message)
        except Exception:
            self._log.failure("a message for other nodes could not be written")
            return
        if self._redis.away or self._unanswered >= MOST or len(payload) > LARGEST:
            self._drop()
            return
        self._unanswered += 1
        self._work.spawn(self._publish(channel, payload))

    async def _publish(self, channel: str, payload: bytes) -> None:
        try:
            await self._redis.do("PUBLISH", self._redis.key(channel), payload)
            self.counts["sent"] += 1
        except Unavailable:
            self._drop()
        finally:
            self._unanswered -= 1
        if not self._unanswered:
            self._own_up()

    def _drop(self) -> None:
        self.counts["dropped"] += 1
        self._owing = True

    def _own_up(self) -> None:
        """Once there is room again, tell the others that something of ours never came."""
        if self._owing and not self._redis.away:
            self._owing = False
            self.publish(_DROPPED, {})
            self._gap()

    def _packed(self, channel: str, message: Mapping[str, Any]) -> bytes:
        payload = msgspec.json.encode({**message, "node": self._node})
        return payload if channel.startswith(_OPEN) else self._sealer.seal(payload, about=f"bus {channel}")

    # -- in

    def subscribe(self, channel: str, hear: Hear) -> None:
        name = self._redis.key(channel)
        if name not in self._hear:
            self._in_turn(name, True)
        self._hear[name] = (channel, hear)

    def unsubscribe(self, channel: str) -> None:
        name = self._redis.key(channel)
        if self._hear.pop(name, None) is not None:
            self._in_turn(name, False)

    def _in_turn(self, name: str, wanted: bool) -> None:
        """All of one turn goes together: a node that starts, or ends, has thousands."""
        if not self._turn:
            self._clock.callLater(0, self._tell)
        if self._turn.pop(name, wanted) == wanted:
            self._turn[name] = wanted

    def _tell(self) -> None:
        turn, self._turn = self._turn, {}
        self._redis.subscribe(*(name for name, wanted in turn.items() if wanted))
        self._redis.unsubscribe(*(name for name, wanted in turn.items() if not wanted))

    def _arrived(self, name: str, payload: bytes) -> None:
        channel, hear = self._hear.get(name) or ("", None)
        if hear is None:
            return  # given up in the meantime
        message = self._unpacked(channel, payload)
        if message is None:
            self.counts["unreadable"] += 1
        elif message["node"] != self._node:
            self.counts["heard"] += 1
            hear(message)

    def _unpacked(self, channel: str, payload: bytes) -> dict[str, Any] | None:
        try:
            if not channel.startswith(_OPEN):
                payload = self._sealer.unseal(payload, about=f"bus {channel}")
            message = msgspec.json.decode(payload, type=dict[str, Any])
        except (Unreadable, msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        return message if isinstance(message.get("node"), str) else None

    # -- about others

    async def listeners(self, channel: str) -> int:
        name = self._redis.key(channel)
        _, hearing = await self._redis.do("PUBSUB", "NUMSUB", name)
        ours = name in self._hear and not self._turn.get(name)
        return max(0, int(hearing) - ours)

    async def is_alive(self, node: str) -> bool:
        return bool(await self._redis.do("EXISTS", self._redis.key(f"node:{node}")))

    # -- gaps

    def on_gap(self, call: Callable[[], None]) -> None:
        self._on_gap.append(call)

    def _away(self, away: bool) -> None:
        if not away:
            self._own_up()

    def _gap(self) -> None:
        if self._gap_call is None:
            wait = self._gap_at + _GAPS_APART - self._clock.seconds()
            self._gap_call = self._clock.callLater(max(0.0, wait), self._tell_gap)

    def _tell_gap(self) -> None:
        self._gap_call = None
        self._gap_at = self._clock.seconds()
        for call in self._on_gap:
            try:
                call()
            except Exception:
                self._log.failure("what follows a gap in the bus failed")


if TYPE_CHECKING:
    _bus: type[Bus] = RedisBus
