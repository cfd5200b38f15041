"""What is asked of Google about push channels: open one, stop one; and what its refusals mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from docsession.errors import DocsessionError, GoogleUnavailable, NotSignedIn, OutcomeUnknown, RateLimited
from docsession.google.drive import AccessRefused, Account, Drive
from docsession.google.drive_request import compose
from docsession.google.table import TABLE
from docsession.keys import ChannelSigner
from docsession.model import ChannelRecord
from docsession.tasks import Seldom, with_timeout

__all__ = ["Calls", "ChannelCalls", "NotOpened", "NotStopped", "Opened"]

# From the first question to the last answer. A turn at the gate may be a long time coming.
_WITHIN = 60.0
# What Google gives where it names no end.
_USUAL_LIFE = 3600.0
# Google does not know it (any more), or not us.
_STOPPED = frozenset({401, 404, 410})
# What is wrong with our address, for whoever opens a channel.
_ADDRESS = frozenset({"webhookUrlUnauthorized", "webhookUrlNotHttps"})
_LIMIT = "subscriptionRateLimitExceeded"
_NOT_UNIQUE = "channelIdNotUnique"


class Opened(msgspec.Struct, frozen=True):
    """Google opened a channel: what it calls what is watched, and when it ends."""

    resource_id: str
    expires: float


class NotOpened(Exception):
    """It was not opened. ``everybody``: others would not be either; ``another_id``: it was only the
    name; ``perhaps``: it may have been opened after all. ``least`` is how long to wait, in seconds."""

    def __init__(
        self,
        reason: str,
        *,
        everybody: bool = False,
        another_id: bool = False,
        perhaps: bool = False,
        least: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.everybody = everybody
        self.another_id = another_id
        self.perhaps = perhaps
        self.least = least


class NotStopped(Exception):
    """It may still be open. ``hopeless``: trying again would change nothing."""

    def __init__(self, *, hopeless: bool) -> None:
        super().__init__()
        self.hopeless = hopeless


class Calls(Protocol):
    """What :class:`docsession.google.channels.Channels` needs to have asked."""

    async def start_token(self, account: Account) -> str: ...
    async def open(self, account: Account, record: ChannelRecord, page_token: str) -> Opened: ...
    async def stop(self, account: Account, record: ChannelRecord) -> None: ...
    def say_of_address(self, reason: str) -> None: ...


class ChannelCalls:
    """Sends them as polls: no person waits for a channel.

    ``address`` is where Google is to post. ``held_back`` says for how many seconds Google wants no
    channel opened.
    """

    _log = Logger()

    def __init__(
        self,
        drive: Drive,
        signer: ChannelSigner,
        clock: IReactorTime,
        *,
        address: str,
        held_back: Callable[[], float],
    ) -> None:
        self._drive = drive
        self._signer = signer
        self._clock = clock
        self._address = address
        self._held_back = held_back
        self._seldom = Seldom(60.0)

    async def start_token(self, account: Account) -> str:
        """From where the change log is watched. Raises NotOpened."""
        request = compose(TABLE.methods["drive.changes.getStartPageToken"], {})
        token = (await self._opening(account, request, _Leaving(self._held_back))).get("startPageToken")
        if not isinstance(token, str) or not token:
            raise NotOpened("nonsense")
        return token

    async def open(self, account: Account, record: ChannelRecord, page_token: str) -> Opened:
        """Have it opened under that id until about that time. Raises NotOpened."""
        params = {
            "pageToken": page_token,
            "includeItemsFromAllDrives": True,
            "requestBody": {
                "id": record.id,
                "type": "web_hook",
                "address": self._address,
                "token": self._signer.token(record.id),
                "expiration": str(int(record.expires * 1000)),
            },
        }
        request = compose(TABLE.methods["drive.changes.watch"], params)
        answer = await self._opening(account, request, _Leaving(self._held_back))
        resource_id = answer.get("resourceId")
        if not isinstance(resource_id, str) or not resource_id:
            raise NotOpened("nonsense", perhaps=True)
        return Opened(resource_id, self._end(answer.get("expiration"), record))

    async def stop(self, account: Account, record: ChannelRecord) -> None:
        """Returns where Google no longer has it. Raises NotStopped."""
        body = {"id": record.id, "resourceId": record.resource_id}
        request = compose(TABLE.methods["drive.channels.stop"], {"requestBody": body})
        try:
            await with_timeout(self._clock, _WITHIN, self._drive.ask(account, request, poll=True))
        except AccessRefused as refused:
            if refused.refusal.status not in _STOPPED:
                raise NotStopped(hopeless=True) from None
        except NotSignedIn:
            raise NotStopped(hopeless=True) from None
        except (DocsessionError, TimeoutError):
            raise NotStopped(hopeless=False) from None

    # -- inside

    async def _opening(self, account: Account, request: Any, leaving: _Leaving) -> dict[str, Any]:
        """The answer. Raises NotOpened, whatever went wrong."""
        asking = self._drive.ask(account, request, poll=True, sending=leaving)
        try:
            return await with_timeout(self._clock, _WITHIN, asking)
        except AccessRefused as refused:
            raise self._refused(refused.refusal.reason.removeprefix("push."), refused) from None
        except TimeoutError:
            raise NotOpened("too_slow", perhaps=leaving.sent) from None
        except OutcomeUnknown as error:
            raise NotOpened(error.name, perhaps=True) from None
        except RateLimited as error:
            if self._held_back() > 0:
                raise NotOpened(_LIMIT, everybody=True, least=self._held_back()) from None
            raise NotOpened(error.name, least=error.retry_after or 0.0) from None
        except GoogleUnavailable as error:
            raise NotOpened(error.name, least=error.retry_after or 0.0) from None
        except DocsessionError as error:
            # The grant is dead, or lacks the scope: that will not be otherwise in a minute.
            raise NotOpened(error.name, least=3600.0) from None

    def _refused(self, reason: str, refused: AccessRefused) -> NotOpened:
        if reason == _NOT_UNIQUE:
            return NotOpened(reason, another_id=True)
        if reason in _ADDRESS:
            self.say_of_address(f"{reason}: {refused.refusal.message}")
            return NotOpened(reason, everybody=True, least=600.0)
        unsaid = self._seldom.take("refused", self._clock.seconds())
        if unsaid is not None:
            self._log.warn(
                "Google opens no push channel: {reason} (unsaid since the last such line: {count})",
                reason=reason,
                count=unsaid,
            )
        return NotOpened(reason, least=600.0)

    def say_of_address(self, reason: str) -> None:
        """For the operator, once a minute at most."""
        unsaid = self._seldom.take("address", self._clock.seconds())
        if unsaid is not None:
            self._log.error(
                "push does not work with {url}: {reason} (unsaid since the last such line: {count})",
                url=self._address,
                reason=reason,
                count=unsaid,
            )

    def _end(self, said: Any, record: ChannelRecord) -> float:
        """When Google says that it ends; never later than was asked for."""
        try:
            return min(int(said) / 1000, record.expires)
        except (TypeError, ValueError):
            return min(self._clock.seconds() + _USUAL_LIFE, record.expires)


class _Leaving:
    """Notices what leaves. Where Google wants no channels it is not sent again: that is for
    whoever asks next, who may know better by then."""

    def __init__(self, held_back: Callable[[], float]) -> None:
        self._held_back = held_back
        self.sent = False

    async def about_to_send(self) -> None:
        self.sent = True

    async def not_done(self) -> None:
        self.sent = False
        wait = self._held_back()
        if wait > 0:
            raise RateLimited("Google opens no channels just now", retry_after=wait)
