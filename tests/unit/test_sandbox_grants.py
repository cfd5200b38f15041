"""What the sandbox's people allowed to whom: codes, tokens, consent, and their ends."""

from __future__ import annotations

import json
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox.grants import MOST_REFRESH_TOKENS, Access, Code, Grants
from docsession.sandbox.records import Person
from docsession.sandbox.scopes import EMAIL, OPENID, PROFILE, is_scope, normal, spelled, words

DRIVE = "https://www.googleapis.com/auth/drive"
READONLY = DRIVE + ".readonly"


def person(name: str) -> Person:
    return Person(f"{name}@example.com", f"1{name}", name.title(), f"9{name}", name.title(), "", "")


ANN, BOB = person("ann"), person("bob")


def _drive_code(
    email: str = ANN.email, client_id: str = "app", scopes: frozenset[str] = frozenset({DRIVE})
) -> Code:
    return Code(email=email, client_id=client_id, redirect_uri="http://127.0.0.1/", scopes=scopes)


class GrantsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.people = {each.email: each for each in (ANN, BOB)}
        self.grants = Grants(self.clock, Random(1), self.people)
        self.changes = 0
        self.grants.on_change.append(self._count)

    def _count(self) -> None:
        self.changes += 1

    def code(
        self,
        email: str = ANN.email,
        client_id: str = "app",
        scopes: frozenset[str] = frozenset({DRIVE}),
        *,
        offline: bool = True,
        anew: bool = False,
    ) -> str:
        return self.grants.allow(_drive_code(email, client_id, scopes), offline=offline, anew=anew)

    def refresh_token(self, **asked: object) -> str | None:
        code = self.grants.take_code(self.code(**asked))  # type: ignore[arg-type]
        assert code is not None
        return self.grants.redeem(code).refresh_token


class Codes(GrantsTest):
    def test_once(self) -> None:
        name = self.code()
        self.assertTrue(name.startswith("4/"))
        code = self.grants.take_code(name)
        assert code is not None
        self.assertEqual((code.email, code.client_id, code.scopes), (ANN.email, "app", frozenset({DRIVE})))
        self.assertIsNone(self.grants.take_code(name))

    def test_ten_minutes(self) -> None:
        early, late = self.code(), self.code()
        self.clock.advance(599)
        self.assertIsNotNone(self.grants.take_code(early))
        self.clock.advance(1)
        self.assertIsNone(self.grants.take_code(late))

    def test_expired_ones_are_not_kept(self) -> None:
        self.code()
        self.clock.advance(601)
        kept = self.code()
        self.assertEqual(list(self.grants.to_json()["codes"]), [kept])

    def test_asking_whose_it_is_spends_nothing(self) -> None:
        name = self.code()
        self.assertEqual(self.grants.whose(name), ANN.email)
        self.assertIsNotNone(self.grants.take_code(name))
        self.assertIsNone(self.grants.whose(name))
        self.assertIsNone(self.grants.whose(""))

    def test_of_somebody_who_is_gone(self) -> None:
        name = self.code()
        del self.people[ANN.email]
        self.assertIsNone(self.grants.take_code(name))


class RefreshTokens(GrantsTest):
    def test_comes_with_the_first_consent_only(self) -> None:
        first = self.refresh_token()
        assert first is not None
        self.assertTrue(first.startswith("1//"))
        self.assertIsNone(self.refresh_token())

    def test_comes_again_when_consent_is_demanded(self) -> None:
        self.refresh_token()
        self.assertIsNotNone(self.refresh_token(anew=True))

    def test_comes_with_a_consent_that_adds_something(self) -> None:
        self.refresh_token(scopes=frozenset({OPENID}))
        self.assertIsNotNone(self.refresh_token(scopes=frozenset({OPENID, DRIVE})))
        self.assertIsNone(self.refresh_token(scopes=frozenset({DRIVE})))

    def test_only_for_those_who_want_to_work_offline(self) -> None:
        self.assertIsNone(self.refresh_token(offline=False, anew=True))
        # Nobody has consented to that yet.
        self.assertIsNotNone(self.refresh_token(offline=True))

    def test_each_app_and_person_has_a_first_consent(self) -> None:
        self.refresh_token()
        self.assertIsNotNone(self.refresh_token(client_id="another"))
        self.assertIsNotNone(self.refresh_token(email=BOB.email))

    def test_renews(self) -> None:
        token = self.refresh_token(scopes=frozenset({DRIVE, OPENID}))
        assert token is not None
        issued = self.grants.renew(token)
        assert issued is not None
        self.assertIsNone(issued.refresh_token)
        self.assertEqual(issued.expires_in, 3599)
        self.assertEqual(
            self.grants.lookup(issued.access_token), Access(ANN.email, frozenset({DRIVE, OPENID}), "app")
        )

    def test_renews_for_less_but_not_for_more(self) -> None:
        token = self.refresh_token(scopes=frozenset({DRIVE, OPENID}))
        assert token is not None
        issued = self.grants.renew(token, frozenset({OPENID}))
        assert issued is not None
        self.assertEqual(issued.access.scopes, frozenset({OPENID}))
        with self.assertRaises(ValueError):
            self.grants.renew(token, frozenset({OPENID, READONLY}))

    def test_the_hundred_and_first_ends_the_oldest(self) -> None:
        bobs = self.refresh_token(email=BOB.email)
        others = self.refresh_token(client_id="another")
        tokens = [self.refresh_token(anew=True) or "" for _ in range(MOST_REFRESH_TOKENS)]
        self.assertIsNotNone(self.grants.refreshable(tokens[0]))
        tokens.append(self.refresh_token(anew=True) or "")
        alive = [token for token in tokens if self.grants.refreshable(token)]
        self.assertEqual(alive, tokens[1:])
        self.assertIsNotNone(self.grants.refreshable(bobs or ""))
        self.assertIsNotNone(self.grants.refreshable(others or ""))

    def test_live_for_ever_unless_told_otherwise(self) -> None:
        lasting = self.refresh_token()
        self.grants.refresh_lifetime = 604799.0
        code = self.grants.take_code(self.code(anew=True))
        assert code is not None
        passing = self.grants.redeem(code)
        self.assertEqual(passing.refresh_expires_in, 604799)
        self.clock.advance(604798)
        self.assertIsNotNone(self.grants.renew(passing.refresh_token or ""))
        self.clock.advance(1)
        self.assertIsNone(self.grants.renew(passing.refresh_token or ""))
        self.assertIsNotNone(self.grants.renew(lasting or ""))


class AccessTokens(GrantsTest):
    def test_without_a_consent_page(self) -> None:
        token = self.grants.issue(ANN.email, frozenset({"email", DRIVE}))
        self.assertTrue(token.startswith("ya29."))
        self.assertEqual(
            self.grants.lookup(token), Access(ANN.email, frozenset({OPENID, EMAIL, DRIVE}), "sandbox")
        )
        with self.assertRaises(KeyError):
            self.grants.issue("nobody@example.com", frozenset({DRIVE}))

    def test_end_after_their_hour(self) -> None:
        token = self.grants.issue(ANN.email, frozenset({DRIVE}))
        self.clock.advance(3598)
        self.assertEqual(self.grants.lifetime(token), (1_800_003_599, 1))
        self.assertIsNotNone(self.grants.lookup(token))
        self.clock.advance(1)
        self.assertIsNone(self.grants.lookup(token))

    def test_expired_ones_are_not_kept(self) -> None:
        self.grants.issue(ANN.email, frozenset({DRIVE}))
        self.clock.advance(3600)
        kept = self.grants.issue(BOB.email, frozenset({DRIVE}))
        self.assertEqual(list(self.grants.to_json()["access"]), [kept])

    def test_of_somebody_who_is_gone(self) -> None:
        token = self.grants.issue(ANN.email, frozenset({DRIVE}))
        del self.people[ANN.email]
        self.assertIsNone(self.grants.lookup(token))

    def test_a_refresh_token_is_none(self) -> None:
        self.assertIsNone(self.grants.lookup(self.refresh_token() or ""))


class Ends(GrantsTest):
    def test_revoking_either_token_ends_everything_between_person_and_app(self) -> None:
        for kind in ("access", "refresh"):
            with self.subTest(kind):
                code = self.grants.take_code(self.code(anew=True))
                assert code is not None
                issued = self.grants.redeem(code)
                more, pending = self.refresh_token(anew=True), self.code()
                apart = self.grants.issue(BOB.email, frozenset({DRIVE}), "app")
                other = self.refresh_token(client_id="another", anew=True)
                token = issued.access_token if kind == "access" else issued.refresh_token
                self.assertTrue(self.grants.revoke_token(token or ""))
                self.assertIsNone(self.grants.lookup(issued.access_token))
                self.assertIsNone(self.grants.refreshable(issued.refresh_token or ""))
                self.assertIsNone(self.grants.refreshable(more or ""))
                self.assertIsNone(self.grants.take_code(pending))
                self.assertEqual(self.grants.consented("app", ANN.email), frozenset())
                self.assertIsNotNone(self.grants.lookup(apart))
                self.assertIsNotNone(self.grants.refreshable(other or ""))
                self.assertFalse(self.grants.revoke_token(token or ""))

    def test_after_revoking_the_next_consent_is_a_first_one(self) -> None:
        token = self.refresh_token()
        self.grants.revoke_token(token or "")
        self.assertIsNotNone(self.refresh_token())

    def test_a_person_takes_everything_back(self) -> None:
        tokens = [self.refresh_token(), self.refresh_token(client_id="another")]
        access = self.grants.issue(ANN.email, frozenset({DRIVE}))
        bobs = self.grants.issue(BOB.email, frozenset({DRIVE}))
        self.grants.revoke(ANN.email)
        self.assertEqual([self.grants.refreshable(token or "") for token in tokens], [None, None])
        self.assertIsNone(self.grants.lookup(access))
        self.assertIsNotNone(self.grants.lookup(bobs))

    def test_expired_access_can_be_renewed(self) -> None:
        refresh = self.refresh_token() or ""
        access = self.grants.issue(ANN.email, frozenset({DRIVE}), "app")
        bobs = self.grants.issue(BOB.email, frozenset({DRIVE}), "app")
        self.grants.expire_access(ANN.email)
        self.assertIsNone(self.grants.lookup(access))
        self.assertIsNotNone(self.grants.lookup(bobs))
        self.assertIsNotNone(self.grants.renew(refresh))

    def test_expired_refresh_leaves_access_and_the_memory_of_consent(self) -> None:
        refresh = self.refresh_token() or ""
        access = self.grants.issue(ANN.email, frozenset({DRIVE}), "app")
        self.grants.expire_refresh(ANN.email)
        self.assertIsNone(self.grants.renew(refresh))
        self.assertIsNotNone(self.grants.lookup(access))
        self.assertIsNone(self.refresh_token(), "consent is remembered, so none comes")
        self.assertIsNotNone(self.refresh_token(anew=True))


class Keeping(GrantsTest):
    def test_comes_back_as_it_was(self) -> None:
        refresh, pending = self.refresh_token(scopes=frozenset({OPENID, DRIVE})), self.code()
        access = self.grants.issue(BOB.email, frozenset({DRIVE}))
        self.grants.refresh_lifetime = 60.0
        stored = json.loads(json.dumps(self.grants.to_json()))
        again = Grants(self.clock, Random(2), self.people)
        again.load_json(stored)
        self.assertEqual(again.refresh_lifetime, 60.0)
        self.assertEqual(again.refreshable(refresh or ""), self.grants.refreshable(refresh or ""))
        self.assertEqual(again.lookup(access), self.grants.lookup(access))
        self.assertEqual(again.consented("app", ANN.email), frozenset({OPENID, DRIVE}))
        self.assertIsNotNone(again.take_code(pending))

    def test_the_oldest_is_still_the_oldest(self) -> None:
        tokens = [self.refresh_token(anew=True) or "" for _ in range(MOST_REFRESH_TOKENS)]
        again = Grants(self.clock, Random(2), self.people)
        again.load_json(json.loads(json.dumps(self.grants.to_json())))
        code = again.take_code(again.allow(_drive_code(), offline=True, anew=True))
        assert code is not None
        again.redeem(code)
        self.assertEqual([token for token in tokens if again.refreshable(token)], tokens[1:])

    def test_nonsense_changes_nothing(self) -> None:
        token = self.grants.issue(ANN.email, frozenset({DRIVE}))
        with self.assertRaises(msgspec.ValidationError):
            self.grants.load_json({"codes": {}, "access": {"ya29.x": 1}, "refresh": {}, "consents": []})
        self.assertIsNotNone(self.grants.lookup(token))

    def test_every_change_is_told(self) -> None:
        refresh = ""

        def redeem() -> None:
            nonlocal refresh
            refresh = self.refresh_token() or ""

        for act in (
            lambda: self.grants.issue(ANN.email, frozenset({DRIVE})),
            redeem,
            self.code,
            lambda: self.grants.renew(refresh),
            lambda: self.grants.expire_access(ANN.email),
            lambda: self.grants.expire_refresh(ANN.email),
            lambda: self.grants.revoke(ANN.email),
            lambda: self.grants.load_json(self.grants.to_json()),
        ):
            before = self.changes
            act()
            self.assertGreater(self.changes, before)

    def test_what_changes_nothing_is_not_told(self) -> None:
        self.grants.revoke_token("ya29.unknown")
        self.grants.take_code("4/unknown")
        self.grants.renew("1//unknown")
        self.grants.lookup("ya29.unknown")
        self.assertEqual(self.changes, 0)


class Scopes(SynchronousTestCase):
    def test_short_names_become_long_and_bring_openid_along(self) -> None:
        self.assertEqual(normal(["email"]), {OPENID, EMAIL})
        self.assertEqual(normal(["profile", "openid"]), {OPENID, PROFILE})
        self.assertEqual(normal([DRIVE]), {DRIVE})

    @given(st.lists(st.sampled_from(["openid", "email", "profile", EMAIL, DRIVE, READONLY])))
    def test_normal_is_normal(self, names: list[str]) -> None:
        once = normal(names)
        self.assertEqual(normal(once), once)
        self.assertEqual(frozenset(spelled(once).split()), once)

    def test_only_what_google_could_have(self) -> None:
        for good in ("openid", "email", "profile", DRIVE, DRIVE + ".meet.readonly", EMAIL):
            self.assertTrue(is_scope(good), good)
        for bad in ("", "drive", DRIVE + ".", DRIVE + "\n", "https://example.com/auth/drive", DRIVE + "<b>"):
            self.assertFalse(is_scope(bad), bad)

    def test_words_for_all(self) -> None:
        self.assertIn("Drive", words(DRIVE))
        self.assertIn("calendar.readonly", words("https://www.googleapis.com/auth/calendar.readonly"))
