"""The meter and the quota."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.sandbox_driver import ANN, BOB, Driver


class MeterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver()

    def calls(self) -> dict[str, Any]:
        return self.google.ask("GET", "/sandbox/calls", who=None).json  # type: ignore[no-any-return]

    def test_calls_and_units_by_method_and_user(self) -> None:
        plan = self.google.id_of("Autumn plan")
        self.google.drive("GET", f"files/{plan}")
        self.google.drive("GET", f"files/{plan}", who=BOB)
        self.google.drive("GET", "files")
        self.google.drive("PATCH", f"files/{plan}", body={"name": "x"})
        self.google.drive("GET", f"files/{plan}/export", mimeType="text/plain")
        self.google.ask("GET", "/oauth2/v1/certs", who=None)
        told = self.calls()
        self.assertEqual(told["total"], {"calls": 6, "units": 5 + 5 + 100 + 50 + 200})
        self.assertEqual(told["by_user"], {ANN: {"calls": 4, "units": 355}, BOB: {"calls": 1, "units": 5}})
        self.assertEqual(told["by_method"]["drive.files.get"], {"calls": 2, "units": 10})
        self.assertEqual(told["by_method"]["oauth2.certs"], {"calls": 1, "units": 0})
        self.assertEqual(told["max_in_flight"], 1)

    def test_the_most_in_a_minute(self) -> None:
        for _ in range(3):
            self.google.drive("GET", "files")
        self.google.advance(59)
        self.google.drive("GET", "files")
        self.google.advance(30)
        self.google.drive("GET", "files")
        self.assertEqual(self.calls()["max_per_minute"], {"calls": 4, "units": 400})
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        self.assertEqual(self.calls()["max_per_minute"], {"calls": 0, "units": 0})

    def test_each_call_by_itself(self) -> None:
        plan = self.google.id_of("Autumn plan")
        self.google.drive("GET", f"files/{plan}")
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        self.google.advance(59)
        self.google.drive("GET", f"files/{plan}", who=BOB)
        self.google.drive("GET", "files/none", headers={"Host": "127.0.0.1:9"})
        log = self.google.ask("GET", "/sandbox/calls/log", who=None).json
        told = [(call["method"], call["user"], call["file"], call["status"]) for call in log["calls"]]
        self.assertEqual(told, [("drive.files.get", BOB, plan, 200), ("drive.files.get", ANN, "none", 404)])
        self.assertEqual([call["units"] for call in log["calls"]], [5, 5])
        self.assertEqual(log["calls"][1]["door"], "127.0.0.1:9")
        self.assertNotEqual(log["calls"][0]["door"], "127.0.0.1:9")
        self.assertEqual(log["calls"][0]["time"], self.google.sandbox.world.now())
        self.assertEqual(log["forgotten"], 0)


class QuotaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver()

    def set(self, **settings: Any) -> None:
        answer = self.google.ask("PUT", "/sandbox/quota", who=None, body=settings)
        self.assertEqual(answer.status, 200, answer.body)

    def list(self, who: str = ANN) -> str:
        answer = self.google.drive("GET", "files", who=who)
        return "200" if answer.status == 200 else answer.reason

    def test_units_of_one_user(self) -> None:
        self.set(model="units", per_user_per_minute=250, per_project_per_minute=10_000)
        self.assertEqual([self.list() for _ in range(3)], ["200", "200", "403 userRateLimitExceeded"])
        self.assertEqual(self.list(BOB), "200")
        # What is cheaper still fits in.
        self.assertEqual(self.google.drive("GET", "files/root").status, 200)
        self.google.advance(60)
        self.assertEqual(self.list(), "200")

    def test_the_window_slides(self) -> None:
        self.set(model="units", per_user_per_minute=200, per_project_per_minute=10_000)
        self.list()
        self.google.advance(40)
        self.list()
        self.google.advance(20)
        self.assertEqual([self.list(), self.list()], ["200", "403 userRateLimitExceeded"])

    def test_the_whole_project(self) -> None:
        self.set(model="units", per_user_per_minute=10_000, per_project_per_minute=150)
        self.assertEqual([self.list(ANN), self.list(BOB)], ["200", "403 rateLimitExceeded"])

    def test_queries_count_alike(self) -> None:
        self.set(model="queries", per_user_per_minute=2, per_project_per_minute=100)
        self.google.drive("GET", "files/root")
        self.assertEqual([self.list(), self.list()], ["200", "403 userRateLimitExceeded"])

    def test_429_on_request(self) -> None:
        self.set(model="units", per_user_per_minute=0, per_project_per_minute=150, status=429)
        refused = self.google.drive("GET", "files")
        self.assertEqual(refused.reason, "429 rateLimitExceeded")
        self.assertNotIn("retry-after", refused.headers)

    def test_a_day_ends_at_midnight_in_the_west(self) -> None:
        self.set(model="units", per_user_per_minute=10_000, per_project_per_minute=10_000, per_day=150)
        self.assertEqual([self.list(), self.list()], ["200", "403 dailyLimitExceeded"])
        self.google.advance(86_400)
        self.assertEqual(self.list(), "200")

    def test_what_is_refused_does_nothing(self) -> None:
        self.set(model="units", per_user_per_minute=0, per_project_per_minute=0)
        plan = self.google.id_of("Autumn plan")
        self.assertEqual(self.google.drive("DELETE", f"files/{plan}").status, 403)
        self.assertIn(plan, self.google.sandbox.world.files)

    def test_googles_own_is_the_default(self) -> None:
        told = self.google.ask("GET", "/sandbox/quota", who=None).json
        self.assertEqual((told["model"], told["per_user_per_minute"]), ("units", 325_000))

    def test_whose_quota_was_overrun_how_often(self) -> None:
        self.set(model="units", per_user_per_minute=150, per_project_per_minute=350, retry_after=7)
        for who in (ANN, ANN, BOB, BOB):
            self.list(who)
        told = self.google.ask("GET", "/sandbox/calls", who=None).json["quota"]
        self.assertEqual(told["overruns"], {ANN: 1, BOB: 1})
        self.assertEqual(told["most_in_a_minute"], {"project": 200, "by_user": {ANN: 100, BOB: 100}})
        self.assertEqual(self.google.drive("GET", "files").headers["retry-after"], "7")
        self.set(model="units", per_user_per_minute=1000, per_project_per_minute=50)
        self.list()
        told = self.google.ask("GET", "/sandbox/calls", who=None).json["quota"]
        self.assertEqual(told["overruns"], {"project": 1})
