"""``twistd docsession-sandbox`` as a process: how it starts, and how it says that it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from docsession.sandbox.tap import listening_address
from tests.daemon.children import Child, free_port, twistd


def listen_on(port: int) -> list[str]:
    return ["--listen", f"tcp:{port}:interface=127.0.0.1"]


def refusal(tmp_path: Path, *arguments: str) -> str:
    """The one line that a start which fails leaves."""
    with Child(twistd("docsession-sandbox", *arguments), cwd=tmp_path) as child:
        assert child.wait_ended() == 1
        assert "Traceback" not in child.log()
        return child.log().strip().splitlines()[-1]


def test_a_seed_of_ones_own(tmp_path: Path) -> None:
    seed = {"people": [{"email": "zoe@example.com"}], "files": [{"name": "Only", "text": "hello"}]}
    (tmp_path / "seed.json").write_text(json.dumps(seed))
    port = free_port()
    command = twistd("docsession-sandbox", *listen_on(port), "--seed", "seed.json")
    with Child(command, cwd=tmp_path, port=port) as child:
        child.wait_listening()
        world = requests.get(f"http://127.0.0.1:{port}/sandbox/overview", timeout=30).json()
        assert [file["name"] for file in world["files"]] == ["Only"]
        # URLs carry codes and states, so there is no access log.
        assert "/sandbox/overview" not in child.log()


def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "other").mkdir()
    with Child(twistd("docsession-sandbox", *listen_on(port)), cwd=tmp_path, port=port) as child:
        child.wait_listening()
        assert f"cannot listen on tcp:{port}" in refusal(tmp_path / "other", *listen_on(port))


def test_what_cannot_be_started_with(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"files": [{"nom": "x"}]}')
    assert "bad.json" in refusal(tmp_path, "--seed", "bad.json")
    assert "cannot be read" in refusal(tmp_path, "--seed", "missing.json")
    port = free_port()
    damaged = refusal(tmp_path, *listen_on(port), "--state", "bad.json")
    assert "is no state of a sandbox" in damaged
    assert (tmp_path / "bad.json").read_text() == '{"files": [{"nom": "x"}]}'
    assert "cannot be written" in refusal(tmp_path, *listen_on(port), "--state", "missing/state.json")
    assert "not loopback" in refusal(tmp_path, "--listen", f"tcp:{port}")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:8766:interface=127.0.0.1", ("127.0.0.1", 8766)),
        ("tcp:port=1:interface=localhost", ("localhost", 1)),
        (r"tcp6:1:interface=\:\:1", ("::1", 1)),
        ("tcp:1:backlog=5:interface=127.8.8.8", ("127.8.8.8", 1)),
    ],
)
def test_loopback_endpoints(listen: str, address: tuple[str, int]) -> None:
    assert listening_address(listen, allow_remote=False) == address


@pytest.mark.parametrize(
    "listen",
    [
        "tcp:1",
        "tcp:1:interface=0.0.0.0",
        "tcp:1:interface=",
        r"tcp6:1:interface=\:\:",
        "tcp:1:interface=a.example",
    ],
)
def test_everything_else_must_be_meant(listen: str) -> None:
    with pytest.raises(SystemExit):
        listening_address(listen, allow_remote=False)
    assert listening_address(listen, allow_remote=True)


@pytest.mark.parametrize("listen", ["unix:/tmp/x", "bogus", "tcp:x", ""])
def test_only_tcp(listen: str) -> None:
    with pytest.raises(SystemExit):
        listening_address(listen, allow_remote=True)
