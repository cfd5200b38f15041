"""Push, put together: the channels, and what Google posts about them."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from docsession.config import Push as Settings
from docsession.google.channel_calls import ChannelCalls
from docsession.google.channels import Channels
from docsession.google.drive import Drive
from docsession.google.notifications import Notifications
from docsession.interfaces import Backend
from docsession.keys import ChannelSigner, Keys
from docsession.user_channel import UserChannel

__all__ = ["Push"]


class Push:
    """Without an address Google could post to, ``channels`` does nothing.

    ``held_back`` says for how many seconds Google wants no channel opened; the rest are as of
    :class:`Channels` and :class:`Notifications`.
    """

    def __init__(
        self,
        drive: Drive,
        keys: Keys,
        backend: Backend,
        of_users: UserChannel,
        clock: IReactorTime,
        rng: random.Random,
        settings: Settings,
        *,
        held_back: Callable[[], float],
        new_id: Callable[[], str],
        on_changed: Callable[[str], None],
        on_hint: Callable[[str], None],
        on_opening: Callable[[str], None],
        on_message: Callable[[str], None],
    ) -> None:
        signer = ChannelSigner(keys)
        calls = None
        if settings.url is not None:
            address = f"{settings.url}/api/drive/notifications"
            calls = ChannelCalls(drive, signer, clock, address=address, held_back=held_back)
        self.channels = Channels(
            calls,
            backend,
            of_users,
            clock,
            rng,
            life=settings.life,
            renew_at=settings.renew_at,
            openings_per_second=settings.openings_per_second,
            new_id=new_id,
            on_changed=on_changed,
            on_opening=on_opening,
        )
        self.notifications = Notifications(
            self.channels,
            backend.store,
            signer,
            of_users,
            clock,
            on_hint=on_hint,
            on_message=on_message,
        )
