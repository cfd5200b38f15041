"""What the documents claim of the program, held against the program."""

from __future__ import annotations

import ast
import importlib.util
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from docsession.config import Backend, Limits, Quota, Sessions
from docsession.config_file import check_startable, load, parse
from docsession.keys import Keys, Sealer
from docsession.web.turnstile import Turnstile
from tests.support import Stack

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docsession"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def part(text: str, name: str) -> str:
    """What follows the comment of this name, up to the next title."""
    _, found, after = text.partition(f"\n.. {name}\n")
    assert found, name
    return re.split(r"\n[=~-]{3,}\n(?=\n)", after)[0]


@pytest.fixture(scope="module")
def operations() -> str:
    return read("docs/operations.rst")


# --- operations.rst --------------------------------------------------------------------------


def on_redis() -> Any:
    """The backend for several nodes, which are not connected to anything."""
    from docsession.backend.redis import Redis
    from docsession.backend.redis_backend import RedisBackend
    from docsession.backend.redis_store import RedisStore

    keys, clock, rng = Keys(signing=(b"s" * 32,), sealing=(b"k" * 32,)), Clock(), random.Random(1)
    redis = Redis(Backend(url="redis://127.0.0.1/0"), None, reactor=clock, rng=rng)
    redis.commands["PING"] += 1
    return RedisBackend(
        redis,
        RedisStore(redis, keys, clock=clock, lifetimes=Sessions()),
        Sealer(keys),
        clock=clock,
        rng=rng,
        lease=10,
        quota=Quota(),
    )


def test_metrics(operations: str) -> None:
    """Every metric is in the table with its labels, and nothing else is."""
    with Stack() as stack:
        tab = stack.signed_in_tab("ann@example.com")
        tab.call("drive.files.list")
        stack.assembly.metrics.refreshed("ok")
        stack.assembly.metrics.socket_refused("origin")
        stack.assembly.metrics.channel_opening("opened")
        stack.assembly.metrics.channel_message("hint")
        stack.assembly.metrics.told("poll", 1)
        stack.assembly.metrics.swept("ok")
        stack.assembly.metrics.listed("feed")
        stack.assembly.metrics.looked("visible", False)
        stack.assembly.metrics.hinted("found")
        stack.assembly.metrics.retried("not_sent")
        on_redis().measure(stack.assembly.metrics)
        Turnstile(stack.clock, 1).measure(stack.assembly.metrics)
        served = stack.assembly.metrics.text().decode()
    families = {}
    for family in text_string_to_metric_families(served):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        kinds = {"counter": "_total", "info": "_info"}
        # prometheus_client parses an Info of the plain text format as a gauge of its full name.
        name = family.name + kinds.get(family.type, "")
        families[name] = labels
    rows: list[tuple[str, str]] = []
    for line in part(operations, "metrics").splitlines():
        row = re.match(r"(?:``(docsession_\w+)``)?\s+([a-z, ]{0,9})", line[:50])
        if row and row[1]:
            rows.append((row[1], row[2]))
        elif row and rows and line.startswith(" " * 40) and line[40:50].strip():
            rows[-1] = (rows[-1][0], rows[-1][1] + " " + row[2])
    documented = {name: set(re.findall(r"\w+", labels)) for name, labels in rows}
    families = {name: labels for name, labels in families.items() if not name.endswith("_created")}
    assert documented == families


def test_limits(operations: str) -> None:
    """The table of limits has every one, with its default."""
    rows = re.findall(r"^``(\w+)`` +(\d+) \S", part(operations, "limits"), re.M)
    assert [(name, float(value)) for name, value in rows] == [
        (field.name, float(field.default)) for field in msgspec.structs.fields(Limits)
    ]


def log_formats() -> Iterator[str]:
    """The format string of every log call in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warn", "error", "failure", "critical")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield str(node.args[0].value)


def test_log_lines(operations: str) -> None:
    """The log lines that are explained are ones that are written."""
    explained = re.findall(r"^``(.+)``$", part(operations, "log lines"), re.M)
    assert len(explained) > 5
    assert sorted(set(explained) - set(log_formats())) == []


def test_own_words(operations: str) -> None:
    """What operators are told to look for in the log's reasons is what the code says there."""
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    for words in (
        "expired, or from the future: is this machine's clock right?",
        "Google refused the code: ",
        "the store is back",
    ):
        assert words.strip() in " ".join(operations.split())
        assert words in sources


def toml_blocks(text: str) -> list[str]:
    """The literal blocks that are TOML configurations."""
    blocks = re.findall(r"(?:::|code-block:: toml)\n\n((?:    .*\n|\n)+)", text)
    plain = [re.sub(r"^    ", "", block, flags=re.M) for block in blocks]
    return [block for block in plain if block.startswith("[server]")]


@pytest.mark.parametrize("name", ["docs/operations.rst", "README.rst"])
def test_configurations(name: str, tmp_path: Path) -> None:
    """A configuration that is shown can be started."""
    blocks = toml_blocks(read(name))
    assert blocks, name
    for block in blocks:
        parse(block)
        path = tmp_path / "docsession.toml"
        path.write_text(block, encoding="utf-8")
        (tmp_path / "client-secret").write_text("secret", encoding="utf-8")
        check_startable(*load(path, {}))


# --- architecture.rst ------------------------------------------------------------------------


def test_layout() -> None:
    """The layout has every module with its first sentence, as the script writes it."""
    path = ROOT / "scripts" / "make_layout.py"
    spec = importlib.util.spec_from_file_location("make_layout", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--check"]) == 0, "run scripts/make_layout.py"
    modules = [each.name for each in PACKAGE.rglob("*.py") if each.name != "__init__.py"]
    listed = re.findall(r"^     (\w+\.py) +\S", part(read("docs/architecture.rst"), "layout"), re.M)
    assert sorted(listed) == sorted(modules)


# --- README.rst ------------------------------------------------------------------------------


def test_readme_commands() -> None:
    """The targets of make that the README names are there."""
    makefile = read("Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", re.sub(r"make (it|a|the|sure)\b", "", read("README.rst"))))
    assert named
    assert named <= targets
