"""A whole daemon with its sandbox, as child processes on free ports, for tests on real sockets."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.daemon.children import Child, free_port, twistd

DRIVE = "https://www.googleapis.com/auth/drive"


class Google:
    """The sandbox as a process of its own, and what a test asks of it from outside."""

    def __init__(self, directory: Path, *, seed: dict[str, Any] | None = None) -> None:
        self.sandbox_port = free_port()
        self.sandbox_url = f"http://127.0.0.1:{self.sandbox_port}"
        (directory / "sandbox").mkdir()
        if seed is None:
            world = ["--state", str(directory / "sandbox" / "world.json")]
        else:
            (directory / "seed.json").write_text(json.dumps(seed))
            world = ["--seed", str(directory / "seed.json")]
        self.sandbox = Child(
            twistd(
                "docsession-sandbox",
                "--listen",
                f"tcp:{self.sandbox_port}:interface=127.0.0.1",
                *world,
            ),
            cwd=directory / "sandbox",
            port=self.sandbox_port,
        )

    def control(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """A request to the sandbox; returns the decoded answer."""
        request = urllib.request.Request(f"{self.sandbox_url}{path}", method=method)
        request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=20) as answer:
            content = answer.read()
        return json.loads(content) if content.strip() else None

    def as_person(self, email: str, method: str, path: str, body: Any = None) -> Any:
        """A person does something at Google itself."""
        token = self.control("POST", "/sandbox/token", {"email": email})
        return self.control(method, path, body, token.get("token") or token["access_token"])

    def file(self, name: str) -> str:
        """The id of a seeded file."""
        files = self.control("GET", "/sandbox/overview")["files"]
        return str(next(file["id"] for file in files if file["name"] == name))

    def comments(self, file_id: str) -> list[str]:
        """What the comments of a file say, at Google."""
        path = f"/drive/v3/files/{file_id}/comments?fields=comments(content)&pageSize=100"
        found = self.as_person("ann@example.com", "GET", path)
        return [comment["content"] for comment in found["comments"]]


def configuration(
    google: Google,
    *,
    listen: int | str,
    admin: int,
    public_url: str,
    door: str = "",
    in_google: str = "",
    in_server: str = "",
    toml: str = "",
) -> str:
    """A daemon's configuration, as for a real Google project with other endpoints: nothing in it
    knows that its Google is a sandbox. ``door`` is where the daemon itself is to reach that; the
    client's secret is in the file ``secret`` beside it. ``listen`` is a port, or an endpoint."""
    door = door or google.sandbox_url
    endpoint = listen if isinstance(listen, str) else f"tcp:{listen}:interface=127.0.0.1"
    endpoints = "\n".join(
        f'{name} = "{url}"'
        for name, url in (
            ("issuer", google.sandbox_url),
            ("authorization", f"{google.sandbox_url}/o/oauth2/v2/auth"),
            ("token", f"{door}/token"),
            ("revocation", f"{door}/revoke"),
            ("certificates", f"{door}/oauth2/v1/certs"),
            ("api", door),
        )
    )
    return f"""
[server]
listen = "{endpoint}"
admin_listen = "tcp:{admin}:interface=127.0.0.1"
public_url = "{public_url}"
demo = true
{in_server}
[google]
client_id = "the-project"
client_secret_file = "secret"
scopes = ["{DRIVE}"]
{in_google}
[google.endpoints]
{endpoints}
{toml}
"""


class Server(Google):
    """The daemon, and the sandbox beside it, so that either can be killed alone."""

    def __init__(
        self,
        directory: Path,
        *,
        toml: str = "",
        google: str = "",
        port: int | None = None,
        public_url: str | None = None,
        listen: str | None = None,
        in_server: str = "",
        seed: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(directory, seed=seed)
        self.directory = directory
        self.port = port or free_port()
        self.admin_port = free_port()
        self.listen_port = self.port if port is None else free_port()
        self.url = public_url or f"http://127.0.0.1:{self.port}"
        (directory / "daemon").mkdir()
        (directory / "secret").write_text("a secret of the project")
        (directory / "docsession.toml").write_text(
            configuration(
                self,
                listen=listen or self.listen_port,
                admin=self.admin_port,
                public_url=self.url,
                in_google=google,
                in_server=in_server,
                toml=toml,
            )
        )
        self.daemon = Child(
            twistd("docsession", "--config", str(directory / "docsession.toml")),
            cwd=directory / "daemon",
            # Started last; on a unix socket nobody can knock by number.
            port=self.listen_port if listen is None else self.admin_port,
        )

    @property
    def database(self) -> Path:
        return self.directory / "daemon" / "docsession-state" / "docsession.sqlite"

    def __enter__(self) -> Server:
        self.sandbox.start().wait_listening()
        self.daemon.start().wait_listening()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.kill()
        self.sandbox.kill()

    def restart(self) -> None:
        """``kill -9``, and start again."""
        self.daemon.kill()
        self.daemon.start().wait_listening()
