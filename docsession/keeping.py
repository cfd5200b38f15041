"""What is known of documents, kept in the store. Without the store life goes on.

A state is stored in the place of the one that it came after. Where another node was quicker, what
that one stored is handed over, and what is then still newer here is stored in its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.document import Document
from docsession.errors import Unavailable
from docsession.interfaces import Store
from docsession.model import CommentsRecord, DocumentRecord
from docsession.tasks import Background, Flights, Whistle

__all__ = ["Keeping"]

# Proofs alone are worth a write to the store this often.
SAVE_PROOFS = 60.0
# However many nodes write at once, one of them gets through each time.
_TRIES = 5


class Keeping:
    """Loads, saves and forgets documents' last known states, comments included.

    ``on_other(document, record)`` is given what another node has stored instead; ``on_stored(document,
    via)`` and ``on_comments_stored`` hear when the others may be told.
    """

    _log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, *, proofs_last: float, rest: float = 0.0) -> None:
        self._store = store
        self._clock = clock
        self._proofs_last = proofs_last
        self._rest = rest
        # Who waits for a document's rest to be over; and whether nobody rests any more.
        self._resting: Whistle[str] = Whistle(clock)
        self._settling = False
        self._loading: Flights[Document | None] = Flights(abandon=False)
        self._writing = Background(self._log)
        # Documents whose state is being saved; and what they changed by meanwhile.
        self._saving: dict[str, str | None] = {}
        self.on_other: Callable[[Document, DocumentRecord], None] = lambda document, record: None
        self.on_stored: Callable[[Document, str], None] = lambda document, via: None
        self.on_comments_stored: Callable[[Document, str, str | None], None] = lambda document, via, by: None

    async def load(self, file_id: str) -> Document | None:
        """The document as it was last known. Each caller at once gets the same object."""
        return await self._loading.join(file_id, lambda: self._load(file_id))

    async def stored(self, file_id: str) -> DocumentRecord | None:
        """What the store has, now. Raises Unavailable."""
        return await self._store.load_document(file_id)

    async def comments(self, file_id: str) -> CommentsRecord | None:
        """What the store has of its comments; None where it cannot be had."""
        try:
            return await self._store.load_comments(file_id)
        except Unavailable:
            return None

    def save(self, document: Document, *, via: str = "poll") -> None:
        """Keep its state and proofs."""
        document.saved_at = self._clock.seconds()
        if document.id in self._saving:
            self._saving[document.id] = via  # once more, when that is done
            if not document.watchers:
                self._resting.blow(document.id)  # who watches it next finds what the store has
        else:
            self._saving[document.id] = None
            self._spawn(self._save(document, via))

    def save_proofs(self, document: Document) -> bool:
        """Keep them, unless that was done a short while ago."""
        due = self._clock.seconds() - document.saved_at > SAVE_PROOFS
        if due:
            self.save(document)
        return due

    def save_comments(
        self,
        document: Document,
        comment_ids: Iterable[str] | None,
        *,
        via: str = "poll",
        by: str | None = None,
    ) -> None:
        """Keep these, or all; ``by`` whose look they came."""
        self._spawn(self._save_comments(document, document.discussion.record(comment_ids), via, by))

    def forget(self, file_id: str) -> None:
        """What is stored of it is not true any more."""
        self._loading.forget(file_id)
        self._spawn(self._store.delete_document(file_id))

    def do(self, work: Awaitable[Any]) -> None:
        """Work with the store that nobody waits for."""
        self._spawn(work)

    async def settle(self) -> None:
        """Wait until all is written."""
        self._settling = True
        for file_id in list(self._saving):
            self._resting.blow(file_id)
        await self._writing.settle()

    # -- inside

    async def _load(self, file_id: str) -> Document | None:
        try:
            record = await self._store.load_document(file_id)
        except Unavailable:
            return None  # then Google is asked, as for any other document
        return None if record is None else Document.from_record(record, self._clock.seconds())

    async def _save(self, document: Document, via: str) -> None:
        try:
            for _ in range(_TRIES):
                await self._let_rest(document)
                # What came on the way is in the record.
                via, self._saving[document.id] = self._saving[document.id] or via, None
                document.tidy(self._clock.seconds() - self._proofs_last)
                record = document.record()
                other = await self._store.save_document(record, replaces=document.stored)
                document.saved(record)
                if document.gone:
                    await self._store.delete_document(document.id)
                    return
                if other is None:
                    document.stored = record.mark
                    document.stored_at = self._clock.seconds()
                    self.on_stored(document, via)
                else:
                    self.on_other(document, other)
                    if record.doubted:  # which the store has taken, and no other node heard of
                        self.on_stored(document, via)
                if self._saving[document.id] is None and document.mark == document.stored:
                    return
        finally:
            del self._saving[document.id]

    async def _let_rest(self, document: Document) -> None:
        left = document.stored_at + self._rest - self._clock.seconds()
        if left > 0 and document.watchers and not self._settling:
            await self._resting.wait(document.id, left)

    async def _save_comments(
        self, document: Document, record: CommentsRecord, via: str, by: str | None
    ) -> None:
        await self._store.save_comments(document.id, record)
        self.on_comments_stored(document, via, by)

    async def _write(self, writing: Awaitable[Any]) -> None:
        try:
            await writing
        except Unavailable:
            # That the store is away is said once, by the store; it is compared when that is back.
            self._log.debug("what is known of a document could not be stored")

    def _spawn(self, writing: Awaitable[Any]) -> None:
        self._writing.spawn(self._write(writing))
