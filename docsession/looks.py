"""When each watched document is looked at, and with whose eyes.

One schedule holds what is due. A document is looked at in turn with the eyes of all who watch
it: that spreads the cost over them and renews everybody's proof of access. What a look finds
is handed to the hub (:mod:`docsession.documents`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.attention import Intervals
from docsession.config import Polling
from docsession.discussion import overlap
from docsession.document import Document
from docsession.errors import DocsessionError
from docsession.google.drive import AccessRefused
from docsession.google.look import Comments, FileView
from docsession.google.refusals import ACCESS_LOST
from docsession.neighbours import COMMENTS, FILE, Neighbours
from docsession.schedule import TICK, Schedule
from docsession.tasks import Background, Flights
from docsession.watcher import Tab, Viewer, Watcher

__all__ = ["HIDDEN", "HINT", "PLANNED", "SECOND", "SECOND_LOOK", "VISIBLE", "Looks"]

# What was called for, and is another node's to do, is done here if nothing comes of it for so long.
PATIENT = {FILE: 2.0, COMMENTS: 5.0}
# A refusal of access is believed when a second look says the same.
SECOND_LOOK = 2.0

# Why a look is made: planned by attention, or called for.
VISIBLE, HIDDEN, TIMER = "visible", "hidden", "comments_timer"
HINT, TOUCHED, PROOF, SECOND, MOVED = "hint", "touched", "proof", "second_look", "comments_moved"
PLANNED = frozenset({VISIBLE, HIDDEN, TIMER})


class Looks:
    """Looks that are due, under way, and asked for by somebody who waits.

    ``held_back`` says for how many seconds nothing can be polled in a user's name; ``on_look``
    hears why each look is made, and whether it is at comments.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        intervals: Intervals,
        neighbours: Neighbours,
        *,
        find: Callable[[str], Document | None],
        on_file: Callable[[Document, Viewer, FileView, str], None],
        on_comments: Callable[[Document, Viewer, Comments], None],
        on_refused: Callable[[Document, Watcher], None],
        held_back: Callable[[str], float],
        on_look: Callable[[str, bool], None],
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._polling = polling
        self._intervals = intervals
        self._neighbours = neighbours
        self._find = find
        self._on_file = on_file
        self._on_comments = on_comments
        self._on_refused = on_refused
        self._held_back = held_back
        self._on_look = on_look
        self._under_way: set[tuple[str, str, str]] = set()
        # Why what is due was called for, where it is not merely planned.
        self._why: dict[Hashable, str] = {}
        # What another node was asked to look at, and because of what happened when.
        self._asked_others: dict[Hashable, float] = {}
        self._running = Background(self._log)
        self._asked: Flights[FileView] = Flights(expected=(AccessRefused,))
        self._asked_comments: Flights[Comments] = Flights(expected=(AccessRefused,))
        self._moves = 0
        self.schedule = Schedule(clock, self._start)

    # -- what becomes due

    def plan(self, document: Document, *, spread: bool = False) -> None:
        """Due one interval after the last look; if that is past at once, or ``spread`` over an
        interval, so that all that comes back after a restart is not asked for in one second."""
        now, interval = self._clock.seconds(), self._intervals.of(document)
        late = now + self._rng.uniform(0, interval) if spread else now
        self.schedule.by((FILE, document.id), max(late, document.as_of + interval))

    def plan_anew(self, document: Document) -> None:
        """Due one interval after the last look, and not before, unless it was called for."""
        if (FILE, document.id) not in self._why:
            due = document.as_of + self._intervals.of(document)
            self.schedule.at((FILE, document.id), max(self._clock.seconds(), due))

    def joined(self, document: Document, user_id: str, tab: Tab) -> None:
        """A tab watches it from now on."""
        changed = self._intervals.joined(document, user_id, visible=tab.visible)
        if changed or self.schedule.due((FILE, document.id)) is None:
            self.plan(document, spread=True)

    def comments_joined(self, document: Document) -> None:
        """A tab watches its comments from now on."""
        if self.schedule.due((COMMENTS, document.id)) is None:
            self.plan_comments(document)

    def plan_comments(self, document: Document) -> None:
        """Due after the longest time that comments are not looked at."""
        interval = self._intervals.of_comments(document)
        self.schedule.by((COMMENTS, document.id), self._clock.seconds() + interval)

    def file_due(self, document: Document, *, why: str = TOUCHED) -> None:
        """Due now, with anybody's eyes."""
        if not self._left_to_others(FILE, document, why):
            self._call_for((FILE, document.id), why)

    def comments_due(self, document: Document) -> None:
        """Due now, with anybody's eyes who watches them."""
        if not self._left_to_others(COMMENTS, document, MOVED):
            self._call_for((COMMENTS, document.id), MOVED)

    def viewer_due(self, document: Document, user_id: str, *, why: str = PROOF, after: float = 0.0) -> None:
        """This user is to look at the document."""
        self._call_for((FILE, document.id, user_id), why, after)

    def viewer_comments_due(self, document: Document, user_id: str) -> None:
        """This user is to look at the comments."""
        self._call_for((COMMENTS, document.id, user_id), PROOF)

    def now(self, document: Document, *, why: str) -> None:
        """Not at the next tick, but at once."""
        if self._left_to_others(FILE, document, why):
            return
        what = (FILE, document.id)
        self.schedule.drop(what)
        self._why[what] = why
        self._start(what)

    def drop(self, document: Document) -> None:
        """Nobody watches it any more."""
        for what in ((FILE, document.id), (COMMENTS, document.id)):
            self.schedule.drop(what)
            self._why.pop(what, None)
            self._asked_others.pop(what, None)
        self._intervals.drop(document)

    def moved(self) -> None:
        """Something was written: nobody joins a look that was begun before."""
        self._moves += 1

    # -- what other nodes do

    def turn(self, document: Document, what: str) -> None:
        """It became this node's turn to look, or another's; or another has looked."""
        now, key = self._clock.seconds(), (what, document.id)
        if what == COMMENTS and not document.wants_comments:
            return
        if key in self._asked_others and self._neighbours.mine(what, document.id):
            self.schedule.by(key, now)
        elif key not in self._why:
            interval = self._interval(what, document)
            due = self._seen_at(what, document) + interval
            if due > now:
                self.schedule.at(key, due)
            else:  # as many others may be: when a node has died, or all were away
                self.schedule.by(key, now + self._rng.uniform(0, interval))

    def seen_elsewhere(self, document: Document, what: str, stalest: float | None = None) -> None:
        """Another node looked: what was planned here may wait. ``stalest`` is how old the oldest proof
        is there; where this node's is much older, it takes a turn, and its users' proofs stay fresh."""
        self.turn(document, what)
        if stalest is None or self._neighbours.mine(what, document.id):
            return
        oldest = document.stalest(stalest)
        half = self._polling.proof / 2
        if oldest < self._clock.seconds() - half and oldest < stalest - half / 5:
            self._neighbours.seize(what, document.id)

    def _left_to_others(self, at: str, document: Document, why: str) -> bool:
        """Whether another node is asked to look."""
        if self._neighbours.mine(at, document.id):
            return False
        now, what = self._clock.seconds(), (at, document.id)
        if what not in self._asked_others:
            self._asked_others[what] = now
            self._neighbours.say_due(document.id, at, now, why)
            self._call_for(what, why, PATIENT[at])
        return True

    def _seen_at(self, at: str, document: Document) -> float:
        return document.discussion.looked_at if at == COMMENTS else document.as_of

    def _interval(self, at: str, document: Document) -> float:
        return self._intervals.of_comments(document) if at == COMMENTS else self._intervals.of(document)

    def _done_elsewhere(self, what: Hashable, at: str, document: Document) -> bool:
        """Of what is due here and another's turn: whether that one has done it. Else it is ours now."""
        asked = self._asked_others.pop(what, None)
        if self._neighbours.mine(at, document.id):
            return False
        if asked is not None and self._seen_at(at, document) >= asked:
            return True
        self._neighbours.seize(at, document.id)
        return False

    # -- looks that somebody waits for

    async def ask(self, viewer: Viewer, file_id: str) -> FileView:
        """This user's look, or the one of theirs that is under way. Raises any Google error."""
        key = (self._moves, viewer.id, file_id)
        try:
            return await self._asked.join(key, lambda: viewer.look(file_id, poll=False))
        except AccessRefused as refused:
            raise refused.refusal.error() from None

    async def ask_comments(self, viewer: Viewer, document: Document) -> Comments:
        """The same, at the comments: at what changed, if the rest is known."""
        since = _since(document)
        key = (self._moves, viewer.id, document.id, since)
        try:
            return await self._asked_comments.join(
                key, lambda: viewer.look_at_comments(document.id, since=since, poll=False)
            )
        except AccessRefused as refused:
            raise refused.refusal.error() from None

    def stop(self) -> None:
        """Nothing is due any more; looks under way are given up."""
        self.schedule.stopService()
        self._running.cancel()

    # -- looks that are due

    def _call_for(self, what: Hashable, why: str, after: float = 0.0) -> None:
        self._why.setdefault(what, why)
        self.schedule.by(what, self._clock.seconds() + after)

    def _start(self, what: Hashable) -> None:
        at, file_id, *who = cast(tuple[str, ...], what)
        why = self._why.pop(what, None)
        document = self._find(file_id)
        if document is None:
            return
        if not who and self._done_elsewhere(what, at, document):
            self.turn(document, at)
            return
        now = self._clock.seconds()
        if who:
            watchers = [w for user_id, w in document.watchers.items() if user_id == who[0]]
        else:
            self._plan_next(at, document)
            watchers = [w for w in document.watchers.values() if w.lost_since is None]
        if at == COMMENTS:
            watchers = [w for w in watchers if w.wants_comments]
            if not watchers:
                self._neighbours.leave_comments(file_id)
        free = [w for w in watchers if (at, file_id, w.viewer.id) not in self._under_way]
        ready = [w for w in free if not self._held_back(w.viewer.id)]
        if ready:
            watcher = min(ready, key=lambda w: self._last(at, document, w))
            if at == COMMENTS:
                watcher.tried_comments = now
            else:
                watcher.tried = now
            self._running.spawn(self._look(what, at, document, watcher, why or self._planned(at, document)))
        elif watchers:
            # The one under way began before whatever made this due, and may not show it.
            wait = min((self._held_back(w.viewer.id) for w in free), default=0.0)
            self._call_again(what, max(TICK, wait), why)

    def _planned(self, at: str, document: Document) -> str:
        if at == COMMENTS:
            return TIMER
        return VISIBLE if self._intervals.visible(document) else HIDDEN

    def _plan_next(self, at: str, document: Document) -> None:
        if at == COMMENTS:
            self.plan_comments(document)
        else:
            document.visible = document.announced = None
            self.schedule.at((FILE, document.id), self._clock.seconds() + self._intervals.of(document))

    def _last(self, at: str, document: Document, watcher: Watcher) -> float:
        # Tries count too: eyes that always fail must not keep the others from looking.
        seen, seen_comments = document.seen_by(watcher.viewer.id)
        return max(seen_comments, watcher.tried_comments) if at == COMMENTS else max(seen, watcher.tried)

    async def _look(self, what: Hashable, at: str, document: Document, watcher: Watcher, why: str) -> None:
        key = (at, document.id, watcher.viewer.id)
        self._under_way.add(key)
        self._on_look(why, at == COMMENTS)
        try:
            if at == COMMENTS:
                await self._look_at_comments(document, watcher)
            else:
                await self._look_at_file(document, watcher, why)
        except AccessRefused as refused:
            if refused.refusal.reason in ACCESS_LOST:
                self._on_refused(document, watcher)
            else:
                self._log.warn("a look was refused: {reason}", reason=refused.refusal.reason)
                self._again(what, document, why)
        except DocsessionError as error:
            self._log.debug("a look failed: {reason}", reason=error.name)
            self._again(what, document, why, error.retry_after or 0.0)
        finally:
            self._under_way.discard(key)

    async def _look_at_file(self, document: Document, watcher: Watcher, why: str) -> None:
        view = await watcher.viewer.look(document.id, poll=True)
        if document.watchers.get(watcher.viewer.id) is watcher:
            self._on_file(document, watcher.viewer, view, why)

    async def _look_at_comments(self, document: Document, watcher: Watcher) -> None:
        comments = await watcher.viewer.look_at_comments(document.id, since=_since(document), poll=True)
        if document.watchers.get(watcher.viewer.id) is watcher:
            self._on_comments(document, watcher.viewer, comments)

    def _again(self, what: Hashable, document: Document, why: str, after: float = 0.0) -> None:
        """What made it due is still unseen. (A document's own next look is planned already.)"""
        if self._find(document.id) is document:
            wait = min(max(after, self._intervals.of(document)), self._polling.comments)
            self._call_again(what, wait, None if why in PLANNED else why)

    def _call_again(self, what: Hashable, wait: float, why: str | None) -> None:
        if why is not None:
            self._why.setdefault(what, why)
        self.schedule.by(what, self._clock.seconds() + wait)


def _since(document: Document) -> str | None:
    known = document.discussion
    return overlap(known.mark) if known.loaded else None
