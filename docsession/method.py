"""What a method of the catalogue is: its params, and how a call of it is decoded and run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec

from docsession import rpc
from docsession.connection import Connection
from docsession.drive_calls import CACHED
from docsession.errors import InvalidParams
from docsession.google.drive_request import Policy, prepare
from docsession.google.questions import Questions, question
from docsession.google.table import DriveMethod
from docsession.journal import Journal, digest
from docsession.model import JournalKey

__all__ = [
    "AttentionParams",
    "DriveEntry",
    "Entry",
    "NoParams",
    "OpenParams",
    "SignInParams",
    "SignOutParams",
    "UnwatchListingParams",
    "UnwatchParams",
    "WatchParams",
]

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{8,64}\Z")]
# What is remembered of one method's params; each of those whose answers are kept has so much.
_QUESTIONS = 4 * 1024 * 1024

FileId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Params by name; unknown ones are refused."""


class NoParams(_Params, frozen=True):
    pass


class OpenParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session: Annotated[str, msgspec.Meta(max_length=128)]
    connection: Name | None = None
    visible: bool = True


class SignInParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    return_to: str = "/"


class SignOutParams(_Params, frozen=True):
    everywhere: bool = False
    disconnect: bool = False


class AttentionParams(_Params, frozen=True):
    visible: bool


class WatchParams(_Params, frozen=True):
    file_id: FileId
    version: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    comments: bool = False
    comments_mark: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class UnwatchParams(_Params, frozen=True):
    file_id: FileId


class UnwatchListingParams(_Params, frozen=True):
    listing: Annotated[str, msgspec.Meta(max_length=64)]


class Entry:
    """A method of our own.

    ``at_once`` gives its result where nothing needs to be waited for, and None, having done
    nothing, where something does; then ``handler`` is asked. Where there is none of these,
    ``at_once`` always has a result.
    """

    def __init__(
        self,
        name: str,
        params: type[Any],
        summary: str,
        handler: Callable[[Connection, Any], Awaitable[Any]] | None = None,
        *,
        at_once: Callable[[Connection, Any], Any] = lambda connection, params: None,
        before_open: bool = False,
        needs_user: bool = True,
        like: DriveMethod | None = None,
    ) -> None:
        self.name = name
        self.params = params
        self.summary = summary
        self.before_open = before_open
        self.needs_user = needs_user
        self.like = like  # the method of Drive's whose params it takes, where it has none of its own
        self._handler = handler
        self._at_once = at_once

    def at_once(self, connection: Connection, call: rpc.Call, now: float) -> bytes | None:
        result = self._at_once(connection, rpc.decode_params(call.params, self.params))
        return None if result is None else rpc.encode(result)

    async def call(self, connection: Connection, call: rpc.Call) -> bytes:
        assert self._handler is not None, self.name
        params = rpc.decode_params(call.params, self.params)
        return rpc.result_outcome(rpc.encode(await self._handler(connection, params)))


class DriveEntry:
    """A method of Drive's."""

    before_open = False
    needs_user = True

    def __init__(self, method: DriveMethod, policy: Policy, journal: Journal) -> None:
        self.name = method.id
        self.method = method
        self.summary = f"Drive v3's {method.id.removeprefix('drive.')}"
        self.switched_on = policy.allows(method)
        self._policy = policy
        self._journal = journal
        self._questions = Questions(_QUESTIONS) if method.id in CACHED else None

    def at_once(self, connection: Connection, call: rpc.Call, now: float) -> bytes | None:
        if self._questions is None:
            return None
        asked = self._questions.get(call.params)
        return None if asked is None else connection.user.calls.kept(self.name, asked, now)

    async def call(self, connection: Connection, call: rpc.Call) -> bytes:
        request = prepare(self.method, rpc.decode_params(call.params, dict[str, Any]), self._policy)
        if self._questions is not None:
            self._questions.keep(call.params, question(request))
        user = connection.user
        calls = user.calls
        if not self.method.is_write:
            return rpc.result_outcome(rpc.encode(await calls.read(request)))
        if call.id is None:
            raise InvalidParams("a write needs an id", path="$")
        key = JournalKey(
            connection.identity.session_id,
            connection.name,
            call.id.decode(),
            digest(call.method, call.params),
        )
        return await self._journal.run(
            key,
            user_id=user.id,
            socket=connection.socket_id,
            resumed=connection.resumed,
            again=connection.sends_again,
            write=lambda sending: _encoded(calls.write(request, connection, sending)),
        )


async def _encoded(result: Awaitable[Any]) -> bytes:
    return rpc.encode(await result)
