"""Who the daemon is measured beside: how each is installed and started.

Everything goes to ``benchmarks/.peers``, which Git does not see. A peer that cannot be had is left out
with a sentence; it never fails the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sockets.generator import SERVER_CORE, pinned
from tests.daemon.children import Child, free_port

__all__ = ["PEERS", "Peer", "Running", "installed", "nginx"]

SERVERS = Path(__file__).with_name("servers")
HOME = Path(__file__).parents[1] / ".peers"
_PACKAGES = {
    "autobahn": ["autobahn[twisted]>=24,<27"],
    "websockets": ["websockets>=15,<18"],
    "uvloop": ["websockets>=15,<18", "uvloop>=0.20,<1"],
    "aiohttp": ["aiohttp>=3.10,<4"],
    "socketify": ["socketify>=0.0.30,<0.1"],
    "channels": ["django>=5,<6", "channels>=4.2,<5", "daphne>=4.1,<5"],
}
_NODE_WS = "ws@^8.18"
_NCHAN = "libnginx-mod-nchan"
_NATS = "nats-server"


class Missing(Exception):
    """Why a peer cannot be had, as a sentence."""


@dataclass(frozen=True)
class Peer:
    """``install`` raises Missing; ``argv`` is the command for a port, ``files`` what lies where it
    runs. ``most`` is to how many tabs it can tell something in a time worth waiting for, ``answers``
    whether it has requests at all, ``calls`` whether also such as have to be read; ``speaks`` is what
    the generator calls its protocol."""

    name: str
    what: str
    install: Callable[[], None]
    argv: Callable[[int], list[str]]
    most: int = 10_000
    flights: tuple[int, ...] = (1, 8)
    answers: bool = True
    calls: bool = False
    speaks: str = "tcp"
    files: Callable[[int], dict[str, str]] = lambda port: {}


class Running:
    """One that runs, bound to the servers' core. A context manager."""

    def __init__(self, peer: Peer, directory: Path) -> None:
        self.peer = peer
        self.name = peer.name
        self.port = free_port()
        self.directory = directory / peer.name
        self.directory.mkdir(parents=True)
        for name, text in peer.files(self.port).items():
            (self.directory / name).write_text(text, encoding="utf-8")
        self.child = Child(pinned(SERVER_CORE, peer.argv(self.port)), cwd=self.directory, port=self.port)

    def __enter__(self) -> Running:
        self.child.start().wait_listening()
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()

    @property
    def address(self) -> str:
        return f"{self.peer.speaks}:{self.port}"

    def pids(self) -> list[int]:
        """Its processes."""
        return [self.child.pid, *children(self.child.pid)]


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(each) for each in listed.split()]


def installed(names: Iterable[str]) -> tuple[list[Peer], list[str]]:
    """Those of them that can be had, and a sentence for each of the others."""
    found, notes = [], []
    for name in names:
        peer = PEERS[name]
        try:
            peer.install()
        except Missing as missing:
            notes.append(f"{name} is left out: {missing}")
        else:
            found.append(peer)
    return found, notes


# -- installing


def _python() -> Path:
    return HOME / "venv" / "bin" / "python"


def _pip(name: str) -> Callable[[], None]:
    def install() -> None:
        stamp = HOME / f"pip-{name}.done"
        wanted = " ".join(_PACKAGES[name])
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and _python().exists():
            return
        if not _python().exists():
            venv.create(HOME / "venv", with_pip=True)
        argv = [str(_python()), "-m", "pip", "install", "--quiet", *_PACKAGES[name]]
        _run(argv, "pip did not install it")
        stamp.write_text(wanted, encoding="utf-8")

    return install


def _npm() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("there is no node, or no npm")
    home = HOME / "node"
    if not (home / "node_modules" / "ws").exists():
        home.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", _NODE_WS]
        _run(argv, "npm did not install it")


def nginx() -> str | None:
    """Where nginx is."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _nchan_module() -> Path:
    return HOME / "deb" / "usr" / "lib" / "nginx" / "modules" / "ngx_nchan_module.so"


def _nchan() -> None:
    if nginx() is None:
        raise Missing("there is no nginx (Debian: nginx-light)")
    _debian(_NCHAN, _nchan_module())


def _nats_server() -> Path:
    return HOME / "deb" / "usr" / "sbin" / "nats-server"


def _debian(name: str, made: Path) -> None:
    """Debian's package is unpacked here, which needs no root; ``made`` is a file of it."""
    if made.exists():
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing(f"this is no Debian, where {name} would come from")
    home = HOME / "deb"
    home.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", name], f"apt-get did not download {name} (apt-get update?)", cwd=home)
    for package in home.glob(f"{name}_*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(home)], f"{name} was not unpacked")


def _nothing() -> None:
    """It is there already."""


def _run(argv: list[str], complaint: str, cwd: Path | None = None) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [""]
        raise Missing(f"{complaint}: {last[0][:200]}")


# -- starting


def _script(name: str, *more: str) -> Callable[[int], list[str]]:
    return lambda port: [str(_python()), str(SERVERS / f"{name}.py"), str(port), *more]


def _nchan_conf(port: int) -> dict[str, str]:
    text = f"""
load_module {_nchan_module()};
daemon off;
worker_processes 1;
pid nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    nchan_shared_memory_size 512m;
    nchan_message_buffer_length 32;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/sub/(.*)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/pub/(.*)$ {{ nchan_publisher websocket; nchan_channel_id $1; }}
    }}
}}
"""
    return {"nginx.conf": text}


def _nats_conf(port: int) -> dict[str, str]:
    text = f"""
listen: "127.0.0.1:-1"
max_connections: 20000
websocket {{ listen: "127.0.0.1:{port}", no_tls: true, compression: false }}
"""
    return {"nats.conf": text}


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "floor-py",
            "a loop of socket.send in Python: no server",
            _nothing,
            lambda port: [sys.executable, str(SERVERS / "floor.py"), str(port)],
        ),
        Peer(
            "websockets",
            "websockets, asyncio",
            _pip("websockets"),
            _script("websockets_server"),
            calls=True,
        ),
        Peer(
            "websockets+uvloop",
            "websockets, uvloop",
            _pip("uvloop"),
            _script("websockets_server", "uvloop"),
            calls=True,
        ),
        Peer(
            "autobahn",
            "stock Autobahn on Twisted",
            _pip("autobahn"),
            _script("stock_autobahn"),
            calls=True,
        ),
        Peer("uwebsockets", "uWebSockets (C++, socketify)", _pip("socketify"), _script("socketify_server")),
        Peer(
            "nchan",
            "nginx with nchan (C)",
            _nchan,
            lambda port: [str(nginx()), "-p", "./", "-e", "error.log", "-c", "nginx.conf"],
            answers=False,
            files=_nchan_conf,
        ),
        Peer(
            "nats",
            "nats-server (Go)",
            lambda: _debian(_NATS, _nats_server()),
            lambda port: [str(_nats_server()), "-c", "nats.conf", "-l", "nats.log"],
            answers=False,
            speaks="nats",
            files=_nats_conf,
        ),
        Peer(
            "node-ws",
            "ws on node",
            _npm,
            lambda port: [
                "node",
                str(SERVERS / "node_ws.js"),
                str(port),
                str(HOME / "node" / "node_modules" / "ws"),
            ],
        ),
        Peer("aiohttp", "aiohttp, asyncio", _pip("aiohttp"), _script("aiohttp_server")),
        Peer(
            "channels",
            "Django Channels, daphne, layer in memory",
            _pip("channels"),
            _script("channels_server"),
            most=1000,
            flights=(1,),
        ),
    )
}
