"""All that may happen to a redis-server, and questions to it that need no client library."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

from tests.daemon.children import ChildFailed
from tests.daemon.redis_server import RedisServer

__all__ = ["BreakableRedis"]

_HOST = "127.0.0.1"


class BreakableRedis(RedisServer):
    """``appendonly``: what it was told survives the end of its process."""

    def __init__(self, folder: Path, *, appendonly: bool = True, port: int = 0) -> None:
        super().__init__(folder, port=port, appendonly="yes" if appendonly else "no")

    def start(self) -> BreakableRedis:
        """Start it, with the data it had."""
        super().start()
        self._until(self._answers, "never answered a PING")
        return self

    def __enter__(self) -> BreakableRedis:
        return self.start()

    def empty(self) -> None:
        """Take its data away; it must not be running."""
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.suffix in (".aof", ".rdb"):
                entry.unlink()

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
