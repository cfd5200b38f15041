"""Ten thousand tabs that come back after a restart, by the delays that they were given."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sockets.generator import Generator
from benchmarks.sockets.ours import ASK, Ours, call, document
from benchmarks.sockets.standing import AT_ONCE, DOCUMENTS, TABS, USERS, watched_by
from benchmarks.sockets.subjects import settle

__all__ = ["herd"]

PROBES = 10
MINUTE = 60.0
WITHIN = 180.0
# All as it is configured when nobody says anything, but for how many sockets a user may have.
PLAIN = """
[limits]
connections_per_session = 1000
connections_per_user = 1000
"""


def herd(*, quick: bool = False) -> dict[str, Any]:
    """SIGTERM, a new start, and everybody back: how long it takes, what Google is asked meanwhile, and
    how long requests of tabs take that are back already."""
    tabs, users = (TABS // 10, USERS // 10) if quick else (TABS, USERS)
    watches = [watched_by(user) for user in range(users)]
    with (
        tempfile.TemporaryDirectory(prefix="docsession-herd-") as directory,
        Ours(
            Path(directory),
            users=[*watches, *([[]] * PROBES)],
            documents=DOCUMENTS,
            toml=PLAIN,
            ping_every=25,
        ) as ours,
        Generator() as generator,
    ):
        scripts = [ours.tab(user, user.watches) for user in ours.users[:users] for _ in range(tabs // users)]
        generator.group("all", ours.address, scripts)
        generator.group(
            "probes", ours.address, [ours.tab(user) for user in ours.users[users : users + PROBES]]
        )
        generator.open("all", tabs, at_once=AT_ONCE)
        generator.open("probes", PROBES)
        asked = call(0, "drive.files.get", {"fileId": document(0), "fields": ASK, "maxAge": 120})
        generator.ask("probes", [asked.replace(b'"id":"0"', b'"id":"#########"')])
        generator.do("returns", "all")
        generator.do("returns", "probes")
        settle(ours.pids(), most=10)
        ours.forget_google_calls()
        began = time.monotonic()
        generator.wait(MINUTE)
        ordinary = ours.google_calls() * MINUTE / (time.monotonic() - began)
        _say(f"herd: {ordinary:.0f} calls in an ordinary minute; SIGTERM now")
        ours.forget_google_calls()
        began = time.monotonic()
        generator.start("herd", "all", "probes", WITHIN)
        code = ours.stop()
        stopped = time.monotonic() - began
        ours.start()
        started = time.monotonic() - began
        answer = generator.finish()
        generator.wait(max(0.0, MINUTE - (time.monotonic() - began)))
        passed = time.monotonic() - began
        calls = ours.google_calls() * MINUTE / passed
        ours.assert_quiet()
        return {
            "tabs": tabs,
            "exit_code": code,
            "stopped_after": stopped,
            "listening_after": started,
            "back": answer["open"],
            "gave_up": answer["gave_up"],
            "all_back_after": answer["all"],
            "google_calls": calls,
            "google_calls_ordinary": ordinary,
            "probe_p50": answer["probe_p50"],
            "probe_p99": answer["probe_p99"],
            "probe_worst": answer["probe_worst"],
            "probes": answer["probes"],
            "wrong": float(answer["probe_wrong"]) + float(answer["strange"]),
            "errors": [answer["probe_error"], answer["error"]],
        }


def _say(what: str) -> None:
    sys.stderr.write(f"# {what}\n")
