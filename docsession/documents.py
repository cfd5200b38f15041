"""The hub: which documents are watched, by whom, and who hears what.

Level-triggered: a poll, a peer's write or a page that comes back only brings a state; what a
tab is sent follows from comparing that state with what the tab was last told. One look serves
all who watch, but an event reaches a user only on a fresh proof of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from docsession.config import Polling
from docsession.demand import Allowance
from docsession.document import Document
from docsession.errors import NotFound
from docsession.events import watch_answer
from docsession.hearsay import Hearsay
from docsession.interfaces import Backend, HubObserver, Unobserved
from docsession.keeping import Keeping
from docsession.learning import Learning
from docsession.neighbours import Neighbours
from docsession.telling import TellAll, tell_each
from docsession.times import rfc3339
from docsession.watcher import UNKNOWN, Tab, Viewer
from docsession.watching import Watching
from docsession.written import Written

__all__ = ["Documents"]


class Documents:
    """All watched documents of this process."""

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        allowance: Allowance,
        *,
        on_moved: Callable[[str], None],
        elsewhere: Callable[[str], None] = lambda user_id: None,
        observer: HubObserver | None = None,
        tell_all: TellAll = tell_each,
    ) -> None:
        self._clock = clock
        self._began = clock.seconds()
        self._documents: dict[str, Document] = {}
        self._watching = Watching()
        self._keeping = Keeping(backend.store, clock, proofs_last=polling.proof, rest=backend.rest)
        self._neighbours = Neighbours(backend.bus, backend.leases)
        self._learning = Learning(
            clock,
            rng,
            polling,
            allowance,
            find=self._documents.get,
            watching=self._watching,
            keeping=self._keeping,
            neighbours=self._neighbours,
            let_go=self._let_go,
            on_moved=on_moved,
            elsewhere=elsewhere,
            observer=observer or Unobserved(),
            tell_all=tell_all,
        )
        self._looks = self._learning.looks
        self._telling = self._learning.telling
        self.written = Written(
            clock,
            find=self._documents.get,
            learning=self._learning,
            keeping=self._keeping,
            neighbours=self._neighbours,
        )
        self._hearsay = Hearsay(
            clock,
            find=self._documents.get,
            keeping=self._keeping,
            learning=self._learning,
            neighbours=self._neighbours,
            on_deleted=self.written.gone,
        )
        self.schedule = self._looks.schedule

    # -- what pages ask

    async def watch(
        self,
        tab: Tab,
        viewer: Viewer,
        file_id: str,
        *,
        version: str | None,
        comments: bool,
        mark: str | None,
    ) -> dict[str, Any]:
        """Begin (or confirm) a watch; the answer is the document as this user may know it now.

        Raises any Google error; then nothing is watched.
        """
        with self._watching.beginning(tab, file_id):
            document = await self._proven(viewer, file_id, known=version)
            if document.id not in self._documents:
                self._documents[document.id] = document
                self._neighbours.join(document.id)
            document = self._documents[document.id]
            document.held += 1
            try:
                if comments:
                    await self._comments_proven(viewer, document, known=mark)
                if document.gone:
                    raise NotFound
                self._join(tab, viewer, document, comments=comments)
                return watch_answer(document, version, mark, comments=comments)
            finally:
                document.held -= 1
                self._let_go(document)

    def watch_at_once(
        self,
        tab: Tab,
        viewer: Viewer,
        file_id: str,
        *,
        version: str | None,
        comments: bool,
        mark: str | None,
    ) -> dict[str, Any] | None:
        """As :meth:`watch`, where nothing has to be waited for; None where something has."""
        document = self._documents.get(file_id)
        if document is None or document.gone or not self._is_proven(document, viewer, known=version):
            return None
        if comments and not self._are_comments_proven(document, viewer, known=mark):
            return None
        self._join(tab, viewer, document, comments=comments)
        return watch_answer(document, version, mark, comments=comments)

    def _join(self, tab: Tab, viewer: Viewer, document: Document, *, comments: bool) -> None:
        # Nothing may be waited for from here to the answer: that is what the tab counts as told.
        new = self._watching.add(tab, viewer.id, document.id)
        document.join(viewer, tab, new=new, comments=comments)
        self._looks.joined(document, viewer.id, tab)
        if comments:
            self._neighbours.join_comments(document.id)
            self._looks.comments_joined(document)

    def unwatch(self, tab: Tab, file_id: str) -> None:
        """This tab no longer watches it. Harmless where it did not."""
        document, user_id = self._documents.get(file_id), self._watching.user(tab)
        self._watching.remove(tab, file_id)
        if document is not None and user_id is not None:
            document.leave(tab, user_id)
            self._let_go(document)

    def forget(self, tab: Tab) -> None:
        """The tab is gone."""
        for file_id in self._watching.of(tab):
            self.unwatch(tab, file_id)

    def lags(self, tab: Tab) -> None:
        """What this tab was sent of changes may not have reached it: nobody knows how far it was
        told. It is told anew when it has caught up."""
        for document, user_id in self._watched(tab):
            document.watchers[user_id].place(tab, UNKNOWN)

    def caught_up(self, tab: Tab) -> None:
        """The tab lags no more: of each document it is told the latest state, if it knows another."""
        for document, user_id in self._watched(tab):
            if user_id in document.watchers:  # and was not closed by what it was sent
                self._telling.caught_up(document, user_id)

    def _watched(self, tab: Tab) -> list[tuple[Document, str]]:
        user_id = self._watching.user(tab)
        if user_id is None:
            return []
        return [(self._documents[file_id], user_id) for file_id in self._watching.of(tab)]

    def watched(self, tab: Tab) -> list[dict[str, Any]]:
        """What this tab watches, and how fresh it is."""
        there = [self._documents[file_id] for file_id in self._watching.of(tab)]
        return [
            {"fileId": document.id, "version": document.version, "as_of": rfc3339(document.as_of)}
            for document in there
        ]

    def count(self, tab: Tab, *, beside: str | None = None) -> int:
        """How many documents this tab watches or begins to, not counting one it asks for again."""
        return self._watching.count(tab, beside=beside)

    def is_watched(self, file_id: str | None) -> bool:
        """Whether anybody here watches it."""
        return file_id in self._documents

    def attention(self, tab: Tab) -> None:
        """The tab turned visible or hidden: what is due moves."""
        for file_id in self._watching.of(tab):
            document = self._documents[file_id]
            document.visible = None
            if tab.visible:
                document.stirred_at = self._clock.seconds()
            self._looks.plan(document)

    def hinted(self, user_id: str) -> None:
        """Google pushed: something of this user's changed."""
        self._learning.hints.hint(user_id)

    def all_touched(self, user_id: str) -> None:
        """Something may have happened to any document that this user watches."""
        for document in self._learning.watched_by(user_id):
            self._looks.file_due(document)

    def user_left(self, user_id: str) -> None:
        """Nobody is here any more who could be told."""
        self._learning.hints.forget(user_id)

    def channel_changed(self, user_id: str) -> None:
        """Google tells us of this user's changes from now on, or no longer does."""
        for document in self._learning.watched_by(user_id):
            document.announced = None
            if document.as_of < self._began:
                # After a restart all that is stored would be looked at once more than it is due.
                self._looks.plan_anew(document)
            else:
                self._looks.plan(document)

    def __len__(self) -> int:
        return len(self._documents)

    def heard(self, message: Mapping[str, Any]) -> None:
        """Another node says that a file moved."""
        self._hearsay.moved(message)

    def compare(self) -> None:
        """Messages of other nodes may have been missed."""
        self._hearsay.compare(list(self._documents.values()))

    def write_again(self) -> None:
        """The store has lost what it had: what is known here is written again."""
        self._hearsay.write_again(list(self._documents.values()))

    def listen(self, listener: Callable[[str, Document], None]) -> None:
        """Be called with (via, document) whenever a document's shared state changed."""
        self._learning.listeners.append(listener)

    async def stop(self) -> None:
        """Stop looking; store what is known."""
        self._learning.stop()
        for document in self._documents.values():
            self._keeping.save(document)
        await self._keeping.settle()

    # -- finding a document that this user may know

    async def _proven(self, viewer: Viewer, file_id: str, *, known: str | None) -> Document:
        document = await self._find(file_id)
        if document is not None and self._is_proven(document, viewer, known=known):
            return document
        view = await self._looks.ask(viewer, file_id)
        if document is None or view.file_id != document.id:
            document = await self._find(view.file_id) or Document(view.file_id)
        # Somebody else may have begun to watch it while this one waited.
        document = self._documents.get(view.file_id, document)
        self._learning.take(document, viewer, view, via="poll")
        return document

    def _is_proven(self, document: Document, viewer: Viewer, *, known: str | None) -> bool:
        fresh = self._telling.is_fresh(document.seen_by(viewer.id)[0])
        return fresh and not document.is_behind(known)

    def _are_comments_proven(self, document: Document, viewer: Viewer, *, known: str | None) -> bool:
        fresh = self._telling.is_fresh(document.seen_by(viewer.id)[1])
        return fresh and document.comments_known and not document.discussion.is_behind(known)

    async def _find(self, file_id: str) -> Document | None:
        return self._documents.get(file_id) or await self._keeping.load(file_id)

    async def _comments_proven(self, viewer: Viewer, document: Document, *, known: str | None) -> None:
        discussion = document.discussion
        if not discussion.loaded or discussion.is_behind(known):
            stored = await self._keeping.comments(document.id)
            if stored is not None:
                self._learning.adopt_comments(document, stored, "poll")
        if self._are_comments_proven(document, viewer, known=known):
            return
        self._learning.looked_at_comments(document, viewer, await self._looks.ask_comments(viewer, document))

    # -- keeping

    def _let_go(self, document: Document) -> None:
        """If nobody watches it any more, only the store keeps what is known."""
        if document.watchers or document.held or self._documents.get(document.id) is not document:
            return
        del self._documents[document.id]
        self._neighbours.leave(document.id)
        self._looks.drop(document)
        if not document.gone:
            self._keeping.save(document)
