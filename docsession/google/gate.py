"""The only door to Google: how many requests at once, whose turn it is, who must wait.

Slots are Twisted's DeferredSemaphores: one shared by all and one per user, and in front of
each a smaller one that polls must pass first, so that a person's request always finds room.
Pauses after rate errors hold back one user or everybody; who waits one out holds no slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from docsession.errors import RateLimited
from docsession.tasks import PerKey, held, sleep

__all__ = ["PATIENCE", "Gate"]

T = TypeVar("T")

# How long a person's request waits out a pause before it is refused with a retry_after.
PATIENCE = 10.0


class Gate:
    """Bounds what is in flight to Google and honours its wishes to slow down."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        in_flight: int,
        per_user: int,
        media: int,
        media_per_user: int,
    ) -> None:
        self._clock = clock
        self._slots = DeferredSemaphore(in_flight)
        self._poll_slots = DeferredSemaphore(_for_polls(in_flight))
        self._media_slots = DeferredSemaphore(media)
        limits = {"any": per_user, "polls": _for_polls(per_user), "media": media_per_user}
        self._users = PerKey(lambda key: DeferredSemaphore(limits[key[1]]))
        self._paused: dict[str | None, float] = {}
        self.in_flight = 0
        self.most_in_flight = 0

    async def run(self, user_id: str, work: Callable[[], Awaitable[T]], *, poll: bool = False) -> T:
        """Do ``work`` (one request) when there is a slot for this user.

        Raises :class:`RateLimited` when a pause is longer than a person would wait; a poll
        waits it out.
        """
        while True:
            await self._wait_out(user_id, None if poll else PATIENCE)
            async with AsyncExitStack() as slots:
                if poll:
                    await slots.enter_async_context(self._users.held((user_id, "polls")))
                await slots.enter_async_context(self._users.held((user_id, "any")))
                if poll:
                    await slots.enter_async_context(held(self._poll_slots))
                await slots.enter_async_context(held(self._slots))
                if not self.paused_for(user_id):  # nobody was told to slow down meanwhile
                    return await self._count(work)

    @asynccontextmanager
    async def media(self, user_id: str) -> AsyncIterator[None]:
        """Hold a slot for a download for as long as it streams."""
        await self._wait_out(user_id, PATIENCE)
        async with self._users.held((user_id, "media")), held(self._media_slots):
            yield

    def pause(self, user_id: str | None, seconds: float) -> None:
        """Google asked for it: this user (None: everybody) starts nothing for so long."""
        now = self._clock.seconds()
        self._paused = {key: until for key, until in self._paused.items() if until > now}
        self._paused[user_id] = max(now + seconds, self._paused.get(user_id, 0.0))

    def paused_for(self, user_id: str | None) -> float:
        """Seconds until this user's next request may start."""
        now = self._clock.seconds()
        return max(0.0, *(self._paused.get(key, now) - now for key in (user_id, None)))

    async def _count(self, work: Callable[[], Awaitable[T]]) -> T:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await work()
        finally:
            self.in_flight -= 1

    async def _wait_out(self, user_id: str, patience: float | None) -> None:
        while (wait := self.paused_for(user_id)) > 0:
            if patience is not None and wait > patience:
                raise RateLimited("Google asked us to slow down", retry_after=wait)
            await sleep(self._clock, wait)


def _for_polls(slots: int) -> int:
    return max(1, slots * 3 // 4)
