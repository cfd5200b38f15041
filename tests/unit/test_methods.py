"""The catalogue's own methods: what they accept, refuse and answer, over the whole server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession import __version__
from docsession.errors import Unavailable
from tests.support import ORIGIN, SANDBOX, Stack, Tab


class MethodsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.stack = Stack()
        self.addCleanup(self.stack.close)

    def error(self, tab: Tab, method: str, **params: Any) -> tuple[int, Any]:
        """Code, and the failing path (or the error's name where there is none)."""
        error = tab.refused(method, **params)
        return error["code"], error["data"].get("path", error["data"]["name"])


class Open(MethodsTestCase):
    """``session.open``."""

    def test_new(self) -> None:
        tab = Tab(self.stack, self.stack.identity())
        opened = tab.open()
        self.assertRegex(opened.pop("connection"), r"\A[A-Za-z0-9_-]{16}\Z")
        self.assertEqual(
            opened,
            {
                "session": tab.identity.session_id,
                "how": "new",
                "resumed": False,
                "user": None,
                "heartbeat": 40,
                "server": {"name": "docsession", "version": __version__},
            },
        )

    def test_live(self) -> None:
        """Another tab of the same browser."""
        first = self.stack.tab()
        second = Tab(self.stack, first.identity)
        self.assertEqual(second.open()["how"], "live")

    def test_coming_back(self) -> None:
        """The name it had; ``resumed`` says that it is known here."""
        first = self.stack.tab()
        first.lose()
        second = Tab(self.stack, first.identity)
        opened = second.open(first.connection.name)
        self.assertEqual(
            (opened["connection"], opened["resumed"], opened["how"]), (first.connection.name, True, "live")
        )

    def test_coming_back_to_nothing(self) -> None:
        """In a new session the name is not taken up: nothing is known of it."""
        opened = Tab(self.stack, self.stack.identity()).open("name-from-before")
        self.assertFalse(opened["resumed"])
        self.assertNotEqual(opened["connection"], "name-from-before")

    def test_replaces_the_older_socket(self) -> None:
        first = self.stack.tab()
        second = Tab(self.stack, first.identity)
        second.open(first.connection.name)
        self.assertEqual(first.wire.closed and first.wire.closed[0], 4002)
        self.assertIsNone(second.wire.closed)

    def test_another_session(self) -> None:
        """What the page says and what the cookie says must be one."""
        other = self.stack.tab()
        tab = Tab(self.stack, self.stack.identity())
        for session in (other.identity.session_id, "", "x" * 32):
            self.assertEqual(self.error(tab, "session.open", session=session), (1002, "session_unknown"))
        self.assertFalse(tab.connection.open)
        self.assertEqual(tab.open()["how"], "new")

    def test_cookie_of_long_ago(self) -> None:
        identity = self.stack.identity()
        self.stack.clock.advance(601)
        tab = Tab(self.stack, identity)
        self.assertEqual(
            self.error(tab, "session.open", session=identity.session_id), (1002, "session_unknown")
        )

    def test_params(self) -> None:
        tab = Tab(self.stack, self.stack.identity())
        session = tab.identity.session_id
        for params, path in (
            ({}, "$.session"),
            ({"session": 5}, "$.session"),
            ({"session": "x" * 129}, "$.session"),
            ({"session": session, "connection": "short"}, "$.connection"),
            ({"session": session, "connection": "x" * 65}, "$.connection"),
            ({"session": session, "connection": "with blank"}, "$.connection"),
            ({"session": session, "connection": "line-end\n"}, "$.connection"),
            ({"session": session, "connection": "../../../etc"}, "$.connection"),
            ({"session": session, "visible": 1}, "$.visible"),
            ({"session": session, "Visible": True}, "$.Visible"),
        ):
            self.assertEqual(self.error(tab, "session.open", **params), (-32602, path), params)
        self.assertTrue(tab.open(None)["session"])

    def test_twice_at_once(self) -> None:
        """A socket is in its session once, however slow the store is."""
        real, waiting = self.stack.store.load_session, []

        async def slow(session_id: str) -> Any:
            waiting.append(Deferred())
            await waiting[-1]
            return await real(session_id)

        self.stack.store.load_session = slow  # type: ignore[method-assign]
        tab = Tab(self.stack, self.stack.identity())
        calls = [tab.start("session.open", session=tab.identity.session_id) for _ in range(2)]
        for one in waiting:
            one.callback(None)
        self.stack.flush()
        said = [tab.answer(call) or {} for call in calls]
        self.assertEqual([answer.get("error", {}).get("code") for answer in said], [None, -32600])
        self.assertEqual(self.stack.assembly.directory.connections, 1)
        tab.lose()
        self.assertEqual(self.stack.assembly.directory.connections, 0)

    def test_store_away(self) -> None:
        """Asked to come again, and it goes well then."""

        async def away(session_id: str) -> Any:
            raise Unavailable

        real, self.stack.store.load_session = self.stack.store.load_session, away  # type: ignore[method-assign]
        tab = Tab(self.stack, self.stack.identity())
        error = tab.refused("session.open", session=tab.identity.session_id)
        self.assertEqual((error["code"], error["data"]["retry_after"]), (1012, 5.0))
        self.stack.store.load_session = real  # type: ignore[method-assign]
        self.assertEqual(tab.open()["how"], "new")


class Small(MethodsTestCase):
    """The others, before and after a sign-in."""

    def test_ping(self) -> None:
        self.assertEqual(self.stack.tab().call("session.ping"), {})

    def test_nothing_before_open(self) -> None:
        tab = Tab(self.stack, self.stack.identity())
        for method in self.stack.assembly.catalogue.methods:
            if method != "session.open":
                self.assertEqual(tab.refused(method)["code"], 1001, method)
                self.stack.clock.advance(0.1)

    def test_nobody_signed_in(self) -> None:
        """All but ``session.*`` and ``rpc.discover`` need somebody."""
        tab = self.stack.tab()
        for method in self.stack.assembly.catalogue.methods:
            needs = not method.startswith(("session.", "rpc.")) or method in (
                "session.user",
                "session.status",
            )
            if needs:
                self.assertEqual(tab.refused(method)["code"], 1003, method)
                self.stack.clock.advance(0.1)

    def test_unknown_params(self) -> None:
        tab = self.stack.signed_in_tab("ann@example.com")
        for method in (
            "session.ping",
            "session.user",
            "session.status",
            "rpc.discover",
            "documents.watching",
        ):
            self.assertEqual(self.error(tab, method, extra=1), (-32602, "$.extra"), method)

    def test_params(self) -> None:
        tab = self.stack.signed_in_tab("ann@example.com")
        for method, params, path in (
            ("session.sign_in", {"return_to": 5}, "$.return_to"),
            ("session.sign_in", {"return_to": "//evil.example"}, "$.return_to"),
            ("session.sign_in", {"returnTo": "/"}, "$.returnTo"),
            ("session.sign_out", {"everywhere": "yes"}, "$.everywhere"),
            ("session.sign_out", {"disconnect": 1}, "$.disconnect"),
            ("session.attention", {}, "$.visible"),
            ("session.attention", {"visible": None}, "$.visible"),
            ("documents.watch", {}, "$.fileId"),
            ("documents.watch", {"fileId": ""}, "$.fileId"),
            ("documents.watch", {"fileId": "x" * 257}, "$.fileId"),
            ("documents.watch", {"fileId": "a/b"}, "$.fileId"),
            ("documents.watch", {"fileId": ".."}, "$.fileId"),
            ("documents.watch", {"fileId": "x", "version": 5}, "$.version"),
            ("documents.watch", {"fileId": "x", "commentsMark": 5}, "$.commentsMark"),
            ("documents.unwatch", {"file_id": "x"}, "$.file_id"),
            ("listings.unwatch", {}, "$.listing"),
            ("listings.watch", {"pageSize": 0}, "$.pageSize"),
            ("listings.watch", {"fileId": "x"}, "$.fileId"),
            ("drive.files.get", {"fileId": "a/b"}, "$.fileId"),
            ("drive.files.get", {"fileId": "x", "alt": "media"}, "$.alt"),
        ):
            self.assertEqual(self.error(tab, method, **params), (-32602, path), (method, params))

    def test_deep_params(self) -> None:
        """Nesting that JSON allows and no method wants is refused where it begins."""
        tab = self.stack.signed_in_tab("ann@example.com")
        deep = '{"a":' * 900 + "1" + "}" * 900
        tab.send(
            '{"jsonrpc":"2.0","id":"deep","method":"drive.files.create","params":'
            f'{{"requestBody":{{"appProperties":{deep}}}}}}}'
        )
        answer = tab.answer("deep")
        assert answer is not None
        self.assertEqual(answer["error"]["data"]["path"], "$.requestBody.appProperties.a")

    def test_never_callable(self) -> None:
        tab = self.stack.signed_in_tab("ann@example.com")
        for method in (
            "drive.files.watch",
            "drive.changes.watch",
            "drive.changes.list",
            "drive.changes.getStartPageToken",
            "drive.channels.stop",
            "drive.teamdrives.list",
            "drive.files.generateCseToken",
            "drive.nothing.get",
            "rpc.on",
        ):
            self.assertEqual(tab.refused(method)["code"], -32601, method)
        for method, params in (
            ("drive.files.emptyTrash", {}),
            ("drive.drives.delete", {"driveId": "x"}),
            (
                "drive.permissions.create",
                {"fileId": "x", "transferOwnership": True, "requestBody": {"role": "owner", "type": "user"}},
            ),
            ("drive.permissions.list", {"fileId": "x", "useDomainAdminAccess": True}),
        ):
            self.assertEqual(tab.refused(method, **params)["code"], 1005, method)

    def test_sign_in(self) -> None:
        """A URL at Google, with nothing of the session in it."""
        tab = self.stack.tab()
        url = tab.call("session.sign_in", return_to="/x?y#z")["url"]
        self.assertTrue(url.startswith(f"{SANDBOX}/o/oauth2/v2/auth?"))
        self.assertNotIn(tab.identity.session_id, url)
        self.assertIn(ORIGIN.replace(":", "%3A").replace("/", "%2F"), url)

    def test_user(self) -> None:
        """The same in all places, and no more than that."""
        tab = Tab(self.stack, self.stack.sign_in("ann@example.com"))
        opened = tab.open()
        user = tab.call("session.user")
        self.assertEqual(opened["user"], user)
        self.assertEqual(set(user), {"id", "email", "name", "picture", "scopes"})
        self.assertEqual(user["email"], "ann@example.com")

    def test_attention(self) -> None:
        tab = self.stack.tab(visible=False)
        self.assertFalse(tab.connection.visible)
        self.assertEqual(tab.call("session.attention", visible=True), {})
        self.assertTrue(tab.connection.visible)

    def test_status(self) -> None:
        """What is watched, whether Google slows us down, and how many tabs there are."""
        tab = self.stack.signed_in_tab("ann@example.com")
        self.stack.tab(tab.identity)
        self.assertEqual(
            tab.call("session.status"),
            {
                "documents": [],
                "listings": 0,
                "connections": 2,
                "google": {
                    "in_flight": 0,
                    "waiting": 0,
                    "polls_waiting": 0,
                    "paused_for": 0.0,
                    "stretch": 1.0,
                    "budget": {
                        "model": "units",
                        "spent_last_minute": 0,
                        "ceiling_per_minute": 800_000,
                        "share_per_minute": 800_000,
                        "spent_today": 0,
                        "per_day": 400_000_000,
                    },
                    "degraded": [],
                },
            },
        )

    def test_a_write_needs_an_id(self) -> None:
        """As a notification it could not be done once, so it is not done."""
        tab = self.stack.signed_in_tab("ann@example.com")
        before = len(self.stack.sandbox.world.files)
        tab.send({"jsonrpc": "2.0", "method": "drive.files.create", "params": {"requestBody": {"name": "x"}}})
        self.assertEqual(len(self.stack.sandbox.world.files), before)
        tab.call("drive.files.create", requestBody={"name": "x"})
        self.assertEqual(len(self.stack.sandbox.world.files), before + 1)

    def test_a_write_sent_again(self) -> None:
        """On a later socket of the same connection: the same answer, and one file."""
        tab = self.stack.signed_in_tab("ann@example.com")
        before = len(self.stack.sandbox.world.files)
        call = {"jsonrpc": "2.0", "id": 1.50, "method": "drive.files.create", "params": {}}
        tab.send(call)
        tab.lose()
        later = self.stack.tab(tab.identity, name=tab.connection.name)
        later.send(call)
        self.assertEqual(later.answer(1.5), tab.answer(1.5))
        self.assertEqual(len(self.stack.sandbox.world.files), before + 1)
