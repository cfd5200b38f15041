"""The hub: which documents are watched, by whom, when each is looked at, and who hears what.

Level-triggered: a poll, a peer's write or a page that comes back only brings a state; what a
tab is sent follows from comparing that state with what the tab was last told. One look serves
all who watch, but an event reaches a user only on a fresh proof of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.config import Polling
from docsession.discussion import overlap
from docsession.document import Document, Tab, Told, Viewer, Watcher
from docsession.errors import DocsessionError, Unavailable
from docsession.google.drive import AccessRefused
from docsession.google.look import FileView
from docsession.google.refusals import ACCESS_LOST
from docsession.interfaces import Store
from docsession.schedule import Schedule
from docsession.tasks import Flights, spawn
from docsession.times import rfc3339

__all__ = ["Documents"]

# A refusal of access is believed when a second look says the same.
SECOND_LOOK = 2.0
# Proofs alone are worth a write to the store this often.
SAVE_PROOFS = 60.0


class Documents:
    """All watched documents of this process."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        *,
        on_moved: Callable[[str], None],
        on_event: Callable[[str, int], None] = lambda via, receivers: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._polling = polling
        self._on_moved = on_moved
        self._on_event = on_event
        self._documents: dict[str, Document] = {}
        self._by_tab: dict[Tab, set[str]] = {}
        self._loading: Flights[Document | None] = Flights(abandon=False)
        self._looking: set[tuple[str, str, str]] = set()
        self._working: set[Deferred[None]] = set()
        self._listeners: list[Callable[[str, Document], None]] = []
        self.schedule = Schedule(clock, self._start)

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
        document = await self._proven(viewer, file_id)
        document = self._documents.setdefault(document.id, document)
        document.held += 1
        try:
            if comments:
                await self._comments_proven(viewer, document)
            return self._watch(tab, viewer, document, version, mark, comments=comments)
        finally:
            document.held -= 1
            self._let_go(document)

    def _watch(
        self,
        tab: Tab,
        viewer: Viewer,
        document: Document,
        version: str | None,
        mark: str | None,
        *,
        comments: bool,
    ) -> dict[str, Any]:
        # Nothing waits in here: what is answered is what the tab counts as told.
        watcher = document.watchers.setdefault(viewer.id, Watcher(viewer))
        watcher.viewer = viewer
        watcher.tabs[tab] = Told(document.version, comments=comments)
        self._by_tab.setdefault(tab, set()).add(document.id)
        self._plan(document)
        result: dict[str, Any] = {
            "fileId": document.id,
            "version": document.version,
            "changed": document.version != version,
            "file": document.file,
            "as_of": rfc3339(document.as_of),
        }
        if comments:
            said = document.discussion.whole() if mark is None else document.discussion.since(mark)
            result |= {"comments": said, "commentsMark": document.discussion.mark}
            self.schedule.by(("comments", document.id), self._clock.seconds() + self._polling.comments)
        return result

    def unwatch(self, tab: Tab, file_id: str) -> None:
        """This tab no longer watches it. Harmless where it did not."""
        document = self._documents.get(file_id)
        self._by_tab.get(tab, set()).discard(file_id)
        if document is None:
            return
        for user_id, watcher in list(document.watchers.items()):
            watcher.tabs.pop(tab, None)
            if not watcher.tabs:
                del document.watchers[user_id]
        self._let_go(document)

    def forget(self, tab: Tab) -> None:
        """The tab is gone."""
        for file_id in self._by_tab.pop(tab, set()).copy():
            self.unwatch(tab, file_id)
        self._by_tab.pop(tab, None)

    def watched(self, tab: Tab) -> list[dict[str, Any]]:
        """What this tab watches, and how fresh it is."""
        there = [self._documents[file_id] for file_id in sorted(self._by_tab.get(tab, ()))]
        return [
            {"fileId": document.id, "version": document.version, "as_of": rfc3339(document.as_of)}
            for document in there
        ]

    def count(self, tab: Tab) -> int:
        """How many documents this tab watches."""
        return len(self._by_tab.get(tab, ()))

    def is_watched(self, file_id: str | None) -> bool:
        """Whether anybody here watches it."""
        return file_id in self._documents

    def attention(self, tab: Tab) -> None:
        """The tab turned visible or hidden: what is due moves."""
        for file_id in self._by_tab.get(tab, ()):
            self._plan(self._documents[file_id])

    def __len__(self) -> int:
        return len(self._documents)

    # -- what is learnt through a user's own requests

    def learn(self, viewer: Viewer, view: FileView, *, teller: Tab | None = None) -> None:
        """A write's answer: everybody else who watches hears of it; the writer counts as told."""
        document = self._documents.get(view.file_id)
        if document is None:
            self._on_moved(view.file_id)
        else:
            self._take(document, viewer, view, via="peer", teller=teller)

    def learn_comment(
        self, viewer: Viewer, file_id: str, comment: Mapping[str, Any], *, teller: Tab | None
    ) -> None:
        """A comment was written through here (``deleted`` when it was deleted)."""
        document = self._documents.get(file_id)
        self._on_moved(file_id)
        if document is None or not document.discussion.loaded:
            return
        changed = document.discussion.learn([comment], self._clock.seconds(), whole=False)
        document.comments_changed(changed)
        told = self._told(document, viewer, teller)
        if told is not None:
            told.new_comments.difference_update(changed)
        self._deliver_comments(document, via="peer")

    def learn_reply(
        self, viewer: Viewer, file_id: str, comment_id: str, reply: Mapping[str, Any], *, teller: Tab | None
    ) -> None:
        """A reply was written through here."""
        document = self._documents.get(file_id)
        comment = None if document is None else document.discussion.with_reply(comment_id, reply)
        if comment is not None:
            self.learn_comment(viewer, file_id, comment, teller=teller)
        else:
            self.comments_touched(file_id)

    def comments_touched(self, file_id: str) -> None:
        """Something happened to its comments; Google knows what."""
        self._on_moved(file_id)
        document = self._documents.get(file_id)
        if document is not None and any(watcher.wants_comments for watcher in document.watchers.values()):
            self.schedule.by(("comments", file_id), self._clock.seconds())

    def touched(self, file_id: str) -> None:
        """Something happened to it; Google knows what. Looked at as soon as may be."""
        self._on_moved(file_id)
        if file_id in self._documents:
            self.schedule.by(("document", file_id), self._clock.seconds())

    def deleted(self, file_id: str) -> None:
        """It was deleted for good through here: its watches end."""
        self._on_moved(file_id)
        document = self._documents.get(file_id)
        if document is not None:
            for user_id in list(document.watchers):
                self._lose(document, user_id, "deleted")
        self._spawn(self._store.delete_document(file_id))

    def access_changed(self, file_id: str) -> None:
        """Its permissions were written through here: every watcher must look anew first."""
        self._on_moved(file_id)
        document = self._documents.get(file_id)
        if document is None:
            return
        document.proofs.clear()
        for user_id in document.watchers:
            self.schedule.by(("viewer", file_id, user_id), self._clock.seconds())

    def listen(self, listener: Callable[[str, Document], None]) -> None:
        """Be called with (via, document) whenever a document's shared state changed."""
        self._listeners.append(listener)

    # -- finding a document that this user may know

    async def _proven(self, viewer: Viewer, file_id: str) -> Document:
        document = await self._find(file_id)
        if document is not None and self._fresh(document, viewer.id):
            return document
        try:
            view = await viewer.look(file_id, poll=False)
        except AccessRefused as refused:
            raise refused.refusal.error() from None
        if document is None or view.file_id != document.id:
            document = await self._find(view.file_id) or Document(view.file_id)
        # Somebody else may have begun to watch it while this one waited.
        document = self._documents.get(view.file_id, document)
        self._take(document, viewer, view, via="poll")
        return document

    async def _comments_proven(self, viewer: Viewer, document: Document) -> None:
        _, proof = document.proofs.get(viewer.id, (0.0, 0.0))
        if document.discussion.loaded and self._is_fresh(proof):
            return
        since = overlap(document.discussion.mark) if document.discussion.loaded else None
        try:
            comments = await viewer.look_at_comments(document.id, since=since, poll=False)
        except AccessRefused as refused:
            raise refused.refusal.error() from None
        document.prove(viewer.id, comments=comments.as_of)
        document.learn_comments(comments)
        self._deliver_comments(document, via="poll")

    async def _find(self, file_id: str) -> Document | None:
        document = self._documents.get(file_id)
        if document is not None:
            return document
        return await self._loading.join(file_id, lambda: self._load(file_id))

    async def _load(self, file_id: str) -> Document | None:
        try:
            record = await self._store.load_document(file_id)
        except Unavailable:
            return None  # then Google is asked, as for any other document
        return None if record is None else Document.from_record(record)

    # -- looking

    def _start(self, what: Hashable) -> None:
        kind, file_id, *rest = cast(tuple[str, ...], what)
        document = self._documents.get(file_id)
        if document is None:
            return
        now = self._clock.seconds()
        if kind == "comments":
            self.schedule.by(what, now + self._polling.comments)
        elif kind == "document":
            self.schedule.at(what, now + self._interval(document))
        watchers = [watcher for watcher in document.watchers.values() if watcher.lost_since is None]
        if rest:
            watchers = [watcher for user_id, watcher in document.watchers.items() if user_id == rest[0]]
        about_comments = kind in ("comments", "comments of viewer")
        if about_comments:
            watchers = [watcher for watcher in watchers if watcher.wants_comments]
        if not watchers:
            return
        # In turn: whose own look is longest ago. That spreads the cost and renews the proofs.
        turn = 1 if about_comments else 0
        watcher = min(watchers, key=lambda w: document.proofs.get(w.viewer.id, (0.0, 0.0))[turn])
        self._spawn(
            self._look_at_comments(document, watcher) if about_comments else self._look(document, watcher)
        )

    async def _look(self, document: Document, watcher: Watcher) -> None:
        async def look() -> None:
            view = await watcher.viewer.look(document.id, poll=True)
            if document.watchers.get(watcher.viewer.id) is watcher:
                self._take(document, watcher.viewer, view, via="poll")

        await self._one_look("file", document, watcher, look)

    async def _look_at_comments(self, document: Document, watcher: Watcher) -> None:
        async def look() -> None:
            known = document.discussion
            since = overlap(known.mark) if known.loaded else None
            comments = await watcher.viewer.look_at_comments(document.id, since=since, poll=True)
            document.prove(watcher.viewer.id, comments=comments.as_of)
            document.learn_comments(comments)
            self._deliver_comments(document, via="poll")

        await self._one_look("comments", document, watcher, look)

    async def _one_look(
        self,
        what: str,
        document: Document,
        watcher: Watcher,
        look: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        key = (what, document.id, watcher.viewer.id)
        if key in self._looking:
            return
        self._looking.add(key)
        try:
            await look()
        except AccessRefused as refused:
            if refused.refusal.reason in ACCESS_LOST:
                self._access_refused(document, watcher)
            else:
                self._log.warn("a look was refused: {reason}", reason=refused.refusal.reason)
        except DocsessionError as error:
            # Weather, rate, store: the next look is planned; who may not see keeps not seeing.
            self._log.debug("a look failed: {reason}", reason=error.name)
        finally:
            self._looking.discard(key)

    def _take(
        self, document: Document, viewer: Viewer, view: FileView, *, via: str, teller: Tab | None = None
    ) -> None:
        now = self._clock.seconds()
        document.prove(viewer.id, file=view.as_of)
        moved, names = document.learn(view, now=now, believe_older_after=self._polling.believe_older_after)
        if moved:
            self._on_moved(document.id)
        watcher = document.watchers.get(viewer.id)
        own_changed = False
        if watcher is not None:
            watcher.lost_since = None
            own_changed = watcher.own is not None and watcher.own != view.own and bool(view.own)
            watcher.own = view.own or watcher.own
            told = self._told(document, viewer, teller)
            if told is not None:
                told.version = document.version
                told.names.clear()
        if names:
            for listener in self._listeners:
                listener(via, document)
        self._deliver(document, via)
        if own_changed and watcher is not None:
            for tab in list(watcher.tabs):
                tab.notify("document.touched", {"fileId": document.id, "version": document.version})
        if moved and any(watcher.wants_comments for watcher in document.watchers.values()):
            self.schedule.by(("comments", document.id), now)
        if names or now - document.saved_at > SAVE_PROOFS:
            self._save(document)

    # -- telling

    def _deliver(self, document: Document, via: str) -> None:
        encoded: dict[frozenset[str], bytes] = {}
        receivers = 0
        for user_id, watcher in list(document.watchers.items()):
            behind = [(tab, told) for tab, told in watcher.tabs.items() if told.version != document.version]
            if not behind:
                continue
            if watcher.lost_since is not None or not self._fresh(document, user_id):
                self.schedule.by(("viewer", document.id, user_id), self._clock.seconds())
                continue
            for tab, told in behind:
                names = frozenset(told.names)
                if names not in encoded:
                    encoded[names] = document.changed_event(names, via)
                told.version = document.version
                told.names = set()
                receivers += 1
                tab.send_event(encoded[names])
        if receivers:
            self._on_event(via, receivers)

    def _deliver_comments(self, document: Document, via: str) -> None:
        encoded: dict[str, bytes] = {}
        now = self._clock.seconds()
        for user_id, watcher in list(document.watchers.items()):
            behind = [(tab, told) for tab, told in watcher.tabs.items() if told.new_comments]
            if not behind:
                continue
            if watcher.lost_since is not None or not self._is_fresh(
                document.proofs.get(user_id, (0.0, 0.0))[1]
            ):
                self.schedule.by(("comments of viewer", document.id, user_id), now)
                continue
            for tab, told in behind:
                for comment_id in sorted(told.new_comments):
                    if comment_id not in encoded:
                        encoded[comment_id] = document.comment_event(comment_id, via, now)
                    tab.send_event(encoded[comment_id])
                told.new_comments = set()

    def _access_refused(self, document: Document, watcher: Watcher) -> None:
        now = self._clock.seconds()
        user_id = watcher.viewer.id
        document.proofs.pop(user_id, None)
        if document.watchers.get(user_id) is not watcher:
            return
        if watcher.lost_since is None:
            watcher.lost_since = now
            self.schedule.by(("viewer", document.id, user_id), now + SECOND_LOOK)
        elif now - watcher.lost_since >= SECOND_LOOK:
            self._lose(document, user_id, "no_access")

    def _lose(self, document: Document, user_id: str, reason: str) -> None:
        watcher = document.watchers.pop(user_id, None)
        document.proofs.pop(user_id, None)
        if watcher is not None:
            for tab in watcher.tabs:
                self._by_tab.get(tab, set()).discard(document.id)
                tab.notify("document.lost", {"fileId": document.id, "reason": reason})
        self._let_go(document, save=reason != "deleted")

    def _told(self, document: Document, viewer: Viewer, tab: Tab | None) -> Told | None:
        watcher = document.watchers.get(viewer.id)
        return None if watcher is None or tab is None else watcher.tabs.get(tab)

    # -- planning and keeping

    def _interval(self, document: Document) -> float:
        visible = any(watcher.visible for watcher in document.watchers.values())
        interval = self._polling.visible if visible else self._polling.hidden
        return interval * self._rng.uniform(1 - self._polling.jitter, 1 + self._polling.jitter)

    def _plan(self, document: Document) -> None:
        """Due one interval after the last look, at once if that is past."""
        now = self._clock.seconds()
        self.schedule.by(("document", document.id), max(now, document.as_of + self._interval(document)))

    def _fresh(self, document: Document, user_id: str) -> bool:
        return self._is_fresh(document.proofs.get(user_id, (0.0, 0.0))[0])

    def _is_fresh(self, proof: float) -> bool:
        return self._clock.seconds() - proof <= self._polling.proof

    def _let_go(self, document: Document, *, save: bool = True) -> None:
        """If nobody watches it any more, only the store keeps what is known."""
        if document.watchers or document.held or self._documents.get(document.id) is not document:
            return
        self._documents.pop(document.id, None)
        for kind in ("document", "comments"):
            self.schedule.drop((kind, document.id))
        if save:
            self._save(document)

    def _save(self, document: Document) -> None:
        now = self._clock.seconds()
        document.saved_at = now
        self._spawn(self._keep(document.record(proofs_since=now - self._polling.proof)))

    async def _keep(self, record: Any) -> None:
        try:
            await self._store.save_document(record)
        except Unavailable:
            self._log.warn("the state of a document could not be stored: the store is away")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        running = spawn(self._log, work)
        self._working.add(running)
        running.addBoth(lambda _: self._working.discard(running))

    async def stop(self) -> None:
        """Stop looking; store what is known."""
        self.schedule.stopService()
        for document in self._documents.values():
            self._save(document)
        while self._working:
            running = next(iter(self._working))
            if running.called:
                self._working.discard(running)
                continue
            await _settled(running)


def _settled(running: Deferred[None]) -> Deferred[None]:
    """Fires when it does, without taking its result."""
    waiter: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        waiter.callback(None)
        return result

    running.addBoth(fire)
    return waiter
