"""What the nodes tell each other of users and of sessions: by kind, to whoever has registered for it.

It says only *look*: a message may be lost, come twice or late, and whoever hears one compares with
the store or with what is live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.logger import Logger

from docsession.interfaces import Bus

__all__ = ["AllChannel", "UserChannel"]

Message = Mapping[str, Any]


class UserChannel:
    """The channel of each user who is live here. ``kind`` says what a message is about."""

    _log = Logger()

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._calls: dict[str, Callable[[str, Message], None]] = {}

    def on(self, kind: str, call: Callable[[str, Message], None]) -> None:
        """Who hears messages of this kind: the user's id, and the message."""
        assert kind not in self._calls, kind
        self._calls[kind] = call

    def open(self, user_id: str) -> None:
        """Hear what concerns this user from now on."""
        self._bus.subscribe(_name(user_id), partial(self._heard, user_id))

    def close(self, user_id: str) -> None:
        """Not any more."""
        self._bus.unsubscribe(_name(user_id))

    def say(self, user_id: str, kind: str, **fields: Any) -> None:
        """Tell the other nodes where this user is live."""
        self._bus.publish(_name(user_id), {"kind": kind, **fields})

    async def others(self, user_id: str) -> int:
        """On how many other nodes this user is live. May raise Unavailable."""
        return await self._bus.listeners(_name(user_id))

    def _heard(self, user_id: str, message: Message) -> None:
        call = self._calls.get(message.get("kind", ""))
        if call is not None:  # else a newer node says something that means nothing here
            try:
                call(user_id, message)
            except Exception:
                self._log.failure("what another node said of a user could not be used")


class AllChannel:
    """The channel that all nodes hear."""

    _log = Logger()

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._calls: dict[str, Callable[[Message], None]] = {}

    def on(self, kind: str, call: Callable[[Message], None]) -> None:
        """Who hears messages of this kind."""
        assert kind not in self._calls, kind
        self._calls[kind] = call

    def open(self) -> None:
        """Hear what is said from now on."""
        self._bus.subscribe("all", self._heard)

    def close(self) -> None:
        """Not any more."""
        self._bus.unsubscribe("all")

    def say(self, kind: str, **fields: Any) -> None:
        """Tell all the other nodes."""
        self._bus.publish("all", {"kind": kind, **fields})

    def _heard(self, message: Message) -> None:
        call = self._calls.get(message.get("kind", ""))
        if call is not None:
            try:
                call(message)
            except Exception:
                self._log.failure("what another node said to all could not be used")


def _name(user_id: str) -> str:
    return f"user:{user_id}"
