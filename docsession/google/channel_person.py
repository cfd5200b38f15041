"""One user's push channels: what is wanted, what there is, and what follows from the time."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from docsession.google.channel import Channel, Event, State
from docsession.google.drive import Account
from docsession.model import ChannelRecord

__all__ = ["GRACE", "Person"]

# Nobody watches any more: a page that is loaded anew comes back within this.
GRACE = 60.0
# However short Google makes a life, no user has more than one channel opened in a minute.
_SHORTEST = 60.0
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 3600.0
# Another node does something about this user's channels: it will be through by then.
_BUSY = 2.0
# Live on another node too, which may be leaving at this moment as well: asked once more after this.
_ASK_AGAIN = 4.0
# Channels that are over are remembered to ignore what still comes; the store knows the rest.
_MOST_BURIED = 16
_NEVER = float("inf")


class Person:
    """A user who wants a channel here, or whose last one is being stopped. Does no I/O.

    ``turn`` is when a channel may be opened as far as others are concerned, ``not_before`` as far as
    this user is; ``store_at`` when the store is to be tried again, ``busy_until`` when another node will
    be through. ``told`` is what was last said of whether Google tells us; ``waiting`` are those who wait
    for the user's leaving to be through. ``lost``: the store has lost what it had.

    Who leaves takes the channel along (``last``) unless the user is live on another node: then it is
    only let go here. ``for_good``: with the grant, so that it cannot stay for anybody.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self.wanted = True
        self.unwanted_at: float | None = None
        self.taken_up = False
        self.channels: list[Channel] = []  # the newest first
        self.work: Deferred[None] | None = None
        self.turn: float | None = None
        self.not_before = 0.0
        self.store_at = 0.0
        self.busy_until = 0.0
        self.lost = False
        self.last = self.for_good = False
        self.told = False
        self.out_of_time: IDelayedCall | None = None
        self.waiting: list[Deferred[None]] = []
        self._ask_at = 0.0
        self._asked = 0
        self._renew_at: float | None = None
        self._failures = 0

    def of(self, *states: State) -> list[Channel]:
        return [channel for channel in self.channels if channel.state in states]

    # -- what is asked for

    def want(self, account: Account, *, anew: bool) -> None:
        if anew or account is not self.account:
            self._failures, self.not_before = 0, 0.0
        self.account = account
        self.wanted, self.unwanted_at = True, None
        self.last = self.for_good = False
        self._ask_at, self._asked = 0.0, 0
        self.let_go()

    def unwant(self, now: float) -> bool:
        """Whether it is news."""
        if not self.wanted or self.unwanted_at is not None:
            return False
        self.unwanted_at = now + GRACE
        return True

    def let_go(self) -> None:
        """Whoever waits for the end of this waits no longer."""
        if self.out_of_time is not None and self.out_of_time.active():
            self.out_of_time.cancel()
        self.out_of_time = None
        while self.waiting:
            self.waiting.pop().callback(None)

    def parts(self, now: float) -> bool:
        """Whether it must be asked now if this node is the last where the user is live."""
        return not self.wanted and not self.last and not self.for_good and now >= self._ask_at

    def has_others(self, others: int, now: float) -> None:
        """On so many other nodes the user is live."""
        self.last = not others
        self._asked += 1
        self._ask_at = now + _ASK_AGAIN

    @property
    def stays(self) -> bool:
        """Nothing is to be stopped on account of who left here, or nobody knows that yet."""
        return self.wanted or not (self.last or self.for_good)

    def is_busy(self, now: float) -> None:
        """Another node does it just now."""
        self.turn = None
        self.busy_until = now + _BUSY

    # -- what there is

    def tells(self, now: float) -> bool:
        """Whether Google tells us of this user's changes."""
        return any(channel.tells(now) for channel in self.channels)

    def next_record(self, channel_id: str, now: float, life: float) -> tuple[ChannelRecord, str | None]:
        """A new channel, not opened yet, and the id of the one that it replaces."""
        newest = self.channels[0].record if self.channels else None
        record = ChannelRecord(
            id=channel_id,
            user_id=self.account.id,
            generation=1 if newest is None else newest.generation + 1,
            state=State.OPENING.value,
            opened_at=now,
            expires=now + life,
        )
        return record, None if newest is None else newest.id

    def opened(self, now: float) -> bool:
        """One was opened just now; whether it renews another."""
        self._failures = 0
        self.turn = None
        self.not_before = now + _SHORTEST
        return len(self.of(State.LIVE)) > 1

    def goes_by(self, channel: Channel, part: float) -> None:
        """By this one from now on, until that part of its life; the others are to be stopped."""
        for other in self.of(State.LIVE):
            if other is not channel:
                other.happened(Event.UNWANTED)
        begun = channel.record.opened_at
        self._renew_at = begun + (channel.record.expires - begun) * part

    def refused(self, now: float, least: float, jitter: float) -> None:
        """Google did not open one; ``jitter`` is in [0, 1)."""
        ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2**self._failures)
        self._failures = min(self._failures + 1, 20)
        self.not_before = now + max(least, ceiling * (1 + jitter) / 2)

    # -- what follows from the time

    def opening_due(self) -> float:
        """When a channel is needed that is not there; may be past."""
        if not self.wanted or self.of(State.OPENING):
            return _NEVER
        renew_at = self._renew_at if self.of(State.LIVE) else None
        return max(self.not_before, self.store_at, self.busy_until, renew_at or 0.0)

    def stopping_due(self) -> float:
        """When a channel is to be stopped; may be past."""
        times = [channel.stop_at for channel in self.of(State.LEAVING)]
        return max(self.busy_until, min(times, default=_NEVER))

    def notice_absence(self, now: float) -> None:
        """Nobody came back in time."""
        if self.unwanted_at is not None and now >= self.unwanted_at:
            self.wanted, self.unwanted_at = False, None

    def look_at_the_clock(self, now: float) -> Iterator[Channel]:
        """What follows from nothing but time. Yields the channels to be forgotten."""
        for channel in list(self.channels):
            if channel.expired(now):
                channel.happened(Event.EXPIRED)
                yield channel
            elif channel.doubtful_since(now):
                channel.happened(Event.UNANSWERED)
            if not self.stays:
                channel.happened(Event.UNWANTED)
        yield from [channel for channel in self.of(State.BURIED)[_MOST_BURIED:] if channel.saved]

    def silent(self, now: float) -> bool:
        """Whether a channel is open through which nothing comes."""
        return any(channel.doubtful_since(now) for channel in self.of(State.LIVE))

    def times(self, now: float) -> Iterator[float]:
        """When it has to be looked at again, but for openings and what is not saved."""
        for channel in self.channels:
            yield channel.record.expires
            if not self.stays and channel.state in (State.OPENING, State.LIVE):
                yield now
            elif channel.doubtful_from is not None and not channel.doubtful_since(now):
                yield channel.doubtful_from
        yield self.stopping_due()
        if self.unwanted_at is not None:
            yield self.unwanted_at
        if not self.wanted and not self.last and not self.for_good:
            yield self._ask_at

    @property
    def through(self) -> bool:
        """Not wanted, and nothing left to be done here."""
        if self.wanted:
            return False
        return (self.stays and self._asked > 1) or not self.of(State.OPENING, State.LIVE, State.LEAVING)
