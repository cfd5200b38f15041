"""Runs the browser client's own tests (``*.test.mjs``) under node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = sorted(HERE.glob("*.test.mjs"))


@pytest.fixture
def node() -> str:
    """The path of node; its test runner is what these tests are written for."""
    path = shutil.which("node")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("node is missing; in CI nothing is skipped")
        pytest.skip("node is missing: the browser client's tests need it (Debian: apt install nodejs)")
    return path


def test_there_are_tests() -> None:
    assert TESTS


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_client(node: str, path: Path) -> None:
    run = subprocess.run(
        [node, "--test", str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, f"\n{run.stdout}\n{run.stderr}"
