"""The only door to Google: how many requests at once, whose turn it is, who must wait.

Slots are Twisted's DeferredSemaphores: one shared by all, a smaller one that polls must pass
first so that a person's request always finds room, and one per user. Pauses after rate
errors hold back one user or everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from docsession.errors import RateLimited
from docsession.tasks import sleep

__all__ = ["Gate"]

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
        self._poll_slots = DeferredSemaphore(max(1, in_flight * 3 // 4))
        self._media_slots = DeferredSemaphore(media)
        self._per_user = per_user
        self._media_per_user = media_per_user
        self._users: dict[tuple[str, bool], tuple[DeferredSemaphore, int]] = {}
        self._paused: dict[str | None, float] = {}
        self.in_flight = 0
        self.most_in_flight = 0

    async def run(self, user_id: str, work: Callable[[], Awaitable[T]], *, poll: bool = False) -> T:
        """Do ``work`` (one request) when there is a slot for this user.

        Raises :class:`RateLimited` when a pause is longer than a person would wait; a poll
        waits it out.
        """
        async with self._user_slot(user_id, media=False):
            if poll:
                async with _held(self._poll_slots):
                    return await self._go(user_id, work, self._slots, patience=None)
            return await self._go(user_id, work, self._slots, patience=PATIENCE)

    @asynccontextmanager
    async def media(self, user_id: str) -> Any:
        """Hold a slot for a download for as long as it streams."""
        await self._wait_out(user_id, PATIENCE)
        async with self._user_slot(user_id, media=True), _held(self._media_slots):
            yield

    def pause(self, user_id: str | None, seconds: float) -> None:
        """Google asked for it: this user (None: everybody) starts nothing for so long."""
        until = self._clock.seconds() + seconds
        self._paused[user_id] = max(until, self._paused.get(user_id, 0.0))

    def paused_for(self, user_id: str | None) -> float:
        """Seconds until this user's next request may start."""
        now = self._clock.seconds()
        for key in (user_id, None):
            if self._paused.get(key, now) < now:
                del self._paused[key]
        return max(0.0, *(self._paused.get(key, 0.0) - now for key in (user_id, None)))

    async def _go(
        self,
        user_id: str,
        work: Callable[[], Awaitable[T]],
        slots: DeferredSemaphore,
        *,
        patience: float | None,
    ) -> T:
        await self._wait_out(user_id, patience)
        async with _held(slots):
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

    @asynccontextmanager
    async def _user_slot(self, user_id: str, *, media: bool) -> Any:
        key = (user_id, media)
        limit = self._media_per_user if media else self._per_user
        semaphore, holders = self._users.get(key, (None, 0))
        if semaphore is None:
            semaphore = DeferredSemaphore(limit)
        self._users[key] = (semaphore, holders + 1)
        try:
            async with _held(semaphore):
                yield
        finally:
            semaphore, holders = self._users[key]
            if holders == 1:
                del self._users[key]  # nobody of this user is here or waiting
            else:
                self._users[key] = (semaphore, holders - 1)


@asynccontextmanager
async def _held(semaphore: DeferredSemaphore) -> Any:
    await semaphore.acquire()
    try:
        yield
    finally:
        semaphore.release()
