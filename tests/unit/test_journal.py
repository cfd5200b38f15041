"""Writes done once: what PROTOCOL.md says under "Coming back", call by call."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import Switchboard
from docsession.backend.sqlite import InlineRunner, SqliteStore
from docsession.errors import Forbidden, GoogleUnavailable, OutcomeUnknown, TooMany, Unavailable
from docsession.interfaces import Sending
from docsession.journal import MOST_UNDER_WAY, Journal, connection_name, digest, is_of_epoch
from docsession.keys import Sealer, load_keys
from docsession.model import JournalEntry, JournalKey
from docsession.user_channel import UserChannel

KEY = JournalKey("session", "connection", '"1"', digest("drive.files.create", b"{}"))


class FakeStore:
    """The part of a store that a journal uses. It may be away, slow, or forget nothing at a crash."""

    epoch = ""

    def __init__(self) -> None:
        self.entries: dict[JournalKey, JournalEntry] = {}
        self.away = False
        self.slow: list[Deferred[None]] | None = None

    async def _reached(self) -> None:
        if self.slow is not None:
            waiting: Deferred[None] = Deferred()
            self.slow.append(waiting)
            await waiting
        if self.away:
            raise Unavailable

    async def journal_begin(self, entry: JournalEntry) -> bool:
        await self._reached()
        stored = self.entries.get(entry.key)
        if stored is not None and stored.socket != entry.socket:
            return False
        self.entries[entry.key] = entry
        return True

    async def journal_finish(self, key: JournalKey, socket: str, outcome: bytes) -> None:
        await self._reached()
        entry = self.entries.get(key)
        if entry is not None and entry.socket == socket:
            self.entries[key] = replace(entry, outcome=outcome)

    async def journal_forget(self, key: JournalKey, socket: str) -> None:
        await self._reached()
        if key in self.entries and self.entries[key].socket == socket:
            del self.entries[key]

    async def journal_find(self, key: JournalKey) -> JournalEntry | None:
        await self._reached()
        return self.entries.get(key)


class Google:
    """Where writes go: each waits to be sent, then for its answer."""

    def __init__(self) -> None:
        self.executed = 0
        self.queue: list[Deferred[None]] = []
        self.answers: list[Deferred[bytes]] = []

    async def write(self, sending: Sending) -> bytes:
        turn: Deferred[None] = Deferred()
        self.queue.append(turn)
        await turn
        await sending.about_to_send()
        self.executed += 1
        answer: Deferred[bytes] = Deferred()
        self.answers.append(answer)
        return await answer

    def send(self, which: int = -1) -> None:
        self.queue[which].callback(None)

    def answer(self, which: int = -1, text: bytes = b'{"data":1}') -> None:
        self.answers[which].callback(text)


class Call:
    """One call of a page, and what it heard."""

    def __init__(
        self,
        journal: Journal,
        socket: str,
        write: Callable[[Sending], Any],
        *,
        resumed: bool = False,
        again: bool = False,
        key: JournalKey = KEY,
    ) -> None:
        self.heard: bytes | None = None
        self.failed: Failure | None = None
        self.running = Deferred.fromCoroutine(
            journal.run(key, user_id="ann", socket=socket, resumed=resumed, again=again, write=write)
        )
        self.running.addCallbacks(self._hear, self._fail)

    def _hear(self, outcome: bytes) -> None:
        self.heard = outcome

    def _fail(self, failure: Failure) -> None:
        self.failed = failure

    @property
    def said(self) -> Any:
        """The result, or the error's name."""
        if self.failed is not None:
            return getattr(self.failed.value, "name", self.failed.type)
        if self.heard is None:
            return None
        said = json.loads(b"{" + self.heard + b"}")
        return said["result"] if "result" in said else said["error"]["data"]["name"]

    def lose_socket(self) -> None:
        self.running.cancel()


class JournalTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.store = FakeStore()
        self.google = Google()
        self.board = Switchboard(self.clock)
        self.names = (f"node-{number}" for number in count())
        self.journal, self.node = self.start()

    def start(self, store: Any = None) -> tuple[Journal, str]:
        """A node."""
        name = next(self.names)
        bus, _ = self.board.node(name)
        users = UserChannel(bus)
        users.open("ann")
        return Journal(store or self.store, self.clock, bus, users), name

    def call(
        self,
        socket: str,
        *,
        resumed: bool = False,
        again: bool = False,
        key: JournalKey = KEY,
        write: Any = None,
    ) -> Call:
        write = write or self.google.write
        return Call(self.journal, socket, write, resumed=resumed, again=again, key=key)

    def crash(self) -> None:
        """The server dies and is started again; what was under way is never heard of."""
        self.board.remove(self.node)
        self.journal, self.node = self.start()


class Once(JournalTestCase):
    """What becomes of a call that is sent again."""

    def test_plain(self) -> None:
        """Journalled before it leaves, finished before it is answered."""
        first = self.call("one")
        self.assertEqual(self.store.entries, {})
        self.assertEqual(len(self.journal), 1)
        self.clock.advance(5)
        self.google.send()
        entry = self.store.entries[KEY]
        self.assertEqual((entry.socket, entry.outcome), ("one", None))
        self.assertIsNone(first.said)
        self.google.answer()
        self.assertEqual(first.said, {"data": 1})
        self.assertEqual(self.store.entries[KEY].outcome, b'"result":{"data":1}')
        self.assertEqual(len(self.journal), 0)

    def test_joins_the_running_one(self) -> None:
        """A later socket gets the answer of the call that an earlier one began."""
        for sent in (False, True):
            first = self.call("one")
            if sent:
                self.google.send()
            first.lose_socket()
            second = self.call("two", resumed=True)
            third = self.call("three", resumed=True)
            if not sent:
                self.google.send()
            self.google.answer()
            self.assertEqual((second.said, third.said), ({"data": 1}, {"data": 1}))
            self.store.entries.clear()
        self.assertEqual(self.google.executed, 2)

    def test_both_sockets_hear(self) -> None:
        first, second = self.call("one"), self.call("two", resumed=True)
        self.google.send()
        self.google.answer()
        self.assertEqual((first.said, second.said), ({"data": 1}, {"data": 1}))

    def test_stored_answer(self) -> None:
        """One that is done is answered from the store, as often as it comes, after a restart too."""
        self.call("one").lose_socket()
        self.google.send()
        self.google.answer(text=b'{"data":"then"}')
        self.assertEqual(self.call("two", resumed=True).said, {"data": "then"})
        self.crash()
        again = self.call("three", resumed=True), self.call("three", resumed=True)
        self.assertEqual([call.said for call in again], [{"data": "then"}] * 2)
        self.assertEqual(self.google.executed, 1)

    def test_stored_refusal(self) -> None:
        """So is an error that Google answered."""

        async def refused(sending: Sending) -> bytes:
            await sending.about_to_send()
            raise Forbidden("no")

        self.assertEqual(self.call("one", write=refused).said, "forbidden")
        self.crash()
        self.assertEqual(self.call("two", resumed=True).said, "forbidden")
        self.assertEqual(self.google.queue, [])

    def test_crash_before_it_was_sent(self) -> None:
        """It was not done, so it is done now."""
        self.call("one")
        self.crash()
        second = self.call("two", resumed=True)
        self.google.send()
        self.google.answer()
        self.assertEqual(second.said, {"data": 1})
        self.assertEqual(self.google.executed, 1)

    def test_crash_after_it_was_sent(self) -> None:
        """Nobody knows, and it is not tried to find out by doing it again."""
        self.call("one")
        self.google.send()
        self.crash()
        for socket in ("two", "three"):
            later = self.call(socket, resumed=True)
            assert later.failed is not None
            self.assertTrue(later.failed.check(OutcomeUnknown))
        self.assertEqual(self.google.executed, 1)
        self.assertEqual(len(self.google.queue), 1)

    def test_crash_while_waiting_for_another_try(self) -> None:
        """Google said it did not do it: out of the journal until it leaves again."""
        waiting: Deferred[None] = Deferred()

        async def twice(sending: Sending) -> bytes:
            await sending.about_to_send()
            await sending.not_done()
            await waiting
            await sending.about_to_send()
            return await Deferred()

        self.call("one", write=twice)
        self.assertEqual(self.store.entries, {})
        self.crash()
        second = self.call("two", resumed=True)
        self.google.send()
        self.google.answer()
        self.assertEqual(second.said, {"data": 1})
        waiting.callback(None)  # (the dead server's; here only to leave nothing waiting)

    def test_begun_again_after_a_try(self) -> None:
        """The second try is journalled like the first."""

        async def twice(sending: Sending) -> bytes:
            await sending.about_to_send()
            await sending.not_done()
            await sending.about_to_send()
            return await Deferred()

        self.call("one", write=twice)
        self.crash()
        self.assertEqual(self.call("two", resumed=True).said, "outcome_unknown")

    def test_the_store_itself(self) -> None:
        """The same over SQLite, opened again after the crash."""
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        path = directory / "journal.sqlite"
        keys = load_keys(directory, configured=None)

        def opened() -> SqliteStore:
            store = SqliteStore(path, Sealer(keys), run=InlineRunner(path), clock=self.clock)
            self.successResultOf(Deferred.fromCoroutine(store.open({"issuer": "i", "client_id": "c"})))
            return store

        other = JournalKey("session", "connection", '"2"', KEY.digest)
        store = opened()
        journal, name = self.start(store)
        Call(journal, "one", self.google.write)
        Call(journal, "one", self.google.write, key=other)
        self.google.send(0)
        self.google.send(1)
        self.google.answer(1)
        self.successResultOf(Deferred.fromCoroutine(store.close()))
        store = opened()
        self.board.remove(name)
        journal, _ = self.start(store)
        self.assertEqual(Call(journal, "two", self.google.write, resumed=True).said, "outcome_unknown")
        self.assertEqual(Call(journal, "two", self.google.write, resumed=True, key=other).said, {"data": 1})
        self.assertEqual(self.google.executed, 2)
        self.successResultOf(Deferred.fromCoroutine(store.close()))


class OnAnotherNode(JournalTestCase):
    """A later socket of the same connection is at another node."""

    def setUp(self) -> None:
        super().setUp()
        self.other, self.other_node = self.start()

    def there(self, socket: str, **options: Any) -> Call:
        return Call(self.other, socket, options.pop("write", self.google.write), resumed=True, **options)

    def test_waits_for_its_outcome(self) -> None:
        """And hears of it at once."""
        self.call("one").lose_socket()
        self.google.send()
        second = self.there("two")
        self.clock.advance(5)
        self.assertIsNone(second.said)
        self.google.answer()
        self.clock.advance(0)
        self.assertEqual(second.said, {"data": 1})
        self.assertEqual(self.google.executed, 1)

    def test_looks_for_it_once_a_second(self) -> None:
        """Whatever messages are lost."""
        self.board.deliver = lambda channel, message: False
        self.call("one")
        self.google.send()
        second = self.there("two")
        self.google.answer()
        self.clock.advance(1)
        self.assertEqual(second.said, {"data": 1})

    def test_the_node_dies(self) -> None:
        self.call("one")
        self.google.send()
        second = self.there("two")
        self.board.remove(self.node)
        self.clock.advance(1)
        self.assertEqual(second.said, "outcome_unknown")
        self.assertEqual(self.there("three").said, "outcome_unknown")
        self.assertEqual(self.google.executed, 1)

    def test_the_node_takes_for_ever(self) -> None:
        self.call("one")
        self.google.send()
        second = self.there("two")
        self.clock.pump([1.0] * 89)
        self.assertIsNone(second.said)
        self.clock.pump([1.0] * 2)
        self.assertEqual(second.said, "outcome_unknown")

    def test_the_store_goes_away_meanwhile(self) -> None:
        self.call("one")
        self.google.send()
        second = self.there("two")
        self.store.away = True
        self.clock.advance(1)
        self.assertEqual(second.said, "unavailable")

    def test_begun_here_first(self) -> None:
        """What waits for its turn there is not sent when it comes, and has this one's outcome."""
        first = self.call("one")
        second = self.there("two")
        self.google.send(1)
        self.google.send(0)
        self.assertEqual(self.google.executed, 1)
        self.google.answer()
        self.clock.advance(0)
        self.assertEqual((first.said, second.said), ({"data": 1}, {"data": 1}))
        self.assertEqual((len(self.journal), len(self.other)), (0, 0))

    def test_not_done_after_all(self) -> None:
        """Google says that it did not do it: then whoever comes first does, and once."""
        again: Deferred[None] = Deferred()

        async def twice(sending: Sending) -> bytes:
            await sending.about_to_send()
            await again
            await sending.not_done()
            return await self.google.write(sending)

        first = self.call("one", write=twice)
        second = self.there("two")
        self.assertEqual(len(self.google.queue), 0)
        again.callback(None)
        self.clock.advance(1)
        self.assertEqual(len(self.google.queue), 2)
        self.google.send(1)
        self.google.send(0)
        self.google.answer()
        self.clock.advance(0)
        self.assertEqual((first.said, second.said), ({"data": 1}, {"data": 1}))
        self.assertEqual(self.google.executed, 1)

    def test_given_up_there(self) -> None:
        """It failed, and was provably not done: the call that came again does it."""
        failing: Deferred[None] = Deferred()

        async def fails(sending: Sending) -> bytes:
            await sending.about_to_send()
            await failing
            await sending.not_done()
            raise GoogleUnavailable(retry_after=5)

        self.call("one", write=fails)
        second = self.there("two")
        failing.callback(None)
        self.clock.advance(0)
        self.google.send()
        self.google.answer()
        self.assertEqual(second.said, {"data": 1})

    def test_refused_begin_and_then_given_up_there(self) -> None:
        """It was held back for another's, which came to nothing: it is done after all."""
        first = self.call("one")

        async def fails(sending: Sending) -> bytes:
            await sending.about_to_send()
            self.google.send(0)
            await sending.not_done()
            raise GoogleUnavailable(retry_after=5)

        self.there("two", write=fails)
        self.clock.advance(1)
        self.google.send()
        self.google.answer()
        self.assertEqual(first.said, {"data": 1})
        self.assertEqual(self.google.executed, 1)


class SetBack(JournalTestCase):
    """The store has lost entries."""

    def set_back(self, epoch: str = "x") -> None:
        self.store.entries.clear()
        self.store.epoch = epoch

    def test_what_was_begun_is_begun_again(self) -> None:
        other, _ = self.start()
        first = self.call("one")
        self.google.send()
        self.set_back()
        self.successResultOf(Deferred.fromCoroutine(self.journal.write_back()))
        second = Call(other, "two", self.google.write, resumed=True)
        self.google.answer()
        self.clock.advance(0)
        self.assertEqual((first.said, second.said), ({"data": 1}, {"data": 1}))

    def test_what_waits_is_not(self) -> None:
        self.call("one")
        self.set_back()
        self.successResultOf(Deferred.fromCoroutine(self.journal.write_back()))
        self.assertEqual(self.store.entries, {})

    def test_what_may_have_been_lost_is_not_done_again(self) -> None:
        self.call("one")
        self.google.send()
        self.board.remove(self.node)
        self.journal, self.node = self.start()
        self.set_back()
        self.assertEqual(self.call("two", resumed=True).said, "outcome_unknown")
        # Of what was named since then, nothing was lost.
        named = JournalKey("session", connection_name("x", "new"), '"1"', KEY.digest)
        self.assertIsNone(self.call("two", resumed=True, key=named).said)
        self.assertEqual(len(self.google.queue), 2)

    def test_lost_while_it_is_waited_for(self) -> None:
        other, _ = self.start()
        self.call("one")
        self.google.send()
        second = Call(other, "two", self.google.write, resumed=True)
        self.board.remove(self.node)
        self.set_back()
        self.clock.advance(1)
        self.assertEqual(second.said, "outcome_unknown")

    def test_lost_between_two_begins(self) -> None:
        """Both wait for their turn; what the first had begun is lost before the second begins."""
        other, _ = self.start()
        first = self.call("one")
        second = Call(other, "two", self.google.write, resumed=True)
        self.google.send(0)
        self.set_back()
        self.google.send(1)
        self.assertEqual(second.said, "outcome_unknown")
        self.google.answer()
        self.assertEqual(first.said, {"data": 1})
        self.assertEqual(self.google.executed, 1)

    def test_names(self) -> None:
        self.assertEqual(connection_name("", "0123456789abcdefgh"), "0123456789abcdef")
        self.assertTrue(is_of_epoch("anything", ""))
        name = connection_name("one", "0123456789abcdefgh")
        self.assertEqual((is_of_epoch(name, "one"), is_of_epoch(name, "two")), (True, False))
        self.assertFalse(is_of_epoch("anything", "one"))


class AnotherCall(JournalTestCase):
    """What is not the same call."""

    def test_reused_id_on_one_socket(self) -> None:
        """JSON-RPC allows it: each is done, while the other runs and after; on a resumed one, too."""
        for resumed in (False, True):
            self.google = Google()
            first, second = (self.call(f"one{resumed}", resumed=resumed) for _ in range(2))
            self.assertEqual(len(self.google.queue), 2)
            self.assertEqual(len(self.journal), 2)
            for which in (0, 1):
                self.google.send(which)
            self.google.answer(1, b'"b"')
            self.assertEqual(len(self.journal), 1)
            self.google.answer(0, b'"a"')
            self.assertEqual((first.said, second.said), ("a", "b"))
            third = self.call(f"one{resumed}", resumed=resumed)
            self.google.send()
            self.google.answer(text=b'"c"')
            self.assertEqual(third.said, "c")
            self.assertEqual(self.google.executed, 3)
            self.assertEqual(len(self.journal), 0)
            self.store.entries.clear()

    def test_reused_while_the_first_is_looked_up(self) -> None:
        """Also when the second comes while the store is asked about the first."""
        self.store.slow = []
        calls = [self.call("two", resumed=True) for _ in range(2)]
        looking, self.store.slow = self.store.slow, None
        for waiting in looking:
            waiting.callback(None)
        self.assertEqual(len(self.google.queue), 2)
        for which in (0, 1):
            self.google.send(which)
            self.google.answer(which)
        self.assertEqual([call.said for call in calls], [{"data": 1}] * 2)

    def test_later_socket_after_a_reuse(self) -> None:
        """A later socket joins one of them, and adds none."""
        for _ in range(2):
            self.call("one")
        self.google.send(0)
        self.google.answer(0)
        later = self.call("two", resumed=True)
        self.assertEqual(len(self.google.queue), 2)
        self.google.send(1)
        self.google.answer(1, b'"b"')
        self.assertIn(later.said, ({"data": 1}, "b"))

    def test_any_difference(self) -> None:
        """Session, connection, id (1 is not "1") and what is asked make a call."""
        self.call("one")
        self.google.send()
        self.google.answer()
        for key in (
            JournalKey("other", KEY.connection, KEY.call_id, KEY.digest),
            JournalKey(KEY.session_id, "other", KEY.call_id, KEY.digest),
            JournalKey(KEY.session_id, KEY.connection, "1", KEY.digest),
            JournalKey(KEY.session_id, KEY.connection, KEY.call_id, digest("drive.files.create", b"{ }")),
            JournalKey(KEY.session_id, KEY.connection, KEY.call_id, digest("drive.files.copy", b"{}")),
        ):
            before = len(self.google.queue)
            self.call("two", resumed=True, key=key)
            self.assertEqual(len(self.google.queue), before + 1, key)

    def test_digest(self) -> None:
        """Method and params do not run together."""
        self.assertNotEqual(digest("ab", b"c"), digest("a", b"bc"))
        self.assertEqual(digest("a", b"{}"), digest("a", b"{}"))


class StoreAway(JournalTestCase):
    """When the store cannot be reached."""

    def test_before(self) -> None:
        """It is not sent, and may be sent again as if it never came."""
        self.store.away = True
        first = self.call("one")
        self.google.send()
        self.assertEqual(first.said, "unavailable")
        self.assertEqual(self.google.executed, 0)
        self.assertEqual(len(self.journal), 0)
        self.store.away = False
        second = self.call("two", resumed=True)
        self.google.send()
        self.google.answer()
        self.assertEqual(second.said, {"data": 1})

    def test_before_it_is_known(self) -> None:
        """Whether it was done before cannot be told: it is not done."""
        self.store.away = True
        later = self.call("two", resumed=True)
        self.assertEqual(later.said, "unavailable")
        self.assertEqual(self.google.queue, [])

    def test_sent_again_before_it_is_known(self) -> None:
        """It was done, and nobody can read that yet: it is not said that it was not."""
        self.call("one")
        self.google.send()
        self.google.answer()
        self.store.away = True
        later = self.call("two", resumed=True, again=True)
        self.clock.pump([1.0] * 4)
        self.assertIsNone(later.said)
        self.store.away = False
        self.clock.pump([1.0])
        self.assertEqual(later.said, {"data": 1})
        self.assertEqual(self.google.executed, 1)

    def test_sent_again_and_never_known(self) -> None:
        self.store.away = True
        later = self.call("two", resumed=True, again=True)
        self.clock.pump([1.0] * 12)
        self.assertEqual(later.said, "outcome_unknown")
        self.assertEqual(self.google.queue, [])

    def test_sent_again_and_not_begun(self) -> None:
        """The other node may still begin it."""

        async def write(sending: Sending) -> bytes:
            self.store.away = True
            await sending.about_to_send()
            raise AssertionError("sent")

        later = self.call("two", resumed=True, again=True, write=write)
        self.assertEqual(later.said, "outcome_unknown")

    def test_after(self) -> None:
        """The page is answered; one that comes back for it after a restart is told the truth."""
        first = self.call("one")
        self.google.send()
        self.store.away = True
        self.google.answer()
        self.assertEqual(first.said, {"data": 1})
        self.store.away = False
        self.assertEqual(self.call("two", resumed=True).said, "outcome_unknown")
        self.assertEqual(self.google.executed, 1)

    def test_between_tries(self) -> None:
        """What cannot be taken out stays in: too careful, and never wrong."""

        async def twice(sending: Sending) -> bytes:
            await sending.about_to_send()
            self.store.away = True
            await sending.not_done()
            await sending.about_to_send()  # is in the journal still, so it may leave
            raise GoogleUnavailable(retry_after=5)

        self.assertEqual(self.call("one", write=twice).said, "google_unavailable")
        self.store.away = False
        self.assertEqual(self.call("two", resumed=True).said, "outcome_unknown")


class Trouble(JournalTestCase):
    """Bugs, floods, and sockets that go."""

    def test_bug_before_sending(self) -> None:
        async def broken(sending: Sending) -> bytes:
            raise ZeroDivisionError

        self.assertEqual(self.call("one", write=broken).said, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.store.entries, {})

    def test_bug_after_sending(self) -> None:
        """Google may have done it, whatever went wrong here."""

        async def broken(sending: Sending) -> bytes:
            await sending.about_to_send()
            raise ZeroDivisionError

        self.assertEqual(self.call("one", write=broken).said, "outcome_unknown")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.call("two", resumed=True).said, "outcome_unknown")

    def test_goes_on_without_a_socket(self) -> None:
        first = self.call("one")
        first.lose_socket()
        self.google.send()
        self.google.answer()
        self.assertEqual(self.google.executed, 1)
        self.assertIsNotNone(self.store.entries[KEY].outcome)
        self.assertEqual(len(self.journal), 0)

    def test_too_many(self) -> None:
        """Writes outlive sockets, so there is a bound on what a browser session may leave running."""
        for number in range(MOST_UNDER_WAY):
            key = JournalKey("session", "connection", str(number), "d")
            self.call(f"socket{number}", key=key).lose_socket()
        refused = self.call("one")
        assert refused.failed is not None
        self.assertTrue(refused.failed.check(TooMany))
        # What runs can be joined, others' sessions are others', and what ends makes room.
        joined = self.call("later", resumed=True, key=JournalKey("session", "connection", "0", "d"))
        self.assertIsNone(joined.failed)
        self.assertIsNone(self.call("one", key=JournalKey("other", "c", "1", "d")).failed)
        self.google.send(0)
        self.google.answer(0)
        self.assertEqual(joined.said, {"data": 1})
        self.assertIsNone(self.call("one").failed)


class PlayedNode:
    """A node, what it has under way, and how it reaches the store."""

    def __init__(self, board: Switchboard, name: str, entries: dict[JournalKey, JournalEntry]) -> None:
        self.name = name
        self.waiting: list[Deferred[None]] = []  # for Google, or for their turn
        self.store = FakeStore()
        self.store.entries = entries
        bus, _ = board.node(name)
        users = UserChannel(bus)
        users.open("ann")
        self.journal = Journal(self.store, board.clock, bus, users)  # type: ignore[arg-type]

    async def step(self) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]

    def die(self) -> None:
        """What it had under way happens to nobody any more."""
        self.waiting = []
        if self.store.slow:
            self.store.slow.clear()


class Schedules(RuleBasedStateMachine):
    """Any order of sending, losing sockets, Google's answers, a store slow, away or set back, nodes that
    die and messages that are lost.

    A page comes back on a new socket, at any node, and sends again what is unanswered (and, being odd,
    sometimes what is not), each once on each socket. What it was told not to send again it gives up.
    """

    nodes_at_once = 1

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.delivered = True
        self.board = Switchboard(self.clock, deliver=lambda channel, message: self.delivered)
        self.entries: dict[JournalKey, JournalEntry] = {}
        self.epoch = ""
        self.made = 0
        self.nodes = [self.start_node() for _ in range(self.nodes_at_once)]
        self.node = self.nodes[0]  # where the page is
        self.kept: list[Any] = []  # of the dead; else Python would tidy up what they had under way
        self.executed: Counter[tuple[str, str]] = Counter()
        self.finished: dict[tuple[str, str], set[str]] = {}
        self.name = "c"
        self.calls: dict[str, Call] = {}  # of this socket
        self.unanswered: set[str] = set()
        self.resumed = False
        self.socket = 1

    def start_node(self) -> PlayedNode:
        self.made += 1
        node = PlayedNode(self.board, f"node-{self.made}", self.entries)
        node.store.epoch = self.epoch
        return node

    def writer(self, node: PlayedNode, connection: str, name: str) -> Callable[[Sending], Any]:
        socket = self.socket

        async def write(sending: Sending) -> bytes:
            await node.step()
            await sending.about_to_send()
            if name == "retried":
                await node.step()
                await sending.not_done()
                await node.step()
                await sending.about_to_send()
            self.executed[connection, name] += 1
            await node.step()
            said = f"{name} in {socket}"
            self.finished.setdefault((connection, name), set()).add(said)
            return json.dumps(said).encode()

        return write

    def send_all(self, names: set[str]) -> None:
        for name in sorted(names):
            self.unanswered.add(name)
            self.calls[name] = Call(
                self.node.journal,
                f"socket{self.socket}",
                self.writer(self.node, self.name, name),
                resumed=self.resumed,
                key=JournalKey("s", self.name, name, "d"),
            )

    def hear(self) -> None:
        self.unanswered -= {name for name, call in self.calls.items() if call.said is not None}

    @rule(name=st.sampled_from(["a", "retried"]))
    def send(self, name: str) -> None:
        if name not in self.calls:
            self.send_all({name})

    @rule(at=st.integers(0, 2), which=st.integers(0, 5))
    def go_on(self, at: int, which: int) -> None:
        node = self.nodes[at % len(self.nodes)]
        slow = node.store.slow or []
        some = slow if slow and (which % 2 or not node.waiting) else node.waiting
        if some:
            some.pop(which % len(some)).callback(None)

    @rule(at=st.integers(0, 2), tells=st.booleans())
    def come_back(self, at: int, tells: bool) -> None:
        """The older socket may linger for a while, where nobody told its node."""
        self.hear()
        for call in self.calls.values():
            if tells:
                call.lose_socket()
        # Whoever lost its socket while the store was asked waits for nothing any more.
        for node in self.nodes:
            slow = node.store.slow
            node.store.slow = slow and [waiting for waiting in slow if not waiting.called]
        self.arrive(self.nodes[at % len(self.nodes)])

    def arrive(self, node: PlayedNode) -> None:
        self.kept.append(self.calls)
        self.node, self.calls = node, {}
        self.socket += 1
        self.resumed = is_of_epoch(self.name, self.epoch)
        if not self.resumed:
            self.name = connection_name(self.epoch, f"c{self.socket}")
            self.unanswered = set()
        self.send_all(self.unanswered)

    @rule(at=st.integers(0, 2))
    def die(self, at: int) -> None:
        dead = self.nodes[at % len(self.nodes)]
        if dead is self.node:
            self.hear()
        self.board.remove(dead.name)
        self.kept.append((dead, list(dead.waiting), list(dead.store.slow or []), self.calls))
        dead.die()
        self.nodes[at % len(self.nodes)] = self.start_node()
        if dead is self.node:
            self.arrive(self.nodes[-1])

    @rule(how=st.sampled_from(["near", "near", "slow", "away"]), at=st.integers(0, 2))
    def store_is(self, how: str, at: int) -> None:
        store = self.nodes[at % len(self.nodes)].store
        store.away = how == "away"
        if not store.slow:
            store.slow = [] if how == "slow" else None

    @rule(seconds=st.sampled_from([1, 1, 1, 100]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def messages_arrive(self) -> None:
        self.clock.advance(0)

    @rule(delivered=st.booleans())
    def messages_are_lost(self, delivered: bool) -> None:
        self.delivered = delivered

    @rule()
    def store_is_set_back(self) -> None:
        self.entries.clear()
        self.epoch += "x"
        for node in self.nodes:
            node.store.epoch = self.epoch
            Deferred.fromCoroutine(node.journal.write_back()).addErrback(
                lambda failure: failure.trap(Unavailable)
            )

    @invariant()
    def at_most_once(self) -> None:
        for name, times in self.executed.items():
            assert times <= 1, f"{name} was executed {times} times"

    @invariant()
    def nothing_made_up(self) -> None:
        for name, call in self.calls.items():
            if call.running.called and call.said not in ("outcome_unknown", "unavailable"):
                assert call.said is not None
                assert call.said in self.finished.get((self.name, name), set()), (name, call.said)


class SchedulesOfNodes(Schedules):
    """The same with three nodes."""

    nodes_at_once = 3


class OnceInAnyOrder(SynchronousTestCase):
    """Over later sockets a call is executed at most once, whatever happens when, and where."""

    def run_all(self, schedules: type[Schedules], examples: int) -> None:
        case = schedules.TestCase
        case.settings = settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        case().runTest()

    def test_schedules(self) -> None:
        self.run_all(Schedules, 200)

    def test_schedules_of_nodes(self) -> None:
        self.run_all(SchedulesOfNodes, 400)
