"""What is known of documents, kept in the store. Without the store life goes on."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.document import Document
from docsession.errors import Unavailable
from docsession.interfaces import Store
from docsession.tasks import Background, Flights

__all__ = ["Keeping"]

# Proofs alone are worth a write to the store this often.
SAVE_PROOFS = 60.0


class Keeping:
    """Loads, saves and forgets documents' last known states."""

    _log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, *, proofs_last: float) -> None:
        self._store = store
        self._clock = clock
        self._proofs_last = proofs_last
        self._loading: Flights[Document | None] = Flights(abandon=False)
        self._writing = Background(self._log)

    async def load(self, file_id: str) -> Document | None:
        """The document as it was last known. Each caller at once gets the same object."""
        return await self._loading.join(file_id, lambda: self._load(file_id))

    def save(self, document: Document) -> None:
        """Keep its state and proofs."""
        now = self._clock.seconds()
        document.saved_at = now
        document.tidy(now - self._proofs_last)
        self._spawn(self._store.save_document(document.record(), replaces=document.record().mark))

    def save_proofs(self, document: Document) -> None:
        """Keep them, unless that was done a short while ago."""
        if self._clock.seconds() - document.saved_at > SAVE_PROOFS:
            self.save(document)

    def forget(self, file_id: str) -> None:
        """What is stored of it is not true any more."""
        self._loading.forget(file_id)
        self._spawn(self._store.delete_document(file_id))

    async def settle(self) -> None:
        """Wait until all is written."""
        await self._writing.settle()

    async def _load(self, file_id: str) -> Document | None:
        try:
            record = await self._store.load_document(file_id)
        except Unavailable:
            return None  # then Google is asked, as for any other document
        return None if record is None else Document.from_record(record, self._clock.seconds())

    async def _write(self, writing: Awaitable[Any]) -> None:
        try:
            await writing
        except Unavailable:
            self._log.warn("what is known of a document could not be stored: the store is away")

    def _spawn(self, writing: Awaitable[Any]) -> None:
        self._writing.spawn(self._write(writing))
