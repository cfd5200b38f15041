"""The sandbox in memory, asked by people: no socket, no reactor, a clock that is moved by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlencode

from treq.testing import StubTreq
from twisted.internet.task import Clock

from docsession.sandbox.app import Sandbox

__all__ = ["ANN", "BASE", "BOB", "CAT", "Driver", "Reply"]

BASE = "http://127.0.0.1:8766"
START = 1_795_000_000.0
ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal of Drive's; the status comes with it, as ``404 notFound``."""
        return f"{self.status} {self.json['error']['errors'][0]['reason']}"


class Driver:
    """A sandbox, and people who call it."""

    def __init__(self, seed: Mapping[str, Any] | None = None, *, scopes: str = "drive", **more: Any) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.sandbox = Sandbox(self.clock, base_url=BASE, world=seed, rng=Random(7), **more)
        self.treq = StubTreq(self.sandbox.resource())
        self.scopes = scopes

    def token(self, email: str, scopes: str | None = None, client_id: str = "sandbox") -> str:
        names = (scopes or self.scopes).split()
        full = frozenset("https://www.googleapis.com/auth/" + name for name in names)
        return self.sandbox.grants.issue(email, full, client_id)

    def begin(
        self,
        verb: str,
        path: str,
        *,
        who: str | None = ANN,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> list[Reply | Exception]:
        """Ask; what comes back is put into the list, now or after the clock has moved."""
        if query:
            path += "?" + urlencode(
                {k: str(v).lower() if v in (True, False) else v for k, v in query.items()}
            )
        sent = dict(headers or {})
        if token is None and who is not None:
            token = self.token(who)
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data: dict[str, Any] = {}
        if body is not None:
            data["data"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        got: list[Reply | Exception] = []
        asked = self.treq.request(
            verb, BASE + path, headers=sent, unbuffered=False, allow_redirects=False, **data
        )

        def read(response: Any) -> Any:
            named = {
                name.decode().lower(): values[0].decode()
                for name, values in response.headers.getAllRawHeaders()
            }
            whole = self.treq.content(response)
            return whole.addCallback(lambda content: got.append(Reply(response.code, named, content)))

        asked.addCallback(read)
        asked.addErrback(lambda failure: got.append(failure.value))
        self.treq.flush()
        return got

    def ask(self, verb: str, path: str, **more: Any) -> Reply:
        """Ask, and have the answer at once."""
        (got,) = self.begin(verb, path, **more)
        assert isinstance(got, Reply), got
        return got

    def drive(self, verb: str, path: str, **more: Any) -> Reply:
        """Ask Drive; the path is relative to ``/drive/v3/``, other keywords are parameters."""
        own = {name: more.pop(name) for name in ("who", "body", "headers", "token") if name in more}
        return self.ask(verb, "/drive/v3/" + path, query=more, **own)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.treq.flush()

    def id_of(self, name: str) -> str:
        """The id of the file of this name."""
        (found,) = [file.id for file in self.sandbox.world.files.values() if file.name == name]
        return found

    def start_token(self, who: str = ANN) -> str:
        return str(self.drive("GET", "changes/startPageToken", who=who).json["startPageToken"])

    def changes(self, token: str, who: str = ANN, **more: Any) -> tuple[list[tuple[str, bool]], str]:
        """What is new since the token, as (file name or id, removed), and the token to go on with."""
        seen: list[tuple[str, bool]] = []
        while True:
            page = self.drive(
                "GET",
                "changes",
                who=who,
                pageToken=token,
                fields="nextPageToken,newStartPageToken,changes(removed,fileId,driveId,file/name)",
                **more,
            ).json
            for change in page["changes"]:
                name = change.get("file", {}).get("name") or change.get("fileId") or change["driveId"]
                seen.append((name, change["removed"]))
            if "newStartPageToken" in page:
                return seen, page["newStartPageToken"]
            token = page["nextPageToken"]
