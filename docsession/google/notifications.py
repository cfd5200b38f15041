"""What Google posts about a push channel: is it genuine, is it news, and whom does it concern?

That a post is genuine follows from its token alone, so strangers' posts touch nothing. A genuine
one is answered at once, and worked on later. It is a hint that something of a user's changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import Unavailable
from docsession.google.channel import Channel, State
from docsession.google.channels import Channels
from docsession.interfaces import Store
from docsession.keys import ChannelSigner
from docsession.tasks import Seldom, spawn

__all__ = ["Notification", "Notifications", "read"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_WORD = re.compile(r"[ -~]{1,256}")
_CHANGE = frozenset({"change", "changed"})
# Channels that are looked up in the store at a time. Who comes then is a hint lost, no truth.
_LOOKED_UP = 64


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
    ``expired`` (its channel is over), ``elsewhere`` (its user is not live here), ``refused``.
    """

    _log = Logger()

    def __init__(
        self,
        channels: Channels,
        store: Store,
        signer: ChannelSigner,
        clock: IReactorTime,
        *,
        on_hint: Callable[[str], None],
        on_message: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._channels = channels
        self._store = store
        self._signer = signer
        self._clock = clock
        self._on_hint = on_hint
        self._on_message = on_message
        self._seldom = Seldom(60.0)
        self._looking_up: set[str] = set()

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
            self._on_message(self._news(channel, notification))
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

    def _look_up(self, notification: Notification) -> None:
        """Its user is not live here, or has only just come."""
        if notification.state not in _CHANGE:
            self._on_message("elsewhere")
        elif notification.channel_id in self._looking_up:
            self._on_message("repeat")
        elif len(self._looking_up) >= _LOOKED_UP:
            self._on_message("elsewhere")
        else:
            self._looking_up.add(notification.channel_id)
            spawn(self._log, self._found(notification.channel_id))

    async def _found(self, channel_id: str) -> None:
        try:
            record = await self._store.load_channel(channel_id)
        except Unavailable:
            record = None  # a hint is lost; looks go on
        finally:
            self._looking_up.discard(channel_id)
        if record is None or not self._channels.serves(record.user_id):
            self._on_message("elsewhere")
        elif record.state == State.BURIED.value or self._clock.seconds() >= record.expires:
            self._on_message("expired")
        else:
            self._on_message("hint")
            self._hint(record.user_id)

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
