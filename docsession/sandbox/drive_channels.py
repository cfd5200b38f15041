"""Opening and stopping push channels: ``changes.watch``, ``files.watch``, ``channels.stop``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from docsession.sandbox.channels import CHANGES, Channel, Channels, seen
from docsession.sandbox.drive_changes import log_owner, token_number
from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import DriveError, bad_request, does_not_exist, invalid
from docsession.sandbox.loopback import is_loopback

__all__ = ["DriveChannels"]

_ID = re.compile(r"\A[A-Za-z0-9_\-+/=]{1,64}\Z")
_DAY = 86400.0
_DEFAULT_LIFE = 3600.0


class DriveChannels:
    """The methods of Drive that are about channels."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self.served: Mapping[str, Serve] = {
            "drive.changes.watch": self._watch_changes,
            "drive.files.watch": self._watch_file,
            "drive.channels.stop": self._stop,
        }

    def _watch_changes(self, asked: DriveRequest) -> Result:
        owner = log_owner(asked)
        token_number(asked)
        query = f"alt=json&pageToken={asked.params['pageToken']}"
        return self._open(asked, CHANGES, owner, f"changes?{query}", 7 * _DAY)

    def _watch_file(self, asked: DriveRequest) -> Result:
        file = asked.file()
        shown = self._open(asked, file.id, file.id, f"files/{file.id}?alt=json", _DAY)
        self._channels.open[shown["id"]].seen = seen(file)
        return shown

    def _open(
        self, asked: DriveRequest, resource: str, corpus: str, path: str, most: float
    ) -> dict[str, Any]:
        body = asked.body
        channel_id, address = str(body.get("id") or ""), str(body.get("address") or "")
        if not _ID.match(channel_id):
            raise invalid("entity.id", "Channel id must be 1 to 64 characters long.")
        if body.get("type") not in ("web_hook", "webhook"):
            raise invalid("entity.type", "Unknown channel type")
        _check_address(address)
        token = str(body.get("token") or "")
        if len(token) > 256:
            raise invalid("entity.token", "Channel token is too long.")
        now = asked.world.clock.seconds()
        expires = _expiry(body, channel_id, now, most)
        if self._channels.find(channel_id) is not None:
            raise DriveError(400, "channelIdNotUnique", f"Channel id {channel_id} not unique")
        channel = Channel(
            id=channel_id,
            resource=resource,
            corpus=corpus,
            resource_id=self._channels.resource_id(asked.person.email, corpus, resource),
            uri=f"{asked.world.base_url}/drive/v3/{path}",
            email=asked.person.email,
            client_id=asked.access.client_id,
            address=address,
            token=token,
            expires=expires,
        )
        self._channels.add(channel)
        shown = {
            "kind": "api#channel",
            "id": channel.id,
            "resourceId": channel.resource_id,
            "resourceUri": channel.uri,
            "expiration": str(int(expires * 1000)),
        }
        return shown | ({"token": token} if token else {})

    def _stop(self, asked: DriveRequest) -> Result:
        channel_id, resource_id = str(asked.body.get("id") or ""), str(asked.body.get("resourceId") or "")
        channel = self._channels.find(channel_id)
        mine = channel is not None and (channel.email, channel.client_id, channel.resource_id) == (
            asked.person.email,
            asked.access.client_id,
            resource_id,
        )
        if not mine:
            raise does_not_exist("Channel", f"'{channel_id}' for project 'sandbox'", "entity.id")
        self._channels.stop(channel_id)
        return None


def _check_address(address: str) -> None:
    try:
        url = urlsplit(address)
        host = url.hostname or ""
    except ValueError:
        raise bad_request(f"WebHook callback is no URL: {address}", "entity.address") from None
    # Google wants https whatever the host; http on loopback is the sandbox's own divergence.
    if not host or (url.scheme != "https" and not (url.scheme == "http" and is_loopback(host))):
        raise DriveError(
            400, "push.webhookUrlNotHttps", f"WebHook callback must be HTTPS: {address}", domain="global"
        )


def _expiry(body: Mapping[str, Any], channel_id: str, now: float, most: float) -> float:
    """When it ends, in seconds: what was asked for, but not beyond what Google allows."""
    asked = body.get("expiration")
    if asked in (None, ""):
        return now + _DEFAULT_LIFE
    try:
        left = int(str(asked)) / 1000 - now
    except ValueError:
        raise invalid("entity.expiration") from None
    if left <= 0:  # seconds where milliseconds were meant, most often
        raise bad_request(f"Invalid ttl value for channel {int(left)}", channel_id)
    return now + min(left, most)
