"""A real redis-server of a test's own, on a loopback port, with nothing on disk unless it is asked for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.daemon.children import Child, free_port

__all__ = ["RedisServer", "needs_redis"]

SERVER = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed here")


class RedisServer(Child):
    """``settings`` are those of redis.conf, by name: ``requirepass="secret"``; ``_`` stands for ``-``."""

    def __init__(self, folder: Path, *, port: int = 0, sentinel_mode: bool = False, **settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        port = port or free_port()
        given = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": '""',
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        if sentinel_mode:
            del given["save"]
        configuration = folder / "redis.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in given.items()))
        argv = [SERVER or "redis-server", str(configuration), *(["--sentinel"] if sentinel_mode else [])]
        super().__init__(argv, cwd=folder, port=port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        super().start()
        self.wait_listening()
        return self

    def __enter__(self) -> RedisServer:
        return self.start()

    def hold(self) -> None:
        """It goes on, and does nothing: its connections stay, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def let_go(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cli(self, *command: str) -> str:
        """What redis-cli says to a command."""
        argv = ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *command]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
