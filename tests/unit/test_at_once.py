"""Calls that need no waiting: what is served so, and what never may be, over the whole server."""

from __future__ import annotations

import json
import random
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from docsession import rpc
from docsession.drive_calls import CACHED
from tests.support import Stack, Tab

ANN, BOB = "ann@example.com", "bob@example.com"


class AtOnceTestCase(SynchronousTestCase):
    toml = ""

    def setUp(self) -> None:
        self.stack = Stack(self.toml, direct=True)
        self.addCleanup(self.stack.close)
        self.methods: Any = self.stack.assembly.catalogue.methods
        self.ann = self.stack.signed_in_tab(ANN)
        self.talk = self.stack.file("Talk for the shops")

    def at_once(self, method: str, tab: Tab | None = None, **params: Any) -> Any:
        """What a call is answered without waiting; None where it would wait."""
        call = rpc.Call(method, json.dumps(params).encode(), None)
        said = self.methods[method].at_once((tab or self.ann).connection, call, self.stack.clock.seconds())
        return None if said is None else json.loads(said)

    def get(self, tab: Tab | None = None, **more: Any) -> Any:
        return self.at_once("drive.files.get", tab, fileId=self.talk, **more)

    def ask(self, tab: Tab | None = None, **more: Any) -> Any:
        return (tab or self.ann).call("drive.files.get", fileId=self.talk, **more)


class Reads(AtOnceTestCase):
    """``drive.*``."""

    def test_what_is_kept_is_served(self) -> None:
        first = self.ask()
        self.stack.advance(100)
        self.assertEqual(self.get(), {**first, "source": "cache"})
        with patch.object(self.methods["drive.files.get"], "call", None):
            self.assertEqual(self.ask(), {**first, "source": "cache"})

    def test_also_what_google_was_asked_in_other_words(self) -> None:
        """Once the words are known."""
        self.ask(fields="id,name")
        self.assertIsNone(self.get(fields="name,id"))
        self.assertEqual(self.ask(fields="name,id")["source"], "cache")
        self.assertEqual(self.get(fields="name,id")["source"], "cache")

    def test_nothing_that_was_not_asked(self) -> None:
        self.assertIsNone(self.get())
        self.ask()
        self.assertIsNone(self.get(fields="name"))
        self.assertIsNone(self.at_once("drive.files.get", fileId="nonsense"))

    def test_nothing_old(self) -> None:
        self.ask()
        self.stack.advance(119.5)
        self.assertIsNotNone(self.get())
        self.stack.advance(0.5)
        self.assertIsNone(self.get())

    def test_nothing_older_than_asked(self) -> None:
        for max_age in (0, 4, 60):
            self.ask(maxAge=max_age)
        self.stack.advance(5)
        self.assertEqual([self.get(maxAge=max_age) is None for max_age in (0, 4, 60)], [True, True, False])

    def test_nothing_that_was_dropped(self) -> None:
        bob = self.stack.signed_in_tab(BOB)
        for drop in (
            lambda: bob.call("drive.files.update", fileId=self.talk, requestBody={"name": "New"}),
            lambda: self.stack.assembly.documents.written.touched(self.talk),
            lambda: self.user()._cache.drop_user(self.user().id),
        ):
            self.ask()
            self.assertIsNotNone(self.get())
            drop()
            self.assertIsNone(self.get())

    def user(self) -> Any:
        return self.ann.connection.user

    def test_nothing_of_another_user(self) -> None:
        self.ask()
        bob = self.stack.signed_in_tab(BOB)
        self.assertIsNone(self.get(bob))
        self.ask(bob)
        self.assertNotEqual(self.get(bob)["as_of"], None)
        other = self.stack.tab(self.ann.identity)
        self.assertEqual(self.get(other), self.get())

    def test_nothing_that_was_seen_with_other_rights(self) -> None:
        self.ask()
        live = self.user().grant
        before = live.grant
        for other in (replace(before, scopes=before.scopes[:1]), replace(before, dead=True)):
            live.grant = other
            self.assertIsNone(self.get())
        live.grant = replace(before, access_token="another")
        self.assertIsNotNone(self.get())

    def test_comments_only_while_somebody_watches(self) -> None:
        def comments() -> Any:
            return self.at_once("drive.comments.list", fileId=self.talk)

        self.ann.call("documents.watch", fileId=self.talk)
        self.ann.call("drive.comments.list", fileId=self.talk)
        self.assertIsNotNone(comments())
        self.ann.call("documents.unwatch", fileId=self.talk)
        self.assertIsNone(comments())

    def test_only_what_may_be_kept(self) -> None:
        """Also nothing is done for what waits: it is done once, when it waits."""
        for name, method in self.methods.items():
            if name.startswith("drive.") and name not in CACHED:
                self.assertIsNone(method.at_once(self.ann.connection, rpc.Call(name, b"{", b"1"), 0.0), name)

    def test_not_before_open_and_not_for_nobody(self) -> None:
        self.ask()
        fresh = Tab(self.stack, self.ann.identity)
        self.assertEqual(fresh.refused("drive.files.get", fileId=self.talk)["code"], 1001)
        nobody = self.stack.tab()
        self.assertEqual(nobody.refused("drive.files.get", fileId=self.talk)["code"], 1003)

    def test_nobody_who_signed_out(self) -> None:
        self.ask()
        other = self.stack.tab(self.ann.identity)
        other.call("session.sign_out")
        sent = len(self.ann.wire.sent)
        self.ann.start("drive.files.get", fileId=self.talk)
        self.assertEqual([m for m in self.ann.wire.sent[sent:] if "result" in m], [])
        fresh = self.stack.signed_in_tab(ANN)
        self.assertIsNone(self.get(fresh))

    def test_bad_params_are_refused_as_ever(self) -> None:
        for _ in range(2):
            error = self.ann.refused("drive.files.get", fileId="a/b")
            self.assertEqual((error["code"], error["data"]["path"]), (-32602, "$.fileId"))

    def test_limits(self) -> None:
        """What is answered at once counts, too."""
        self.ask()
        refused = 0
        for _ in range(210):
            call = self.ann.start("drive.files.get", fileId=self.talk)
            refused += "error" in (self.ann.answer(call) or {})
        self.assertGreater(refused, 5)
        self.assertLess(refused, 20)


class StaleReads(AtOnceTestCase):
    toml = "[google]\nserve_stale = 3600\ntries = 1"

    def test_google_is_asked_first(self) -> None:
        """An older answer serves when Google is away, and not before it was asked."""
        self.ask()
        self.stack.advance(300)
        self.assertIsNone(self.get())
        self.assertEqual(self.ask()["source"], "google")
        self.stack.advance(300)
        self.stack.faults({"match": {"method": "drive.files.get"}, "status": 503})
        self.assertEqual(self.ask()["source"], "cache")
        self.assertIsNone(self.get())


class Histories(AtOnceTestCase):
    """Whatever happened: what is served at once is what would be served in the ordinary way."""

    def test_the_same(self) -> None:
        rng = random.Random(5)
        bob = self.stack.signed_in_tab(BOB)
        plan = self.stack.file("Autumn plan")
        known: set[tuple[str, str]] = set()
        served = 0
        for step in range(400):
            tab = rng.choice((self.ann, bob))
            file_id = rng.choice((self.talk, plan))
            match rng.randrange(12):
                case 0:
                    self.stack.advance(rng.choice((1, 5, 40)))
                case 1:
                    tab.start("drive.files.update", fileId=file_id, requestBody={"name": f"N{step}"})
                case 2:
                    self.stack.as_person(ANN, "PATCH", f"/drive/v3/files/{file_id}", {"name": f"G{step}"})
                case 3:
                    tab.start("documents.watch", fileId=file_id)
                case 4:
                    tab.start("documents.unwatch", fileId=file_id)
                case _:
                    method = rng.choice(sorted(CACHED))
                    params: dict[str, Any] = {"fields": "*"} if rng.random() < 0.3 else {}
                    if method != "drive.files.list":
                        params["fileId"] = file_id
                    if rng.random() < 0.3:
                        params["maxAge"] = rng.choice((0, 3, 1000))
                    served += self.compare(tab, method, params, known)
            self.stack.clock.advance(0.2)
        self.assertGreater(served, 20)

    def compare(self, tab: Tab, method: str, params: dict[str, Any], known: set[tuple[str, str]]) -> bool:
        at_once = self.at_once(method, tab, **params)
        call = rpc.Call(method, json.dumps(params).encode(), None)
        said = self.stack.await_(self.methods[method].call(tab.connection, call))
        ordinary = json.loads(b"{" + said + b"}")["result"]
        words = (method, json.dumps(params))
        if at_once is not None or (words in known and ordinary["source"] == "cache"):
            self.assertEqual(at_once, ordinary)
            self.assertEqual(ordinary["source"], "cache")
        known.add(words)
        return at_once is not None


class Own(AtOnceTestCase):
    """Methods of our own."""

    def test_they_never_wait(self) -> None:
        for method, params in (
            ("session.ping", {}),
            ("session.user", {}),
            ("session.attention", {"visible": False}),
            ("session.status", {}),
            ("rpc.discover", {}),
            ("documents.watching", {}),
            ("documents.unwatch", {"fileId": self.talk}),
            ("listings.unwatch", {"listing": "x"}),
        ):
            with patch.object(self.methods[method], "call", None):
                self.ann.call(method, **params)

    def test_joining_a_live_session(self) -> None:
        with patch.object(self.methods["session.open"], "call", None):
            second = self.stack.tab(self.ann.identity)
        self.assertTrue(second.connection.open)
        self.assertEqual(second.call("session.status")["connections"], 2)

    def test_watching_what_is_known_and_proven(self) -> None:
        """Of others the first watch waits, and each has to prove for themselves that they may see it."""
        bob = self.stack.signed_in_tab(BOB)
        for tab in (self.ann, bob):
            self.assertIsNone(self.at_once("documents.watch", tab, fileId=self.talk))
            first = tab.call("documents.watch", fileId=self.talk)
            again = self.stack.tab(tab.identity)
            with patch.object(self.methods["documents.watch"], "call", None):
                self.assertEqual(again.call("documents.watch", fileId=self.talk), first)
            self.assertEqual(len(again.call("documents.watching")["documents"]), 1)
        self.assertIsNone(self.at_once("documents.watch", fileId=self.talk, comments=True))

    def test_not_more_watches_than_may_be(self) -> None:
        self.ann.call("documents.watch", fileId=self.talk)
        other = self.stack.tab(self.ann.identity)
        with patch.object(self.stack.assembly.documents, "count", return_value=10_000):
            self.assertEqual(other.refused("documents.watch", fileId=self.talk)["code"], 1011)

    def test_opening_in_the_middle_of_a_trouble(self) -> None:
        """The tab hears of it after the answer; without one nothing is put off."""
        before = len(self.stack.clock.getDelayedCalls())
        calm = Tab(self.stack, self.ann.identity)
        calm.connection.text_received(self.opening(calm))
        self.assertEqual(len(self.stack.clock.getDelayedCalls()), before)
        self.stack.assembly.economy.troubles.store(True)
        troubled = self.stack.tab(self.ann.identity)
        self.assertEqual(
            [message.get("method") for message in troubled.wire.sent], [None, "session.degraded"]
        )

    def opening(self, tab: Tab) -> bytes:
        params = {"session": tab.identity.session_id}
        return rpc.encode({"jsonrpc": "2.0", "id": 1, "method": "session.open", "params": params})

    def test_not_one_that_must_be_looked_for(self) -> None:
        fresh = Tab(self.stack, self.stack.identity())
        session = fresh.identity.session_id
        self.assertIsNone(self.at_once("session.open", fresh, session=session))
        self.assertFalse(fresh.connection.open)
        self.assertEqual(fresh.open()["how"], "new")

    def test_not_one_that_is_over(self) -> None:
        """However live it is."""
        late = Tab(self.stack, self.ann.identity)
        with patch.object(self.stack.assembly.directory, "_is_over", return_value=True):
            error = late.refused("session.open", session=late.identity.session_id)
        self.assertEqual(error["code"], 1002)
        self.assertFalse(late.connection.open)

    def test_not_one_of_another_cookie(self) -> None:
        """Whether the cookie's own session is live here or is not."""
        other = self.stack.tab()
        for identity in (self.stack.identity(), other.identity):
            tab = Tab(self.stack, identity)
            error = tab.refused("session.open", session=self.ann.identity.session_id)
            self.assertEqual(error["code"], 1002)
            self.assertFalse(tab.connection.open)

    def test_not_more_than_may_be(self) -> None:
        tabs = [Tab(self.stack, self.ann.identity) for _ in range(60)]
        answers = [tab.answer(tab.start("session.open", session=tab.identity.session_id)) for tab in tabs]
        refused = [answer for answer in answers if answer is not None and "error" in answer]
        self.assertGreater(len(refused), 0)
        self.assertEqual({answer["error"]["code"] for answer in refused}, {1011})
        closed = [tab for tab in tabs if tab.wire.closed is not None]
        self.assertEqual(len(closed), len(refused))
        self.assertEqual({tab.wire.closed and tab.wire.closed[0] for tab in closed}, {4502})
