"""A real redis-server as a child process, and all that may happen to it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

from tests.daemon.children import Child, ChildFailed, free_port

__all__ = ["Redis", "found"]

_HOST = "127.0.0.1"


def found() -> bool:
    """Whether there is a redis-server on this machine."""
    return shutil.which("redis-server") is not None


class Redis:
    """A redis-server on a free port, with its data in ``directory``; ``with`` starts and ends it.

    ``appendonly``: what it was told survives the end of its process.
    """

    def __init__(self, directory: Path, *, appendonly: bool = True, options: tuple[str, ...] = ()) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.port = free_port()
        argv = [shutil.which("redis-server") or "redis-server", "--bind", _HOST, "--port", str(self.port)]
        argv += ["--dir", str(directory), "--save", "", "--daemonize", "no", "--loglevel", "notice"]
        argv += ["--appendonly", "yes" if appendonly else "no", *options]
        self.child = Child(argv, cwd=directory, port=self.port)
        self._running = False

    def __enter__(self) -> Redis:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"redis://{_HOST}:{self.port}/0"

    def start(self) -> Redis:
        """Start it, with the data it had."""
        self.child.start().wait_listening()
        self._running = True
        self.child._until(self._answers, "never answered a PING")
        return self

    def stop(self) -> None:
        """End it in good order."""
        self._running = False
        self.child.terminate()

    def kill(self) -> None:
        """``kill -9``; harmless when it does not run."""
        self._running = False
        self.child.kill()

    def empty(self) -> None:
        """Take its data away; it must not be running."""
        assert not self._running
        for entry in self.directory.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.suffix in (".aof", ".rdb"):
                entry.unlink()

    def freeze(self) -> None:
        """Its process stands still; the kernel goes on accepting in its name."""
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    def pause(self, seconds: float) -> None:
        """``CLIENT PAUSE``: no command of anybody's is answered for so long."""
        assert self.call("CLIENT", "PAUSE", int(seconds * 1000), "ALL") == "OK"

    def flush(self) -> None:
        """Everything is gone, at once."""
        assert self.call("FLUSHALL") == "OK"

    def commands(self) -> dict[str, int]:
        """How often each command was called since its start (those within scripts too)."""
        lines = str(self.call("INFO", "commandstats")).splitlines()
        stats = [
            line.removeprefix("cmdstat_").partition(":") for line in lines if line.startswith("cmdstat_")
        ]
        return {name: int(rest.partition("calls=")[2].partition(",")[0]) for name, _, rest in stats}

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO."""
        lines = str(self.call("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def call(self, *words: str | int | float | bytes) -> Any:
        """One command, on a connection of its own; its answer decoded. Errors are raised."""
        with socket.create_connection((_HOST, self.port), timeout=20) as connection:
            parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            sent = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), sent))
            with connection.makefile("rb") as answer:
                return _read(answer)

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING") == "PONG")
        except (OSError, ChildFailed):
            return False


def _read(answer: Any) -> Any:
    line = answer.readline()
    if not line:
        raise OSError("hung up")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else answer.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
    if kind == b"*":
        return None if rest == "-1" else [_read(answer) for _ in range(int(rest))]
    raise ChildFailed(f"redis-server: {rest}")
