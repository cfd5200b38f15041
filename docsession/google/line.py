"""Who waits for a slot to Google, and whose turn it is: users in turn, each in order of coming.

A user who may not go on now (a limit of their own) is set aside until that changes, so that
nobody stands behind them, and finding the next costs no search.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

__all__ = ["Line", "Place"]


class Place:
    """One request that waits. ``given`` fires when it is its turn."""

    __slots__ = ("given", "gone", "kinds", "poll", "units", "user_id")

    def __init__(self, user_id: str, units: int, kinds: tuple[str, ...], *, poll: bool) -> None:
        self.user_id = user_id
        self.units = units
        self.kinds = kinds
        self.poll = poll
        self.gone = False
        self.given: Deferred[None] = Deferred()


class Line:
    """Places by user. ``hold`` says what keeps a place back: 0 nothing, else seconds (inf: until
    :meth:`again`)."""

    def __init__(self, hold: Callable[[Place], float]) -> None:
        self._hold = hold
        self._turns: OrderedDict[str, deque[Place]] = OrderedDict()
        self._aside: dict[str, deque[Place]] = {}
        self._until: list[tuple[float, str]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, place: Place) -> None:
        """Last of its user's; a user new here is last of all."""
        self._length += 1
        places = self._aside.get(place.user_id) or self._turns.get(place.user_id)
        if places is None:
            places = self._turns[place.user_id] = deque()
        places.append(place)

    def waiting(self) -> list[Place]:
        """All who wait."""
        lines = (*self._turns.values(), *self._aside.values())
        return [place for places in lines for place in places if not place.gone]

    def leave(self, place: Place) -> None:
        """It waits no longer. (It is taken out when it comes to the front.)"""
        if not place.gone:
            place.gone = True
            self._length -= 1

    def again(self, user_id: str) -> None:
        """What held this user back may be over."""
        places = self._aside.pop(user_id, None)
        if places:
            self._turns[user_id] = places

    def first(self, now: float) -> Place | None:
        """Whose turn it is; :meth:`take` takes it out."""
        while self._until and self._until[0][0] <= now:
            self.again(heapq.heappop(self._until)[1])
        while self._turns:
            user_id, places = next(iter(self._turns.items()))
            while places and places[0].gone:
                places.popleft()
            if not places:
                del self._turns[user_id]
                continue
            wait = self._hold(places[0])
            if wait <= 0:
                return places[0]
            del self._turns[user_id]
            self._aside[user_id] = places
            if wait != float("inf"):
                heapq.heappush(self._until, (now + wait, user_id))
        return None

    def take(self, place: Place) -> None:
        """It goes; its user's next turn comes after everybody else's."""
        places = self._turns[place.user_id]
        places.popleft()
        place.gone = True
        self._length -= 1
        if places:
            self._turns.move_to_end(place.user_id)
        else:
            del self._turns[place.user_id]

    def next_time(self) -> float | None:
        """When somebody who was set aside for a time may go on."""
        return self._until[0][0] if self._until else None
