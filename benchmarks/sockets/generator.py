"""The load generator as Python sees it: built with gcc, started pinned, told what to do a line at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["BUILD", "Answer", "Generator", "GeneratorFailed", "Script", "build", "parse", "pinned"]

SOURCE = Path(__file__).with_name("generator.c")
BUILD = Path(__file__).parents[1] / ".build"
GENERATOR_CORE, SERVER_CORE = 1, 0

Answer = dict[str, float | str]


class GeneratorFailed(Exception):
    """It could not be built, or said that it cannot go on."""


@dataclass
class Script:
    """One connection: its upgrade request, what it says first, and what on coming back."""

    connect: bytes
    say: list[bytes] = field(default_factory=list)
    again: list[bytes] = field(default_factory=list)


def build(directory: Path = BUILD) -> Path:
    """The program, built anew where its source is newer. Raises GeneratorFailed."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "generator"
    if program.exists() and program.stat().st_mtime >= SOURCE.stat().st_mtime:
        return program
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None:
        raise GeneratorFailed(f"there is no {compiler} to build the load generator with")
    made = directory / f"generator.{os.getpid()}"
    argv = [compiler, "-O2", "-Wall", "-o", str(made), str(SOURCE)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise GeneratorFailed(f"the load generator was not built:\n{done.stderr}")
    made.replace(program)
    return program


def pinned(core: int, argv: Sequence[str]) -> list[str]:
    """The command, bound to one core where the machine has that and can."""
    if (os.cpu_count() or 1) <= core or shutil.which("taskset") is None:
        return list(argv)
    return ["taskset", "-c", str(core), *argv]


def parse(line: str) -> Answer:
    """An answer, ``name=value`` by ``name=value``. Raises GeneratorFailed for one that says so."""
    kind, *words = line.split()
    pairs = dict(word.partition("=")[::2] for word in words)
    if kind == "failed":
        raise GeneratorFailed(str(pairs.get("why", line)))
    answer: Answer = {}
    for name, value in pairs.items():
        try:
            answer[name] = float(value)
        except ValueError:
            answer[name] = value
    return answer


def records(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """As the generator reads them."""
    return b"".join(b"%s %d\n%s\n" % (kind.encode(), len(text), text) for kind, text in pairs)


class Generator:
    """One process for one server, so that each has descriptors enough. A context manager."""

    def __init__(self) -> None:
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Generator:
        self.directory = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix="generator-")))
        self._process = subprocess.Popen(
            pinned(GENERATOR_CORE, [str(build())]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._files.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, *words: object) -> None:
        """Give a command; :meth:`finish` is its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def finish(self) -> Answer:
        """Raises GeneratorFailed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode("utf-8", "replace")
        if not line:
            raise GeneratorFailed(f"the load generator ended ({self._process.wait()})")
        return parse(line)

    def do(self, *words: object) -> Answer:
        """Give a command and wait for the answer. Raises GeneratorFailed."""
        self.start(*words)
        return self.finish()

    # -- commands

    def group(self, name: str, address: str, scripts: Iterable[Script]) -> None:
        """Connections to ``tcp:PORT`` or ``unix:PATH``; none is opened yet."""
        pairs: list[tuple[str, bytes]] = []
        for script in scripts:
            pairs.append(("connect", script.connect))
            pairs += [("say", text) for text in script.say] + [("again", text) for text in script.again]
        self.do("group", name, address, self._file(name, pairs))

    def open(self, name: str, count: int, *, at_once: int = 32, seconds: float = 600) -> Answer:
        """Open so many; all of them must be. Raises GeneratorFailed."""
        answer = self.do("open", name, count, at_once, seconds)
        if answer["open"] != count or answer["strange"]:
            raise GeneratorFailed(f"{name}: not all were opened as they should: {answer}")
        return answer

    def handshakes(self, name: str, most: int, *, at_once: int, seconds: float) -> Answer:
        """Open as many as can be in that time, and leave them open."""
        return self.do("open", name, most, at_once, seconds)

    def close(self, name: str) -> None:
        self.do("close", name)

    def trigger_by_message(self, name: str, publisher: str, texts: Iterable[bytes]) -> None:
        """Events of that group come of messages on the first connection of another."""
        path = self._file(f"{name}-trigger", [("text", text) for text in texts])
        self.do("trigger", name, "ws", publisher, path)

    def trigger_by_line(self, name: str, socket: Path, texts: Iterable[bytes]) -> None:
        """Events of that group come of lines to a unix socket."""
        path = self._file(f"{name}-trigger", [("text", text) for text in texts])
        self.do("trigger", name, "line", socket, path)

    def fanout(
        self, name: str, *, seconds: float, flight: int, needle: str = '"version":"', within: float = 40
    ) -> Answer:
        """Events one after the other, so many outstanding, until the time is over and all have come."""
        return self.do("fanout", name, seconds, flight, needle, within)

    def ask(self, name: str, texts: Iterable[bytes]) -> None:
        """What each connection asks in ``requests``, or one text for all."""
        self.do("ask", name, self._file(f"{name}-ask", [("text", text) for text in texts]))

    def requests(self, name: str, *, seconds: float, connections: int, flight: int) -> Answer:
        return self.do("requests", name, seconds, connections, flight)

    def wait(self, seconds: float) -> None:
        self.do("wait", seconds)

    def state(self, name: str) -> Answer:
        return self.do("state", name)

    def _file(self, name: str, pairs: Iterable[tuple[str, bytes]]) -> Path:
        path = self.directory / f"{name}.records"
        path.write_bytes(records(pairs))
        return path
