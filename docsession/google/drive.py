"""Sends prepared Drive requests: through the gate, with a good token, tried again where safe.

A read is tried again after anything that may pass. A write is tried again only when Google
said it did not do it (401, a rate reason) or when it provably never left; otherwise its
outcome is unknown, and the caller is told so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlencode

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import (
    DocsessionError,
    GoogleUnavailable,
    NotSignedIn,
    OutcomeUnknown,
    RateLimited,
    ScopeMissing,
)
from docsession.google.drive_request import DriveRequest
from docsession.google.gate import Gate
from docsession.google.grant import LiveGrant
from docsession.google.http import GoogleHttp, NoAnswer, NotSent, Reply
from docsession.google.refusals import Kind, Refusal, read
from docsession.interfaces import Sending
from docsession.tasks import delays, sleep

__all__ = ["AccessRefused", "Account", "Drive"]


class Account(Protocol):
    """In whose name a request is sent."""

    @property
    def id(self) -> str: ...

    @property
    def grant(self) -> LiveGrant: ...


class AccessRefused(Exception):
    """A final refusal, kept whole for callers that must tell its reasons apart."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Drive:
    """The Drive API for all users."""

    _log = Logger()

    def __init__(
        self,
        http: GoogleHttp,
        gate: Gate,
        *,
        api: str,
        clock: IReactorTime,
        rng: random.Random,
        tries: int,
        on_request: Callable[[str, str, int], None] = lambda method, outcome, cost: None,
    ) -> None:
        self._http = http
        self._gate = gate
        self._api = api.rstrip("/")
        self._clock = clock
        self._rng = rng
        self._tries = tries
        self._on_request = on_request

    async def call(
        self,
        account: Account,
        request: DriveRequest,
        *,
        poll: bool = False,
        sending: Sending | None = None,
    ) -> dict[str, Any]:
        """Google's answer, decoded ({} where Google sends none).

        Raises any of the Google errors of :mod:`docsession.errors`.
        """
        try:
            return await self.ask(account, request, poll=poll, sending=sending)
        except AccessRefused as refused:
            raise refused.refusal.error() from None

    async def ask(
        self,
        account: Account,
        request: DriveRequest,
        *,
        poll: bool = False,
        sending: Sending | None = None,
    ) -> dict[str, Any]:
        """As :meth:`call`, but a final refusal is raised as :class:`AccessRefused`."""
        writing = request.method.is_write
        waits = delays(self._rng)
        rejected: str | None = None
        failure: DocsessionError = GoogleUnavailable(retry_after=5)
        for tries_left in range(self._tries - 1, -1, -1):
            token = await account.grant.token(rejected=rejected)
            pause = next(waits)
            try:
                reply = await self._gate.run(
                    account.id, partial(self._send, request, token, sending), poll=poll
                )
            except NotSent as error:
                self._count(request, "not_sent", error)
                failure = GoogleUnavailable("Google cannot be reached", retry_after=5)
            except NoAnswer as error:
                self._count(request, "no_answer", error)
                if writing:
                    raise OutcomeUnknown from None
                failure = GoogleUnavailable(retry_after=5)
            else:
                if reply.status < 400:
                    try:
                        answer = reply.json() if reply.body.strip() else {}
                    except NoAnswer as error:
                        self._count(request, "nonsense", error)
                        if writing:
                            raise OutcomeUnknown from None
                        failure = GoogleUnavailable("Google answered nonsense", retry_after=5)
                    else:
                        self._on_request(request.method.id, "ok", request.method.cost)
                        return answer
                else:
                    refusal = read(reply)
                    self._count(request, refusal.reason or str(refusal.status), None)
                    if refusal.kind is Kind.STALE_TOKEN:
                        if rejected is not None:
                            raise NotSignedIn
                        rejected, pause = token, 0.0
                        failure = NotSignedIn()
                    else:
                        failure = self._judge(refusal, account, request, pause)
                        pause = max(pause, refusal.patience)
            if tries_left == 0:
                break
            if isinstance(failure, RateLimited) and not poll and pause > 10:
                break
            if sending is not None:
                await sending.not_done()
            if pause:
                await sleep(self._clock, pause)
        raise failure

    def _judge(
        self, refusal: Refusal, account: Account, request: DriveRequest, pause: float
    ) -> DocsessionError:
        """The error to end with if no further try goes better; raises where none may be made."""
        if refusal.kind is Kind.SCOPE:
            raise ScopeMissing(list(request.method.scopes))
        if refusal.kind is Kind.FINAL:
            raise AccessRefused(refusal)
        if refusal.kind is Kind.WEATHER:
            if request.method.is_write:
                raise OutcomeUnknown
            return GoogleUnavailable(retry_after=max(refusal.patience, 5))
        slowed = account.id if refusal.kind is Kind.SLOW_USER else None
        self._gate.pause(slowed, max(refusal.patience, pause))
        return refusal.error()

    async def _send(self, request: DriveRequest, token: str, sending: Sending | None) -> Reply:
        if sending is not None:
            await sending.about_to_send()
        url = f"{self._api}/drive/v3/{request.path}"
        if request.query:
            url = f"{url}?{urlencode(request.query)}"
        return await self._http.send(request.method.http_method, url, token=token, json=request.body)

    def _count(self, request: DriveRequest, outcome: str, error: Exception | None) -> None:
        self._on_request(request.method.id, outcome, request.method.cost)
        if error is not None:
            self._log.warn(
                "{method} at Google: {outcome}: {error}",
                method=request.method.id,
                outcome=outcome,
                error=str(error),
            )
