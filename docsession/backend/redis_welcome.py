"""What a connection to Redis begins with: who we are, which database, and whether it will do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from docsession.redis_url import RedisUrl

__all__ = ["NotReady", "Refused", "info", "welcome"]

OLDEST = (6, 2)

Ask = Callable[..., Awaitable[Any]]
"""Sends one command; a Redis' refusal is :class:`Refused`."""


class Refused(Exception):
    """Redis answered with an error, in its own words."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class NotReady(Exception):
    """It answers, but is not (or not now) a Redis that will do. One line that says why."""


async def welcome(ask: Ask, url: RedisUrl, password: str | None, meta: str) -> None:
    """Sign in, take the database, and look at the server. Raises :class:`NotReady`."""
    await _sign_in(ask, url.user, password)
    try:
        if url.database:
            await ask("SELECT", url.database)
        await ask("CLIENT", "SETNAME", "docsession")
        server = info(await ask("INFO", "server"))
        role = (await ask("ROLE"))[0]
        await ask("EXISTS", meta)  # while it loads what it had, it answers all of the above
    except Refused as error:
        raise NotReady(_explained(error, url)) from None
    version = server.get("redis_version", "")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if not numbers:
        raise NotReady("it does not say which version of Redis it is")
    if numbers < OLDEST:
        raise NotReady(
            f"it is Redis {version}, and docsession needs {OLDEST[0]}.{OLDEST[1]} at least,"
            " where ZADD knows GT and GETDEL exists"
        )
    if role != b"master":
        raise NotReady("it is a replica, which takes no writes; name its master")


async def _sign_in(ask: Ask, user: str | None, password: str | None) -> None:
    if password is None:
        if user is not None:
            raise NotReady(f"the user {user!r} needs a password: backend.password_file")
        return
    try:
        await ask("AUTH", *(() if user is None else (user,)), password)
    except Refused as error:
        if "without any password configured" in str(error):
            raise NotReady("it asks for no password, but one is given: leave it out") from None
        if error.code in ("WRONGPASS", "ERR"):
            whom = "this password" if user is None else f"the user {user!r} with this password"
            raise NotReady(f"it does not know {whom}") from None
        raise NotReady(str(error)) from None


def _explained(error: Refused, url: RedisUrl) -> str:
    if error.code == "NOAUTH":
        return "it asks for a password: backend.password_file, or DOCSESSION_REDIS_PASSWORD"
    if "DB index is out of range" in str(error):
        return f"it has no database {url.database}"
    if error.code == "LOADING":
        return "it is still loading what it had"
    return str(error)


def info(reply: bytes | str) -> dict[str, str]:
    """Redis' ``INFO``, as names and values."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in pairs if colon}
