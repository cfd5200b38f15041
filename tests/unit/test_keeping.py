"""How often, and with what, a document is stored."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.document import Document
from docsession.errors import Unavailable
from docsession.google.look import FileView
from docsession.keeping import Keeping
from docsession.model import DocumentRecord


class FakeStore:
    """Keeps what it is given, unless it is away."""

    def __init__(self) -> None:
        self.saved: list[DocumentRecord] = []
        self.away = False

    async def save_document(self, record: DocumentRecord, *, replaces: str | None) -> None:
        if self.away:
            raise Unavailable
        self.saved.append(record)


class KeepingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.store: Any = FakeStore()
        self.keeping = Keeping(self.store, self.clock, proofs_last=600, rest=0.25)
        self.document = Document("file")
        self.document.watchers["ann"] = Any  # type: ignore[assignment]

    def change(self, number: int) -> None:
        view = FileView(
            file_id="file",
            google_version=number,
            shared={"name": f"name {number}"},
            own={},
            as_of=self.clock.seconds(),
        )
        self.document.learn(view, now=self.clock.seconds(), believe_older_after=60)
        self.keeping.save(self.document)

    def versions(self) -> list[int]:
        return [record.google_version for record in self.store.saved]


class Rest(KeepingTestCase):
    def test_burst(self) -> None:
        """What changes all the time is stored at once, then four times a second, with the latest state."""
        for number in range(1, 101):
            self.change(number)
            self.clock.advance(0.01)
        self.assertEqual(self.versions()[0], 1)
        self.assertIn(len(self.versions()), (4, 5))
        self.clock.advance(0.5)
        self.assertEqual(self.versions()[-1], 100)
        self.assertEqual(self.document.stored, self.document.mark)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_old_proofs(self) -> None:
        """What proves nothing any more is forgotten with the next that is stored."""
        self.document.prove("bob", file=self.clock.seconds())
        self.change(1)
        self.clock.advance(601)
        self.change(2)
        self.assertEqual(list(self.document.eyes), [])

    def test_seldom(self) -> None:
        """What changes now and then is stored at once each time."""
        for number in range(1, 5):
            self.change(number)
            self.assertEqual(self.versions(), list(range(1, number + 1)))
            self.clock.advance(0.25)

    def test_left(self) -> None:
        """Where nobody watches any more nothing is put off: the next who does reads what is stored."""
        self.change(1)
        self.change(2)
        self.assertEqual(self.versions(), [1])
        self.document.watchers.clear()
        self.keeping.save(self.document)
        self.assertEqual(self.versions()[-1], 2)

    def test_settle(self) -> None:
        """At the end nothing is put off either."""
        self.change(1)
        self.change(2)
        settled = Deferred.fromCoroutine(self.keeping.settle())
        self.successResultOf(settled)
        self.assertEqual(self.versions(), [1, 2])


class Proofs(KeepingTestCase):
    def proofs(self) -> dict[str, tuple[float, float]]:
        self.clock.advance(1)
        self.keeping.save(self.document)
        return dict(self.store.saved[-1].proofs)

    def test_new_ones(self) -> None:
        """Only those that the store does not have yet."""
        self.document.prove("ann", file=990)
        self.document.prove("bob", file=995)
        self.assertEqual(self.proofs(), {"ann": (990, 0), "bob": (995, 0)})
        self.assertEqual(self.proofs(), {})
        self.document.prove("bob", comments=998)
        self.assertEqual(self.proofs(), {"bob": (995, 998)})
        self.assertEqual(self.proofs(), {})

    def test_away(self) -> None:
        """What could not be stored is tried again."""
        self.document.prove("ann", file=990)
        self.store.away = True
        self.keeping.save(self.document)
        self.store.away = False
        self.assertEqual(self.proofs(), {"ann": (990, 0)})

    def test_lost(self) -> None:
        """A store that has lost what it had is given all of them."""
        self.document.prove("ann", file=990)
        self.assertEqual(self.proofs(), {"ann": (990, 0)})
        self.document.lost()
        self.assertEqual(self.proofs(), {"ann": (990, 0)})

    def test_meanwhile(self) -> None:
        """One that moved while it was stored is stored again."""
        self.document.prove("ann", file=990)
        record = self.document.record()
        self.document.prove("ann", file=999)
        self.document.saved(record)
        self.assertEqual(self.proofs(), {"ann": (999, 0)})

    def test_doubted(self) -> None:
        """One that says nothing any more is not stored."""
        self.document.prove("ann", file=990)
        self.document.doubt(995)
        self.assertEqual(self.proofs(), {})
