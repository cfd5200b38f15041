"""Sends prepared Drive requests: through the gate, with a good token, tried again where safe.

A read is tried again after anything that may pass. A write is tried again only when Google
said it did not do it (401, a rate reason) or when it provably never left; otherwise its
outcome is unknown, and the caller is told so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import (
    DocsessionError,
    GoogleUnavailable,
    NotSignedIn,
    OutcomeUnknown,
    RateLimited,
    ScopeMissing,
    TooLarge,
)
from docsession.google.drive_request import DriveRequest
from docsession.google.gate import Gate
from docsession.google.grant import LiveGrant
from docsession.google.http import GoogleHttp, NoAnswer, NotSent, Reply
from docsession.google.refusals import Kind, Refusal, kinds_of, read
from docsession.google.slowing import Slowing
from docsession.interfaces import Sending
from docsession.tasks import Seldom, delays, sleep

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
        slowing: Slowing,
        *,
        api: str,
        clock: IReactorTime,
        rng: random.Random,
        tries: int,
        on_request: Callable[[str, str, int], None] = lambda method, outcome, cost: None,
        on_weather: Callable[[bool, float], None] = lambda well, retry_after: None,
        on_retry: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._http = http
        self._gate = gate
        self._slowing = slowing
        self._api = api.rstrip("/")
        self._clock = clock
        self._rng = rng
        self._tries = tries
        self._on_request = on_request
        self._on_weather = on_weather
        self._on_retry = on_retry
        # When Google is away every request says so; an operator needs to read it once a minute.
        self._seldom = Seldom(60.0)

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
        waits = delays(self._rng)
        tries = 0
        rejected: str | None = None
        while True:
            token = await account.grant.token(rejected=rejected)
            wait = next(waits)
            try:
                return await self._once(account, request, token, poll=poll, sending=sending)
            except _StaleToken:
                if sending is not None:
                    await sending.not_done()
                if rejected is not None:
                    # A token that was made just now: Google does not mean this one, but the grant.
                    await account.grant.refused(token)
                    raise NotSignedIn from None
                rejected, wait = token, 0.0
                self._on_retry("stale_token")
            except _Again as again:
                tries += 1
                # The gate keeps a limit's pause; after anything else it is waited for here.
                wait = 0.0 if again.limited else max(wait, again.wait)
                # A poll waits out a limit; after anything else the next poll is the next try.
                most = self._tries if again.limited or not poll else 1
                if sending is not None:
                    await sending.not_done()
                if tries >= most:
                    raise again.failure from None
                self._on_retry(again.reason)
            if wait:
                await sleep(self._clock, wait)

    async def _once(
        self,
        account: Account,
        request: DriveRequest,
        token: str,
        *,
        poll: bool,
        sending: Sending | None,
    ) -> dict[str, Any]:
        """One try. Raises _Again or _StaleToken where another may be made, else the final error."""
        method = request.method
        sent_at = 0.0

        async def send() -> Reply:
            nonlocal sent_at
            sent_at = self._clock.seconds()
            return await self._send(request, token, sending)

        try:
            reply = await self._gate.run(
                account.id, send, units=method.cost, poll=poll, kinds=kinds_of(method.id)
            )
        except NotSent as error:
            self._count(request, "not_sent", error)
            self._on_weather(False, 5.0)
            failure = GoogleUnavailable("Google cannot be reached", retry_after=5)
            raise _Again(failure, "not_sent") from None
        except (NoAnswer, TooLarge) as error:
            self._count(request, "no_answer", error)
            if isinstance(error, TooLarge) and not method.is_write:
                raise
            self._on_weather(False, 5.0)
            raise _unanswered(request, GoogleUnavailable(retry_after=5), "no_answer") from None
        if reply.status >= 400:
            raise self._refused(read(reply), account, request, sent_at)
        try:
            answer = _answer(request, reply)
        except NoAnswer as error:
            self._count(request, "nonsense", error)
            self._on_weather(False, 5.0)
            failure = GoogleUnavailable("Google answered nonsense", retry_after=5)
            raise _unanswered(request, failure, "nonsense") from None
        self._on_request(method.id, "ok", method.cost)
        self._on_weather(True, 0.0)
        self._slowing.answered(account.id, method.id, poll=poll)
        return answer

    def _refused(
        self, refusal: Refusal, account: Account, request: DriveRequest, sent_at: float
    ) -> Exception:
        """What to raise for this refusal; who is to slow down does."""
        reason = refusal.reason or str(refusal.status)
        self._count(request, reason, None)
        if refusal.kind is Kind.WEATHER:
            failure = GoogleUnavailable(retry_after=max(refusal.patience, 5))
            self._on_weather(False, failure.retry_after or 5.0)
            return _unanswered(request, failure, reason, refusal.patience)
        self._on_weather(True, 0.0)
        if refusal.kind is Kind.STALE_TOKEN:
            return _StaleToken()
        if refusal.kind is Kind.SCOPE:
            return ScopeMissing(list(request.method.scopes))
        wait = self._slowing.refused(refusal, account.id, sent_at)
        if not refusal.kind.is_limit:
            return AccessRefused(refusal)
        error = RateLimited("Google's limit is reached", retry_after=max(wait, 1.0))
        return _Again(error, reason, limited=True)

    async def _send(self, request: DriveRequest, token: str, sending: Sending | None) -> Reply:
        if sending is not None:
            await sending.about_to_send()
        return await self._http.send(
            request.method.http_method, request.url(self._api), token=token, json=request.body
        )

    def _count(self, request: DriveRequest, outcome: str, error: Exception | None) -> None:
        self._on_request(request.method.id, outcome, request.method.cost)
        if error is None:
            return
        unsaid = self._seldom.take(outcome, self._clock.seconds())
        if unsaid is not None:
            self._log.warn(
                "{method} at Google: {outcome}: {error} (unsaid since the last such line: {count})",
                method=request.method.id,
                outcome=outcome,
                error=str(error),
                count=unsaid,
            )


class _StaleToken(Exception):
    """Google does not know the access token any more."""


class _Again(Exception):
    """Another try, after ``wait`` seconds at least, may go better; else ``failure`` is the end."""

    def __init__(
        self, failure: DocsessionError, reason: str, wait: float = 0.0, *, limited: bool = False
    ) -> None:
        super().__init__()
        self.failure = failure
        self.reason = reason
        self.wait = wait
        self.limited = limited


def _answer(request: DriveRequest, reply: Reply) -> dict[str, Any]:
    """What Google said; only what is answered with nothing may be empty. Raises NoAnswer."""
    if not 200 <= reply.status < 300:
        raise NoAnswer(f"status {reply.status}")  # no redirect is ever meant for us
    if request.method.response is None and not reply.body.strip():
        return {}
    answer: dict[str, Any] = reply.json()
    return answer


def _unanswered(request: DriveRequest, failure: DocsessionError, reason: str, wait: float = 0.0) -> Exception:
    """It was sent and not properly answered: only a read may be tried again."""
    return OutcomeUnknown() if request.method.is_write else _Again(failure, reason, wait)
