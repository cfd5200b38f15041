"""What Google posts about a push channel: is it genuine, is it news, and whom does it concern?

That a post is genuine follows from its token alone, so strangers' posts touch nothing. A genuine
one is answered at once, and worked on later. It is a hint that something of a user's changed.

A post comes to any node. The others where its user is live are told, and take it as if it had come
to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import Unavailable
from docsession.google.channel import Channel, State
from docsession.google.channels import Channels
from docsession.interfaces import Store
from docsession.keys import ChannelSigner
from docsession.tasks import Seldom, spawn
from docsession.user_channel import UserChannel

__all__ = ["Notification", "Notifications", "read"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_WORD = re.compile(r"[ -~]{1,256}")
_CHANGE = frozenset({"change", "changed"})
# Channels that are looked up in the store at a time. Who comes then is a hint lost, no truth.
_LOOKED_UP = 64
# What other nodes are told: this was posted.
_HINT = "hint"


class Notification(msgspec.Struct, frozen=True):
    """A post, read. ``number`` rises with each of a channel's, with gaps."""

    channel_id: str
    number: int
    state: str
    resource_id: str
    expires: float | None = None


class Notifications:
    """``on_hint(user_id)`` is called once for each genuine new message about a change.

    ``on_message(outcome)``: ``hint``, ``sync``, ``repeat``, ``unknown`` (a state we don't know),
    ``expired`` (its channel is over), ``elsewhere`` (its user is not live here), ``refused``. It
    hears of what came to this node, and not of what others pass on.
    """

    _log = Logger()

    def __init__(
        self,
        channels: Channels,
        store: Store,
        signer: ChannelSigner,
        of_users: UserChannel,
        clock: IReactorTime,
        *,
        on_hint: Callable[[str], None],
        on_message: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._channels = channels
        self._store = store
        self._signer = signer
        self._of_users = of_users
        self._clock = clock
        self._on_hint = on_hint
        self._on_message = on_message
        self._seldom = Seldom(60.0)
        self._looking_up: set[tuple[str, bool]] = set()
        of_users.on(_HINT, self._passed_on)

    def take(self, header: Callable[[str], str | None]) -> bool:
        """A post came with these headers; False where it is not about a channel of ours."""
        channel_id = (header("X-Goog-Channel-ID") or "")[:65]
        token = (header("X-Goog-Channel-Token") or "")[:257]
        genuine = self._signer.verify(channel_id, token)
        notification = read(header) if genuine else None
        if notification is None:
            self._refuse("a wrong token" if not genuine else "odd headers")
            return False
        channel = self._channels.find(channel_id)
        if channel is not None:
            what = self._news(channel, notification)
            self._on_message(what)
            if what not in ("expired", "repeat"):
                self._pass_on(channel.record.user_id, notification)
        else:
            self._look_up(notification)
        return True

    # -- inside

    def _news(self, channel: Channel, notification: Notification) -> str:
        """What it is; a hint is passed on."""
        if channel.expired(self._clock.seconds()):
            return "expired"
        if notification.number <= channel.number:
            return "repeat"
        channel.number = notification.number
        over = channel.state is State.BURIED
        self._channels.heard(channel, notification.resource_id, notification.expires)
        if notification.state == "sync":
            return "sync"
        if notification.state not in _CHANGE:
            return "unknown"
        if over:
            return "expired"
        self._hint(channel.record.user_id)
        return "hint"

    def _pass_on(self, user_id: str, notification: Notification) -> None:
        self._of_users.say(user_id, _HINT, post=msgspec.structs.asdict(notification))

    def _passed_on(self, user_id: str, message: Mapping[str, Any]) -> None:
        """It was posted to another node."""
        notification = msgspec.convert(message["post"], Notification)
        channel = self._channels.find(notification.channel_id)
        if channel is not None:
            self._news(channel, notification)
        elif self._channels.serves(user_id):
            # Opened by another node, and we have not heard of that yet.
            self._channels.changed(user_id)
            if notification.state in _CHANGE:
                self._hint(user_id)

    def _look_up(self, notification: Notification) -> None:
        """Its user is not live here, or has only just come."""
        what = (notification.channel_id, notification.state in _CHANGE)
        if what in self._looking_up:
            self._on_message("repeat")
        elif len(self._looking_up) >= _LOOKED_UP:
            self._on_message("elsewhere")
        else:
            self._looking_up.add(what)
            spawn(self._log, self._found(notification, what))

    async def _found(self, notification: Notification, what: tuple[str, bool]) -> None:
        try:
            record = await self._store.load_channel(notification.channel_id)
        except Unavailable:
            record = None  # a hint is lost; looks go on
        finally:
            self._looking_up.discard(what)
        if record is None:
            self._on_message("elsewhere")
            return
        channel = self._channels.find(record.id)
        over = record.state == State.BURIED.value or self._clock.seconds() >= record.expires
        if channel is not None:  # by now it is known here
            self._on_message(self._news(channel, notification))
        elif not self._channels.serves(record.user_id):
            self._on_message("elsewhere")
        elif over:
            self._on_message("expired")
        else:
            self._channels.changed(record.user_id)
            self._on_message("hint" if notification.state in _CHANGE else "sync")
            if notification.state in _CHANGE:
                self._hint(record.user_id)
        if not over:
            self._pass_on(record.user_id, notification)

    def _hint(self, user_id: str) -> None:
        # Google is answered first.
        self._clock.callLater(0, self._on_hint, user_id)

    def _refuse(self, why: str) -> None:
        self._on_message("refused")
        unsaid = self._seldom.take("refused", self._clock.seconds())
        if unsaid is not None:
            self._log.warn(
                "a post to the push address was refused: {why} (unsaid since the last such line: {count})",
                why=why,
                count=unsaid,
            )


def read(header: Callable[[str], str | None]) -> Notification | None:
    """What the headers say; None where one is missing, doubled or odd."""
    channel_id = header("X-Goog-Channel-ID") or ""
    number = header("X-Goog-Message-Number") or ""
    state = header("X-Goog-Resource-State") or ""
    resource_id = header("X-Goog-Resource-ID") or ""
    if not (
        _ID.fullmatch(channel_id)
        and _NUMBER.fullmatch(number)
        and _WORD.fullmatch(state)
        and _WORD.fullmatch(resource_id)
    ):
        return None
    expires = _time(header("X-Goog-Channel-Expiration"))
    return Notification(channel_id, int(number), state.strip().lower(), resource_id, expires)


def _time(text: str | None) -> float | None:
    """``Tue, 19 Nov 2013 01:13:52 GMT`` in seconds; None for what is no such time."""
    try:
        return parsedate_to_datetime((text or "")[:64]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
