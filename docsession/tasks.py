"""Small tools for asynchronous work: start it, wait, share it, space it out."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from docsession.errors import DocsessionError

__all__ = [
    "Alarm",
    "Background",
    "Flights",
    "PerKey",
    "Rate",
    "Seldom",
    "Whistle",
    "delays",
    "held",
    "settled",
    "sleep",
    "spawn",
    "with_timeout",
]

T = TypeVar("T")


def spawn(log: Logger, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Start work nobody waits for. A failure is logged as the bug it is; cancelling is quiet."""
    work = Deferred.fromCoroutine(coroutine)

    def report(failure: Failure) -> None:
        if not failure.check(CancelledError):
            log.failure("a background task failed", failure=failure)

    return work.addErrback(report)


def settled(running: Deferred[Any]) -> Deferred[None]:
    """Fires when that does, without taking its result."""
    waiter: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        waiter.callback(None)
        return result

    running.addBoth(fire)
    return waiter


class Background:
    """One owner's background tasks: started here, and in the end waited for or given up."""

    __slots__ = ("_log", "_running")

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._running: set[Deferred[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """See :func:`spawn`."""
        running = spawn(self._log, coroutine)
        if not running.called:
            self._running.add(running)
            running.addBoth(lambda _: self._running.discard(running))

    def cancel(self) -> None:
        """Give up all that run."""
        for running in list(self._running):
            running.cancel()

    async def settle(self) -> None:
        """Wait until none runs any more."""
        while self._running:
            await settled(next(iter(self._running)))


@asynccontextmanager
async def held(lock: DeferredLock | DeferredSemaphore) -> AsyncIterator[None]:
    """Wait for a place, and leave it however it ends."""
    await lock.acquire()
    try:
        yield
    finally:
        lock.release()


class PerKey:
    """A lock or semaphore for each key that somebody holds or waits for, and for no other."""

    __slots__ = ("_make", "in_use")

    def __init__(self, make: Callable[[Any], DeferredLock | DeferredSemaphore]) -> None:
        self._make = make
        self.in_use: dict[Hashable, tuple[DeferredLock | DeferredSemaphore, int]] = {}

    @asynccontextmanager
    async def held(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the one of this key."""
        lock, users = self.in_use.get(key) or (self._make(key), 0)
        self.in_use[key] = (lock, users + 1)
        try:
            async with held(lock):
                yield
        finally:
            lock, users = self.in_use[key]
            if users == 1:
                del self.in_use[key]
            else:
                self.in_use[key] = (lock, users - 1)


def sleep(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """An awaitable that fires after that many seconds of the given clock."""
    return deferLater(clock, seconds)


async def with_timeout(clock: IReactorTime, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Run it, or cancel it and raise :class:`TimeoutError`."""
    running = Deferred.fromCoroutine(work)
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        running.cancel()

    timer = clock.callLater(seconds, expire)
    try:
        return await running
    except CancelledError:
        if expired:
            raise TimeoutError from None
        raise
    finally:
        if timer.active():
            timer.cancel()


def delays(rng: random.Random, *, first: float = 1.0, most: float = 32.0) -> Iterator[float]:
    """Seconds to wait before each further try: full jitter under a doubling ceiling."""
    ceiling = first
    while True:
        yield rng.uniform(0, ceiling)
        ceiling = min(most, ceiling * 2)


class Flights(Generic[T]):
    """Single flight: who asks for what is already being fetched waits for that answer.

    Each caller has a Deferred of its own. One that goes away does not disturb the others;
    when the last has gone the work is cancelled, unless ``abandon`` is false. What it raises that is
    ``expected`` is no bug, though nobody may wait for it any more.
    """

    _log = Logger()

    __slots__ = ("_abandon", "_expected", "_flying")

    def __init__(self, *, abandon: bool = True, expected: tuple[type[Exception], ...] = ()) -> None:
        self._abandon = abandon
        self._expected = (CancelledError, DocsessionError, *expected)
        self._flying: dict[Hashable, tuple[Deferred[None], list[Deferred[T]]]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flying

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the flight under ``key``, started with ``work`` if there is none."""
        flight = self._flying.get(key)
        waiters = flight[1] if flight is not None else []
        mine: Deferred[T] = Deferred(lambda _: self._leave(key, waiters, mine))
        waiters.append(mine)
        if flight is None:
            running: Deferred[None] = Deferred()
            self._flying[key] = (running, waiters)
            inner = Deferred.fromCoroutine(self._fly(key, waiters, work))
            flight = self._flying.get(key)
            if flight is not None and flight[1] is waiters:  # it may have landed already
                self._flying[key] = (inner, waiters)
        return await mine

    def forget(self, key: Hashable) -> None:
        """Later callers start anew; those who wait still get this flight's answer."""
        self._flying.pop(key, None)

    async def _fly(self, key: Hashable, waiters: list[Deferred[T]], work: Callable[[], Awaitable[T]]) -> None:
        try:
            result = await work()
        except Exception:  # each waiter gets it, this flight's own failure included
            failure = Failure()
            self._land(key, waiters)
            if not waiters and not failure.check(*self._expected):
                self._log.failure("work that nobody waited for any more failed", failure=failure)
            # One that hears it may make others of them leave, so the list is not walked.
            while waiters:
                waiters.pop(0).errback(failure)
        else:
            self._land(key, waiters)
            while waiters:
                waiters.pop(0).callback(result)

    def _land(self, key: Hashable, waiters: list[Deferred[T]]) -> None:
        flight = self._flying.get(key)
        if flight is not None and flight[1] is waiters:
            del self._flying[key]

    def _leave(self, key: Hashable, waiters: list[Deferred[T]], mine: Deferred[T]) -> None:
        waiters.remove(mine)
        flight = self._flying.get(key)
        if self._abandon and not waiters and flight is not None and flight[1] is waiters:
            del self._flying[key]
            flight[0].cancel()


class Rate:
    """A token bucket: ``burst`` at once, then ``per_second``. Time is given at each call."""

    __slots__ = ("_burst", "_level", "_per_second", "_when")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._level = burst
        self._when = now

    def take(self, now: float) -> float:
        """0 when one more is allowed (and taken), else the seconds until one will be."""
        level = self._level
        if now > self._when:
            level += (now - self._when) * self._per_second
            if level > self._burst:
                level = self._burst
        self._when = now
        if level >= 1:
            self._level = level - 1
            return 0.0
        self._level = level
        return (1 - level) / self._per_second

    @property
    def full(self) -> bool:
        """Nothing to remember: a new one would say the same."""
        return self._level >= self._burst


class Alarm:
    """Calls ``ring`` once, at the earliest of the times it was set to since it rang or was put off."""

    def __init__(self, clock: IReactorTime, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._call: IDelayedCall | None = None

    def by(self, when: float) -> None:
        """Then at the latest; what is past already, as soon as possible."""
        if self._call is not None and self._call.active():
            if self._call.getTime() <= when:
                return
            self._call.cancel()
        self._call = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._ring)

    def off(self) -> None:
        """Not at all, until it is set again."""
        if self._call is not None and self._call.active():
            self._call.cancel()


class Whistle(Generic[T]):
    """Wakes who waits for something that is said by name, or for a time at most."""

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[T, set[Deferred[None]]] = {}

    async def wait(self, name: T, seconds: float) -> None:
        """Until it is blown for, or so long."""
        heard: Deferred[None] = Deferred()
        waiting = self._waiting.setdefault(name, set())
        waiting.add(heard)
        timer = self._clock.callLater(seconds, heard.callback, None)
        try:
            await heard
        finally:
            waiting.discard(heard)
            if not waiting and self._waiting.get(name) is waiting:
                del self._waiting[name]
            if timer.active():
                timer.cancel()

    def blow(self, name: T) -> bool:
        """Wake them; whether anybody waited."""
        waiting = list(self._waiting.pop(name, ()))
        for heard in waiting:
            heard.callback(None)
        return bool(waiting)


class Seldom:
    """Lets a thing be said once in so many seconds, and counts how often it was not."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._said: dict[str, tuple[float, int]] = {}

    def take(self, what: str, now: float) -> int | None:
        """None: not again yet. Else it is to be said, and so often it was not since the last time."""
        when, unsaid = self._said.get(what, (float("-inf"), 0))
        if now - when < self._seconds:
            self._said[what] = (when, unsaid + 1)
            return None
        self._said[what] = (now, 0)
        return unsaid
