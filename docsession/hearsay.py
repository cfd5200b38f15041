"""What other nodes say of documents that are watched here, and what follows.

A message names a state; where another one is known here, the store is asked what is so. So a message
that was lost is made good by the next one, and one that comes twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from docsession.document import Document
from docsession.errors import Unavailable
from docsession.keeping import Keeping
from docsession.learning import Learning
from docsession.neighbours import COMMENTS, FILE, Neighbours

__all__ = ["Hearsay"]

# After a gap so many documents are compared with the store at a time.
_AT_ONCE = 20


class Hearsay:
    """Hears the neighbours. ``on_deleted(document)``: another node has deleted it for good."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        find: Callable[[str], Document | None],
        keeping: Keeping,
        learning: Learning,
        neighbours: Neighbours,
        on_deleted: Callable[[Document], None],
    ) -> None:
        self._clock = clock
        self._find = find
        self._keeping = keeping
        self._learning = learning
        self._looks = learning.looks
        self._neighbours = neighbours
        # Documents that are being read from the store, and whether once more after that.
        self._reading: dict[tuple[str, str], bool] = {}
        self._kinds: dict[str, Callable[[Document, Mapping[str, Any]], None]] = {
            "seen": self._seen,
            "commented": self._commented,
            "due": self._due,
            "deleted": lambda document, message: on_deleted(document),
        }
        neighbours.hear = self._hear
        neighbours.on_turn = self._turn

    def moved(self, message: Mapping[str, Any]) -> None:
        """A file moved; where it is watched, the message says what it is now."""
        file_id = str(message["file"])
        self._learning.forget_kept(file_id)
        document = self._find(file_id)
        if document is not None and "mark" in message:
            self._seen(document, message)

    def compare(self, documents: Iterable[Document]) -> None:
        """Messages may have been missed: what is stored is compared with what is known here."""
        waiting = list(documents)
        for start in range(_AT_ONCE):
            self._keeping.do(self._compare(waiting[start::_AT_ONCE]))

    def write_again(self, documents: Iterable[Document]) -> None:
        """The store has lost what it had."""
        for document in documents:
            document.lost()
            self._keeping.save(document)
            if document.discussion.loaded:
                self._keeping.save_comments(document, None)

    # -- inside

    def _turn(self, file_id: str, what: str) -> None:
        document = self._find(file_id)
        if document is not None:
            self._looks.turn(document, what)

    def _hear(self, file_id: str, message: Mapping[str, Any]) -> None:
        document = self._find(file_id)
        take = self._kinds.get(str(message.get("kind")))
        if document is not None and take is not None:
            take(document, message)

    def _seen(self, document: Document, message: Mapping[str, Any]) -> None:
        at = self._past(message["at"])
        # Of who may see it the mark says nothing, so nobody would ask the store.
        doubted = self._past(message.get("doubted", 0.0))
        if doubted > document.doubted.get(None, 0.0):
            document.doubt(doubted)
            self._learning.doubted(document)
        if message["user"] is not None:
            document.prove(message["user"], file=at)
        document.as_of = max(document.as_of, at)
        # That another node knows this state too does not say that the store has it.
        if message["mark"] not in (document.mark, document.stored):
            self._read(FILE, document, message["via"])
        self._looks.seen_elsewhere(document, FILE, message["stalest"])

    def _commented(self, document: Document, message: Mapping[str, Any]) -> None:
        at = self._past(message["at"])
        if message["user"] is not None:
            document.prove(message["user"], comments=at)
        if not document.discussion.loaded:
            return
        if message["digest"] == document.discussion.digest:
            document.discussion.looked_at = max(document.discussion.looked_at, at)
            self._looks.seen_elsewhere(document, COMMENTS)
        else:
            self._learning.forget_kept(document.id)
            self._read(COMMENTS, document, message["via"])

    def _due(self, document: Document, message: Mapping[str, Any]) -> None:
        """Something that another node heard of; whose turn it is looks, if it has not done so since."""
        what, since, why = message["what"], self._past(message["since"]), str(message["why"])
        if not self._neighbours.mine(what, document.id):
            return
        if what == COMMENTS and document.discussion.looked_at < since:
            self._learning.comments_moved(document)
        elif what == FILE and document.as_of < since:
            self._looks.now(document, why=why)

    def _past(self, at: float) -> float:
        """By the other's clock; nothing was seen later than now."""
        return min(float(at), self._clock.seconds())

    # -- the store is asked

    def _read(self, what: str, document: Document, via: str) -> None:
        key = (what, document.id)
        if key in self._reading:
            self._reading[key] = True
            return
        self._reading[key] = False
        self._keeping.do(self._read_until_told(what, document, via))

    async def _read_until_told(self, what: str, document: Document, via: str) -> None:
        key = (what, document.id)
        try:
            again = True
            while again and self._find(document.id) is document:
                self._reading[key] = False
                await (self._adopt(document, via) if what == FILE else self._adopt_comments(document, via))
                again = self._reading[key]
        finally:
            del self._reading[key]

    async def _adopt(self, document: Document, via: str) -> None:
        record = await self._keeping.stored(document.id)
        if self._find(document.id) is not document:
            return
        if record is not None:
            self._learning.adopt(document, record, via)
        elif document.google_version >= 0:
            self.write_again([document])

    async def _adopt_comments(self, document: Document, via: str) -> None:
        record = await self._keeping.comments(document.id)
        if record is not None and self._find(document.id) is document:
            self._learning.adopt_comments(document, record, via)

    async def _compare(self, documents: Iterable[Document]) -> None:
        for document in documents:
            try:
                if self._find(document.id) is document:
                    await self._adopt(document, "poll")
                if document.discussion.loaded:
                    await self._adopt_comments(document, "poll")
                    # What was learnt while the store was away it does not have, and nobody was told.
                    self._keeping.save_comments(document, None)
            except Unavailable:
                return  # and when it is back all is compared again
