"""What looks and peers' writes bring of documents, and all that follows from it.

A state that is news is told, stored, makes comments due, and explains a push notification; a
refusal, said twice, ends a watch.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from docsession.attention import Intervals
from docsession.config import Polling
from docsession.demand import Allowance
from docsession.document import Document, Learnt
from docsession.google.look import Comments, FileView
from docsession.google.table import COSTS
from docsession.hints import Hints
from docsession.interfaces import HubObserver
from docsession.keeping import Keeping
from docsession.looks import HIDDEN, HINT, PLANNED, SECOND, SECOND_LOOK, VISIBLE, Looks
from docsession.model import CommentsRecord, DocumentRecord
from docsession.neighbours import COMMENTS, Neighbours
from docsession.telling import TellAll, Telling, tell_lost, tell_touched
from docsession.times import seconds_of
from docsession.watcher import Tab, Viewer, Watcher
from docsession.watching import Watching

__all__ = ["Learning"]


class Learning:
    """Puts together when to look, what was seen, and who is told. ``let_go`` is called with a
    document that lost a watcher."""

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        allowance: Allowance,
        *,
        find: Callable[[str], Document | None],
        watching: Watching,
        keeping: Keeping,
        neighbours: Neighbours,
        let_go: Callable[[Document], None],
        on_moved: Callable[[str], None],
        elsewhere: Callable[[str], None],
        observer: HubObserver,
        tell_all: TellAll,
    ) -> None:
        self._clock = clock
        self._polling = polling
        self._demand = allowance.demand
        self._cost = allowance.cost
        self._find = find
        self._watching = watching
        self._keeping = keeping
        self._neighbours = neighbours
        self._let_go = let_go
        self._on_moved = on_moved
        self._observer = observer
        # Each is called with (via, document) whenever a document's shared state changed.
        self.listeners: list[Callable[[str, Document], None]] = []
        self._intervals = Intervals(clock, rng, polling, allowance, mine=neighbours.mine)
        self.looks = Looks(
            clock,
            rng,
            polling,
            self._intervals,
            neighbours,
            find=find,
            on_file=self._looked_at,
            on_comments=self.looked_at_comments,
            on_refused=self._refused,
            held_back=allowance.held_back,
            on_look=self._count_look,
        )
        self.telling = Telling(clock, self.looks, proof=polling.proof, observer=observer, tell_all=tell_all)
        self.hints = Hints(
            clock,
            watched_by=self.watched_by,
            look=partial(self.looks.now, why=HINT),
            has_channel=allowance.has_channel,
            stretch=lambda: allowance.demand.stretch,
            elsewhere=elsewhere,
            on_hint=self._observer.hinted,
        )
        keeping.on_other = self.adopt
        keeping.on_stored = neighbours.say_seen
        keeping.on_comments_stored = neighbours.say_commented

    # -- what looks and writes bring

    def _count_look(self, why: str, comments: bool) -> None:
        self._observer.looked(why, comments)
        if why not in PLANNED:
            self._demand.unplanned(self._cost(COSTS["list" if comments else "read"]))

    def _looked_at(self, document: Document, viewer: Viewer, view: FileView, why: str) -> None:
        learnt = self.take(document, viewer, view, via="push" if why == HINT else "poll")
        if learnt.moved and why in (VISIBLE, HIDDEN) and self._intervals.announced(document):
            self.hints.seen_unasked(document)
        modified = seconds_of(str(view.shared.get("modifiedTime", "")))
        if "modifiedTime" in learnt.names and modified is not None:
            self._observer.lagged(max(0.0, self._clock.seconds() - modified))

    def looked_at_comments(self, document: Document, viewer: Viewer, comments: Comments) -> None:
        first_proof = not document.seen_by(viewer.id)[1]
        document.prove(viewer.id, comments=comments.as_of)
        if first_proof:
            self._keeping.save(document)  # which no other node knows of
        first = not document.discussion.loaded
        changed = document.learn_comments(comments)
        if changed:
            self.moved(document.id, say=False)
        self.telling.comments(document, "poll")
        if first or changed:
            self._keeping.save_comments(document, None if first else changed, via="poll", by=viewer.id)
        else:
            self._neighbours.say_commented(document, "poll", user_id=viewer.id)

    def take(
        self, document: Document, viewer: Viewer, view: FileView, *, via: str, teller: Tab | None = None
    ) -> Learnt:
        first_proof = document.seen_by(viewer.id) == (0.0, 0.0)
        proven = document.prove(viewer.id, file=view.as_of)
        learnt = document.learn(
            view, now=self._clock.seconds(), believe_older_after=self._polling.believe_older_after
        )
        if learnt.believed:
            self._observer.believed()
        watcher = document.watchers.get(viewer.id)
        own_changed = learnt.taken and document.learn_own(viewer.id, view)
        if watcher is not None and proven:
            watcher.lost_since = None
        if watcher is not None and learnt.taken and teller in watcher.tabs and not teller.lagging:
            # What a lagging one has not read yet, the answer to its write does not say.
            watcher.place(teller, document.history.position)
        self._follow(document, learnt, via)
        if own_changed and watcher is not None:
            tell_touched(document, watcher, but=teller)
        if learnt.moved or learnt.names or first_proof:
            self._keeping.save(document, via=via)
        elif not self._keeping.save_proofs(document):
            self._neighbours.say_seen(document, via, user_id=viewer.id)
        return learnt

    def adopt(self, document: Document, record: DocumentRecord, via: str = "poll") -> None:
        """Another node stored this. What is newer here is stored in its place."""
        doubted = document.doubted.get(None)
        learnt = document.adopt(record, now=self._clock.seconds())
        self._follow(document, learnt, via)
        if document.doubted.get(None) != doubted:
            self.doubted(document)
        if not learnt.taken:
            self._keeping.save(document, via=via)

    def adopt_comments(self, document: Document, record: CommentsRecord, via: str) -> None:
        """Another node stored these comments."""
        first = not document.discussion.loaded
        changed = document.discussion.adopt(record)
        document.comments_changed(() if first else changed)
        self.telling.comments(document, via)
        self.looks.seen_elsewhere(document, COMMENTS)

    def forget_kept(self, file_id: str) -> None:
        """What is kept of Google's answers about it is old."""
        self._on_moved(file_id)

    def _follow(self, document: Document, learnt: Learnt, via: str) -> None:
        """What follows from news, wherever they come from."""
        if learnt.moved:
            self.moved(document.id, say=False)
            self.hints.moved(document, learnt.changes)
        if learnt.names:
            for listener in self.listeners:
                listener(via, document)
        self.telling.state(document, via)
        if learnt.moved:
            self.comments_moved(document)

    def doubted(self, document: Document) -> None:
        """Nobody's proof holds any more: everybody is to look anew."""
        for user_id in document.watchers:
            self.looks.viewer_due(document, user_id)

    def _refused(self, document: Document, watcher: Watcher) -> None:
        """Delivery stops at once; a second look, a little later, decides."""
        now = self._clock.seconds()
        user_id = watcher.viewer.id
        if document.watchers.get(user_id) is not watcher:
            return
        document.doubt(now, user_id)
        if watcher.lost_since is None:
            watcher.lost_since = now
        if now - watcher.lost_since >= SECOND_LOOK:
            self.lose(document, user_id, "no_access")
        else:
            after = watcher.lost_since + SECOND_LOOK - now
            self.looks.viewer_due(document, user_id, why=SECOND, after=after)

    def lose(self, document: Document, user_id: str, reason: str) -> None:
        watcher = document.lose(user_id)
        document.eyes.pop(user_id, None)
        for tab in watcher.tabs:
            self._watching.remove(tab, document.id)
        tell_lost(document, watcher, reason)
        self._let_go(document)

    def moved(self, file_id: str, *, say: bool = True) -> None:
        """Something happened to it. ``say``: nothing else will tell the other nodes."""
        self.looks.moved()
        self._on_moved(file_id)
        if say:
            self._neighbours.say_moved(file_id)

    def comments_moved(self, document: Document) -> None:
        """At least may have: who watches them wants to know."""
        if document.wants_comments:
            self.looks.comments_due(document)

    def watched_by(self, user_id: str) -> list[Document]:
        """What any tab of this user watches."""
        found = map(self._find, self._watching.of_user(user_id))
        return [document for document in found if document is not None]

    def stop(self) -> None:
        """Nothing is looked at any more."""
        self.looks.stop()
        self.hints.stop()
