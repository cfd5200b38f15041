"""Answers to reads, kept a while: per user and grant, bounded in bytes, dropped by file.

An answer whose request began before the last drop that touches it is handed on but neither
kept nor joined; else an old state would stay, or a page would not read its own write.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Iterator
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from docsession.errors import Forbidden, GoogleUnavailable, NotFound
from docsession.tasks import Flights
from docsession.times import rfc3339

__all__ = ["Cache", "Cached", "cached"]

Fetch = Callable[[], Coroutine[Any, Any, tuple[bytes, frozenset[str], str | None]]]

# What an entry costs beside its key and its data, roughly.
_OVERHEAD = 500
# So many drops are told apart while a request is under way that they might concern.
_MOST_DROPS = 100_000
# On every listing that does not say which files it speaks of: it may be any.
_ANY_FILE = "any file"


class Cached(msgspec.Struct, frozen=True):
    """An answer and since when it was true.

    ``told`` is the JSON that a page is told when it is served from here. It is what is kept, so
    that serving it encodes nothing; what Google said (``data``) is a part of it.
    """

    told: bytes
    as_of: float
    files: frozenset[str]
    listing_of: str | None

    @property
    def data(self) -> bytes:
        return self.told[_BEFORE : len(self.told) - _AFTER]


def cached(data: bytes, as_of: float, files: frozenset[str], listing_of: str | None = None) -> Cached:
    """Google's answer, which is JSON, as it is kept."""
    return Cached(_told(data, as_of), as_of, files, listing_of)


def _told(data: bytes, as_of: float) -> bytes:
    return b'{"data":%b,"as_of":"%b","source":"cache"}' % (data, rfc3339(as_of).encode())


# How much of it stands around the data: a time is always as long.
_BEFORE = len(b'{"data":')
_AFTER = len(_told(b"", 0.0)) - _BEFORE


class _Flying:
    """A request under way, begun at ``as_of``. ``about`` is the one file asked about, where there is one."""

    __slots__ = ("about", "as_of")

    def __init__(self, about: str | None, as_of: float) -> None:
        self.about = about
        self.as_of = as_of


class Cache:
    """One for all users; no key of one user ever equals another's."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        seconds: float,
        most_bytes: int,
        most_bytes_per_user: int,
        serve_stale: float = 0.0,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._stale = max(seconds, serve_stale)
        self._most = most_bytes
        self._most_per_user = most_bytes_per_user
        # Both in the order of keeping, so that what goes first is what is oldest.
        self._kept: dict[tuple[str, Hashable], Cached] = {}
        self._by_user: dict[str, dict[tuple[str, Hashable], int]] = {}
        self._bytes: dict[str, int] = {}
        self._by_tag: dict[str, set[tuple[str, Hashable]]] = {}
        self.size = 0
        # When each tag was last dropped, as long as a request is under way. What began before the
        # floor may have been dropped: that is not known any more.
        self._dropped: dict[str, int] = {}
        self._floor = 0
        self._now = 0
        self._under_way = 0
        self._flights: Flights[Cached] = Flights()
        self._flying: dict[tuple[str, Hashable], _Flying] = {}

    async def read(
        self,
        user_id: str,
        key: Hashable,
        fetch: Fetch,
        *,
        about: str | None,
        max_age: float | None,
    ) -> tuple[Cached, bool]:
        """The answer, and whether it came from here.

        ``fetch`` returns JSON, the ids of the files it speaks of, and the user whose listing
        it is (None: no listing). ``about`` is the one file asked about, where there is one.
        Identical reads in flight are one, but for who wants a newer answer.
        While Google is away an older answer serves, where that
        is allowed, nothing is known to have made it untrue, and the page did not want a newer one.
        """
        if (kept := self.kept(user_id, key, max_age, self._clock.seconds())) is not None:
            return kept, True
        full = (user_id, key)
        self._part_from_older(full, max_age)
        try:
            return await self._flights.join(full, lambda: self._fetch(full, fetch, about)), False
        except GoogleUnavailable:
            stale = self._younger(full, self._stale if max_age is None else min(self._stale, max_age))
            if stale is None:
                raise
            return stale, True
        except (NotFound, Forbidden):
            # What was seen before is not to be seen any more, whatever of it was asked for.
            self._remove(full)
            for other in list(self._by_tag.get(f"file {about}", ())):
                if other[0] == user_id:
                    self._remove(other)
            raise

    def kept(self, user_id: str, key: Hashable, max_age: float | None, now: float) -> Cached | None:
        """What :meth:`read` would give from here without asking anybody."""
        kept = self._kept.get((user_id, key))
        if kept is None:
            return None
        patience = self._seconds if max_age is None or max_age > self._seconds else max_age
        return kept if kept.as_of > now - patience else None

    def _part_from_older(self, full: tuple[str, Hashable], max_age: float | None) -> None:
        """A request that began before the answer that is wanted is not joined."""
        flying = self._flying.get(full)
        if flying is not None and max_age is not None and flying.as_of < self._clock.seconds() - max_age:
            self._flights.forget(full)

    def _younger(self, full: tuple[str, Hashable], age: float) -> Cached | None:
        kept = self._kept.get(full)
        return kept if kept is not None and kept.as_of > self._clock.seconds() - age else None

    def drop_file(self, file_id: str) -> None:
        """The file changed: nothing that speaks of it is true any more, for any user."""
        self._drop(f"file {file_id}")
        self._drop(_ANY_FILE)
        for full, flying in list(self._flying.items()):
            if flying.about is None or flying.about == file_id:
                self._flights.forget(full)

    def drop_listings(self, user_id: str) -> None:
        """Something may have appeared in or left this user's listings."""
        self._drop(f"listings of {user_id}")
        for full, flying in list(self._flying.items()):
            if flying.about is None and full[0] == user_id:
                self._flights.forget(full)

    def drop_user(self, user_id: str) -> None:
        """The user is gone, or another grant is used."""
        self._drop(_of_user(user_id))
        for full in list(self._by_user.get(user_id, ())):
            self._remove(full)
        for full in list(self._flying):
            if full[0] == user_id:
                self._flights.forget(full)

    async def _fetch(self, full: tuple[str, Hashable], fetch: Fetch, about: str | None) -> Cached:
        began, as_of = self._now, self._clock.seconds()
        flying = self._flying[full] = _Flying(about, as_of)
        self._under_way += 1
        try:
            data, files, listing_of = await fetch()
            answer = cached(data, as_of, files, listing_of)
            tags = (_of_user(full[0]), *_tags(answer))
            if began >= self._floor and all(self._dropped.get(tag, -1) <= began for tag in tags):
                self._keep(full, answer)
            return answer
        finally:
            if self._flying.get(full) is flying:  # else a later one has taken its place
                del self._flying[full]
            self._under_way -= 1
            if not self._under_way:
                self._dropped.clear()

    def _keep(self, full: tuple[str, Hashable], answer: Cached) -> None:
        known = self._kept.get(full)
        if known is not None and known.as_of > answer.as_of:
            return
        self._remove(full)
        self._remove_old()
        user_id, size = full[0], len(answer.told) + _length(full) + _OVERHEAD
        if size > min(self._most_per_user, self._most):
            return
        while self._bytes.get(user_id, 0) + size > self._most_per_user:
            self._remove(next(iter(self._by_user[user_id])))
        while self.size + size > self._most:
            self._remove(next(iter(self._kept)))
        self._kept[full] = answer
        self._by_user.setdefault(user_id, {})[full] = size
        self._bytes[user_id] = self._bytes.get(user_id, 0) + size
        self.size += size
        for tag in _tags(answer):
            self._by_tag.setdefault(tag, set()).add(full)

    def _remove_old(self) -> None:
        """Those that are too old to be of any use."""
        oldest = self._clock.seconds() - self._stale
        while self._kept and next(iter(self._kept.values())).as_of <= oldest:
            self._remove(next(iter(self._kept)))

    def _remove(self, full: tuple[str, Hashable]) -> None:
        answer = self._kept.pop(full, None)
        if answer is None:
            return
        user_id = full[0]
        size = self._by_user[user_id].pop(full)
        self.size -= size
        self._bytes[user_id] -= size
        if not self._by_user[user_id]:
            del self._by_user[user_id], self._bytes[user_id]
        for tag in _tags(answer):
            keys = self._by_tag[tag]
            keys.discard(full)
            if not keys:
                del self._by_tag[tag]

    def _drop(self, tag: str) -> None:
        self._now += 1
        if self._under_way:
            if len(self._dropped) >= _MOST_DROPS:
                self._dropped.clear()
                self._floor = self._now
            self._dropped[tag] = self._now
        for full in list(self._by_tag.get(tag, ())):
            self._remove(full)


def _tags(answer: Cached) -> Iterator[str]:
    for file_id in answer.files:
        yield f"file {file_id}"
    if answer.listing_of is not None:
        yield f"listings of {answer.listing_of}"
    if not answer.files:
        yield _ANY_FILE


def _of_user(user_id: str) -> str:
    return f"all of {user_id}"


def _length(key: Hashable) -> int:
    """How much text a key holds: a page chooses it, so it counts."""
    if isinstance(key, tuple):
        return sum(_length(part) for part in key)
    return len(key) if isinstance(key, str) else 8
