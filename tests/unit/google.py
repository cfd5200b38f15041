"""Google as a list of answers: for the parts that speak with it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from docsession.backend.memory import WholeQuota
from docsession.config import Quota
from docsession.google.budget import Budget
from docsession.google.gate import Gate
from docsession.google.http import Reply
from docsession.google.pauses import Pauses
from docsession.google.slowing import Slowing
from docsession.google.table import TABLE
from docsession.interfaces import Shares


def reply(status: int = 200, body: Any = None, **headers: str) -> Reply:
    """An answer; ``body`` is JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    named = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return Reply(status, Headers(named), data)


def refusal(status: int, reason: str, *, domain: str = "global", **headers: str) -> Reply:
    """Drive's error envelope."""
    entry = {"message": "No.", "domain": domain, "reason": reason}
    return reply(status, {"error": {"code": status, "message": "No.", "errors": [entry]}}, **headers)


class FakeHttp:
    """Answers one after the other; an exception is raised, a Deferred waited for."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []
        self.on_send: Callable[[], None] = lambda: None

    async def send(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        self.sent.append({"method": method, "url": url, "token": token, "json": json, "form": form})
        self.on_send()
        assert self.answers, f"nobody expected {method} {url}"
        answer = self.answers.pop(0)
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Reply)
        return answer


class Door:
    """A gate with all that is behind it."""

    def __init__(
        self, clock: Clock, quota: Quota | None = None, shares: Shares | None = None, **limits: int
    ) -> None:
        self.told: list[tuple[str | None, str, float]] = []
        self.budget = Budget(clock, quota or Quota(), shares or WholeQuota())
        self.pauses = Pauses(clock, random.Random(5))
        sizes = {"in_flight": 8, "per_user": 4, "media": 2, "media_per_user": 1} | limits
        self.gate = Gate(clock, self.budget, self.pauses, **sizes)
        self.said: list[dict[str, Any]] = []
        self.slowing = Slowing(
            clock,
            self.gate,
            self.budget,
            self.pauses,
            tell=lambda *said: self.told.append(said),
            say=lambda kind, **fields: self.said.append({"kind": kind, **fields}),
        )


class FakeGrant:
    """Access tokens t0, t1, …: the next one when one was rejected."""

    def __init__(self) -> None:
        self.number = 0
        self.asked: list[str | None] = []
        self.failing: Exception | None = None
        self.refusals: list[str] = []

    async def refused(self, token: str) -> None:
        self.refusals.append(token)

    async def token(self, *, rejected: str | None = None) -> str:
        self.asked.append(rejected)
        if self.failing is not None:
            raise self.failing
        if rejected == f"t{self.number}":
            self.number += 1
        return f"t{self.number}"


class FakeAccount:
    def __init__(self, user_id: str = "ann") -> None:
        self.id = user_id
        self.grant = FakeGrant()


def method(method_id: str) -> Any:
    return TABLE.methods[f"drive.{method_id}"]


def clock(now: float = 1_000_000.0) -> Clock:
    moved = Clock()
    moved.advance(now)
    return moved
