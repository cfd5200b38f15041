"""The daemon under measurement: its sandbox, its configuration, its seeded store, and its tabs."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sockets.generator import GENERATOR_CORE, SERVER_CORE, Script, pinned
from benchmarks.sockets.seed import WRITER
from docsession.google.look import OWN_FIELDS, SHARED_FIELDS
from tests.daemon.children import Child, free_port, twistd
from tests.daemon.server import DRIVE, Google

__all__ = ["ASK", "KEY", "Ours", "User", "document"]

ROOT = Path(__file__).parents[2]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ASK = "id,name,version,modifiedTime"

# What would come between two turns is put off: looks by the clock, proofs that grow old, refreshes. And
# a benchmark calls as fast as it can, which no page may.
QUIET = """
[polling]
visible = 86400
hidden = 86400
proof = 86400
cache = 86400
comments = 86400
[limits]
connections_per_session = 1000
connections_per_user = 1000
calls_per_second = 1000000000
calls_burst = 1000000000
accepts_per_second = 100000
opens_per_second = 100000
"""


@dataclass(frozen=True)
class User:
    """A signed-in browser."""

    id: str
    email: str
    watches: tuple[str, ...]
    session: str = ""
    cookie: str = ""


def document(number: int) -> str:
    """The id of a seeded document."""
    return f"document-{number:04}"


class Ours:
    """Sandbox and daemon as processes of their own. A context manager."""

    name = "docsession"

    def __init__(
        self,
        directory: Path,
        *,
        users: Sequence[Sequence[int]],
        documents: int,
        toml: str = QUIET,
        listen: str = "",
        ping_every: float = 3600,
        port: int = 0,
    ) -> None:
        """``users``: which documents each of them has seen; ``listen``: another endpoint than TCP's,
        and ``port`` of whoever stands in front of it."""
        self.directory = directory
        self.documents = documents
        self._wanted = users
        people = [{"email": email(number), "name": f"Person {number:03}"} for number in range(len(users))]
        people.append({"email": "writer@example.com", "name": "The Writer"})
        files = [
            {
                "id": document(number),
                "name": f"Document {number}",
                "shared": {"anyone": "writer"},
                "text": ".",
            }
            for number in range(documents)
        ]
        self.google = Google(directory, seed={"people": people, "files": files})
        self.port = port or free_port()
        self.admin_port = free_port()
        self.control = directory / "control"
        self.config = directory / "docsession.toml"
        (directory / "daemon").mkdir()
        (directory / "secret").write_text("a secret of the project")
        limits = f"\nping_every = {ping_every}\npong_within = 60\nheartbeat = {ping_every + 100}\n"
        self.config.write_text(self._configuration(listen) + toml.replace("[limits]", f"[limits]{limits}"))
        self.child = Child(
            pinned(SERVER_CORE, twistd("-y", str(Path(__file__).with_name("daemon.py")))),
            cwd=directory / "daemon",
            port=self.port,
            env={
                "PYTHONPATH": str(ROOT),
                "DOCSESSION_BENCH_SOCKET": str(self.control),
                "DOCSESSION_BENCH_CONFIG": str(self.config),
            },
        )
        self.users: list[User] = []
        self.listens_on_tcp = not listen
        # A unix endpoint is "unix:PATH", or has options behind the path.
        self._address = ":".join(listen.split(":")[:2]) if listen else f"tcp:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """For the generator."""
        return self._address

    def __enter__(self) -> Ours:
        self.google.sandbox.start().wait_listening()
        os.sched_setaffinity(self.google.sandbox.pid, {GENERATOR_CORE})
        try:
            self._seed()
            self.start()
        except BaseException:
            self.google.sandbox.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.google.sandbox.kill()

    def start(self) -> None:
        self.child.start()
        self.child.wait_said("is ready at") if not self.listens_on_tcp else self.child.wait_listening()

    def stop(self) -> int:
        """SIGTERM."""
        return self.child.terminate()

    def pids(self) -> list[int]:
        """Whose CPU counts."""
        return [self.child.pid]

    def assert_quiet(self) -> None:
        """It reported no bug of its own."""
        for line in self.child.log().splitlines():
            if '"level":"critical"' in line or "Traceback" in line:
                raise AssertionError(line[:3000])

    def delayed_calls(self) -> int:
        """How many timed calls its reactor has."""
        return self._asked("delayed")[0]

    def held(self) -> tuple[int, int]:
        """How many bytes wait for the slowest of its tabs: in its queue, and in its transport."""
        queue, transport = self._asked("held")
        return queue, transport

    def _asked(self, what: str) -> list[int]:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.control))
            asking.sendall(what.encode() + b"\n")
            return [int(word) for word in asking.recv(100).split()]

    def google_calls(self) -> int:
        """What Google was asked since that was set to zero."""
        return int(self.google.control("GET", "/sandbox/calls")["total"]["calls"])

    def forget_google_calls(self) -> None:
        self.google.control("DELETE", "/sandbox/calls")

    # -- its tabs

    def tab(self, user: User, watches: Iterable[str] = (), *, visible: bool = True) -> Script:
        """Signed in, opened, watching."""
        open_params = {"session": user.session, "visible": visible}
        say = [call(0, "session.open", open_params)]
        again = [call(0, "session.open", {**open_params, "connection": "\1"})]
        for place, file_id in enumerate(watches, start=1):
            say.append(call(place, "documents.watch", {"fileId": file_id}))
            again.append(call(place, "documents.watch", {"fileId": file_id, "version": "\2"}))
        return Script(self.upgrade(user), say, again)

    def upgrade(self, user: User) -> bytes:
        """The request that a browser makes."""
        return (
            f"GET /api/socket HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nOrigin: {self.url}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nCookie: docsession={user.cookie}\r\n\r\n"
        ).encode()

    # -- inside

    def _seed(self) -> None:
        persons = [email(number) for number in range(len(self._wanted))] + ["writer@example.com"]
        wanted = [*self._wanted, range(self.documents)]
        users = [
            {
                "id": WRITER if each.startswith("writer") else f"user-{number:05}",
                "email": each,
                "name": each,
                "watches": [document(at) for at in watches],
            }
            for number, (each, watches) in enumerate(zip(persons, wanted, strict=True))
        ]
        with ThreadPoolExecutor(4) as pool:
            tokens = list(pool.map(_token, [(self.google.sandbox_port, some) for some in _parts(persons, 4)]))
        given = {each: token for some in tokens for each, token in some.items()}
        for each in users:
            each["token"] = given[str(each["email"])]
        files = _files(self.google.sandbox_port, given["writer@example.com"], self.documents)
        plan = self.directory / "plan.json"
        plan.write_text(json.dumps({"users": users, "files": files}), encoding="utf-8")
        argv = [sys.executable, "-m", "benchmarks.sockets.seed", str(self.config), str(plan)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, cwd=self.directory / "daemon", env=env, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"the store was not filled:\n{done.stderr[-3000:]}")
        cookies = json.loads(done.stdout)
        self.users = [
            User(str(each["id"]), str(each["email"]), tuple(each["watches"]), **cookie)  # type: ignore[arg-type]
            for each, cookie in zip(users, cookies, strict=True)
        ]

    def _configuration(self, listen: str) -> str:
        google = self.google.sandbox_url
        return f"""
[server]
listen = "{listen or f"tcp:{self.port}:interface=127.0.0.1"}"
admin_listen = "tcp:{self.admin_port}:interface=127.0.0.1"
public_url = "{self.url}"
[google]
client_id = "the-project"
client_secret_file = "secret"
scopes = ["{DRIVE}"]
[google.endpoints]
issuer = "{google}"
authorization = "{google}/o/oauth2/v2/auth"
token = "{google}/token"
revocation = "{google}/revoke"
certificates = "{google}/oauth2/v1/certs"
api = "{google}"
"""


def email(number: int) -> str:
    return f"person{number:05}@example.com"


def call(number: int, method: str, params: dict[str, Any]) -> bytes:
    """As a page sends it; \\1 and \\2 are left for the generator to fill in."""
    text = json.dumps(
        {"jsonrpc": "2.0", "id": str(number), "method": method, "params": params}, separators=(",", ":")
    )
    return text.replace("\\u0001", "\1").replace("\\u0002", "\2").encode()


def _parts(all_of_them: list[str], count: int) -> list[list[str]]:
    return [all_of_them[begin::count] for begin in range(count)]


def _token(given: tuple[int, list[str]]) -> dict[str, str]:
    port, emails = given
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    tokens = {}
    for each in emails:
        body = json.dumps({"email": each, "client_id": "the-project"})
        asking.request("POST", "/sandbox/token", body, {"Content-Type": "application/json"})
        tokens[each] = json.loads(asking.getresponse().read())["access_token"]
    asking.close()
    return tokens


def _files(port: int, token: str, count: int) -> list[dict[str, Any]]:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    files = []
    for number in range(count):
        path = f"/drive/v3/files/{document(number)}?fields={SHARED_FIELDS},{OWN_FIELDS}"
        asking.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        files.append(json.loads(asking.getresponse().read()))
    asking.close()
    return files
