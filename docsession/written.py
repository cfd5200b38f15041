"""What users of this node do to files, and who hears of it: whoever watches them, here and elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from docsession.document import Document
from docsession.errors import Unavailable
from docsession.google.look import FileView
from docsession.keeping import Keeping
from docsession.learning import Learning
from docsession.neighbours import COMMENTS, FILE, Neighbours
from docsession.watcher import Tab, Viewer

__all__ = ["Written"]


class Written:
    """Is told of each write through here, and of what a user's change log names."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        find: Callable[[str], Document | None],
        learning: Learning,
        keeping: Keeping,
        neighbours: Neighbours,
    ) -> None:
        self._clock = clock
        self._find = find
        self._learning = learning
        self._looks = learning.looks
        self._telling = learning.telling
        self._keeping = keeping
        self._neighbours = neighbours

    def learn(self, viewer: Viewer, view: FileView, *, teller: Tab | None = None) -> None:
        """A write's answer: everybody else who watches hears of it; the writer counts as told."""
        document = self._find(view.file_id)
        self._learning.moved(view.file_id, say=document is None)
        if document is None:
            self._keeping.do(self._learn_for_others(viewer, view))
        else:
            self._learning.take(document, viewer, view, via="peer", teller=teller)

    def learn_comment(
        self, viewer: Viewer, file_id: str, comment: Mapping[str, Any], *, teller: Tab | None
    ) -> None:
        """A comment was written through here (``deleted`` when it was deleted)."""
        document = self._find(file_id)
        self._learning.moved(file_id)
        if document is None or not document.discussion.loaded:
            self._say_due(file_id, COMMENTS)
            return
        changed = document.discussion.learn_one(comment, self._clock.seconds())
        document.comments_changed(changed, but=teller)
        self._telling.comments(document, "peer")
        self._keeping.save_comments(document, changed, via="peer")

    def learn_reply(
        self, viewer: Viewer, file_id: str, comment_id: str, reply: Mapping[str, Any], *, teller: Tab | None
    ) -> None:
        """A reply was written through here."""
        document = self._find(file_id)
        comment = None if document is None else document.discussion.with_reply(comment_id, reply)
        if comment is not None:
            self.learn_comment(viewer, file_id, comment, teller=teller)
        else:
            self.comments_touched(file_id)

    def comments_touched(self, file_id: str) -> None:
        """Something happened to its comments; Google knows what."""
        self._learning.moved(file_id)
        document = self._find(file_id)
        if document is None or not document.discussion.loaded:
            self._say_due(file_id, COMMENTS)
        else:
            self._learning.comments_moved(document)

    def touched(self, file_id: str) -> None:
        """Something happened to it; Google knows what. Looked at as soon as may be."""
        self._learning.moved(file_id)
        document = self._find(file_id)
        if document is not None:
            self._looks.file_due(document)
        else:
            self._say_due(file_id, FILE)

    def deleted(self, file_id: str) -> None:
        """It was deleted for good through here: its watches end."""
        self._learning.moved(file_id)
        document = self._find(file_id)
        if document is not None:
            self.gone(document)
        self._keeping.forget(file_id)
        self._neighbours.say_deleted(file_id)

    def gone(self, document: Document) -> None:
        """It was deleted for good, here or by another node."""
        document.gone = True
        for user_id in list(document.watchers):
            self._learning.lose(document, user_id, "deleted")

    def access_changed(self, file_id: str) -> None:
        """Its permissions were written through here: everybody must look anew first."""
        self._learning.moved(file_id)
        document = self._find(file_id)
        if document is None:
            self._keeping.do(self._doubt_for_others(file_id))
            return
        document.doubt(self._clock.seconds())
        self._learning.doubted(document)
        self._keeping.save(document)

    # -- what other nodes watch, and this one does not

    def _say_due(self, file_id: str, what: str) -> None:
        self._neighbours.say_due(file_id, what, self._clock.seconds(), "touched")

    async def _watched_elsewhere(self, file_id: str) -> Document | None:
        """What is stored of it, if anybody still needs that; else it is forgotten, for it is old now."""
        try:
            if await self._neighbours.watch_too(file_id):
                return await self._keeping.load(file_id)
        except Unavailable:
            pass  # then who watches it looks, as always
        self._keeping.forget(file_id)
        return None

    async def _learn_for_others(self, viewer: Viewer, view: FileView) -> None:
        document = await self._watched_elsewhere(view.file_id)
        if document is not None:
            self._learning.take(document, viewer, view, via="peer")

    async def _doubt_for_others(self, file_id: str) -> None:
        document = await self._watched_elsewhere(file_id)
        if document is not None:
            document.doubt(self._clock.seconds())
            self._keeping.save(document)
