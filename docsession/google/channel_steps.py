"""The steps of keeping a user's push channels: each reads the store, asks Google, or stores.

Several nodes may do this for one user. The store says what there is: a new channel names the one that
it replaces, of one that is there what is known only grows (:meth:`Channel.join`). So that two
nodes do not ask Google for the same, what is asked is asked under a lease.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from docsession.google.channel import Channel, Event, State
from docsession.google.channel_calls import Calls, NotOpened, NotStopped
from docsession.google.channel_pace import Pace
from docsession.google.channel_person import Person
from docsession.interfaces import Leases, Store

__all__ = ["Steps"]

# Renewed somewhere in this part of a channel's life after the configured one.
_SPREAD = 0.1
_TRIES = 3  # of stopping one, and of ids for one
# The other nodes keep away for so long, if this one dies over it.
_LEASE = 60.0


class Steps:
    """``life`` is asked for, ``renew_at`` is the part of it after which a channel is renewed."""

    def __init__(
        self,
        calls: Calls,
        store: Store,
        leases: Leases,
        clock: IReactorTime,
        rng: random.Random,
        pace: Pace,
        *,
        life: float,
        renew_at: float,
        new_id: Callable[[], str],
        on_opening: Callable[[str], None],
    ) -> None:
        self._calls = calls
        self._store = store
        self._leases = leases
        self._clock = clock
        self._rng = rng
        self._pace = pace
        self._life = life
        self._renew_at = renew_at
        self._new_id = new_id
        self._on_opening = on_opening
        self.by_id: dict[str, tuple[Person, Channel]] = {}

    def drop(self, person: Person, channel: Channel) -> None:
        """It is not known here any more."""
        person.channels.remove(channel)
        self.by_id.pop(channel.id, None)

    # -- with the store

    async def read(self, person: Person) -> None:
        """What an earlier life of this process, or another node, has left or done."""
        person.taken_up = True  # unless it is said meanwhile that there is something new
        try:
            records = await self._store.load_channels(person.account.id)
        except BaseException:
            person.taken_up = False
            raise
        known = {channel.id: channel for channel in person.channels}
        person.channels = []
        for record in records:
            channel = known.pop(record.id, None) or Channel(record)
            channel.join(record)
            person.channels.append(channel)
            self.by_id[channel.id] = (person, channel)
        for channel_id in known:  # over, and forgotten
            self.by_id.pop(channel_id, None)
        for newest in person.of(State.LIVE)[:1]:
            person.goes_by(newest, self._part(newest))

    async def look_again(self, person: Person) -> None:
        """Before one is given up: another node may know what became of it."""
        now = self._clock.seconds()
        for channel in person.of(State.OPENING, State.LIVE):
            if channel.doubtful_since(now):
                record = await self._store.load_channel(channel.id)
                if record is not None:
                    channel.join(record)
                    if channel.state is State.LIVE:
                        person.goes_by(channel, self._part(channel))

    async def write_back(self, person: Person) -> None:
        """The store has lost what it had: what still is, is stored anew, by whoever comes first."""
        stored = await self._store.load_channels(person.account.id)
        newest = stored[0].id if stored else None
        for channel in reversed(person.of(State.OPENING, State.LIVE, State.LEAVING)):
            if all(channel.id != record.id for record in stored) and await self._store.add_channel(
                channel.record, replaces=newest
            ):
                newest = channel.id
        person.lost = False

    async def forget_what_is_over(self, person: Person) -> None:
        """What follows from nothing but time."""
        for channel in person.look_at_the_clock(self._clock.seconds()):
            self.drop(person, channel)
            if channel.state is State.GONE:
                await self._store.delete_channel(channel.id)
        if person.silent(self._clock.seconds()):
            self._calls.say_of_address("a channel is open, and nothing comes through it")

    async def save(self, person: Person) -> bool:
        """Whether anything was stored that other nodes do not know."""
        news = False
        for channel in list(person.channels):
            if channel.saved:
                continue
            stored = await self._store.load_channel(channel.id)
            if stored is not None:
                channel.join(stored)
            if not channel.saved:
                record = channel.record
                await self._store.save_channel(record)
                channel.saved = record is channel.record
                news = True
        return news

    # -- with Google

    async def take_turn(self, person: Person) -> bool:
        """What is to be asked now is ours to ask: then :meth:`end_turn`. False: another node is at it."""
        if await self._leases.take(_lease(person), _LEASE):
            await self.read(person)  # who had it before us has perhaps done it
            return True
        person.is_busy(self._clock.seconds())
        return False

    async def end_turn(self, person: Person) -> None:
        await self._leases.free(_lease(person))

    async def open(self, person: Person) -> None:
        """A channel, under an id that nobody has."""
        person.turn = None
        self._pace.under_way += 1
        sent_at = self._clock.seconds()
        try:
            page_token = await self._calls.start_token(person.account)
            for _ in range(_TRIES):
                try:
                    await self._open_one(person, page_token)
                except NotOpened as error:
                    if not error.another_id:
                        raise
                    self._on_opening(error.reason)
                else:
                    return
            raise NotOpened("no_unique_id")
        except NotOpened as error:
            self._on_opening(error.reason)
            if error.everybody:
                self._pace.refused(sent_at, least=error.least)
            else:
                person.refused(self._clock.seconds(), error.least, self._rng.random())
        finally:
            self._pace.under_way -= 1

    async def _open_one(self, person: Person, page_token: str) -> None:
        record, replaces = person.next_record(self._new_id(), self._clock.seconds(), self._life)
        if not await self._store.add_channel(record, replaces=replaces):
            await self.read(person)  # another node was quicker
            return
        channel = Channel(record)
        person.channels.insert(0, channel)
        self.by_id[channel.id] = (person, channel)
        try:
            opened = await self._calls.open(person.account, record, page_token)
        except NotOpened as error:
            if not error.perhaps and channel.happened(Event.REFUSED):
                self.drop(person, channel)
                await self._store.delete_channel(channel.id)
            raise  # else what comes through it, or does not, will tell
        told = channel.state is State.LIVE
        channel.happened(Event.ANSWERED, resource_id=opened.resource_id, expires=opened.expires)
        if told:
            person.goes_by(channel, self._part(channel))  # now its end is known
        elif channel.state is State.LIVE:
            self._opened(person, channel)

    async def stop(self, person: Person) -> None:
        """Those that Google has and shall not."""
        for channel in person.of(State.LEAVING):
            if self._clock.seconds() < channel.stop_at:
                continue
            try:
                await self._calls.stop(person.account, channel.record)
            except NotStopped as error:
                channel.tries += 1
                if error.hopeless or channel.tries >= _TRIES:
                    channel.happened(Event.GIVEN_UP)
                else:
                    channel.stop_at = self._clock.seconds() + self._rng.uniform(1, 2**channel.tries)
            else:
                channel.happened(Event.STOPPED)

    # -- what comes in

    def heard(self, channel: Channel, resource_id: str, expires: float | None) -> Person:
        """Something came through it: so it is open, answered or not."""
        person, _ = self.by_id[channel.id]
        unnamed = channel.record.resource_id is None
        # Given up, and open after all: now it can be stopped.
        late = channel.state is State.BURIED and unnamed
        learnt: dict[str, Any] = {"resource_id": resource_id} if unnamed else {}
        if expires is not None and expires < channel.record.expires:
            learnt["expires"] = expires
        changed = channel.happened(Event.ANSWERED if late else Event.HEARD, heard=True, **learnt)
        if changed and channel.state is State.LIVE:
            self._opened(person, channel)
        return person

    def _opened(self, person: Person, channel: Channel) -> None:
        renewed = person.opened(self._clock.seconds())
        self._on_opening("renewed" if renewed else "opened")
        self._pace.went_well()
        person.goes_by(channel, self._part(channel))

    def _part(self, channel: Channel) -> float:
        # Each its own, and the same on all nodes: many would else be renewed the earlier, the more nodes.
        return self._renew_at + _SPREAD * zlib.crc32(channel.id.encode()) / 2**32


def _lease(person: Person) -> str:
    return f"channel:{person.account.id}"
