"""Push channels: one for each user who watches something here, opened, renewed and stopped in time.

Level-triggered: whatever happens only makes a user due; :meth:`Channels._tend` compares what is
wanted with what there is, and does the next thing (:mod:`docsession.google.channel_steps`). A channel
is stored before it is opened, a new one is open before the old one is stopped, and what a restart
or another node finds is taken up. Of one user there is one channel, on however many nodes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import Unavailable
from docsession.google.channel import Channel
from docsession.google.channel_calls import Calls
from docsession.google.channel_pace import Pace
from docsession.google.channel_person import Person
from docsession.google.channel_steps import Steps
from docsession.google.drive import Account
from docsession.interfaces import Backend
from docsession.schedule import Schedule
from docsession.tasks import spawn
from docsession.user_channel import UserChannel

__all__ = ["Channels"]

# A user who left is waited for so long at most, for Google to stop the channel.
LEAVE_WITHIN = 10.0
# What other nodes are told: something was stored about this user's channels.
CHANNEL = "channel"
_STORE_LATER = 5.0
# What concerns all users at once is spread over so long.
_SOON = 5.0


class Channels(Service):
    """All users' channels of this process; does nothing where ``calls`` is None (no push).

    ``on_changed(user_id)``: whether Google tells of this user's changes is otherwise now.
    ``on_opening(outcome)``: ``opened``, ``renewed``, or why not.
    """

    _log = Logger()

    def __init__(
        self,
        calls: Calls | None,
        backend: Backend,
        of_users: UserChannel,
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
        self._of_users = of_users
        self._clock = clock
        self._rng = rng
        self._on_changed = on_changed
        self._pace = Pace(clock, rng, per_second=openings_per_second)
        self._steps = (
            None
            if calls is None
            else Steps(
                calls,
                backend.store,
                backend.leases,
                clock,
                rng,
                self._pace,
                life=life,
                renew_at=renew_at,
                new_id=new_id,
                on_opening=on_opening,
            )
        )
        self._people: dict[str, Person] = {}
        self._schedule = Schedule(clock, self._due)
        of_users.on(CHANNEL, lambda user_id, message: self.changed(user_id, float(message["wait"])))
        backend.bus.on_gap(self._missed)

    # -- for sessions

    def want(self, account: Account, *, anew: bool = False) -> None:
        """This user watches something. ``anew``: with another grant, so what was refused may not be."""
        if self._steps is None or not self.running:
            return
        person = self._people.get(account.id)
        if person is None:
            person = self._people[account.id] = Person(account)
            # At once: how often the user's documents are looked at depends on what the store has.
            self._due(account.id)
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
            person.for_good = True
            self._due(user_id)
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
        found = None if self._steps is None else self._steps.by_id.get(channel_id)
        return None if found is None else found[1]

    def serves(self, user_id: str) -> bool:
        """Whether this user wants a channel here."""
        person = self._people.get(user_id)
        return person is not None and person.wanted

    def heard(self, channel: Channel, resource_id: str, expires: float | None) -> None:
        """Something came through one that was found, here or at another node."""
        assert self._steps is not None
        person = self._steps.heard(channel, resource_id, expires)
        if not channel.saved:
            self._schedule.by(channel.record.user_id, self._clock.seconds())
        self._tell(person)

    # -- for what other nodes say

    def changed(self, user_id: str, wait: float = 0.0) -> None:
        """Another node has stored something about this user's channels, or was refused one: for so
        many seconds none is to be opened."""
        person = self._people.get(user_id)
        if person is not None:
            person.taken_up = False
            person.not_before = max(person.not_before, self._clock.seconds() + wait)
            self._due(user_id)

    def set_back(self) -> None:
        """The store has lost what it had."""
        for user_id, person in self._people.items():
            person.lost, person.taken_up = True, False
            self._soon(user_id)

    def _missed(self) -> None:
        """What other nodes said may not have been heard."""
        for user_id, person in self._people.items():
            person.taken_up = False
            self._soon(user_id)

    def _soon(self, user_id: str) -> None:
        self._schedule.by(user_id, self._clock.seconds() + self._rng.uniform(0, _SOON))

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
        assert self._steps is not None
        steps, news = self._steps, False
        try:
            if person.lost:
                await steps.write_back(person)
            if not person.taken_up:
                await steps.read(person)
            await steps.look_again(person)
            person.notice_absence(self._clock.seconds())
            if person.parts(self._clock.seconds()):
                person.has_others(await self._of_users.others(user_id), self._clock.seconds())
            await steps.forget_what_is_over(person)
            news = await steps.save(person)
            if self._asks(person) and await steps.take_turn(person):
                news = True
                try:
                    await self._ask(person)
                finally:
                    await steps.end_turn(person)
        except Unavailable:
            # Nothing is opened that cannot be stored first.
            person.store_at = self._clock.seconds() + _STORE_LATER
        finally:
            person.work = None
            if news:
                wait = max(0.0, person.not_before - self._clock.seconds())
                self._of_users.say(user_id, CHANNEL, wait=wait)
            self._tell(person)
            self._plan(user_id, person)

    def _asks(self, person: Person) -> bool:
        """Whether there is something to ask of Google now."""
        now = self._clock.seconds()
        return person.stopping_due() <= now or (self._opening_time(person) <= now and self._pace.may_start())

    async def _ask(self, person: Person) -> None:
        assert self._steps is not None
        steps = self._steps
        if self._opening_time(person) <= self._clock.seconds() and self._pace.may_start():
            await steps.open(person)
            await steps.save(person)
        await steps.stop(person)
        await steps.save(person)

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

    # -- inside: who is told, who is forgotten

    def _tell(self, person: Person) -> None:
        user_id = person.account.id
        live = self.is_live(user_id)
        if live is not person.told and self._people.get(user_id) is person:
            person.told = live
            self._on_changed(user_id)

    def _forget(self, user_id: str) -> None:
        person = self._people.pop(user_id)
        self._schedule.drop(user_id)
        for channel in list(person.channels):
            assert self._steps is not None
            self._steps.drop(person, channel)
        if person.work is not None:
            person.work.cancel()
        person.let_go()
        if person.told and self.running:
            self._on_changed(user_id)
