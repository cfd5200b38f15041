"""What the operator sees: log lines and metrics, neither of which ever holds a secret.

Log events pass through one observer, which writes the formatted message and the fields of an
allow-list; Twisted's own observers would write every keyword an event carries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import provider

from docsession import __version__
from docsession.counting import PlainCounter, PlainHistogram
from docsession.times import rfc3339

__all__ = ["FIELDS", "LogFile", "Metrics", "log_observer"]

# The only fields of an event that are written; a test holds every log call to them.
FIELDS = frozenset(
    {
        *("address", "cause", "child", "code", "count", "delay", "error", "kind", "limit", "listen"),
        *("method", "name", "outcome", "path", "reason", "seconds", "status", "table", "url", "what", "why"),
    }
)

# What a secret looks like, should a message of somebody else's hold one: Google's access and
# refresh tokens, codes and client secrets, id_tokens, what we sealed, and whatever stands beside
# a name that gives it away, in a query, a form, JSON or a cookie.
_SECRET = re.compile(
    r"ya29\.[\w.-]+|\b[14]//?[\w-]{8,}|GOCSPX-[\w-]+|eyJ[\w-]+\.[\w.-]*|gAAAA[\w=-]{16,}"
    r"|\b(?:Bearer|Basic)\s+[\w.~+/=-]+"
    r"|\b(?:(?:access_|refresh_|id_)?token|client_secret|code_verifier|nonce)[\"']?\s?[=:]\s?[\"']?[\w.~+/%=-]{12,}"
    r"|(?:docsession=|\bsession=|[\"']session[\"']:\s?[\"'])[\w.~%-]{8,}"
    r"|(?:(?<=[?&])code|\bstate)=[^&\s\"']+",
    re.IGNORECASE,
)
# Line ends and what moves a terminal's cursor: one event is one line, whoever's words are in it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_OUTCOME = re.compile(r"\A\w{1,48}\Z", re.ASCII)


def redact(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    return _SECRET.sub("[redacted]", text)


def one_line(text: str, most: int) -> str:
    """Redacted before it is cut, lest half a secret no longer look like one."""
    return _CONTROL.sub(" ", redact(text))[:most]


def bounded(outcome: str) -> str:
    """A word of Google's as a label: none that could be anything but a name."""
    return outcome if _OUTCOME.match(outcome) else "other"


class LogFile:
    """A log file, made for its owner's eyes only at the first line; may be truncated meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def write(self, text: str) -> None:
        if self._file is None:
            made = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file = os.fdopen(made, "a", encoding="utf-8")
        self._file.write(text)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()


def log_observer(
    out: TextIO | LogFile, *, text: bool = False, least: LogLevel = LogLevel.info
) -> Callable[[LogEvent], None]:
    """An observer that writes one line an event: JSON, or plain text for a person's terminal."""

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level < least and not event.get("isError"):
            return
        namespace = str(event.get("log_namespace", event.get("log_system", "-")))
        if level <= LogLevel.info and namespace.startswith(
            ("autobahn", "txaio", "treq", "stdlib", "twisted.web.client")
        ):
            return
        line = _line(event, level, namespace)
        if text:
            said = f"{line.pop('time')} {line.pop('level'):8} {line.pop('message')}"
            line.pop("namespace")
            trace = line.pop("traceback", None)
            out.write(said + (f"\n{trace}" if trace else "") + "\n")
        else:
            out.write(msgspec.json.encode(line).decode() + "\n")
        out.flush()

    return observe  # type: ignore[no-any-return]


def _line(event: LogEvent, level: Any, namespace: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "time": rfc3339(float(event.get("log_time", 0.0))),
        "level": level.name,
        "namespace": namespace,
        "message": one_line(formatEvent(event), 2000),
    }
    for name in FIELDS & event.keys():
        value = event[name]
        line[name] = value if isinstance(value, (int, float, bool)) else one_line(str(value), 500)
    failure = event.get("log_failure") or event.get("failure")
    if isinstance(failure, Failure):
        kind = failure.type.__name__ if failure.type else "?"
        line["error"] = one_line(f"{kind}: {failure.getErrorMessage()}", 500)
        rows = failure.getTraceback(detail="brief").split("\n")
        line["traceback"] = "\n".join(one_line(row, 500) for row in rows)[-4000:]
    return line


class Metrics:
    """Prometheus metrics of one daemon. Labels are bounded: never a user, a file, an address."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Info("docsession_build", "What runs here.", registry=self.registry).info({"version": __version__})
        counter = partial(Counter, registry=self.registry)
        self._google = counter(
            "docsession_google_requests",
            "Requests to Google, by Drive method and outcome (ok, a reason, no_answer, ...).",
            ["method", "outcome"],
        )
        self._units = counter(
            "docsession_google_quota_units",
            "Quota units spent, by Google's table, by Drive method.",
            ["method"],
        )
        self._calls = PlainCounter(
            "docsession_rpc_calls",
            "Calls of pages, by method and outcome (ok or an error's name).",
            ["method", "outcome"],
            registry=self.registry,
        )
        self.answered_at_once = self._calls.tally("ok")
        self._call_seconds = PlainHistogram(
            "docsession_rpc_call_seconds",
            "How long calls took.",
            nothings=self.answered_at_once,
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self._refreshes = counter(
            "docsession_grant_refreshes",
            "Refreshes of access tokens, by outcome (ok or Google's error).",
            ["outcome"],
        )
        self._sign_ins = counter("docsession_sign_ins", "Sign-ins, by outcome.", ["outcome"])
        self._refused = counter("docsession_sockets_refused", "Sockets refused before 101, by why.", ["why"])
        self._events = PlainCounter(
            "docsession_document_events",
            "document.changed sent, by how the change was seen.",
            ["via"],
            registry=self.registry,
        )
        self._looks = counter(
            "docsession_looks",
            "Looks at watched documents, by what at (file, comments) and why.",
            ["at", "why"],
        )
        self._settled = Histogram(
            "docsession_change_told_seconds",
            "From a change being seen here to the last tab being told.",
            buckets=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 120, 600),
            registry=self.registry,
        )
        self._lag = Histogram(
            "docsession_change_seen_seconds",
            "From Google's modifiedTime to the change being seen here: Google's own delay and ours.",
            buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600),
            registry=self.registry,
        )
        self._sweeps = counter(
            "docsession_feed_sweeps", "Sweeps of users' change logs, by outcome.", ["outcome"]
        )
        self._runs = counter("docsession_listing_runs", "Live listings read again, by why.", ["cause"])
        self._believed = counter(
            "docsession_older_believed",
            "Times an older number of Google's stayed too long for a lagging replica.",
        )
        self._hints = counter(
            "docsession_hints",
            "Push notifications, by what became of them; missed: a change none came for.",
            ["outcome"],
        )
        self._retries = counter(
            "docsession_google_retries", "Requests to Google sent again, by why.", ["reason"]
        )
        self._waits = Histogram(
            "docsession_google_wait_seconds",
            "Waiting for a turn to ask Google, by whether a person waits.",
            ["who"],
            buckets=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 120, 600),
            registry=self.registry,
        )

        self._openings = counter(
            "docsession_channel_openings",
            "Push channels asked for: opened, renewed, or why not.",
            ["outcome"],
        )
        self._posts = counter(
            "docsession_channel_messages", "What came in at the push address, by what it was.", ["outcome"]
        )

    def google_request(self, method: str, outcome: str, units: int) -> None:
        self._google.labels(method, bounded(outcome)).inc()
        self._units.labels(method).inc(units)

    # -- the connections' (docsession.connection.CallObserver)

    def call(self, method: str, outcome: str, seconds: float) -> None:
        self._calls.counts[method, outcome] += 1
        self._call_seconds.observe(seconds if seconds > 0 else 0.0)

    def refreshed(self, outcome: str) -> None:
        self._refreshes.labels(bounded(outcome)).inc()

    def sign_in(self, outcome: str) -> None:
        self._sign_ins.labels(outcome).inc()

    def socket_refused(self, why: str) -> None:
        self._refused.labels(why).inc()

    # -- the hub's (docsession.interfaces.HubObserver)

    def looked(self, why: str, comments: bool) -> None:
        self._looks.labels("comments" if comments else "file", why).inc()

    def told(self, via: str, receivers: int) -> None:
        self._events.counts[(via,)] += receivers

    def settled(self, seconds: float) -> None:
        self._settled.observe(max(0.0, seconds))

    def lagged(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def believed(self) -> None:
        self._believed.inc()

    def hinted(self, outcome: str) -> None:
        self._hints.labels(outcome).inc()

    # -- push

    def channel_opening(self, outcome: str) -> None:
        self._openings.labels(bounded(outcome)).inc()

    def channel_message(self, outcome: str) -> None:
        self._posts.labels(outcome).inc()

    def swept(self, outcome: str) -> None:
        self._sweeps.labels(outcome).inc()

    def listed(self, cause: str) -> None:
        self._runs.labels(cause).inc()

    # -- the gate's

    def retried(self, reason: str) -> None:
        self._retries.labels(bounded(reason)).inc()

    def waited(self, poll: bool, seconds: float) -> None:
        self._waits.labels("poll" if poll else "person").observe(max(0.0, seconds))

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A gauge that is read when asked for."""
        Gauge(f"docsession_{name}", what, registry=self.registry).set_function(read)

    def watch_each(self, name: str, what: str, label: str, reads: Mapping[str, Callable[[], float]]) -> None:
        """The same for several, told apart by a label."""
        gauge = Gauge(f"docsession_{name}", what, [label], registry=self.registry)
        for value, read in reads.items():
            gauge.labels(value).set_function(read)

    def count(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A counter that somebody else keeps."""
        self.registry.register(_Counts(name, what, [], lambda: {"": read()}))

    def count_each(self, name: str, what: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """The same for several, told apart by a label."""
        self.registry.register(_Counts(name, what, [label], read))

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class _Counts(Collector):
    """Counters that are read when asked for."""

    def __init__(
        self, name: str, what: str, labels: list[str], read: Callable[[], Mapping[str, float]]
    ) -> None:
        self._make = partial(CounterMetricFamily, f"docsession_{name}", what, labels=labels)
        self._named = bool(labels)
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = self._make()
        for value, count in self._read().items():
            family.add_metric([value] if self._named else [], count)
        yield family
