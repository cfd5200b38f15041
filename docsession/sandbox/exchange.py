"""One request to Google, from door to door: metered, held against the quota, and broken
where a fault says so. The OAuth half and the Drive half both answer through here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from docsession.sandbox.answers import JSON, Answer, send
from docsession.sandbox.calls import Calls, Quota, units_of
from docsession.sandbox.errors import DriveError
from docsession.sandbox.faults import Fault, Faults

__all__ = ["Exchange"]


class Exchange:
    """The one door through which every answer of Google's side goes."""

    def __init__(self, clock: IReactorTime, calls: Calls, faults: Faults, quota: Quota) -> None:
        self._clock = clock
        self._calls = calls
        self._faults = faults
        self._quota = quota

    async def perform(
        self,
        request: IRequest,
        method: str,
        email: str | None,
        file_id: str | None,
        action: Callable[[], Answer],
        *,
        units: int | None = None,
    ) -> bytes:
        """Do ``action`` and answer ``request`` with what it returns, unless a fault says otherwise.

        ``method`` is Google's id of it (``drive.files.get``, ``oauth2.token.refresh``);
        ``email`` is whose token came with it; ``units`` what it costs, where that does not
        follow from the method. What the route is to return is returned.
        """
        units = units_of(method) if units is None else units
        door = request.getHeader("Host") or ""
        with self._calls.metered(method, email, file_id, units, door) as call:
            fault = self._faults.take(method, email, file_id)
            if fault is not None and fault.delay:
                await self._wait(fault.delay)
            if fault is not None and fault.breaks and not (fault.after or fault.cut):
                call.status = fault.status_code
                return await self._fail(request, fault, method, file_id)
            try:
                self._quota.admit(method, email, units)
                answer = action()
            except DriveError as refusal:
                answer = Answer(refusal.status, msgspec.json.encode(refusal.body), JSON, refusal.headers)
            if fault is not None and fault.after:
                call.status = fault.status_code
                return await self._fail(request, fault, method, file_id)
            call.status = answer.status
            if fault is not None and fault.cut:
                return await self._cut(request, answer)
            return send(request, answer)

    async def _fail(self, request: IRequest, fault: Fault, method: str, file_id: str | None) -> bytes:
        """Answer as the fault says, or not at all: then this ends when the caller hangs up."""
        if fault.answers:
            return send(request, fault.answer(method, file_id))
        if fault.drops:
            cast(Request, request).loseConnection()
        never: Deferred[bytes] = Deferred()
        return await never

    async def _cut(self, request: IRequest, answer: Answer) -> bytes:
        """Half of it, though the headers promise the whole; then the line breaks."""
        body = send(request, answer)
        request.write(body[: len(body) // 2])
        cast(Request, request).loseConnection()
        never: Deferred[bytes] = Deferred()
        return await never

    async def _wait(self, seconds: float) -> None:
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(seconds, waiting.callback, None)
        await waiting
