"""One user's live grant: one refresh at a time, ahead of need, and only one way to die."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.backend.memory import Switchboard
from docsession.errors import GoogleUnavailable, NotSignedIn, Unavailable
from docsession.google.grant import LiveGrant
from docsession.google.oauth import Granted, OAuthRefused
from docsession.model import Grant
from tests.unit.google import clock

HOUR = 3600.0


def granted(access: str, refresh: str | None = None, scopes: tuple[str, ...] | None = ("drive",)) -> Granted:
    return Granted(access, HOUR, scopes, refresh, None)


class FakeOAuth:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Granted | Exception | None = None
        self.flying: list[Deferred[Granted]] = []

    async def refresh(self, refresh_token: str) -> Granted:
        self.asked.append(refresh_token)
        answer = self.answer
        if answer is None:
            flight: Deferred[Granted] = Deferred()
            self.flying.append(flight)
            return await flight
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeStore:
    def __init__(self, grant: Grant | None) -> None:
        self.grant = grant
        self.away = False

    async def load_grant(self, user_id: str) -> Grant | None:
        if self.away:
            raise Unavailable
        return self.grant

    async def save_grant(self, user_id: str, grant: Grant, *, replaces: int | None) -> bool:
        if self.away:
            raise Unavailable
        if (None if self.grant is None else self.grant.generation) != replaces:
            return False
        self.grant = grant
        return True


class GrantTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = clock()
        self.begin(Grant(1, ("drive",), "a1", self.clock.seconds() + HOUR, "r1"))

    def begin(self, grant: Grant) -> None:
        self.oauth = FakeOAuth()
        self.store = FakeStore(grant)
        self.died: list[float] = []

        self.board = Switchboard(self.clock)
        self.leases = self.board.node("one")[1]
        self.said = 0
        self.rights: list[tuple[str, ...]] = []

        async def on_dead() -> None:
            self.died.append(self.clock.seconds())

        self.live = LiveGrant(
            "ann",
            grant,
            oauth=self.oauth,  # type: ignore[arg-type]
            store=self.store,  # type: ignore[arg-type]
            leases=self.leases,
            clock=self.clock,
            on_stored=self.stored,
            on_rights=lambda grant: self.rights.append(grant.scopes),
            on_dead=on_dead,
        )

    def stored(self) -> None:
        self.said += 1

    def ask(self, rejected: str | None = None) -> Deferred[str]:
        return Deferred.fromCoroutine(self.live.token(rejected=rejected))

    def token(self, rejected: str | None = None) -> str:
        return self.successResultOf(self.ask(rejected))

    def test_a_good_token_asks_nobody(self) -> None:
        self.assertEqual(self.token(), "a1")
        self.assertEqual(self.oauth.asked, [])

    def test_refreshed_ahead_of_its_end(self) -> None:
        self.oauth.answer = granted("a2")
        self.clock.advance(HOUR - 241)
        self.assertEqual(self.token(), "a1")
        self.clock.advance(2)
        self.assertEqual(self.token(), "a2")
        self.assertEqual(self.oauth.asked, ["r1"])

    def test_ten_callers_one_refresh(self) -> None:
        self.clock.advance(HOUR)
        asked = [self.ask() for _ in range(10)]
        asked[0].cancel()
        self.failureResultOf(asked[0])
        self.oauth.flying[0].callback(granted("a2"))
        self.assertEqual([self.successResultOf(one) for one in asked[1:]], ["a2"] * 9)
        self.assertEqual(len(self.oauth.asked), 1)

    def test_a_refresh_is_finished_although_nobody_waits_any_more(self) -> None:
        self.clock.advance(HOUR)
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked)
        self.oauth.flying[0].callback(granted("a2"))
        self.assertEqual(self.token(), "a2")

    def test_a_rejected_token_is_refreshed_once_for_all_who_had_it(self) -> None:
        self.oauth.answer = granted("a2")
        self.assertEqual((self.token("a1"), self.token("a1"), self.token()), ("a2", "a2", "a2"))
        self.assertEqual(len(self.oauth.asked), 1)

    def test_what_google_does_not_repeat_stays(self) -> None:
        self.oauth.answer = granted("a2", scopes=None)
        self.token("a1")
        stored = self.store.grant
        assert stored is not None
        self.assertEqual((stored.generation, stored.refresh_token, stored.scopes), (2, "r1", ("drive",)))
        self.oauth.answer = granted("a3", refresh="r3", scopes=("drive.file",))
        self.token("a2")
        assert self.store.grant is not None
        self.assertEqual((self.store.grant.refresh_token, self.live.grant.scopes), ("r3", ("drive.file",)))

    def test_invalid_grant_ends_it_once(self) -> None:
        self.oauth.answer = OAuthRefused("invalid_grant")
        self.clock.advance(HOUR)
        for _ in range(3):
            self.failureResultOf(self.ask(), NotSignedIn)
        self.failureResultOf(self.ask("a1"), NotSignedIn)
        self.assertEqual((len(self.oauth.asked), len(self.died)), (1, 1))
        assert self.store.grant is not None
        self.assertTrue(self.store.grant.dead)
        self.assertEqual((self.store.grant.generation, self.store.grant.access_token), (2, ""))

    def test_nothing_else_ends_it(self) -> None:
        self.clock.advance(HOUR)
        for failing, error in (
            (GoogleUnavailable(retry_after=5), GoogleUnavailable),
            (OAuthRefused("invalid_client"), Unavailable),
            (OAuthRefused("unauthorized_client"), Unavailable),
        ):
            self.oauth.answer = failing
            self.failureResultOf(self.ask(), error)
        self.oauth.answer = granted("a2")
        self.assertEqual(self.token(), "a2")
        self.assertEqual(self.died, [])

    def test_bad_weather_while_the_old_token_is_still_good_disturbs_nobody(self) -> None:
        self.oauth.answer = GoogleUnavailable(retry_after=5)
        self.clock.advance(HOUR - 200)
        for _ in range(20):
            self.assertEqual(self.token(), "a1")
        self.assertEqual(len(self.oauth.asked), 1)  # and Google is not stormed meanwhile
        self.clock.advance(31)
        self.assertEqual(self.token(), "a1")
        self.assertEqual(len(self.oauth.asked), 2)
        self.failureResultOf(self.ask("a1"), GoogleUnavailable)
        self.clock.advance(200)
        self.failureResultOf(self.ask(), GoogleUnavailable)

    def test_another_nodes_newer_grant_is_read_instead(self) -> None:
        self.clock.advance(HOUR)
        self.store.grant = Grant(2, ("drive",), "a2", self.clock.seconds() + HOUR, "r1")
        self.assertEqual(self.token("a1"), "a2")
        self.assertEqual(self.oauth.asked, [])
        # One that is stale as well is at least what is refreshed.
        self.store.grant = Grant(3, ("drive",), "a3", self.clock.seconds(), "r3")
        self.oauth.answer = granted("a4")
        self.assertEqual(self.token("a2"), "a4")
        self.assertEqual(self.oauth.asked, ["r3"])

    def test_of_two_nodes_that_refresh_at_once_both_go_on_with_what_is_stored(self) -> None:
        self.clock.advance(HOUR)
        asked = self.ask()
        theirs = Grant(2, ("drive",), "theirs", self.clock.seconds() + HOUR, "r2")
        self.store.grant = theirs
        self.oauth.flying[0].callback(granted("ours"))
        self.assertEqual(self.successResultOf(asked), "theirs")
        self.assertEqual(self.store.grant, theirs)

    def test_another_node_refreshes(self) -> None:
        """It is waited for, and what it stores is used; when it gives up, this one does it."""
        self.clock.advance(HOUR)
        other = self.board.node("two")[1]
        self.successResultOf(Deferred.fromCoroutine(other.take("refresh:ann", 30)))
        asked = self.ask()
        self.assertEqual(self.oauth.asked, [])
        self.store.grant = Grant(2, ("drive",), "a2", self.clock.seconds() + HOUR, "r1")
        self.live.stored_elsewhere()
        self.assertEqual(self.successResultOf(asked), "a2")
        asked = self.ask("a2")
        self.successResultOf(Deferred.fromCoroutine(other.free("refresh:ann")))
        self.oauth.answer = granted("a3")
        self.clock.advance(0.25)
        self.assertEqual(self.successResultOf(asked), "a3")
        self.assertEqual((self.oauth.asked, self.said), (["r1"], 1))
        self.assertEqual(self.board.taken, {})

    def test_nobody_can_say_whose_refresh_it_is(self) -> None:
        """Then it is this node's."""

        async def away(name: str, seconds: float = 0.0) -> bool:
            raise Unavailable

        self.leases.take = self.leases.free = away  # type: ignore[method-assign, assignment]
        self.oauth.answer = granted("a2")
        self.assertEqual(self.token("a1"), "a2")

    def test_what_another_node_stored_is_read_when_it_says_so(self) -> None:
        self.store.grant = Grant(2, ("other",), "a2", self.clock.seconds() + HOUR, "r1")
        self.live.stored_elsewhere()
        self.assertEqual((self.token(), self.rights), ("a2", [("other",)]))
        self.store.grant = Grant(3, ("other",), "a3", self.clock.seconds() + HOUR, "r1")
        self.live.stored_elsewhere()
        self.assertEqual((self.token(), self.rights, self.died), ("a3", [("other",)], []))
        self.store.grant = Grant(4, ("other",), "", 0.0, "r1", dead=True)
        self.live.stored_elsewhere()
        self.failureResultOf(self.ask(), NotSignedIn)
        self.assertEqual((len(self.died), self.oauth.asked), (1, []))

    def test_a_sign_in_during_a_refresh_wins(self) -> None:
        for answer in (granted("old"), OAuthRefused("invalid_grant")):
            for away in (False, True):
                self.begin(Grant(1, ("drive",), "a1", self.clock.seconds(), "r1"))
                asked = self.ask()
                new = Grant(2, ("drive.file",), "new", self.clock.seconds() + HOUR, "r2")
                self.store.grant = new
                self.live.replaced(new)
                self.store.away = away
                if isinstance(answer, Granted):
                    self.oauth.flying[0].callback(answer)
                else:
                    self.oauth.flying[0].errback(answer)
                self.assertEqual(self.successResultOf(asked), "new")
                self.assertEqual((self.live.grant, self.store.grant, self.died), (new, new, []))

    def test_without_the_store_it_serves_from_memory_and_is_stored_later(self) -> None:
        self.store.away = True
        self.oauth.answer = granted("a2")
        self.assertEqual(self.token("a1"), "a2")
        self.store.away = False
        self.assertEqual(self.store.grant.generation if self.store.grant else 0, 1)
        self.oauth.answer = granted("a3")
        self.assertEqual(self.token("a2"), "a3")
        assert self.store.grant is not None
        self.assertEqual((self.store.grant.access_token, self.store.grant.generation), ("a3", 3))

    def test_a_deleted_users_grant_is_not_stored_again(self) -> None:
        self.store.grant = None
        self.oauth.answer = granted("a2")
        self.token("a1")
        self.assertIsNone(self.store.grant)

    def test_without_a_refresh_token_it_lasts_as_long_as_it_lasts(self) -> None:
        self.begin(Grant(1, ("drive",), "a1", self.clock.seconds() + 100, None))
        self.assertEqual(self.token(), "a1")
        self.clock.advance(100)
        self.failureResultOf(self.ask(), NotSignedIn)
        self.assertEqual((len(self.died), self.oauth.asked), (1, []))

    def test_a_token_is_in_no_repr(self) -> None:
        for value in (self.live.grant, granted("secret", "secret"), msgspec.structs.replace(self.live.grant)):
            self.assertNotIn("a1", repr(value))
            self.assertNotIn("secret", repr(value))
