"""One push channel: what it is in, what can happen to it, and what it is in after that.

The states and the ways between them are drawn in ``docs/architecture.rst``.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from docsession.model import ChannelRecord

__all__ = ["SILENCE", "Channel", "Event", "State", "after"]

# The first post comes with the opening. A channel that was opened and through which nothing came
# for so long tells us of nothing; one that was not even answered for so long is given up.
SILENCE = 120.0


class State(Enum):
    """What a channel is in. The values are what the store holds."""

    OPENING = "opening"  # stored, and perhaps asked for
    LIVE = "live"  # Google has it
    LEAVING = "leaving"  # Google has it, and shall not
    BURIED = "buried"  # over; what still comes from it is ignored
    GONE = "gone"  # it never was, or has expired


class Event(Enum):
    """What can happen to it."""

    ANSWERED = "Google answered: it is open"
    HEARD = "something came through it"
    REFUSED = "Google did not open it"
    UNANSWERED = "nobody knows whether Google opened it"
    UNWANTED = "another replaces it, or its user has left"
    STOPPED = "Google stopped it, or did not know it"
    GIVEN_UP = "it cannot be stopped; it will expire"
    EXPIRED = "its time is over"


_WAYS = {
    (State.OPENING, Event.ANSWERED): State.LIVE,
    (State.OPENING, Event.HEARD): State.LIVE,
    (State.OPENING, Event.REFUSED): State.GONE,
    (State.OPENING, Event.UNANSWERED): State.BURIED,
    (State.OPENING, Event.UNWANTED): State.BURIED,
    (State.LIVE, Event.UNWANTED): State.LEAVING,
    (State.LEAVING, Event.STOPPED): State.BURIED,
    (State.LEAVING, Event.GIVEN_UP): State.BURIED,
    (State.BURIED, Event.ANSWERED): State.LEAVING,  # it was opened after all
}


def after(state: State, event: Event) -> State:
    """The state that follows. What means nothing in a state changes nothing."""
    if event is Event.EXPIRED:
        return State.GONE
    return _WAYS.get((state, event), state)


class Channel:
    """A channel in memory. ``number`` is the highest message number seen, ``tries`` how often it
    was tried to stop it, ``saved`` whether the store knows ``record``."""

    def __init__(self, record: ChannelRecord) -> None:
        self.record = record
        self.number = 0
        self.tries = 0
        self.stop_at = 0.0
        self.saved = True

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def state(self) -> State:
        return State(self.record.state)

    def happened(self, event: Event, **learnt: Any) -> bool:
        """Take the way that follows, and keep what was ``learnt``; whether the state changed."""
        state = after(self.state, event)
        changed = state is not self.state
        record = msgspec.structs.replace(self.record, state=state.value, **learnt)
        if record != self.record:
            self.record = record
            self.saved = False
        return changed

    def join(self, other: ChannelRecord) -> bool:
        """Take in what is stored of it: another node may have got further. Whether that is news here."""
        ours, before = self.record, self.state
        further = max(ours, other, key=_progress)
        self.record = msgspec.structs.replace(
            ours,
            state=further.state,
            expires=min(ours.expires, other.expires),
            # Of two names one stays, on all nodes.
            resource_id=other.resource_id or ours.resource_id,
            heard=ours.heard or other.heard,
        )
        self.saved = self.record == other
        return self.state is not before

    def expired(self, now: float) -> bool:
        """Whether Google has ended it by now."""
        return now >= self.record.expires

    def tells(self, now: float) -> bool:
        """Whether Google tells us of changes through it, as far as anybody knows."""
        return (
            self.state is State.LIVE
            and not self.expired(now)
            and (self.record.heard or now < self.record.opened_at + SILENCE)
        )

    @property
    def doubtful_from(self) -> float | None:
        """When its silence becomes an answer; None where it is not silent, or silence means nothing."""
        silent = self.state is State.OPENING or (self.state is State.LIVE and not self.record.heard)
        return self.record.opened_at + SILENCE if silent else None

    def doubtful_since(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        return self.doubtful_from is not None and now >= self.doubtful_from


def _progress(record: ChannelRecord) -> int:
    """How far it has got: what is known of a channel only grows. Given up before it was named, it may
    have been opened after all, and whoever knows that knows more."""
    state = State(record.state)
    if state is State.BURIED and record.resource_id is None:
        return 1
    return {State.OPENING: 0, State.LIVE: 2, State.LEAVING: 3, State.BURIED: 4, State.GONE: 5}[state]
