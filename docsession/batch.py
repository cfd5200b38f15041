"""The calls of one message: all run at once, as if they had come singly, and one message answers them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from docsession import rpc
from docsession.errors import TooLarge

__all__ = ["Answer", "Batch"]

Answer = bytes | Coroutine[Any, Any, bytes | None] | None
"""An answer (None: none is sent), or where something must be waited for, what waits for it."""


class Batch:
    """Their answers, in the order of the calls."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._ids: list[bytes | None] = []
        self._answers: list[bytes | None] = []
        self._later: dict[int, Deferred[bytes | None]] = {}

    def add(self, call_id: bytes | None, answer: Answer) -> None:
        """The next; one that waits begins to."""
        if answer is not None and not isinstance(answer, bytes):
            self._later[len(self._ids)] = Deferred.fromCoroutine(answer)
            answer = None
        self._ids.append(call_id)
        self._answers.append(answer)

    def answer(self) -> Answer:
        """All of them together."""
        return self._in_time() if self._later else self._message()

    async def _in_time(self) -> bytes | None:
        try:
            for number, answer in self._later.items():
                self._answers[number] = await answer
        except CancelledError:
            for answer in self._later.values():
                answer.addErrback(lambda _: None)
                answer.cancel()
            raise
        return self._message()

    def _message(self) -> bytes | None:
        """From where they are too large for one message, the error instead."""
        room = self._most
        said: list[bytes] = []
        for call_id, answer in zip(self._ids, self._answers, strict=True):
            if answer is None or call_id is None:
                continue
            if len(answer) > room:
                answer = rpc.answer(call_id, rpc.error_outcome(TooLarge(self._most)))
            room -= len(answer)
            said.append(answer)
        return rpc.batch(said) if said else None
