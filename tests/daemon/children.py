"""Child processes of a test: started, waited for, killed, and their words read.

    with Child(twistd("docsession-sandbox", "--listen", ...), port=port) as child:
        child.wait_listening()

Nothing outlives the ``with``: the child has a process group of its own, which is ended.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["Child", "ChildFailed", "free_port", "twistd"]

_HOST = "127.0.0.1"
_PAUSE = 0.05
_TRIES = 600
_GRACE = 15.0


class ChildFailed(AssertionError):
    """The child ended, or never did what it was waited for; with what it had said until then."""


# Below what systems take for outgoing connections (Linux from 32768), which would take a free port away
# before its listener is there.
_PORTS = range(12_000, 32_000)
_HELD = 200
_claims: deque[int] = deque()  # file descriptors
_next_port = itertools.cycle(_PORTS)
for _ in range(secrets.randbelow(len(_PORTS))):
    next(_next_port)


def free_port() -> int:
    """A loopback port that nobody listens on, and that no other process of tests is given.

    The UDP port of that number says so: it is held until long after the listener is there.
    """
    for port in itertools.islice(_next_port, len(_PORTS)):
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind((_HOST, port))
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((_HOST, port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim.detach())
        if len(_claims) > _HELD:
            os.close(_claims.popleft())
        return port
    raise ChildFailed("all ports are taken")


def twistd(*arguments: str) -> list[str]:
    """The command that runs a plugin in the foreground, from this environment, without a pid file."""
    return [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", *arguments]


class Child:
    """One process. ``port`` is where it is expected to listen, if anywhere."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.argv = list(argv)
        self.cwd = cwd
        self.port = port
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Child:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id of the child that runs now."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """Where the output of all its starts goes."""
        return self.cwd / "child.log"

    def log(self) -> str:
        """Everything that it said so far, over all its starts."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def start(self) -> Child:
        """Start it, or start it again after it has ended."""
        assert self._process is None, "still running"
        self._log = self.log_path.open("ab")
        self._process = subprocess.Popen(
            self.argv,
            cwd=self.cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def wait_listening(self) -> Child:
        """Return once it accepts connections on its port."""
        assert self.port, "this child has no port"
        self._until(self._accepts, f"never listened on port {self.port}")
        return self

    def wait_said(self, text: str) -> Child:
        """Return once its output holds this text."""
        self._until(lambda: text in self.log(), f"never said {text!r}")
        return self

    def wait_ended(self) -> int:
        """Return its exit code once it has ended by itself."""
        assert self._process is not None, "not started"
        try:
            code = self._process.wait(_TRIES * _PAUSE)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"did not end\n{self.log()}") from None
        self._forget()
        return code

    def terminate(self) -> int:
        """Ask it to end (SIGTERM), and return its exit code."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        return self.wait_ended()

    def kill(self) -> None:
        """End it, and whatever it started, at once (SIGKILL). Harmless when repeated."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(_GRACE)
        self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _accepts(self) -> bool:
        try:
            with socket.create_connection((_HOST, self.port), timeout=1):
                return True
        except OSError:
            return False

    def _until(self, done: Callable[[], bool], complaint: str) -> None:
        pause = threading.Event()
        for _ in range(_TRIES):
            if done():
                return
            if self._process is None or self._process.poll() is not None:
                raise ChildFailed(f"ended, and {complaint}\n{self.log()}")
            pause.wait(_PAUSE)
        raise ChildFailed(f"{complaint}\n{self.log()}")
