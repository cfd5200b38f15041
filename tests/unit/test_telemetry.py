"""What an operator sees: one line an event, allow-listed fields, and never a secret."""

from __future__ import annotations

import ast
import io
import json
import string
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import docsession
from docsession.telemetry import FIELDS, Metrics, bounded, log_observer, redact

PACKAGE = Path(docsession.__file__).parent

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6ImFubkBleGFtcGxlLmNvbSJ9.c2lnbmF0dXJl"
PLANTED = {
    "access token": "ya29.a0AfB_byC-planted_access.token",
    "refresh token": "1//03planted-refresh_token",
    "code": "4/0AdQt8qplanted-code",
    "client secret": "GOCSPX-planted_client-secret",
    "id_token": JWT,
    "sealed": "gAAAAABplantedplantedplanted==",
    "bearer": "Bearer planted.bearer/token+x=",
    "basic": "Basic cGxhbnRlZDpwbGFudGVk",
    "cookie": "__Host-docsession=planted-session.Zx8.signature_x",
    "http cookie": "docsession=planted-session.Zx8.signature_x",
    "query": "/api/oauth/callback?code=plantedcode&state=plantedstate",
    "bare query": "state=plantedstate&x=1",
    "form": "grant_type=x&refresh_token=plantedrefresh&client_secret=plantedsecret",
    "verifier": "a=b&code_verifier=plantedverifier",
    "json": '{"access_token": "plantedaccess", "id_token":"plantedidtoken"}',
    "open": '{"params":{"session":"plantedsessionid"}}',
    "upper case": "AUTHORIZATION: BEARER plantedplanted",
}


class ObserverTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.out = io.StringIO()
        self.publisher = LogPublisher(log_observer(self.out))
        self.log = Logger(namespace="docsession.test", observer=self.publisher)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def line(self) -> dict[str, Any]:
        (line,) = self.lines()
        return line


class Lines(ObserverTestCase):
    def test_event(self) -> None:
        self.log.warn("{method} took {seconds} s", method="drive.files.get", seconds=1.5)
        line = self.line()
        self.assertTrue(line.pop("time").endswith("Z"))
        self.assertEqual(
            line,
            {
                "level": "warn",
                "namespace": "docsession.test",
                "message": "drive.files.get took 1.5 s",
                "method": "drive.files.get",
                "seconds": 1.5,
            },
        )

    def test_allowed_fields_only(self) -> None:
        """A keyword that is not on the list is not written, unless the message itself says it."""
        self.log.info("hello {user}", user="ann", access_token="x", grant=object(), reason="because")
        line = self.line()
        self.assertEqual(set(line), {"time", "level", "namespace", "message", "reason"})
        self.assertEqual(line["message"], "hello ann")

    def test_failure(self) -> None:
        """The exception, and where it was."""
        try:
            raise ZeroDivisionError("nothing by nothing")
        except ZeroDivisionError:
            self.log.failure("{what} broke", what="it")
        line = self.line()
        self.assertEqual(line["error"], "ZeroDivisionError: nothing by nothing")
        self.assertIn("test_failure", line["traceback"])
        self.assertEqual((line["level"], line["message"]), ("critical", "it broke"))

    def test_old_style(self) -> None:
        """Events of Twisted's older parts are written like others."""
        self.publisher({"isError": 1, "failure": Failure(OSError("gone")), "log_format": "Unhandled"})
        self.assertEqual(self.line()["error"], "OSError: gone")

    def test_levels(self) -> None:
        self.log.debug("not this")
        self.log.info("this")
        self.assertEqual([line["message"] for line in self.lines()], ["this"])
        out = io.StringIO()
        Logger(observer=log_observer(out, least=LogLevel.debug)).debug("this too")
        self.assertIn("this too", out.getvalue())

    def test_chatter_of_libraries(self) -> None:
        for level, heard in ((LogLevel.info, 0), (LogLevel.warn, 1)):
            self.log = Logger(namespace="autobahn.websocket", observer=self.publisher)
            self.log.emit(level, "hello")
            self.assertEqual(len(self.lines()), heard)

    def test_one_line(self) -> None:
        """Whoever's words are in it, an event stays one line, in JSON and for a person."""
        nasty = "a\nINFO forged\r\x1b[2J\x1b[31m\u2028b\x85c\x00\ud800"
        self.log.warn("{reason}", reason=nasty)
        self.assertEqual(len(self.lines()), 1)
        out = io.StringIO()
        Logger(observer=log_observer(out, text=True)).warn("{reason}", reason=nasty)
        said = out.getvalue()
        self.assertEqual(said.count("\n"), 1)
        self.assertEqual([character for character in said[:-1] if not character.isprintable()], [])
        said.encode()

    def test_one_line_in_a_traceback(self) -> None:
        out = io.StringIO()
        observer = log_observer(out, text=True)
        try:
            raise ValueError("x\x1b[31m\rforged")
        except ValueError:
            Logger(observer=observer).failure("broke")
        self.assertNotIn("\x1b", out.getvalue())
        self.assertNotIn("\r", out.getvalue())

    def test_bounded(self) -> None:
        self.log.warn("{reason}", reason="x" * 1_000_000)
        self.assertLess(len(self.out.getvalue()), 4000)


class Secrets(ObserverTestCase):
    """Nothing that was planted comes out, wherever it stood."""

    def assert_clean(self) -> None:
        self.assertTrue(self.out.getvalue())
        self.assertNotIn("planted", self.out.getvalue().lower())
        self.assertNotIn(JWT[:30], self.out.getvalue())
        self.assertNotIn(JWT[-12:], self.out.getvalue())
        self.out.seek(0)
        self.out.truncate()

    def test_in_the_message(self) -> None:
        for secret in PLANTED.values():
            self.log.warn("Google said {reason}", reason=f"before {secret} after")
            self.assertIn("[redacted]", self.out.getvalue(), secret)
            self.assert_clean()

    def test_in_a_field(self) -> None:
        for secret in PLANTED.values():
            self.log.warn("no", url=secret, error=secret.encode(), what=[secret])
            self.assert_clean()

    def test_in_an_exception(self) -> None:
        for secret in PLANTED.values():
            try:
                raise ValueError(f"bad: {secret}")
            except ValueError:
                self.log.failure("it broke")
            self.assert_clean()

    def test_in_other_fields(self) -> None:
        for secret in PLANTED.values():
            self.log.warn("no", token=secret, headers={"a": secret}, request=secret)
            self.assert_clean()

    def test_cut_in_the_middle(self) -> None:
        """Redacted before it is cut: half a secret would look like none."""
        for secret in (JWT, PLANTED["cookie"], PLANTED["form"], PLANTED["sealed"]):
            for most in (500, 2000):
                for shown in range(1, len(secret)):
                    padding = "x " * ((most - shown) // 2)
                    self.log.warn("{reason}", reason=f"{padding}{secret}")
                self.assert_clean()

    def test_for_a_person(self) -> None:
        out = io.StringIO()
        observer = log_observer(out, text=True)
        for secret in PLANTED.values():
            try:
                raise ValueError(secret)
            except ValueError:
                Logger(observer=observer).failure("{why}", why=secret)
        self.assertNotIn("planted", out.getvalue().lower())

    def test_ordinary_words_stay(self) -> None:
        for text in (
            "drive.files.get at Google: no_answer: no answer within 30 s",
            "a sign-in failed: state_mismatch: unknown, used or another browser's state",
            "Google's token endpoint answered 503",
            "docsession is ready at http://127.0.0.1:8765, listening on tcp:8765:interface=127.0.0.1",
            "the id_token is no good: it has expired",
            "closed with code=4001",
        ):
            self.assertEqual(redact(text), text)


class Calls(SynchronousTestCase):
    """Every log call of ours, read in the source."""

    LEVELS = frozenset({"debug", "info", "warn", "error", "critical", "failure"})

    def calls(self) -> list[tuple[str, ast.Call]]:
        found = []
        for path in sorted(PACKAGE.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = node.func.value
                    name = getattr(owner, "attr", getattr(owner, "id", ""))
                    if name in ("log", "_log") and node.func.attr in self.LEVELS:
                        found.append((f"{path.relative_to(PACKAGE)}:{node.lineno}", node))
        return found

    def test_found(self) -> None:
        self.assertGreater(len(self.calls()), 25)

    def test_constant_formats(self) -> None:
        for where, call in self.calls():
            self.assertTrue(
                call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str),
                f"{where}: the format is no constant",
            )

    def test_fields(self) -> None:
        """Each field is on the list or in the message; each in the message is given."""
        for where, call in self.calls():
            format_ = call.args[0]
            assert isinstance(format_, ast.Constant)
            said = {
                (name or "").removesuffix("()").split(".")[0]
                for _, name, _, _ in string.Formatter().parse(str(format_.value))
                if name is not None
            }
            given = {keyword.arg for keyword in call.keywords} - {"failure"}
            self.assertNotIn(None, given, f"{where}: fields are named")
            self.assertEqual(given - FIELDS - said, set(), f"{where}: never seen")
            self.assertEqual(said - given, set(), f"{where}: not given")

    def test_no_secrets(self) -> None:
        """None is called what a secret is called."""
        for where, call in self.calls():
            for keyword in call.keywords:
                self.assertNotIn(
                    keyword.arg, ("token", "secret", "cookie", "session", "grant", "user", "email"), where
                )
        self.assertFalse(FIELDS & {"token", "secret", "cookie", "session", "grant", "user", "email"})

    def test_no_other_logging(self) -> None:
        for path in sorted(PACKAGE.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            self.assertNotIn("import logging", text, path)
            self.assertNotIn("twisted.python.log", text, path)
            self.assertNotIn("from twisted.python import log", text, path)


class MetricsText(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = Metrics()

    def samples(self) -> dict[tuple[str, ...], float]:
        found = {}
        for family in text_string_to_metric_families(self.metrics.text().decode()):
            self.assertTrue(family.documentation or family.name.endswith("_created"), family.name)
            self.assertTrue(family.name.startswith("docsession"), family.name)
            for sample in family.samples:
                found[(sample.name, *sample.labels.values())] = sample.value
        return found

    def test_counted(self) -> None:
        self.metrics.google_request("drive.files.get", "ok", 5)
        self.metrics.google_request("drive.files.get", "ok", 5)
        self.metrics.call("session.open", "too_many", 0.01)
        self.metrics.call("session.open", "ok", -1)  # the clock was set back
        self.metrics.answered_at_once["session.open"] += 3
        self.metrics.refreshed("invalid_grant")
        self.metrics.sign_in("ok")
        self.metrics.socket_refused("origin")
        self.metrics.told("peer", 3)
        self.metrics.watch("things", "How many things.", lambda: 7)
        samples = self.samples()
        for name, value in (
            (("docsession_google_requests_total", "drive.files.get", "ok"), 2),
            (("docsession_google_quota_units_total", "drive.files.get"), 10),
            (("docsession_rpc_calls_total", "session.open", "too_many"), 1),
            (("docsession_rpc_calls_total", "session.open", "ok"), 4),
            (("docsession_rpc_call_seconds_count",), 5),
            (("docsession_rpc_call_seconds_sum",), 0.01),
            (("docsession_grant_refreshes_total", "invalid_grant"), 1),
            (("docsession_sign_ins_total", "ok"), 1),
            (("docsession_sockets_refused_total", "origin"), 1),
            (("docsession_document_events_total", "peer"), 3),
            (("docsession_things",), 7),
        ):
            self.assertEqual(samples[name], value)

    def test_labels(self) -> None:
        """Bounded ones: no user, file, address or session."""
        self.metrics.google_request("m", "o", 1)
        self.metrics.call("m", "o", 1)
        self.metrics.refreshed("o")
        self.metrics.sign_in("o")
        self.metrics.socket_refused("w")
        self.metrics.told("v", 1)
        names = {
            label
            for family in text_string_to_metric_families(self.metrics.text().decode())
            for sample in family.samples
            for label in sample.labels
        }
        self.assertLessEqual(names, {"method", "outcome", "why", "via", "le", "version"})

    def test_words_of_others(self) -> None:
        """What Google answers is a label only where it is a name."""
        for word in ("rateLimitExceeded", "invalid_grant", "503"):
            self.assertEqual(bounded(word), word)
        for word in ("", "ann@example.com", "a b", "x" * 49, "1//03token", "ok\n", "é"):
            self.assertEqual(bounded(word), "other")
        self.metrics.google_request("m", "ann@example.com", 1)
        self.metrics.refreshed("ann@example.com")
        self.assertNotIn(b"ann@", self.metrics.text())

    def test_two_daemons(self) -> None:
        """Nothing is shared with another one in the same process."""
        Metrics().sign_in("ok")
        self.assertNotIn(("docsession_sign_ins_total", "ok"), self.samples())
