"""The same tabs by other ways: a unix socket, and nginx in front with the sample configuration."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.sockets.figures import Turn, spread
from benchmarks.sockets.generator import GENERATOR_CORE, Answer, pinned
from benchmarks.sockets.ours import Ours
from benchmarks.sockets.peers import PEERS, Running, children, nginx
from benchmarks.sockets.subjects import (
    FLIGHT_DOCUMENTS,
    OurSubject,
    PeerSubject,
    Subject,
    cpu,
    directory_of,
    event_like_ours,
    users_for,
)
from benchmarks.sockets.turns import fanouts
from tests.daemon.children import Child, free_port

__all__ = ["TABS", "front"]

TABS = 1000
SAMPLE = Path(__file__).parents[2] / "docs" / "operations" / "nginx.conf"


class Nginx:
    """nginx by the sample, for one node, without its certificate; on the generator's core."""

    def __init__(self, node: str, directory: Path) -> None:
        self.port = free_port()
        (directory / "nginx.conf").write_text(_configuration(node, self.port, directory), encoding="utf-8")
        argv = [str(nginx()), "-p", "./", "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;"]
        self.child = Child(pinned(GENERATOR_CORE, argv), cwd=directory, port=self.port)

    def __enter__(self) -> Nginx:
        self.child.start().wait_listening()
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()

    def pids(self) -> list[int]:
        return [self.child.pid, *children(self.child.pid)]


class Fronted(OurSubject):
    """Tabs that come through nginx, whose CPU is written down too."""

    def __init__(self, ours: Ours, proxy: Nginx, name: str) -> None:
        super().__init__(ours, name=name, address=f"tcp:{proxy.port}", first_place=1)
        self._proxy = proxy
        self.proxy_us: list[float] = []

    def fanout(self, tabs: int, *, flight: int, seconds: float) -> tuple[float, Answer]:
        before = cpu(self._proxy.pids())
        used, answer = super().fanout(tabs, flight=flight, seconds=seconds)
        self.proxy_us.append((cpu(self._proxy.pids()) - before) * 1e6 / float(answer["delivered"]))
        return used, answer


def front(*, rounds: int, rng: random.Random, notes: list[str]) -> tuple[list[Turn], dict[str, Any]]:
    """Fan-out to a thousand tabs by each way, beside the floor; and to tabs of as many users."""
    documents = 3 * FLIGHT_DOCUMENTS + 1
    watched = [range(documents)] * users_for(TABS)
    with tempfile.TemporaryDirectory(prefix="docsession-front-") as name, contextlib.ExitStack() as stack:
        base = Path(name)
        socket = base / "docsession.socket"
        by_tcp = stack.enter_context(
            Ours(directory_of(base, "tcp"), users=[range(documents)] * TABS, documents=documents)
        )
        by_unix = stack.enter_context(
            Ours(
                directory_of(base, "unix"),
                users=watched,
                documents=documents,
                listen=f"unix:{socket}:backlog=1024",
            )
        )
        floor = stack.enter_context(Running(PEERS["floor-py"], base))
        subjects: list[Subject] = [
            PeerSubject(floor, event=event_like_ours()),
            OurSubject(by_tcp, name="docsession, TCP"),
            OurSubject(by_tcp, name="docsession, a user each", first_place=2, tabs_of_a_user=1),
            OurSubject(by_unix, name="docsession, unix socket"),
        ]
        if nginx() is None:
            notes.append("nothing was measured behind nginx: it is not there (Debian: nginx-light)")
        else:
            for ours, node, way in (
                (by_tcp, f"127.0.0.1:{by_tcp.port}", "TCP"),
                (by_unix, f"unix:{socket}", "unix socket"),
            ):
                proxy = stack.enter_context(Nginx(node, directory_of(base, f"nginx-{ours.port}")))
                subjects.append(Fronted(ours, proxy, f"docsession behind nginx, {way}"))
        for each in subjects:
            stack.enter_context(each)
        turns = fanouts(subjects, rounds=rounds, sizes=(TABS,), notes=notes, rng=rng, what="other ways,")
        sys.stderr.write("# other ways: done\n")
        for ours in (by_tcp, by_unix):
            ours.assert_quiet()
        own = {each.name: spread(each.proxy_us).median for each in subjects if isinstance(each, Fronted)}
        return turns, {"nginx_us": own}


def _configuration(node: str, port: int, directory: Path) -> str:
    """The sample for one node and plain http, as it would be behind somebody else's TLS."""
    text = SAMPLE.read_text(encoding="utf-8")
    text = re.sub(r"    server \{\n        listen 80;.*?\n    \}\n", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"\n +ssl_.*?;", "", text)
    text = re.sub(r"\n +server 10\.0\.0\.1[23]:8765 .*?;", "", text)
    changes = {
        "10.0.0.11:8765": node,
        "listen 443 ssl;": f"listen 127.0.0.1:{port} backlog=4096;",
        "server_name docs.example.org;": "",
        # Its worker must reach a directory that is nobody else's.
        "user www-data;": "user root;" if os.geteuid() == 0 else "",
        "worker_processes auto;": "worker_processes 1;",
        "worker_rlimit_nofile 65536;": "worker_rlimit_nofile 20000;",
        "worker_connections  32768;": "worker_connections 19000;",
        "/run/nginx.pid": str(directory / "nginx.pid"),
        "/var/log/nginx/error.log": str(directory / "error.log"),
        "access_log /var/log/nginx/access.log paths;": "access_log off;",
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    return text
