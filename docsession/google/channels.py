"""Push channels: one for each user who watches something here, opened, renewed and stopped in time.

Level-triggered: whatever happens only makes a user due; :meth:`Channels._tend` compares what is
wanted with what there is, and does the next thing. A channel is stored before it is opened, a
new one is open before the old one is stopped, and what a restart finds is taken up again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import Unavailable
from docsession.google.channel import Channel, Event, State
from docsession.google.channel_calls import Calls, NotOpened, NotStopped
from docsession.google.channel_pace import Pace
from docsession.google.channel_person import Person
from docsession.google.drive import Account
from docsession.interfaces import Store
from docsession.schedule import Schedule
from docsession.tasks import spawn

__all__ = ["Channels"]

# A user who left is waited for so long at most, for Google to stop the channel.
LEAVE_WITHIN = 10.0
# Renewed at some moment in this part of a channel's life after the configured one.
_SPREAD = 0.1
_TRIES = 3  # of stopping one, and of ids for one
_STORE_LATER = 5.0


class Channels(Service):
    """All users' channels of this process; does nothing where ``calls`` is None (no push).

    ``on_changed(user_id)``: whether Google tells of this user's changes is otherwise now.
    ``on_opening(outcome)``: ``opened``, ``renewed``, or why not.
    """

    _log = Logger()

    def __init__(
        self,
        calls: Calls | None,
        store: Store,
        clock: IReactorTime,
        rng: random.Random,
        *,
        life: float,
        renew_at: float,
        openings_per_second: float,
        new_id: Callable[[], str],
        on_changed: Callable[[str], None] = lambda user_id: None,
        on_opening: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._calls = calls
        self._store = store
        self._clock = clock
        self._rng = rng
        self._life = life
        self._renew_at = renew_at
        self._new_id = new_id
        self._on_changed = on_changed
        self._on_opening = on_opening
        self._pace = Pace(clock, rng, per_second=openings_per_second)
        self._people: dict[str, Person] = {}
        self._by_id: dict[str, tuple[Person, Channel]] = {}
        self._schedule = Schedule(clock, self._due)

    # -- for sessions

    def want(self, account: Account, *, anew: bool = False) -> None:
        """This user watches something. ``anew``: with another grant, so what was refused may not be."""
        if self._calls is None or not self.running:
            return
        person = self._people.get(account.id)
        if person is None:
            person = self._people[account.id] = Person(account)
        person.want(account, anew=anew)
        self._schedule.by(account.id, self._clock.seconds())

    def unwant(self, user_id: str) -> None:
        """This user watches nothing any more: the channel is stopped, unless that changes soon."""
        person = self._people.get(user_id)
        if person is not None and person.unwant(self._clock.seconds()):
            self._plan(user_id, person)

    def leave(self, user_id: str) -> None:
        """The user's session ended: its channel is stopped now."""
        person = self._people.get(user_id)
        if person is None:
            return
        person.wanted, person.unwanted_at = False, None
        if person.out_of_time is None:
            person.out_of_time = self._clock.callLater(LEAVE_WITHIN, self._forget, user_id)
        self._due(user_id)

    async def left(self, user_id: str) -> None:
        """Wait until nothing is asked any more in the name of a user who left; seconds at most."""
        person = self._people.get(user_id)
        if person is not None and not person.wanted:
            done: Deferred[None] = Deferred()
            person.waiting.append(done)
            await done

    def is_live(self, user_id: str) -> bool:
        """Whether Google tells us of this user's changes."""
        person = self._people.get(user_id)
        return person is not None and person.tells(self._clock.seconds())

    def __len__(self) -> int:
        """Of how many users' changes Google tells us."""
        return sum(map(self.is_live, self._people))

    # -- for what Google posts

    def find(self, channel_id: str) -> Channel | None:
        """The channel of that id of a user who is live here."""
        found = self._by_id.get(channel_id)
        return None if found is None else found[1]

    def serves(self, user_id: str) -> bool:
        """Whether this user wants a channel here."""
        person = self._people.get(user_id)
        return person is not None and person.wanted

    def heard(self, channel: Channel, resource_id: str, expires: float | None) -> None:
        """Something came through one that was found: so it is open, answered or not."""
        person, _ = self._by_id[channel.id]
        unnamed = channel.record.resource_id is None
        # Given up, and open after all: now it can be stopped.
        late = channel.state is State.BURIED and unnamed
        learnt: dict[str, Any] = {"resource_id": resource_id} if unnamed else {}
        if expires is not None and expires < channel.record.expires:
            learnt["expires"] = expires
        changed = channel.happened(Event.ANSWERED if late else Event.HEARD, heard=True, **learnt)
        if changed and channel.state is State.LIVE:
            self._opened(person, channel)
        if not channel.saved:
            self._schedule.by(channel.record.user_id, self._clock.seconds())
        self._tell(person)

    # -- running

    def startService(self) -> None:
        Service.startService(self)
        self._schedule.startService()

    def stopService(self) -> None:
        """All channels stay open: the next start takes them up again."""
        Service.stopService(self)
        self._schedule.stopService()
        for user_id in list(self._people):
            self._forget(user_id)

    # -- inside: what is due

    def _due(self, what: Hashable) -> None:
        person = self._people.get(str(what))
        if person is None or person.work is not None:
            return
        person.work = spawn(self._log, self._tend(str(what), person))
        if person.work.called:
            person.work = None
            self._plan(str(what), person)

    async def _tend(self, user_id: str, person: Person) -> None:
        try:
            if not person.taken_up:
                await self._take_up(person)
            await self._look_again(person)
            for channel in person.look_at_the_clock(self._clock.seconds()):
                self._drop(person, channel)
                if channel.state is State.GONE:
                    await self._store.delete_channel(channel.id)
            if person.silent(self._clock.seconds()) and self._calls is not None:
                self._calls.say_of_address("a channel is open, and nothing comes through it")
            await self._save(person)
            if self._opening_time(person) <= self._clock.seconds() and self._pace.may_start():
                await self._open(person)
                await self._save(person)
            for channel in person.of(State.LEAVING):
                if self._clock.seconds() >= channel.stop_at:
                    await self._stop(person, channel)
            await self._save(person)
        except Unavailable:
            # Nothing is opened that cannot be stored first.
            person.store_at = self._clock.seconds() + _STORE_LATER
        finally:
            person.work = None
            self._tell(person)
            self._plan(user_id, person)

    def _plan(self, user_id: str, person: Person) -> None:
        """When it is tended next; or it is over."""
        if self._people.get(user_id) is not person or person.work is not None:
            return
        now = self._clock.seconds()
        if not person.taken_up:
            self._schedule.by(user_id, max(now, person.store_at))
        elif person.through:
            self._forget(user_id)
        else:
            times = [*person.times(now), self._opening_time(person)]
            if not all(channel.saved for channel in person.channels):
                times.append(max(person.store_at, now + 1))
            self._schedule.by(user_id, min(times))

    def _opening_time(self, person: Person) -> float:
        """When this user needs a channel opened, and it is this user's turn."""
        now = self._clock.seconds()
        due = person.opening_due()
        if due > now:
            return due
        if person.turn is None or (person.turn <= now and not self._pace.may_start()):
            person.turn = self._pace.time()
        return person.turn

    # -- inside: what is done

    async def _take_up(self, person: Person) -> None:
        """What an earlier life of this process, or another node, has left."""
        records = await self._store.load_channels(person.account.id)
        for channel in list(person.channels):
            self._drop(person, channel)
        person.channels = [Channel(record) for record in records]
        person.taken_up = True
        for channel in person.channels:
            self._by_id[channel.id] = (person, channel)
        for newest in person.of(State.LIVE)[:1]:
            person.goes_by(newest, self._part())

    async def _look_again(self, person: Person) -> None:
        """Before one is given up: another node may know what became of it."""
        now = self._clock.seconds()
        for channel in person.of(State.OPENING, State.LIVE):
            if channel.doubtful_since(now) and channel.saved:
                record = await self._store.load_channel(channel.id)
                if record is not None and channel.saved:
                    channel.record = record
                    if channel.state is State.LIVE:
                        person.goes_by(channel, self._part())

    async def _open(self, person: Person) -> None:
        assert self._calls is not None
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
        assert self._calls is not None
        record, replaces = person.next_record(self._new_id(), self._clock.seconds(), self._life)
        if not await self._store.add_channel(record, replaces=replaces):
            await self._take_up(person)  # another node was quicker
            return
        channel = Channel(record)
        person.channels.insert(0, channel)
        self._by_id[channel.id] = (person, channel)
        try:
            opened = await self._calls.open(person.account, record, page_token)
        except NotOpened as error:
            if not error.perhaps and channel.happened(Event.REFUSED):
                self._drop(person, channel)
                await self._store.delete_channel(channel.id)
            raise  # else what comes through it, or does not, will tell
        told = channel.state is State.LIVE
        channel.happened(Event.ANSWERED, resource_id=opened.resource_id, expires=opened.expires)
        if told:
            person.goes_by(channel, self._part())  # now its end is known
        elif channel.state is State.LIVE:
            self._opened(person, channel)

    def _opened(self, person: Person, channel: Channel) -> None:
        renewed = person.opened(self._clock.seconds())
        self._on_opening("renewed" if renewed else "opened")
        self._pace.went_well()
        person.goes_by(channel, self._part())

    def _part(self) -> float:
        return self._renew_at + self._rng.uniform(0, _SPREAD)

    async def _stop(self, person: Person, channel: Channel) -> None:
        assert self._calls is not None
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

    async def _save(self, person: Person) -> None:
        for channel in list(person.channels):
            if not channel.saved:
                record = channel.record
                await self._store.save_channel(record)
                channel.saved = record is channel.record

    # -- inside: who is told, who is forgotten

    def _tell(self, person: Person) -> None:
        user_id = person.account.id
        live = self.is_live(user_id)
        if live is not person.told and self._people.get(user_id) is person:
            person.told = live
            self._on_changed(user_id)

    def _drop(self, person: Person, channel: Channel) -> None:
        person.channels.remove(channel)
        self._by_id.pop(channel.id, None)

    def _forget(self, user_id: str) -> None:
        person = self._people.pop(user_id)
        self._schedule.drop(user_id)
        for channel in person.channels:
            self._by_id.pop(channel.id, None)
        if person.work is not None:
            person.work.cancel()
        person.let_go()
        if person.told and self.running:
            self._on_changed(user_id)
