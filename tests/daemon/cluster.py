"""Several daemons on one Redis behind one load balancer, with everything between them breakable.

    with Cluster(directory, nodes=3) as cluster:
        cluster.nodes[1].kill()

Daemons, redis-server and sandbox are processes; the balancer and the wires (one from each daemon
to Redis, one from each to Google) run in a thread of the test. Pages know ``cluster.url``, which
is the balancer's; there is no sticky routing. ``redis=False``: each daemon for itself, embedded.
``wires=False``: nothing between them, where each millisecond counts.
"""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.daemon.children import Child, ChildFailed, free_port, twistd
from tests.daemon.redis_faults import BreakableRedis
from tests.daemon.server import Google, configuration
from tests.daemon.wires import Network, Wire

__all__ = ["KEYS", "LIMITS", "Cluster", "Node"]

KEYS = "a-secret-of-all-the-nodes-together-which-is-long-enough"

# All the world has one address here, and few browsers hold many tabs.
LIMITS = """
[limits]
new_cookies_burst = 100000
new_cookies_per_second = 1000
"""


class Node:
    """One daemon. ``to_redis`` and ``to_google`` are its wires, None where there is none."""

    def __init__(self, name: str, directory: Path, google: Google, network: Network) -> None:
        self.name = name
        self.directory = directory
        self.port, self.admin_port = free_port(), free_port()
        self.to_redis: Wire | None = None
        self.to_google = network.wire(google.sandbox_port)
        directory.mkdir()
        self.child = Child(
            twistd("docsession", "--config", str(directory / "docsession.toml")),
            cwd=directory,
            port=self.port,
            env={"DOCSESSION_KEYS": KEYS},
        )
        self.running = False

    @property
    def url(self) -> str:
        """Its own address, past the balancer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def door(self) -> str:
        """The ``Host`` by which the sandbox knows its calls."""
        return f"127.0.0.1:{self.to_google.port}"

    def start(self) -> None:
        """Begin to start it; :meth:`wait` for it."""
        self.child.start()
        self.running = True

    def wait(self) -> None:
        """Until it listens."""
        self.child.wait_listening()

    def kill(self) -> None:
        """``kill -9``."""
        self.running = False
        self.child.kill()

    def stop(self) -> int:
        """``SIGTERM``; returns the exit code."""
        self.running = False
        return self.child.terminate()

    def freeze(self) -> None:
        """``SIGSTOP``."""
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """``SIGCONT``."""
        os.kill(self.child.pid, signal.SIGCONT)

    def ready(self) -> bool:
        """What ``/readyz`` says."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> dict[str, float]:
        """Its figures, by name with labels as Prometheus writes them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        split = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in split}

    def metric(self, prefix: str) -> float:
        """The sum of all whose name, with its labels, begins so."""
        return sum(value for name, value in self.metrics().items() if name.startswith(prefix))

    def memory(self) -> int:
        """Resident bytes of its process."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Cluster(Google):
    """The whole; a context manager that leaves nothing behind."""

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 3,
        seed: dict[str, Any] | None = None,
        toml: str = LIMITS,
        in_google: str = "",
        in_backend: str = "",
        redis: bool = True,
        appendonly: bool = True,
        wires: bool = True,
    ) -> None:
        super().__init__(directory, seed=seed)
        self._wires = wires
        self.directory = directory
        self._toml = toml
        self._in_google = in_google
        self._in_backend = in_backend
        self.redis = BreakableRedis(directory / "redis", appendonly=appendonly) if redis else None
        self.network = Network()
        self._count = nodes
        self.nodes: list[Node] = []

    def __enter__(self) -> Cluster:
        self.network.__enter__()
        try:
            self.sandbox.start().wait_listening()
            if self.redis is not None:
                self.redis.start()
            self._make_nodes()
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
        if self.redis is not None:
            self.redis.kill()
        self.sandbox.kill()
        self.network.__exit__()

    @property
    def url(self) -> str:
        """Where pages go."""
        return f"http://127.0.0.1:{self.balancer.port}"

    @property
    def breakable(self) -> BreakableRedis:
        """The redis-server, where there is one."""
        assert self.redis is not None, "these daemons are embedded"
        return self.redis

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def log(self) -> str:
        """What all the daemons said."""
        return "\n".join(f"--- {node.name}\n{node.child.log()}" for node in self.nodes)

    def add_node(self) -> Node:
        """One more, not started and not behind the balancer."""
        node = Node(f"node{len(self.nodes)}", self.directory / f"node{len(self.nodes)}", self, self.network)
        self.nodes.append(node)
        return node

    def configure(self, node: Node) -> None:
        """Write its configuration."""
        toml = self._toml
        if self.redis is not None:
            port = self.redis.port
            if self._wires:
                node.to_redis = node.to_redis or self.network.wire(port)
                port = node.to_redis.port
            toml += f'\n[backend]\nurl = "redis://127.0.0.1:{port}/0"\n{self._in_backend}\n'
        (node.directory / "secret").write_text("a secret of the project")
        (node.directory / "docsession.toml").write_text(
            configuration(
                self,
                listen=node.port,
                admin=node.admin_port,
                public_url=self.url,
                door=f"http://{node.door}" if self._wires else "",
                in_google=self._in_google,
                toml=toml,
            )
        )

    @contextmanager
    def away(self, node: Node) -> Iterator[None]:
        """That node does not reach Redis in this context: nothing breaks, and nothing passes."""
        assert node.to_redis is not None
        node.to_redis.freeze()
        try:
            yield
        finally:
            node.to_redis.heal()

    def assert_quiet(self) -> None:
        """No daemon reported a bug of its own."""
        for node in self.nodes:
            for line in node.child.log().splitlines():
                if '"level":"critical"' in line or "Traceback" in line:
                    raise ChildFailed(f"{node.name} reports: {line[:3000]}")

    def _make_nodes(self) -> None:
        nodes = [self.add_node() for _ in range(self._count)]
        self.balancer = self.network.balancer({node.name: node.port for node in nodes})
        for node in nodes:
            self.configure(node)
