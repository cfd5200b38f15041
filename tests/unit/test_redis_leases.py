"""Leases by the clock: from when on one is held, until when, and what a node that was away believes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import MemoryBus, Switchboard
from docsession.backend.redis_leases import RedisLeases
from docsession.backend.redis_presence import Load
from docsession.backend.redis_spread import lacking, room
from docsession.errors import Unavailable

LASTS = 10.0
NODE = "one"


class Link:
    """What leases ask of Redis. Each answer is there at once, or when a test gives it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.holders: dict[str, tuple[str, float]] = {}
        self.away = False
        self.refuses = False
        self.slow = False
        self.calls: list[tuple[str, list[str], list[Any]]] = []
        self.waiting: list[Callable[[], None]] = []
        self.listener: Callable[[bool], None] = lambda away: None

    def key(self, name: str) -> str:
        return name

    def on_away(self, call: Callable[[bool], None]) -> None:
        self.listener = call

    def go(self, away: bool) -> None:
        self.away = away
        self.listener(away)

    async def run(self, script: Any, keys: list[str], args: list[Any]) -> Any:
        self.calls.append((script.name, list(keys), list(args)))
        if self.away or self.refuses:
            raise Unavailable
        answers = [self.ask(key, what) for key, what in zip(keys, args[2:], strict=True)]
        if self.slow:
            answer: Deferred[None] = Deferred()
            self.waiting.append(lambda: answer.callback(None))
            await answer
        return answers

    def ask(self, key: str, what: str) -> Any:
        now = self.clock.seconds()
        holder, until = self.holders.get(key, ("", 0.0))
        holder = holder if until > now else ""
        if what == "free":
            if holder == NODE:
                del self.holders[key]
            return 0
        if holder in ("", NODE) or what == "seize":
            self.holders[key] = (NODE, now + LASTS)
            return holder.encode() if holder not in ("", NODE) else 1
        return 0

    async def do(self, *command: Any) -> Any:
        if self.away:
            raise Unavailable
        return b"OK"


class LeasesTest(SynchronousTestCase):
    """One node; the others are what the test writes into ``link.holders``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.link = Link(self.clock)
        bus: MemoryBus = Switchboard(self.clock).node(NODE)[0]
        self.leases = RedisLeases(
            self.link,  # type: ignore[arg-type]
            bus,
            self.clock,
            random.Random(1),
            lasts=LASTS,
            others=dict,
        )
        self.told: dict[str, list[bool]] = {}

    def want(self, *names: str) -> None:
        for name in names:
            self.leases.want(name, self.told.setdefault(name, []).append)
        self.clock.advance(0)

    def renew(self) -> None:
        self.now(self.leases.renew())

    def now(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def other_has(self, name: str, seconds: float = 1000.0) -> None:
        self.link.holders[f"lease:{name}"] = ("two", self.clock.seconds() + seconds)


class TimeTests(LeasesTest):
    """What is held until when."""

    def test_held_until_its_own_end(self) -> None:
        """Which comes before Redis' end, however fast or slow the clock runs by a twentieth."""
        self.want("a")
        self.clock.advance(8.9)
        self.assertTrue(self.leases.holds("a"))
        self.clock.advance(0.2)
        self.assertFalse(self.leases.holds("a"))
        self.assertEqual(self.told["a"], [True, False])

    def test_renewed(self) -> None:
        self.want("a")
        for _ in range(20):
            self.clock.advance(3)
            self.renew()
        self.assertTrue(self.leases.holds("a"))
        self.assertEqual(self.told["a"], [True])

    def test_from_when_it_was_asked(self) -> None:
        """An answer that took eight seconds leaves one."""
        self.link.slow = True
        self.want("a")
        self.clock.advance(8)
        self.assertFalse(self.leases.holds("a"))
        self.link.waiting.pop()()
        self.assertTrue(self.leases.holds("a"))
        self.clock.advance(1.1)
        self.assertEqual(self.told["a"], [True, False])

    def test_an_answer_that_comes_after_the_end(self) -> None:
        """This process was stopped between question and answer: nothing is held, nor said to be."""
        self.link.slow = True
        self.want("a")
        self.clock.advance(15)
        self.link.waiting.pop()()
        self.assertFalse(self.leases.holds("a"))
        self.assertEqual(self.told["a"], [])

    def test_stopped_and_woken(self) -> None:
        """Who asks before any timer has run is told the truth too; another may have it by then."""
        self.want("a", "b")
        self.clock.rightNow += 60  # and nothing was called
        self.assertFalse(self.leases.holds("a"))
        self.other_has("a")
        self.renew()
        self.assertFalse(self.leases.holds("a"))
        self.assertTrue(self.leases.holds("b"))
        self.clock.advance(0)
        self.assertEqual((self.told["a"], self.told["b"]), ([True, False], [True]))

    def test_lost_to_another(self) -> None:
        self.want("a")
        self.other_has("a")
        self.renew()
        self.assertEqual(self.told["a"], [True, False])

    def test_in_one_call(self) -> None:
        """All that is wanted in one turn is one question; of more than 500 there are several."""
        names = [f"{number}" for number in range(1100)]
        self.want(*names)
        self.assertEqual([len(keys) for _, keys, _ in self.link.calls], [500, 500, 100])
        self.assertEqual(self.leases.load, Load(1100, 1100))

    def test_one_call_at_a_time(self) -> None:
        """What is freed while it is asked for is freed after it, not before."""
        self.link.slow = True
        self.want("a")
        self.leases.drop("a")
        self.clock.advance(0)
        self.assertEqual(len(self.link.calls), 1)
        self.link.waiting.pop()()
        self.link.waiting.pop()()
        self.assertEqual([args[2:] for _, _, args in self.link.calls], [["keep"], ["free"]])
        self.assertEqual(self.link.holders, {})
        self.assertEqual(self.told["a"], [])

    def test_a_listener_that_fails(self) -> None:
        """The others are told all the same."""

        def fail(held: bool) -> None:
            raise ValueError

        self.leases.want("a", fail)
        self.want("b")
        self.assertEqual(self.told["b"], [True])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_listener_that_drops_and_wants(self) -> None:
        def again(held: bool) -> None:
            self.leases.drop("a")
            self.leases.drop("b")
            self.leases.want("c")

        self.leases.want("a", again)
        self.want("b")
        self.clock.advance(0)
        self.assertTrue(self.leases.holds("c"))
        self.assertEqual(set(self.link.holders), {"lease:c"})


class AwayTests(LeasesTest):
    """Redis is away, or of no use."""

    def test_alone_from_the_first_end(self) -> None:
        """What is held stays so without a break; the rest is held from then on."""
        self.other_has("b")
        self.want("a", "b")
        self.clock.advance(3)
        self.renew()
        self.link.go(True)
        self.clock.advance(8.9)
        self.assertFalse(self.leases.alone)
        self.assertFalse(self.leases.holds("b"))
        self.clock.advance(0.2)
        self.assertTrue(self.leases.alone)
        self.assertEqual((self.told["a"], self.told["b"]), ([True], [True]))
        self.want("c")
        self.assertTrue(self.leases.holds("c"))
        self.assertFalse(self.leases.holds("d"))
        self.assertEqual(self.told["c"], [])
        self.assertTrue(self.now(self.leases.take("once", 5)))
        self.link.go(False)
        self.assertEqual((self.told["b"], self.told["c"]), ([True, False], []))
        self.assertTrue(self.leases.holds("c"))

    def test_alone_with_nothing_held(self) -> None:
        """A lease after Redis went away: until then another may hold what is wanted."""
        self.other_has("a")
        self.want("a")
        self.link.go(True)
        self.clock.advance(9.9)
        self.assertFalse(self.leases.holds("a"))
        self.failureResultOf(Deferred.fromCoroutine(self.leases.take("once", 5)), Unavailable)
        self.clock.advance(0.2)
        self.assertEqual(self.told["a"], [True])

    def test_away_for_a_moment(self) -> None:
        """Nobody is alone, and what was held is held."""
        self.want("a")
        self.link.go(True)
        self.clock.advance(5)
        self.link.go(False)
        self.clock.advance(8)
        self.assertFalse(self.leases.alone)
        self.assertTrue(self.leases.holds("a"))
        self.assertEqual(self.told["a"], [True])

    def test_back_when_all_is_known(self) -> None:
        """Not before Redis has said of each who has it."""
        names = [f"{number}" for number in range(600)]
        self.other_has("599")
        self.want(*names)
        self.link.go(True)
        self.clock.advance(20)
        self.assertTrue(self.leases.holds("599"))
        self.link.slow = True
        self.link.go(False)
        self.link.waiting.pop()()
        self.assertTrue(self.leases.alone)
        self.link.waiting.pop()()
        self.assertFalse(self.leases.alone)
        self.assertEqual((self.told["0"], self.told["599"]), ([True], [True, False]))

    def test_back_and_away_again(self) -> None:
        self.want("a")
        self.link.go(True)
        self.clock.advance(20)
        self.link.refuses = True
        self.link.go(False)
        self.assertTrue(self.leases.alone)
        self.want("b")
        self.assertTrue(self.leases.alone)
        self.link.refuses = False
        self.want("c")  # one answer: so the others are asked about as well
        self.assertFalse(self.leases.alone)
        self.assertEqual(set(self.link.holders), {"lease:a", "lease:b", "lease:c"})
        self.assertEqual(self.told["a"], [True])

    def test_refused(self) -> None:
        """It answers, but it does not write: that comes to the same."""
        self.want("a")
        self.link.refuses = True
        for _ in range(4):
            self.clock.advance(3)
            self.renew()
        self.assertTrue(self.leases.alone)
        self.link.refuses = False
        self.renew()
        self.assertFalse(self.leases.alone)
        self.assertEqual(self.told["a"], [True])

    def test_refused_and_nothing_asked(self) -> None:
        """Only an answer ends it: not that there was nothing to be asked just then."""
        self.want("a")
        self.link.refuses = True
        for _ in range(4):
            self.clock.advance(3)
            self.renew()
        self.leases.want("b")
        self.renew()
        self.clock.advance(0)
        self.assertTrue(self.leases.alone)
        self.link.refuses = False
        self.renew()
        self.assertFalse(self.leases.alone)

    def test_refused_in_the_middle(self) -> None:
        """What is wanted next is asked at once, as ever."""
        self.want(*(f"{number}" for number in range(600)))
        self.link.refuses = True
        self.renew()
        self.link.refuses = False
        self.want("a")
        self.assertTrue(self.leases.holds("a"))

    def test_seized_when_it_can_be(self) -> None:
        self.other_has("a")
        self.want("a")
        self.link.refuses = True
        self.leases.seize("a")
        self.clock.advance(0)
        self.link.refuses = False
        self.renew()
        self.assertEqual(self.told["a"], [True])
        self.other_has("a")  # who seizes it later keeps it
        self.renew()
        self.assertEqual(self.told["a"], [True, False])

    def test_nothing_is_queued(self) -> None:
        """What is dropped meanwhile ends by itself."""
        self.want(*(f"{number}" for number in range(100)))
        self.link.go(True)
        calls = len(self.link.calls)
        for number in range(100):
            self.leases.drop(f"{number}")
            self.want(f"other {number}")
        self.clock.advance(20)
        self.link.go(False)
        asked = [key for _, keys, _ in self.link.calls[calls:] for key in keys if not self.link.away]
        self.assertEqual(sum(key.startswith("lease:other") for key in asked[-100:]), 100)
        self.assertEqual(self.leases.load, Load(100, 100))

    def test_stopped_while_away(self) -> None:
        self.want("a")
        self.link.go(True)
        self.now(self.leases.stop())
        self.link.go(False)
        self.clock.advance(100)
        self.assertFalse(self.leases.alone)
        self.assertEqual(self.told["a"], [True])


class SpreadTests(SynchronousTestCase):
    """How many are given to whom."""

    def test_what_is_even_stays(self) -> None:
        for own, other in ((0, 0), (1, 0), (5, 4), (100, 91), (0, 3)):
            self.assertEqual(room(own, {"two": Load(other, 200)}), {})
        for own, other in ((0, 0), (0, 1), (4, 5), (91, 100), (3, 0)):
            self.assertEqual(lacking(own, {"two": Load(other, 200)}), 0)
        self.assertEqual(lacking(0, {}), 0)

    def test_some(self) -> None:
        self.assertEqual(room(2, {"two": Load(0, 2)}), {"two": 1})
        self.assertEqual(room(60, {"two": Load(0, 60), "three": Load(50, 60)}), {"two": 15, "three": 2})
        self.assertEqual(lacking(0, {"two": Load(2, 2)}), 1)
        self.assertEqual(lacking(10, {"two": Load(60, 60), "three": Load(5, 60)}), 25)

    def test_not_to_who_has_all_it_wants(self) -> None:
        self.assertEqual(room(60, {"two": Load(3, 3)}), {})
