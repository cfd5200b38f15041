"""What the operator sees: log lines and metrics, neither of which ever holds a secret.

Log events pass through one observer, which writes the formatted message and the fields of an
allow-list; Twisted's own observers would write every keyword an event carries.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TextIO

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import provider

from docsession import __version__
from docsession.times import rfc3339

__all__ = ["FIELDS", "Metrics", "log_observer"]

# The only fields of an event that are written; a test holds every log call to them.
FIELDS = frozenset(
    {
        *("address", "cause", "child", "code", "count", "delay", "error", "kind", "limit", "listen"),
        *("method", "name", "outcome", "path", "reason", "seconds", "status", "table", "url", "what", "why"),
    }
)

# What a token, a code or a cookie looks like, should a message of somebody else's hold one.
_SECRET = re.compile(
    r"ya29\.[\w.-]+|\b[14]//?[\w-]{8,}|Bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=[?&])(?:code|state|token|access_token)=[^&\s\"']+|docsession=[\w.~-]+"
)


def redact(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    return _SECRET.sub("[redacted]", text)


def log_observer(
    out: TextIO, *, text: bool = False, least: LogLevel = LogLevel.info
) -> Callable[[LogEvent], None]:
    """An observer that writes one line an event: JSON, or plain text for a person's terminal."""

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level < least and not event.get("isError"):
            return
        namespace = str(event.get("log_namespace", event.get("log_system", "-")))
        if level <= LogLevel.info and namespace.startswith(("autobahn", "txaio", "treq", "stdlib")):
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
        "message": redact(formatEvent(event).replace("\n", " ")[:2000]),
    }
    for name in FIELDS & event.keys():
        value = event[name]
        line[name] = value if isinstance(value, (int, float, bool)) else redact(str(value)[:500])
    failure = event.get("log_failure") or event.get("failure")
    if isinstance(failure, Failure):
        line["error"] = redact(
            f"{failure.type.__name__ if failure.type else '?'}: {failure.getErrorMessage()}"[:500]
        )
        line["traceback"] = redact(failure.getTraceback(detail="brief"))[-4000:]
    return line


class Metrics:
    """Prometheus metrics of one daemon. Labels are bounded: never a user, a file, an address."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Info("docsession_build", "What runs here.", registry=self.registry).info({"version": __version__})
        self._google = Counter(
            "docsession_google_requests",
            "Requests to Google, by Drive method and outcome (ok, a reason, no_answer, ...).",
            ["method", "outcome"],
            registry=self.registry,
        )
        self._units = Counter(
            "docsession_google_quota_units",
            "Quota units spent, by Google's table, by Drive method.",
            ["method"],
            registry=self.registry,
        )
        self._calls = Counter(
            "docsession_rpc_calls",
            "Calls of pages, by method and outcome (ok or an error's name).",
            ["method", "outcome"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "docsession_rpc_call_seconds",
            "How long calls took.",
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self._refreshes = Counter(
            "docsession_grant_refreshes",
            "Refreshes of access tokens, by outcome (ok or Google's error).",
            ["outcome"],
            registry=self.registry,
        )
        self._sign_ins = Counter(
            "docsession_sign_ins", "Sign-ins, by outcome.", ["outcome"], registry=self.registry
        )
        self._refused = Counter(
            "docsession_sockets_refused",
            "Sockets refused before 101, by why.",
            ["why"],
            registry=self.registry,
        )
        self._events = Counter(
            "docsession_document_events",
            "document.changed sent, by how the change was seen.",
            ["via"],
            registry=self.registry,
        )

    def google_request(self, method: str, outcome: str, units: int) -> None:
        self._google.labels(method, outcome).inc()
        self._units.labels(method).inc(units)

    def call(self, method: str, outcome: str, seconds: float) -> None:
        self._calls.labels(method, outcome).inc()
        self._call_seconds.observe(max(0.0, seconds))

    def refreshed(self, outcome: str) -> None:
        self._refreshes.labels(outcome).inc()

    def sign_in(self, outcome: str) -> None:
        self._sign_ins.labels(outcome).inc()

    def socket_refused(self, why: str) -> None:
        self._refused.labels(why).inc()

    def event(self, via: str, receivers: int) -> None:
        self._events.labels(via).inc(receivers)

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A gauge that is read when asked for."""
        Gauge(f"docsession_{name}", what, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
