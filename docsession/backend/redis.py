"""The link to Redis: a connection for commands, and one that hears messages, each made anew when lost.

To be imported only where a Redis is configured: see :mod:`docsession.backend.redis_wire`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, DeferredList
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from docsession.backend.redis_endpoint import Lost, finder, said_of
from docsession.backend.redis_line import TROUBLES, Line
from docsession.backend.redis_script import Script
from docsession.backend.redis_welcome import NotReady, Refused, welcome
from docsession.backend.redis_wire import Hearer, Wire
from docsession.config import Backend
from docsession.errors import ConfigError, Unavailable
from docsession.redis_url import parse_redis_url

__all__ = ["Redis", "RedisError", "Script"]

# Refusals that pass by themselves, or with an operator's help. In a script's error the word stands
# at the beginning or (before Redis 7) after a dash.
_AWAY = re.compile(r"(?:^|-)(READONLY|LOADING|OOM|MISCONF|CLUSTERDOWN|MASTERDOWN|BUSY|NOREPLICAS|TRYAGAIN)\b")
# This one will do for nothing any more: there may be another by now.
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN")


class RedisError(Exception):
    """Redis refused a command, in its own words: a bug of ours."""


class Redis:
    """One Redis, as the parts of the backend use it.

    One connection for commands: answers come in order, so any number may be under way on it, and
    Redis itself does one at a time. Nothing waits for a connection: without one all is
    :class:`Unavailable` at once.
    """

    _log = Logger()

    def __init__(self, settings: Backend, password: str | None, *, reactor: Any, rng: random.Random) -> None:
        assert settings.url is not None
        self._url = parse_redis_url(settings.url)
        self._password = password
        self._settings = settings
        self._patience = settings.answer_within
        self._reactor = reactor
        self._find: Any = None
        self._commands = Line(self._connect, reactor, rng, up=self._up, down=self._down)
        self._hearing = Line(self._connect_hearer, reactor, rng, up=self._hears, down=lambda _: None)
        self._pulse = LoopingCall(self._beat)
        self._pulse.clock = reactor
        self._subscribed: set[str] = set()
        self._on_away: list[Callable[[bool], None]] = []
        self._on_message: list[Callable[[str, bytes], None]] = []
        self._on_subscribed_again: list[Callable[[], None]] = []
        self._started = False
        self.commands: Counter[str] = Counter()
        self.round_trips = 0

    # -- while it lasts

    async def start(self) -> None:
        """Raises :class:`ConfigError` where there is no Redis that will do."""
        try:
            self._find = finder(
                self._url,
                self._settings.certificate_authorities,
                self._reactor,
                patience=self._patience,
                ask=self._ask_once,
            )
            await self._commands.start()
            await self._hearing.start()
        except TROUBLES as error:
            await self.stop()
            raise ConfigError(f"backend.url: Redis at {self._url}: {said_of(error)}") from None
        self._started = True
        self._pulse.start(self._patience, now=False)

    async def stop(self) -> None:
        """End both connections."""
        self._started = False
        if self._pulse.running:
            self._pulse.stop()
        await self._commands.stop()
        await self._hearing.stop()

    @property
    def url(self) -> str:
        """Where it is, as it may be shown."""
        return str(self._url)

    @property
    def away(self) -> bool:
        return self._commands.wire is None

    @property
    def connections(self) -> int:
        """How many there are now: two, while all is well."""
        return sum(line.wire is not None for line in (self._commands, self._hearing))

    def on_away(self, call: Callable[[bool], None]) -> None:
        """Call it with True when Redis goes away, with False when it is back."""
        self._on_away.append(call)

    def key(self, name: str) -> str:
        """The full name of a key or a channel of ours."""
        return self._settings.prefix + name

    # -- commands

    async def do(self, *command: Any) -> Any:
        """The answer to one command: bytes, int, list or None."""
        return (await self.do_all([command]))[0]

    async def do_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to several that are sent at once. Where one is refused, the others are done."""
        for command in commands:
            self.commands[command[0]] += 1
        return await self._sent(commands)

    async def run(self, script: Script, keys: Sequence[str] = (), args: Sequence[Any] = ()) -> Any:
        """What a script returns. ``keys`` are full names."""
        self.commands[script.name] += 1
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        try:
            return (await self._sent([command]))[0]
        except RedisError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        # Redis forgets scripts when it is restarted; whoever comes first teaches it again.
        return (await self._sent([("SCRIPT", "LOAD", script.source), command]))[1]

    async def _sent(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        wire: Wire | None = self._commands.wire
        if wire is None or wire.ended is not None:
            raise Unavailable
        self.round_trips += 1
        answers = await DeferredList(wire.ask(*commands), consumeErrors=True)
        for good, answer in answers:
            if not good:
                raise self._understood(answer.value, wire) from None
        return [answer for _, answer in answers]

    def _understood(self, error: Exception, wire: Wire) -> Exception:
        if isinstance(error, Lost):
            return Unavailable()
        if not isinstance(error, Refused):
            return error  # whoever asked went away
        if found := _AWAY.search(str(error)):
            if found[1] in _ELSEWHERE:
                wire.give_up(str(error))
            return Unavailable(f"the store refuses: {found[1]}")
        return RedisError(str(error))

    # -- messages

    def subscribe(self, *channels: str) -> None:
        """Hear these channels (full names) from now on, and after each reconnection."""
        self._subscribed.update(channels)
        self._tell("SUBSCRIBE", channels)

    def unsubscribe(self, *channels: str) -> None:
        self._subscribed.difference_update(channels)
        self._tell("UNSUBSCRIBE", channels)

    def on_message(self, call: Callable[[str, bytes], None]) -> None:
        """Call it with each channel and message."""
        self._on_message.append(call)

    def on_subscribed_again(self, call: Callable[[], None]) -> None:
        """Call it when all subscriptions are there again: meanwhile messages may have been missed."""
        self._on_subscribed_again.append(call)

    def _tell(self, verb: str, channels: Sequence[str]) -> None:
        if self._hearing.wire is not None:
            self._hearing.wire.tell(verb, channels)

    def _heard(self, channel: bytes, payload: bytes) -> None:
        for call in self._on_message:
            try:
                call(channel.decode("utf-8", "replace"), payload)
            except Exception:
                self._log.failure("a message of another node could not be taken")

    # -- connections

    async def _connect(self) -> Wire:
        wire: Wire = await self._welcomed(await self._opened(Wire(self._reactor, self._patience)))
        return wire

    async def _connect_hearer(self) -> Hearer:
        wire: Hearer = await self._welcomed(
            await self._opened(Hearer(self._reactor, self._patience, self._heard))
        )
        try:
            # The answer to the question that follows means that all of it was done. The first is of
            # no use, but to hear at the start that this user may not subscribe.
            probe = self.key("all")
            wire.tell("SUBSCRIBE", {probe, *self._subscribed})
            if probe not in self._subscribed:
                wire.tell("UNSUBSCRIBE", [probe])
            asked = set(self._subscribed)
            await wire.ask_one("PING")
        except Refused as error:
            wire.give_up("not welcome")
            raise NotReady(str(error)) from None
        except BaseException:
            wire.give_up("not welcome")
            raise
        # What was asked for, or given up, while that was under way.
        wire.tell("SUBSCRIBE", self._subscribed - asked)
        wire.tell("UNSUBSCRIBE", asked - self._subscribed)
        return wire

    async def _opened(self, wire: Any, endpoint: IStreamClientEndpoint | None = None) -> Any:
        factory = Factory.forProtocol(lambda: wire)
        factory.noisy = False
        try:
            return await (endpoint or await self._find()).connect(factory)
        except ConnectingCancelledError:  # what Twisted says of a cancel before there is a connection
            raise CancelledError from None

    async def _welcomed(self, wire: Any) -> Any:
        try:
            await welcome(wire.ask_one, self._url, self._password, self.key("meta"))
        except BaseException:
            wire.give_up("not welcome")
            raise
        return wire

    async def _ask_once(self, endpoint: IStreamClientEndpoint, command: Sequence[Any]) -> Any:
        wire = await self._opened(Wire(self._reactor, self._patience), endpoint)
        try:
            return await wire.ask_one(*command)
        finally:
            wire.give_up("asked")

    def _up(self) -> None:
        if self._started:
            self._log.info("Redis is back")
            self._tell_away(False)

    def _down(self, lost: Lost) -> None:
        if self._started:
            self._log.error("Redis is away: {reason}", reason=said_of(lost))
            self._tell_away(True)

    def _tell_away(self, away: bool) -> None:
        for call in list(self._on_away):
            call(away)

    def _hears(self) -> None:
        if self._started:
            for call in list(self._on_subscribed_again):
                call()

    def _beat(self) -> None:
        """A connection that nobody uses does not say that it is gone."""
        for line in (self._commands, self._hearing):
            if line.wire is not None and line.wire.ended is None:
                line.wire.ask(("PING",))[0].addErrback(lambda failure: failure.trap(Lost, Refused))
