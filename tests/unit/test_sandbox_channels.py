"""Push channels: opened, told, lost, doubled, late, over."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from tests.unit.sandbox_driver import ANN, BOB, CAT, Driver, Reply

HOOK = "https://hooks.example.com/drive"
SEED = {
    "files": [
        {"name": "Plan", "owner": ANN, "shared": {BOB: "writer"}},
        {"name": "Private", "owner": ANN},
    ]
}


class FakeResponse:
    """An empty answer."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.phrase = b""
        self.headers = Headers()
        self.length = 0

    def deliverBody(self, protocol: Any) -> None:
        protocol.connectionLost(Failure(ResponseDone()))


class FakeHook:
    """Who is told: keeps the headers of each message, and answers as it is told to."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.answers: list[Any] = []
        self.waiting: list[Deferred[Any]] = []
        self.slow = False

    def request(self, method: bytes, uri: bytes, headers: Headers, bodyProducer: Any) -> Deferred[Any]:
        assert (method, bodyProducer) == (b"POST", None)
        said = {name.decode(): values[0].decode() for name, values in headers.getAllRawHeaders()}
        self.messages.append({"address": uri.decode(), **{name.lower(): said[name] for name in said}})
        if self.slow:
            self.waiting.append(waiting := Deferred())
            return waiting
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            failing: Deferred[Any] = Deferred()
            failing.errback(answer)
            return failing
        return succeed(FakeResponse(answer))

    def states(self) -> list[str]:
        return [message["x-goog-resource-state"] for message in self.messages]

    def numbers(self) -> list[int]:
        return [int(message["x-goog-message-number"]) for message in self.messages]


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hook = FakeHook()
        self.google = Driver(SEED, agent=self.hook)
        self.plan = self.google.id_of("Plan")

    def watch(self, who: str = ANN, *, path: str = "changes/watch", query: Any = None, **body: Any) -> Reply:
        token = self.google.drive("GET", "changes/startPageToken", who=who).json["startPageToken"]
        asked = {"id": "channel-1", "type": "web_hook", "address": HOOK, **body}
        query = {"pageToken": token} if query is None and path.startswith("changes") else query or {}
        asked = {name: value for name, value in asked.items() if value is not None}
        return self.google.drive("POST", path, who=who, body=asked, **query)

    def rename(self, name: str, who: str = ANN, file: str | None = None) -> None:
        answer = self.google.drive("PATCH", f"files/{file or self.plan}", who=who, body={"name": name})
        self.assertEqual(answer.status, 200)

    def order(self, **order: Any) -> Reply:
        return self.google.ask("POST", "/sandbox/channels", who=None, body=order)

    # -- opening

    def test_sync_comes_first_and_says_all_that_google_says(self) -> None:
        channel = self.watch(token="secret").json
        self.assertEqual(
            (channel["kind"], channel["id"], channel["token"]), ("api#channel", "channel-1", "secret")
        )
        self.assertEqual(int(channel["expiration"]), int((self.google.clock.seconds() + 3600) * 1000))
        (sync,) = self.hook.messages
        self.assertEqual(sync["address"], HOOK)
        self.assertEqual(sync["x-goog-resource-state"], "sync")
        self.assertEqual(sync["x-goog-message-number"], "1")
        self.assertEqual(sync["x-goog-channel-id"], "channel-1")
        self.assertEqual(sync["x-goog-channel-token"], "secret")
        self.assertEqual(sync["x-goog-resource-id"], channel["resourceId"])
        self.assertIn("/drive/v3/changes?alt=json&pageToken=", sync["x-goog-resource-uri"])
        self.assertTrue(sync["x-goog-channel-expiration"].endswith(" GMT"))
        self.assertTrue(sync["user-agent"].startswith("APIs-Google"))

    def test_a_resource_has_one_id_for_each_person(self) -> None:
        one, two = self.watch().json, self.watch(id="channel-2").json
        other = self.watch(BOB, id="channel-3").json
        self.assertEqual(one["resourceId"], two["resourceId"])
        self.assertNotEqual(one["resourceId"], other["resourceId"])

    def test_what_is_refused(self) -> None:
        self.watch()
        for changes, reason in (
            ({}, "400 channelIdNotUnique"),
            ({"id": "x" * 65}, "400 invalid"),
            ({"id": None}, "400 invalid"),
            ({"id": "c", "type": "carrier_pigeon"}, "400 invalid"),
            ({"id": "c", "address": "http://hooks.example.com/"}, "400 push.webhookUrlNotHttps"),
            ({"id": "c", "address": "nowhere"}, "400 push.webhookUrlNotHttps"),
            ({"id": "c", "token": "x" * 257}, "400 invalid"),
            ({"id": "c", "expiration": "1795000000"}, "400 badRequest"),
            ({"id": "c", "expiration": "soon"}, "400 invalid"),
            ({"id": "c", "query": {"fields": "*"}}, "400 required"),
            ({"id": "c", "query": {"pageToken": "bogus"}}, "400 invalid"),
        ):
            self.assertEqual(self.watch(**changes).reason, reason, changes)
        self.assertEqual(len(self.hook.messages), 1)

    def test_loopback_may_be_http(self) -> None:
        self.assertEqual(self.watch(address="http://127.0.0.1:8765/hook").status, 200)

    def test_as_long_as_asked_but_no_longer_than_google_allows(self) -> None:
        now = self.google.clock.seconds()
        for number, (path, days, allowed) in enumerate(
            (("changes/watch", 3, 3), ("changes/watch", 30, 7), (f"files/{self.plan}/watch", 7, 1))
        ):
            asked = str(int((now + days * 86400) * 1000))
            channel = self.watch(id=f"c{number}", path=path, expiration=asked).json
            self.assertEqual(int(channel["expiration"]), int((now + allowed * 86400) * 1000))

    # -- telling

    def test_each_change_is_told_to_all_who_may_see_it_and_to_nobody_else(self) -> None:
        for number, who in enumerate((ANN, BOB, CAT)):
            self.watch(who, id=f"channel-{number}")
        del self.hook.messages[:]
        self.rename("New")
        self.assertEqual({m["x-goog-channel-id"] for m in self.hook.messages}, {"channel-0", "channel-1"})
        del self.hook.messages[:]
        self.rename("Newer", file=self.google.id_of("Private"))
        self.assertEqual([m["x-goog-channel-id"] for m in self.hook.messages], ["channel-0"])

    def test_change_and_changed_with_numbers_that_rise(self) -> None:
        self.watch()
        for number in range(40):
            self.rename(f"Name {number}")
        self.assertEqual(set(self.hook.states()[1:]), {"change", "changed"})
        numbers = self.hook.numbers()
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreater(numbers[-1], 41)  # with gaps

    def test_a_view_is_told_to_who_viewed(self) -> None:
        self.watch()
        self.watch(BOB, id="channel-2")
        del self.hook.messages[:]
        self.google.ask("POST", "/sandbox/view", who=None, body={"email": BOB, "file": self.plan})
        self.assertEqual([m["x-goog-channel-id"] for m in self.hook.messages], ["channel-2"])

    def test_a_lost_access_is_told(self) -> None:
        self.watch(BOB)
        permissions = self.google.drive(
            "GET", f"files/{self.plan}/permissions", fields="permissions(id,emailAddress)"
        ).json["permissions"]
        (bobs,) = [each["id"] for each in permissions if each["emailAddress"] == BOB]
        self.google.drive("DELETE", f"files/{self.plan}/permissions/{bobs}")
        self.assertEqual(len(self.hook.messages), 2)

    def test_a_files_own_channel_says_what_changed(self) -> None:
        self.watch(path=f"files/{self.plan}/watch")
        self.rename("New")
        self.google.ask(
            "POST", "/sandbox/edit", who=None, body={"email": ANN, "file": self.plan, "text": "x"}
        )
        self.google.drive("PATCH", f"files/{self.plan}", body={"trashed": True})
        self.google.drive("PATCH", f"files/{self.plan}", body={"trashed": False})
        self.google.drive("DELETE", f"files/{self.plan}")
        self.assertEqual(
            [state for n, state in enumerate(self.hook.states()) if state != self.hook.states()[n - 1]],
            ["sync", "update", "trash", "untrash", "remove"],
        )
        self.assertIn("properties", self.hook.messages[1]["x-goog-changed"])
        self.assertIn("content", self.hook.messages[2]["x-goog-changed"])

    # -- what may happen to messages

    def test_lost_doubled_and_late(self) -> None:
        self.watch()
        self.order(do="drop", times=1)
        self.rename("lost")
        self.assertEqual(len(self.hook.messages), 1)
        self.order(do="duplicate", times=1)
        self.rename("doubled")
        numbers = self.hook.numbers()
        self.assertEqual((len(numbers), numbers[1]), (3, numbers[2]))
        self.order(do="delay", times=1, seconds=20)
        self.rename("late")
        self.assertEqual(len(self.hook.messages), 3)
        self.google.clock.advance(20)
        self.assertEqual(len(self.hook.messages), 4)
        self.rename("in time")
        self.assertEqual(len(self.hook.messages), 5)

    def test_sync_may_come_after_the_answer(self) -> None:
        self.order(do="late_sync", times=1, seconds=2)
        self.watch()
        self.assertEqual(self.hook.messages, [])
        self.google.clock.advance(2)
        self.assertEqual(self.hook.states(), ["sync"])

    def test_orders_are_read_strictly_and_can_be_taken_back(self) -> None:
        for bad in ({"do": "explode"}, {"do": "drop", "times": 0}, {"do": "delay", "seconds": -1}, {}):
            self.assertEqual(self.order(**bad).status, 400)
        self.watch()
        self.order(do="drop")
        self.google.ask("DELETE", "/sandbox/channels", who=None)
        self.rename("told")
        self.assertEqual(len(self.hook.messages), 2)

    def test_one_at_a_time_of_each_channel(self) -> None:
        self.watch()
        self.watch(BOB, id="channel-2")
        del self.hook.messages[:]
        self.hook.slow = True
        self.rename("one")
        self.rename("two")
        self.assertEqual(len(self.hook.messages), 2)
        self.hook.waiting.pop(0).callback(FakeResponse(204))
        self.assertEqual(len(self.hook.messages), 3)

    def test_again_after_a_5xx_and_never_after_another_refusal(self) -> None:
        self.watch()
        for answers, posts in (
            ([503, 500, 204], 3),
            ([ConnectionRefusedError(), 204], 2),
            ([404], 1),
            ([410], 1),
            ([503] * 10, 6),
        ):
            del self.hook.messages[:]
            self.hook.answers = list(answers)
            self.rename(f"for {answers}")
            self.google.clock.pump([1] * 100)
            self.assertEqual(len(self.hook.messages), posts, answers)
            self.hook.answers = []

    def test_no_answer_for_ten_seconds_is_as_good_as_a_503(self) -> None:
        self.watch()
        self.hook.slow = True
        self.rename("New")
        self.hook.slow = False
        self.google.clock.pump([1] * 12)
        self.assertEqual(self.hook.numbers()[1:], [self.hook.numbers()[1]] * 2)

    # -- the end

    def test_stopped_by_who_opened_it_and_by_nobody_else(self) -> None:
        channel = self.watch().json
        stop = {"id": channel["id"], "resourceId": channel["resourceId"]}
        for who, body in ((BOB, stop), (ANN, stop | {"resourceId": "x"}), (ANN, stop | {"id": "x"})):
            self.assertEqual(
                self.google.drive("POST", "channels/stop", who=who, body=body).reason, "404 notFound"
            )
        self.assertEqual(self.google.drive("POST", "channels/stop", body=stop).status, 204)
        self.rename("New")
        self.assertEqual(len(self.hook.messages), 1)
        self.assertEqual(self.google.drive("POST", "channels/stop", body=stop).status, 404)

    def test_expired_ones_say_nothing(self) -> None:
        self.watch()
        self.google.clock.advance(3601)
        self.rename("New")
        self.assertEqual(len(self.hook.messages), 1)
        self.assertEqual(self.watch().status, 200)
        self.order(do="expire")
        self.rename("Newer")
        self.assertEqual(len(self.hook.messages), 2)

    def test_those_of_a_revoked_grant_end(self) -> None:
        self.watch()
        self.google.sandbox.grants.revoke(ANN)
        self.rename("New", who=BOB)
        self.assertEqual(len(self.hook.messages), 1)

    def test_they_are_kept_with_the_world(self) -> None:
        self.watch()
        world = self.google.ask("GET", "/sandbox/world", who=None).json
        hook = FakeHook()
        later = Driver(world, agent=hook)
        (shown,) = later.ask("GET", "/sandbox/channels", who=None).json["channels"]
        self.assertEqual((shown["id"], shown["user"]), ("channel-1", ANN))
        later.drive("PATCH", f"files/{self.plan}", body={"name": "New"})
        self.assertEqual(len(hook.messages), 1)
        bad = world | {"channels": [{"id": "x"}]}
        self.assertEqual(later.ask("PUT", "/sandbox/world", who=None, body=bad).status, 400)
