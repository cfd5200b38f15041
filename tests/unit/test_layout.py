"""The shape of the code: imports point down, modules are small, time and reactor are given."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import docsession.errors as errors
from docsession.errors import CloseCode, DocsessionError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docsession"

# From the bottom up. A module may import from its own row (without going round) and those above
# it here. What is new must be put somewhere.
ROWS = (
    ("words", "docsession errors model times static"),
    (
        "tools",
        "interfaces keys origins rpc schedule steady tasks telemetry user_channel wheel backlog counting",
    ),
    ("settings", "config config_file redis_url"),
    ("calls", "connection journal outgoing batch"),
    (
        "Google",
        "google google.budget google.cache google.channel google.channel_calls google.channel_pace"
        " google.channel_person google.channels google.drive google.drive_check google.drive_path"
        " google.drive_request google.feed google.fields google.gate google.grant google.http"
        " google.line google.look google.notifications google.oauth google.pauses google.push"
        " google.refusals google.slowing google.table google.channel_steps google.questions",
    ),
    (
        "store",
        "backend backend.embedded backend.memory backend.sqlite backend.sqlite_channels"
        " backend.sqlite_database backend.sqlite_documents backend.sqlite_journal"
        " backend.sqlite_runner backend.sqlite_schema backend.sqlite_sessions backend.sqlite_spent"
        " backend.sqlite_tables backend.sqlite_users backend.redis backend.redis_endpoint"
        " backend.redis_line backend.redis_script backend.redis_welcome backend.redis_wire"
        " backend.redis_channels backend.redis_documents backend.redis_journal backend.redis_meta"
        " backend.redis_parts backend.redis_sessions backend.redis_store backend.redis_users"
        " backend.sealing backend.redis_backend backend.redis_bus backend.redis_leases"
        " backend.redis_presence backend.redis_share backend.redis_shares backend.redis_spread"
        " backend.redis_checkup",
    ),
    ("moving", "backend.redis_kinds backend.redis_rows backend.rows backend.sqlite_rows migration"),
    (
        "hub",
        "attention belonging demand discussion document documents economy events hearsay hints history"
        " keeping learning listing listings looks neighbours spending telling troubles watcher watching"
        " written sweeping",
    ),
    ("sessions", "drive_calls sessions live signout upkeep directory signin listings_here elsewhere"),
    ("catalogue", "method methods openrpc"),
    (
        "web",
        "web web.admission web.answers web.content web.cookies web.doorway web.frames web.handshake"
        " web.inbox web.outbox web.pages web.sites web.socket web.streaming web.turnstile web.upgrade",
    ),
    ("whole", "assembly assembly_web daemon checkup tap migrate"),
)
ROW = {name: number for number, (_, names) in enumerate(ROWS) for name in names.split()}

# Imports for annotations only, against the grain. A connection is given its browser session by the
# directory, and asks it for nothing but the user.
UPWARD_TYPES = {("connection", "sessions")}

LONGEST = 350
LONGER: dict[str, str] = {}

_CLOCKS = re.compile(
    r"\btime\.(time|monotonic|perf_counter|sleep)\b|\bfrom time import"
    r"|\b(datetime|date)\.(now|today|utcnow)\b"
)


@cache
def modules() -> tuple[tuple[str, str, ast.Module], ...]:
    """Name (without ``docsession.``), text and syntax tree of every module."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        text = path.read_text(encoding="utf-8")
        found.append((".".join(parts[1:] or parts), text, ast.parse(text)))
    return tuple(found)


def imported(tree: ast.AST, *, for_types: bool = True) -> Iterator[str]:
    """The full names of what a module imports, in functions too."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and not for_types and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        waiting.extend(ast.iter_child_nodes(node))


def ours(tree: ast.AST, known: set[str], *, for_types: bool = True) -> set[str]:
    """The modules of ours among them."""
    found = set()
    for name in imported(tree, for_types=for_types):
        if name == "docsession" or name.startswith("docsession."):
            short = name.removeprefix("docsession").removeprefix(".")
            while short and short not in known:
                short = short.rpartition(".")[0]
            found.add(short or "docsession")
    return found


class Imports(SynchronousTestCase):
    """Who may know of whom."""

    def setUp(self) -> None:
        self.modules = modules()
        self.known = {name for name, _, _ in self.modules}

    def test_every_module_has_its_place(self) -> None:
        listed = set(ROW)
        product = {name for name in self.known if not _of_sandbox(name)}
        self.assertEqual((sorted(product - listed), sorted(listed - product)), ([], []))

    def test_down_only(self) -> None:
        """No module imports from a row above its own."""
        for name, _, tree in self.modules:
            if _of_sandbox(name):
                continue
            needed = ours(tree, self.known, for_types=False)
            for other in ours(tree, self.known):
                if not _of_sandbox(other) and (other in needed or (name, other) not in UPWARD_TYPES):
                    self.assertLessEqual(ROW[other], ROW[name], f"{name} imports {other}")

    def test_no_circles(self) -> None:
        graph = {
            name: ours(tree, self.known, for_types=False) - {name, "docsession"}
            for name, _, tree in self.modules
        }
        done: set[str] = set()

        def walk(name: str, path: tuple[str, ...]) -> None:
            assert name not in path, " -> ".join((*path, name))
            if name not in done:
                for other in graph[name]:
                    walk(other, (*path, name))
                done.add(name)

        for name in graph:
            walk(name, ())

    def test_sandbox_apart(self) -> None:
        """It imports nothing of ours, and of us only the daemon knows it."""
        for name, _, tree in self.modules:
            for other in ours(tree, self.known):
                if _of_sandbox(name):
                    self.assertTrue(_of_sandbox(other), f"{name} imports {other}")
                elif _of_sandbox(other):
                    self.assertEqual(name, "daemon", f"{name} imports {other}")

    def test_redis_in_one_place(self) -> None:
        """txredisapi takes the global reactor when it is imported."""
        for name, _, tree in self.modules:
            if any(other.split(".")[0] == "txredisapi" for other in imported(tree)):
                self.assertEqual(name, "backend.redis_wire")

    def test_reactor_is_given(self) -> None:
        """Only the command lines reach for it."""
        for name, _, tree in self.modules:
            if any(other == "twisted.internet.reactor" for other in imported(tree)):
                self.assertIn(name, ("tap", "sandbox.tap", "migrate"))

    def test_plugin(self) -> None:
        """It is read for any ``twistd --help``, so it imports nothing of ours."""
        tree = ast.parse((ROOT / "twisted/plugins/docsession_plugin.py").read_text(encoding="utf-8"))
        self.assertEqual(ours(tree, self.known), set())


class Modules(SynchronousTestCase):
    """What every module is held to."""

    def test_docstring(self) -> None:
        for name, _, tree in modules():
            self.assertTrue(ast.get_docstring(tree), f"{name} does not say what it is for")

    def test_short(self) -> None:
        for name, text, _ in modules():
            lines = text.count("\n")
            self.assertTrue(lines <= LONGEST or name in LONGER, f"{name} has {lines} lines")

    def test_time_is_given(self) -> None:
        for name, text, _ in modules():
            if name != "tap":  # which gives it to the reactor
                self.assertIsNone(_CLOCKS.search(text), f"{name} looks at a clock of its own")

    def test_no_print(self) -> None:
        """What an operator reads goes through the log observer."""
        for name, _, tree in modules():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    self.assertNotEqual(node.func.id, "print", name)

    def test_nobody_else_makes_up_errors(self) -> None:
        for name, _, tree in modules():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and name != "errors":
                    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                    self.assertFalse(bases & set(errors.__all__), f"{name}.{node.name}")


class Errors(SynchronousTestCase):
    """The one table of errors and the one of close codes."""

    def test_unique(self) -> None:
        kinds = DocsessionError.__subclasses__()
        self.assertEqual(len({kind.code for kind in kinds}), len(kinds))
        self.assertEqual(len({kind.name for kind in kinds}), len(kinds))
        for kind in kinds:
            self.assertIn(kind.__name__, errors.__all__)
            self.assertTrue(400 <= kind.http_status < 600)

    def test_as_promised(self) -> None:
        """PROTOCOL.md's codes and names; they never change."""
        self.assertEqual(
            {kind.code: kind.name for kind in DocsessionError.__subclasses__()},
            {
                -32700: "parse_error",
                -32600: "invalid_request",
                -32601: "method_not_found",
                -32602: "invalid_params",
                -32603: "internal_error",
                1001: "session_not_open",
                1002: "session_unknown",
                1003: "not_signed_in",
                1004: "scope_missing",
                1005: "forbidden",
                1006: "not_found",
                1007: "rate_limited",
                1008: "google_unavailable",
                1009: "google_rejected",
                1010: "outcome_unknown",
                1011: "too_many",
                1012: "unavailable",
                1013: "too_large",
            },
        )

    def test_close_codes(self) -> None:
        expected = {1000, 1001, 1009, 1011, 4000, 4001, 4002, 4003, 4004, 4500, 4501, 4502, 4503}
        self.assertEqual({int(code) for code in CloseCode}, expected)
        self.assertEqual(
            {code for code in CloseCode if not code.comes_back},
            {code for code in CloseCode if 4500 <= code <= 4999},
        )

    def test_retry_after(self) -> None:
        """Tenths of a second, never earlier than is true, and never at once."""
        for seconds, said in ((0.0, 0.1), (0.01, 0.1), (0.11, 0.2), (5, 5.0), (4.99, 5.0)):
            for kind in (errors.RateLimited, errors.GoogleUnavailable):
                self.assertEqual(kind("x", retry_after=seconds).retry_after, said)
        self.assertIsNone(errors.NotFound().retry_after)


def _of_sandbox(name: str) -> bool:
    return name == "sandbox" or name.startswith("sandbox.")
