"""Answers kept a while: never another user's, never older than asked, never over the bounds."""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import Forbidden, GoogleUnavailable, NotFound, RateLimited
from docsession.google.cache import Cache, Cached, cached
from docsession.times import rfc3339
from tests.unit.google import clock

OVERHEAD = 500


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.cache = Cache(self.clock, seconds=120, most_bytes=100_000, most_bytes_per_user=10_000)
        self.fetched: list[str] = []
        self.flying: list[Deferred[bytes]] = []

    def begin(
        self,
        key: str = "get f",
        *,
        user: str = "ann",
        data: bytes | None = b"{}",
        files: str = "f",
        about: str | None = "f",
        listing: bool = False,
        max_age: float | None = None,
    ) -> Deferred[tuple[Cached, bool]]:
        async def fetch() -> tuple[bytes, frozenset[str], str | None]:
            self.fetched.append(f"{user} {key}")
            answer = data
            if answer is None:
                flight: Deferred[bytes] = Deferred()
                self.flying.append(flight)
                answer = await flight
            return answer, frozenset(files.split()), user if listing else None

        reading = self.cache.read(user, key, fetch, about=about, max_age=max_age)
        return Deferred.fromCoroutine(reading)

    def read(self, key: str = "get f", **more: Any) -> tuple[Cached, bool]:
        return self.successResultOf(self.begin(key, **more))

    def is_kept(self, key: str = "get f", **more: Any) -> bool:
        return self.read(key, **more)[1]

    def nothing_left(self) -> None:
        for part in ("_kept", "_by_user", "_bytes", "_by_tag", "_flying"):
            self.assertEqual(getattr(self.cache, part), {}, part)
        self.assertEqual(self.cache.size, 0)

    def test_kept_for_as_long_as_is_set_and_no_longer(self) -> None:
        first, kept = self.read()
        self.assertFalse(kept)
        self.clock.advance(119)
        again, kept = self.read()
        self.assertTrue(kept)
        self.assertEqual(again.as_of, first.as_of)
        self.clock.advance(1)
        self.assertFalse(self.is_kept())

    def test_no_older_than_asked(self) -> None:
        self.read()
        self.clock.advance(10)
        self.assertTrue(self.is_kept(max_age=11))
        self.assertFalse(self.is_kept(max_age=10))
        self.assertFalse(self.is_kept(max_age=0))
        self.assertFalse(self.is_kept(max_age=0))  # not even in the same moment
        self.clock.advance(121)
        self.assertFalse(self.is_kept(max_age=86_400))

    def test_what_is_kept_is_what_read_would_give_and_nothing_is_asked_for_it(self) -> None:
        self.assertIsNone(self.cache.kept("ann", "get f", max_age=None, now=self.clock.seconds()))
        first, _ = self.read()
        self.clock.advance(10)
        for max_age, kept in ((None, True), (11, True), (10, False), (0, False), (86_400, True)):
            found = self.cache.kept("ann", "get f", max_age=max_age, now=self.clock.seconds())
            self.assertEqual(found is first, kept, max_age)
        self.assertIsNone(self.cache.kept("bob", "get f", max_age=None, now=self.clock.seconds()))
        self.clock.advance(110)
        for max_age in (None, 86_400):
            self.assertIsNone(self.cache.kept("ann", "get f", max_age=max_age, now=self.clock.seconds()))
        self.assertEqual(len(self.fetched), 1)

    def test_what_is_told_of_it(self) -> None:
        """Encoded when it is kept; what Google said is a part of it, to the letter."""
        for data in (b"{}", b'{"a": [1.50]}', '{"ä": 1}'.encode(), b"[%s]" % (b"1," * 1000 + b"1")):
            self.clock.advance(0.123)
            kept = cached(data, self.clock.seconds(), frozenset())
            self.assertEqual(kept.data, data)
            self.assertEqual(
                json.loads(kept.told),
                {"data": json.loads(data), "as_of": rfc3339(self.clock.seconds()), "source": "cache"},
            )

    def test_the_age_counts_from_when_it_was_asked(self) -> None:
        asked = self.begin(data=None)
        self.clock.advance(30)
        self.flying.pop().callback(b"{}")
        self.assertEqual(self.successResultOf(asked)[0].as_of, self.clock.seconds() - 30)

    def test_users_never_share(self) -> None:
        self.read(user="ann", data=b'{"a": 1}')
        cached, kept = self.read(user="bob", data=b'{"b": 1}')
        self.assertEqual((cached.data, kept), (b'{"b": 1}', False))
        one, other = self.begin("k", user="ann", data=None), self.begin("k", user="bob", data=None)
        self.flying[0].callback(b"anns")
        self.flying[1].callback(b"bobs")
        self.assertEqual([self.successResultOf(asked)[0].data for asked in (one, other)], [b"anns", b"bobs"])

    def test_identical_reads_in_flight_are_one(self) -> None:
        asked = [self.begin(data=None) for _ in range(5)]
        asked[0].cancel()
        self.failureResultOf(asked[0], CancelledError)
        self.flying[0].callback(b"{}")
        self.assertEqual({self.successResultOf(one)[0].data for one in asked[1:]}, {b"{}"})
        self.assertEqual(len(self.fetched), 1)

    def test_a_failure_is_not_kept(self) -> None:
        asked = self.begin(data=None)
        self.flying.pop().errback(ValueError("no"))
        self.failureResultOf(asked, ValueError)
        self.assertFalse(self.is_kept())
        self.cache.drop_user("ann")
        self.nothing_left()

    def test_a_file_is_dropped_for_all_users_wherever_it_is_spoken_of(self) -> None:
        self.read(user="ann")
        self.read(user="bob")
        self.read("list", user="bob", files="e f", about=None, listing=True)
        self.read("other", user="bob", files="g", about="g")
        self.cache.drop_file("f")
        self.assertTrue(self.is_kept("other", user="bob", files="g", about="g"))
        self.assertEqual(
            [self.is_kept(user="ann"), self.is_kept(user="bob"), self.is_kept("list", user="bob")],
            [False] * 3,
        )

    def test_listings_are_dropped_for_one_user(self) -> None:
        for user in ("ann", "bob"):
            self.read("list", user=user, about=None, listing=True)
        self.read("get f", user="ann")
        self.cache.drop_listings("ann")
        kept = [self.is_kept("list", user=user, about=None, listing=True) for user in ("ann", "bob")]
        self.assertEqual(kept, [False, True])
        self.assertTrue(self.is_kept("get f", user="ann"))

    def test_a_user_is_dropped_whole(self) -> None:
        self.read(user="ann")
        self.read("list", user="ann", about=None, listing=True)
        self.read(user="bob")
        self.cache.drop_user("ann")
        self.assertTrue(self.is_kept(user="bob"))
        self.cache.drop_user("bob")
        self.nothing_left()

    def test_an_answer_begun_before_a_drop_is_handed_on_but_neither_kept_nor_joined(self) -> None:
        for drop in (lambda: self.cache.drop_file("f"), lambda: self.cache.drop_listings("ann")):
            for key, about in (("get", "f"), ("list", None)):
                if about == "f" and drop.__code__.co_names[-1] == "drop_listings":
                    continue
                self.flying.clear()
                old = self.begin(key, data=None, about=about, listing=about is None)
                drop()
                new = self.begin(key, data=None, about=about, listing=about is None)
                self.assertEqual(len(self.flying), 2)
                self.flying[0].callback(b'"old"')
                self.assertEqual(self.successResultOf(old)[0].data, b'"old"')
                # A drop still reaches the newer one, although the older has landed.
                drop()
                newest = self.begin(key, data=None, about=about, listing=about is None)
                self.assertEqual(len(self.flying), 3)
                self.flying[2].callback(b'"newest"')
                self.flying[1].callback(b'"new"')
                self.assertEqual(self.successResultOf(new)[0].data, b'"new"')
                self.successResultOf(newest)
                cached, kept = self.read(key, about=about, listing=about is None)
                self.assertEqual((cached.data, kept), (b'"newest"', True))
                self.cache.drop_user("ann")
                self.nothing_left()

    def test_a_drop_of_something_else_disturbs_nothing(self) -> None:
        asked = self.begin(data=None)
        self.cache.drop_file("g")
        self.begin(data=None)
        self.assertEqual(len(self.flying), 1)
        self.flying[0].callback(b"{}")
        self.successResultOf(asked)
        self.assertTrue(self.is_kept())

    def test_an_answer_that_comes_late_takes_no_newer_ones_place(self) -> None:
        old = self.begin(data=None)
        self.cache.drop_file("g")
        self.cache._flights.forget(("ann", "get f"))
        self.clock.advance(1)
        self.read(data=b'"new"')
        self.flying[0].callback(b'"old"')
        self.successResultOf(old)
        self.assertEqual(self.read()[0].data, b'"new"')

    def test_bytes_per_user_and_in_all_are_bounded(self) -> None:
        for number in range(40):
            self.read(f"k{number}", data=b"x" * 1000)
        self.assertLessEqual(self.cache.size, 10_000)
        self.assertTrue(self.is_kept("k39"))
        self.assertFalse(self.is_kept("k0"))
        for number in range(40):
            self.read("k", user=f"user {number}", data=b"x" * 5000)
        self.assertLessEqual(self.cache.size, 100_000)
        self.assertTrue(self.is_kept("k", user="user 39"))
        self.assertFalse(self.is_kept("k", user="user 0", data=b""))

    def test_what_is_larger_than_a_users_share_is_not_kept_and_pushes_nothing_out(self) -> None:
        self.read("small")
        self.read("large", data=b"x" * 10_001)
        self.assertTrue(self.is_kept("small"))
        self.assertFalse(self.is_kept("large"))

    def test_long_questions_with_short_answers_count(self) -> None:
        for number in range(100):
            self.read(f"{number}" + "q" * 4000, data=b"{}")
        self.assertLessEqual(len(self.cache._kept), 2)

    def test_who_wants_a_newer_answer_does_not_join_an_older_request(self) -> None:
        old = self.begin(data=None)
        self.clock.advance(5)
        joined = [self.begin(data=None, max_age=max_age) for max_age in (None, 60, 5)]
        self.assertEqual(len(self.flying), 1)
        new = self.begin(data=None, max_age=0)
        self.begin(data=None, max_age=0)  # in the same moment: joins that one
        self.assertEqual(len(self.flying), 2)
        self.flying[1].callback(b'"new"')
        self.flying[0].callback(b'"old"')
        self.assertEqual(self.successResultOf(new)[0].data, b'"new"')
        self.assertEqual({self.successResultOf(one)[0].data for one in (old, *joined)}, {b'"old"'})
        self.assertEqual(self.read()[0].data, b'"new"')

    def test_what_was_under_way_when_the_user_was_dropped_is_not_kept(self) -> None:
        old = self.begin(data=None)
        self.cache.drop_user("bob")
        self.begin(data=None)
        self.assertEqual(len(self.flying), 1)
        self.cache.drop_user("ann")
        self.begin(data=None)
        self.assertEqual(len(self.flying), 2)
        self.flying[0].callback(b"{}")
        self.successResultOf(old)
        self.assertEqual(self.cache._kept, {})
        self.flying[1].callback(b"{}")
        self.assertTrue(self.is_kept())

    def test_a_listing_that_does_not_say_of_which_files_may_be_of_any(self) -> None:
        for files, kept in (("", False), ("g", True)):
            self.read("list", files=files, about=None, listing=True)
            self.cache.drop_file("f")
            self.assertEqual(self.is_kept("list", files=files, about=None, listing=True), kept)
            self.cache.drop_user("ann")

    def test_drops_are_remembered_while_a_request_is_under_way_and_no_longer(self) -> None:
        asked = self.begin(data=None)
        self.cache._flights.forget(("ann", "get f"))
        self.cache.drop_file("g")
        self.assertNotEqual(self.cache._dropped, {})
        self.flying[0].callback(b"{}")
        self.successResultOf(asked)
        self.assertEqual(self.cache._dropped, {})
        self.cache.drop_file("g")
        self.assertEqual(self.cache._dropped, {})

    def test_more_drops_than_can_be_told_apart_are_believed_to_concern_everything(self) -> None:
        asked = self.begin(data=None)
        self.cache.drop_file("f")
        for number in range(100_001):
            self.cache._drop(f"file {number}")
        self.assertLessEqual(len(self.cache._dropped), 100_000)
        self.flying[0].callback(b"{}")
        self.successResultOf(asked)
        self.assertEqual(self.cache._kept, {})
        self.read()
        self.assertTrue(self.is_kept())

    def test_the_books_balance_whatever_happens(self) -> None:
        rng = random.Random(11)
        for _ in range(3000):
            user, file = f"u{rng.randrange(5)}", f"f{rng.randrange(9)}"
            match rng.randrange(6):
                case 0:
                    self.cache.drop_file(file)
                case 1:
                    self.cache.drop_listings(user)
                case 2:
                    self.clock.advance(rng.random() * 30)
                case 3 if rng.random() < 0.1:
                    self.cache.drop_user(user)
                case _:
                    size = rng.randrange(3000)
                    self.read(f"get {file}", user=user, data=b"x" * size, files=file, about=file)
            total = sum(
                len(cached.told) + OVERHEAD + len(k[0]) + len(str(k[1]))
                for k, cached in self.cache._kept.items()
            )
            self.assertEqual(self.cache.size, total)
            self.assertEqual(sum(self.cache._bytes.values()), total)
        for number in range(5):
            self.cache.drop_user(f"u{number}")
        self.nothing_left()


class StaleTests(SynchronousTestCase):
    """While Google is away an older answer may serve, if the configuration says so."""

    def setUp(self) -> None:
        self.clock = clock()
        self.failing: Exception | None = None
        self.cache = self.made(serve_stale=3600)

    def made(self, serve_stale: float) -> Cache:
        return Cache(
            self.clock, seconds=120, most_bytes=100_000, most_bytes_per_user=10_000, serve_stale=serve_stale
        )

    def read(self, key: str = "get f", *, max_age: float | None = None) -> Deferred[tuple[Cached, bool]]:
        async def fetch() -> tuple[bytes, frozenset[str], str | None]:
            if self.failing is not None:
                raise self.failing
            return b"{}", frozenset({"f"}), None

        return Deferred.fromCoroutine(self.cache.read("ann", key, fetch, about="f", max_age=max_age))

    def served(self, **more: Any) -> tuple[float, bool]:
        cached, kept = self.successResultOf(self.read(**more))
        return cached.as_of, kept

    def test_its_age_is_told(self) -> None:
        first, _ = self.served()
        self.clock.advance(1000)
        self.failing = GoogleUnavailable(retry_after=5)
        self.assertEqual(self.served(), (first, True))
        self.failing = None
        self.assertEqual(self.served(), (first + 1000, False))

    def test_not_before_google_was_asked(self) -> None:
        """What is too old to be served as it is is not found without asking."""
        self.served()
        self.clock.advance(120)
        self.assertIsNone(self.cache.kept("ann", "get f", max_age=None, now=self.clock.seconds()))
        self.assertIsNone(self.cache.kept("ann", "get f", max_age=3600, now=self.clock.seconds()))

    def test_only_while_google_is_away(self) -> None:
        self.served()
        self.clock.advance(1000)
        for other in (RateLimited("slow down", retry_after=5), NotFound(), Forbidden("no")):
            self.failing = other
            self.failureResultOf(self.read(), type(other))

    def test_nothing_that_google_refuses_meanwhile(self) -> None:
        """What the user may no longer see is not shown when Google is away afterwards."""
        for final in (NotFound(), Forbidden("no")):
            self.failing = None
            self.served()
            self.served(key="get f fields")
            self.clock.advance(1000)
            self.failing = final
            self.failureResultOf(self.read(), type(final))
            self.failing = GoogleUnavailable(retry_after=5)
            for key in ("get f", "get f fields"):
                self.failureResultOf(self.read(key=key), GoogleUnavailable)

    def test_what_a_page_wants_is_honoured(self) -> None:
        self.served()
        self.clock.advance(1000)
        self.failing = GoogleUnavailable(retry_after=5)
        for max_age in (0.0, 500.0):
            self.failureResultOf(self.read(max_age=max_age), GoogleUnavailable)
        self.assertTrue(self.served(max_age=2000.0)[1])

    def test_what_is_known_to_be_untrue_is_never_served(self) -> None:
        self.served()
        self.cache.drop_file("f")
        self.failing = GoogleUnavailable(retry_after=5)
        self.failureResultOf(self.read(), GoogleUnavailable)

    def test_nor_what_is_too_old_and_that_is_not_kept(self) -> None:
        self.served()
        self.clock.advance(3600)
        self.failing = GoogleUnavailable(retry_after=5)
        self.failureResultOf(self.read(), GoogleUnavailable)
        self.failing = None
        self.served(key="get g")
        self.assertEqual(len(self.cache._kept), 1)

    def test_nor_what_google_no_longer_lets_the_user_see(self) -> None:
        for refusal in (NotFound(), Forbidden("no")):
            self.failing = None
            self.served()
            self.clock.advance(1000)
            self.failing = refusal
            self.failureResultOf(self.read(), type(refusal))
            self.failing = GoogleUnavailable(retry_after=5)
            self.failureResultOf(self.read(), GoogleUnavailable)

    def test_by_default_nothing_is(self) -> None:
        self.cache = self.made(serve_stale=0)
        self.served()
        self.clock.advance(121)
        self.failing = GoogleUnavailable(retry_after=5)
        self.failureResultOf(self.read(), GoogleUnavailable)
