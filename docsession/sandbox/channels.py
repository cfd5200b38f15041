"""Push channels: who is told that something changed, and all that may become of a message.

Google promises little here, and so does this: messages say only that there was a change, their
numbers rise with gaps, and an order (:class:`Order`) can make them get lost, late or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from random import Random
from typing import Any, Literal

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from docsession.sandbox.changelog import drive_key
from docsession.sandbox.delivery import Delivery, Message
from docsession.sandbox.grants import Grants
from docsession.sandbox.records import File, rfc3339
from docsession.sandbox.world import World

__all__ = ["CHANGES", "Channel", "Channels", "Order", "seen"]

CHANGES = "changes"

# What waits for its turn of one channel; more than that and the oldest are forgotten.
_MOST_WAITING = 1000


class Channel(Struct):
    """A channel as kept. ``resource`` is ``changes`` or a file's id; ``corpus`` whose log it is."""

    id: str
    resource: str
    corpus: str
    resource_id: str
    uri: str
    email: str
    client_id: str
    address: str
    token: str
    expires: float
    number: int = 1
    told: int = 0
    seen: list[str] = msgspec.field(default_factory=list)
    """Of a file: what it was like, part by part, when its last message was sent."""


class Order(Struct, forbid_unknown_fields=True):
    """What is to become of the next messages. ``late_sync`` lets ``sync`` come after the answer."""

    do: Literal["drop", "duplicate", "delay", "expire", "late_sync"]
    times: int | None = None
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError("times must be at least 1")
        if not 0 < self.seconds <= 3600:
            raise ValueError("seconds must be more than 0, and an hour at most")


class Channels:
    """All that are open. ``agent`` delivers; without one nothing arrives anywhere."""

    def __init__(self, world: World, grants: Grants, clock: IReactorTime, rng: Random) -> None:
        self._world = world
        self._clock = clock
        self._rng = rng
        self.open: dict[str, Channel] = {}
        self.orders: list[Order] = []
        self.on_change: list[Callable[[], None]] = []
        self._delivery = Delivery(clock, most_waiting=_MOST_WAITING)
        self._by_log: dict[str, dict[str, Channel]] = {}
        world.log.on_entry.append(self._entered)
        grants.on_revoked.append(self._revoked)

    @property
    def agent(self) -> IAgent | None:
        return self._delivery.agent

    @agent.setter
    def agent(self, agent: IAgent | None) -> None:
        self._delivery.agent = agent

    # --- opening and closing ----------------------------------------------------------------

    def add(self, channel: Channel) -> None:
        """Open it: its first message says so."""
        self._drop_expired()
        self.open[channel.id] = channel
        self._index(channel)
        late = self._take("late_sync")
        self._delivery.send(self._message(channel, "sync"), after=0.0 if late is None else late.seconds)
        self._changed()

    def stop(self, channel_id: str) -> None:
        """It says no more."""
        self._remove(channel_id)
        self._changed()

    def find(self, channel_id: str) -> Channel | None:
        """A channel that is open."""
        channel = self.open.get(channel_id)
        return None if channel is None or self._is_over(channel) else channel

    def resource_id(self, email: str, corpus: str, resource: str) -> str:
        """The same for the same resource of the same person, whatever the channel."""
        digest = sha256(f"{email} {corpus} {resource}".encode()).hexdigest()
        return digest[:27]

    def obey(self, order: Order) -> None:
        """From now on; ``expire`` at once."""
        if order.do == "expire":
            for channel in self.open.values():
                channel.expires = min(channel.expires, self._clock.seconds())
            self._changed()
        else:
            self.orders.append(order)

    # --- what happens -----------------------------------------------------------------------

    def _entered(self, owner: str | None, key: str) -> None:
        """A log has a new entry: the common one, or that of one person or shared drive."""
        if not self.open:
            return
        file = self._world.files.get(key)
        for channel in list(self._concerned(owner, key, file)):
            if self._is_over(channel):
                continue
            state = self._state_of_file(channel, file) if channel.resource != CHANGES else self._state()
            if state is not None:
                self._tell(channel, state)

    def _concerned(self, owner: str | None, key: str, file: File | None) -> list[Channel]:
        if owner is not None:
            found = list(self._by_log.get(owner, {}).values())
        elif file is None:
            found = []
        else:
            found = [
                channel
                for log, channels in self._by_log.items()
                if channels and log and self._shows(log, file)
                for channel in channels.values()
            ]
        if not key.startswith(drive_key("")):
            found.extend(self._by_log.get(_file_log(key), {}).values())
        return found

    def _shows(self, log: str, file: File) -> bool:
        """Whether a file's changes go into this log."""
        person = self._world.people.get(log)
        if person is None:
            return file.drive_id == log
        if file.drive_id and not self._world.used(file, person):
            return False
        return self._world.lists(person, file)

    def _state(self) -> str:
        # The guide says change, and changed in its example: be ready for both.
        return self._rng.choice(("change", "changed"))

    def _state_of_file(self, channel: Channel, file: File | None) -> str | None:
        person = self._world.people.get(channel.email)
        if file is None or person is None or not self._world.role(person, file):
            return "remove"
        before, now = channel.seen, seen(file)
        channel.seen = now
        if before and before[-1] != now[-1]:
            return "trash" if file.trashed else "untrash"
        changed = [name for name, old, new in zip(_NAMES, before, now, strict=False) if old != new]
        return "update " + ",".join(changed) if changed else "update"

    def _tell(self, channel: Channel, state: str) -> None:
        channel.number += self._rng.choice((1, 1, 1, 2, 7))
        if self._take("drop") is not None:
            return
        delay = self._take("delay")
        after = 0.0 if delay is None else delay.seconds
        message = self._message(channel, state)
        self._delivery.send(message, after=after)
        channel.told += 1
        if self._take("duplicate") is not None:
            self._delivery.send(message, after=after)

    def _message(self, channel: Channel, state: str) -> Message:
        state, _, changed = state.partition(" ")
        headers = {
            "X-Goog-Channel-ID": channel.id,
            "X-Goog-Message-Number": str(1 if state == "sync" else channel.number),
            "X-Goog-Resource-ID": channel.resource_id,
            "X-Goog-Resource-State": state,
            "X-Goog-Resource-URI": channel.uri,
        }
        if changed:
            headers["X-Goog-Changed"] = changed
        if channel.token:
            headers["X-Goog-Channel-Token"] = channel.token
        return Message(channel.id, channel.address, headers, channel.expires)

    def _take(self, what: str) -> Order | None:
        for order in self.orders:
            if order.do == what:
                if order.times is not None:
                    order.times -= 1
                    if not order.times:
                        self.orders.remove(order)
                return order
        return None

    def _revoked(self, client_id: str, email: str) -> None:
        for channel in list(self.open.values()):
            if (channel.client_id, channel.email) == (client_id, email):
                self.stop(channel.id)

    # --- keeping ----------------------------------------------------------------------------

    def to_json(self) -> Any:
        """The open channels, as plain data."""
        self._drop_expired()
        return msgspec.to_builtins(list(self.open.values()))

    def load_json(self, state: Any) -> None:
        """Become what :meth:`to_json` gave. Raises ValueError, and then nothing changed."""
        channels = msgspec.convert(state, list[Channel])
        self.open = {channel.id: channel for channel in channels}
        self._by_log.clear()
        for channel in channels:
            self._index(channel)

    def show(self) -> list[Mapping[str, Any]]:
        """For people: who is told of what, where, until when."""
        self._drop_expired()
        return [
            {
                "id": channel.id,
                "user": channel.email,
                "resource": channel.resource,
                "address": channel.address,
                "expires": rfc3339(channel.expires),
                "messages": channel.told,
            }
            for channel in self.open.values()
        ]

    # --- inside -----------------------------------------------------------------------------

    def _index(self, channel: Channel) -> None:
        self._by_log.setdefault(_log_of(channel), {})[channel.id] = channel

    def _remove(self, channel_id: str) -> None:
        channel = self.open.pop(channel_id)
        del self._by_log[_log_of(channel)][channel_id]
        self._delivery.forget(channel_id)

    def _is_over(self, channel: Channel) -> bool:
        return channel.expires <= self._clock.seconds()

    def _drop_expired(self) -> None:
        for channel in [each for each in self.open.values() if self._is_over(each)]:
            self._remove(channel.id)

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()


_NAMES = ("content", "properties", "parents", "permissions", "trashed")


def seen(file: File) -> list[str]:
    """What of a file Google tells apart in ``X-Goog-Changed``; the last is whether it is trashed."""
    return [
        str(len(file.revisions)) + file.modified,
        f"{file.name} {file.mime_type} {file.description}",
        file.parent,
        " ".join(sorted(f"{key} {each.role}" for key, each in file.permissions.items())),
        str(file.trashed),
    ]


def _log_of(channel: Channel) -> str:
    return channel.corpus if channel.resource == CHANGES else _file_log(channel.resource)


def _file_log(file_id: str) -> str:
    """A name that no log of a person or a drive has."""
    return f"file/{file_id}"
