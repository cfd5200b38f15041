"""The sandbox's own routes, under ``/sandbox/``: look into the world, change it, break it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from klein import Klein
from msgspec import Struct
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from docsession.sandbox.answers import Answer, json_answer, send
from docsession.sandbox.calls import Calls, Quota, QuotaSettings
from docsession.sandbox.channels import Channels, Order
from docsession.sandbox.faults import Fault, Faults
from docsession.sandbox.grants import ACCESS_LIFETIME, Grants
from docsession.sandbox.habits import Wanted
from docsession.sandbox.icons import icon
from docsession.sandbox.overview import overview
from docsession.sandbox.records import FOLDER, SHORTCUT, File, Person
from docsession.sandbox.scopes import spelled
from docsession.sandbox.sharing import at_least
from docsession.sandbox.world import World

__all__ = ["Control"]

_SCOPE_PREFIX = "https://www.googleapis.com/auth/"
_FULL_NAMES = ("openid", "email", "profile")
_DEFAULT_SCOPES = ["openid", "email", "profile", "drive"]
_MOST_BYTES = 200_000_000

Body = TypeVar("Body")


class Refused(Exception):
    """The control request cannot be done."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message


class _Token(Struct, forbid_unknown_fields=True):
    email: str
    scopes: list[str] = msgspec.field(default_factory=lambda: list(_DEFAULT_SCOPES))
    client_id: str = "sandbox"


class _Grant(Struct, forbid_unknown_fields=True):
    email: str
    do: Literal["revoke", "expire_access", "expire_refresh"]


class _RefreshLifetime(Struct, forbid_unknown_fields=True):
    seconds: Annotated[float, msgspec.Meta(gt=0)] | None


class _Edit(Struct, forbid_unknown_fields=True):
    email: str
    file: str
    text: str


class _View(Struct, forbid_unknown_fields=True):
    email: str
    file: str
    noisy: bool = True
    """Whether it shows in the viewer's own change log, as it often does at Google."""


class Control:
    """The routes. What they say is JSON, errors as ``{"error": {"name", "message"}}``."""

    app = Klein()
    _log = Logger()

    def __init__(
        self,
        world: World,
        grants: Grants,
        calls: Calls,
        faults: Faults,
        quota: Quota,
        channels: Channels,
        *,
        dump: Callable[[], Mapping[str, Any]],
        restore: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._world = world
        self._grants = grants
        self._calls = calls
        self._faults = faults
        self._quota = quota
        self._channels = channels
        self._dump = dump
        self._restore = restore

    # --- looking ----------------------------------------------------------------------------

    @app.route("/sandbox/overview", methods=["GET"])
    def overview(self, request: IRequest) -> bytes:
        """What the page for a person shows."""
        return _say(request, overview(self._world, self._calls, self._faults, self._channels))

    @app.route("/sandbox/calls", methods=["GET"])
    def calls(self, request: IRequest) -> bytes:
        """The meter, and how it stands with the quota."""
        return _say(request, self._calls.to_json() | {"quota": self._quota.to_json()})

    @app.route("/sandbox/calls", methods=["DELETE"])
    def reset_calls(self, request: IRequest) -> bytes:
        """Set the meter to zero."""
        self._calls.reset()
        return _say(request, self._calls.to_json())

    @app.route("/sandbox/calls/log", methods=["GET"])
    def calls_one_by_one(self, request: IRequest) -> bytes:
        """Every request since the meter was last set to zero."""
        return _say(request, self._calls.log())

    @app.route("/sandbox/icons/<name>", methods=["GET", "HEAD"])
    def icon(self, request: IRequest, name: str) -> bytes:
        """A file type's icon. Pages of other origins show it; that is what it is for."""
        headers = {
            "Cache-Control": "max-age=86400",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return send(request, Answer(200, icon(name), "image/svg+xml", headers))

    # --- breaking ---------------------------------------------------------------------------

    @app.route("/sandbox/faults", methods=["GET"])
    def faults(self, request: IRequest) -> bytes:
        """The faults in force."""
        return _say(request, self._faults.in_force)

    @app.route("/sandbox/faults", methods=["PUT"])
    def set_faults(self, request: IRequest) -> bytes:
        """These faults, and no others."""
        self._faults.in_force = _read(request, list[Fault])
        return _say(request, self._faults.in_force)

    @app.route("/sandbox/faults", methods=["DELETE"])
    def clear_faults(self, request: IRequest) -> bytes:
        """No faults."""
        self._faults.in_force = []
        return _say(request, [])

    @app.route("/sandbox/quota", methods=["GET"])
    def quota(self, request: IRequest) -> bytes:
        """The quota in force."""
        return _say(request, self._quota.settings)

    @app.route("/sandbox/quota", methods=["PUT"])
    def set_quota(self, request: IRequest) -> bytes:
        """Another quota; what was spent is forgotten."""
        self._quota.set(_read(request, QuotaSettings))
        return _say(request, self._quota.settings)

    @app.route("/sandbox/habits", methods=["GET"])
    def habits(self, request: IRequest) -> bytes:
        """How Google behaves just now where it keeps its promises."""
        return _say(request, self._world.habits.to_json())

    @app.route("/sandbox/habits", methods=["PUT"])
    def set_habits(self, request: IRequest) -> bytes:
        """These habits, and no others."""
        try:
            self._world.behave(_read(request, Wanted))
        except KeyError as missing:
            raise Refused(404, "not_found", f"There is no file {missing}.") from None
        return self.habits(request)

    @app.route("/sandbox/channels", methods=["POST"])
    def channels(self, request: IRequest) -> bytes:
        """What may happen to push notifications."""
        self._channels.obey(_read(request, Order))
        return self.open_channels(request)

    @app.route("/sandbox/channels", methods=["GET"])
    def open_channels(self, request: IRequest) -> bytes:
        """The open channels, and the orders in force."""
        return _say(request, {"channels": self._channels.show(), "orders": self._channels.orders})

    @app.route("/sandbox/channels", methods=["DELETE"])
    def clear_orders(self, request: IRequest) -> bytes:
        """Messages go their ordinary way again."""
        self._channels.orders.clear()
        return self.open_channels(request)

    # --- grants -----------------------------------------------------------------------------

    @app.route("/sandbox/token", methods=["POST"])
    def token(self, request: IRequest) -> bytes:
        """An access token without the consent page."""
        asked = _read(request, _Token)
        person = self._person(asked.email)
        names = [
            name if name in _FULL_NAMES or ":" in name else _SCOPE_PREFIX + name for name in asked.scopes
        ]
        token = self._grants.issue(person.email, frozenset(names), asked.client_id)
        access = self._grants.lookup(token)
        return _say(
            request,
            {
                "access_token": token,
                "expires_in": ACCESS_LIFETIME,
                "scope": spelled(access.scopes if access is not None else ()),
                "token_type": "Bearer",
            },
        )

    @app.route("/sandbox/grants", methods=["POST"])
    def grant(self, request: IRequest) -> bytes:
        """What may happen to a grant."""
        asked = _read(request, _Grant)
        person = self._person(asked.email)
        {
            "revoke": self._grants.revoke,
            "expire_access": self._grants.expire_access,
            "expire_refresh": self._grants.expire_refresh,
        }[asked.do](person.email)
        return _say(request, {})

    @app.route("/sandbox/grants/lifetime", methods=["PUT"])
    def refresh_lifetime(self, request: IRequest) -> bytes:
        """How long refresh tokens given from now on live: 7 days while an app is in testing."""
        asked = _read(request, _RefreshLifetime)
        self._grants.refresh_lifetime = asked.seconds
        return _say(request, asked)

    # --- the world --------------------------------------------------------------------------

    @app.route("/sandbox/world", methods=["GET"])
    def world(self, request: IRequest) -> bytes:
        """Everything."""
        return _say(request, self._dump())

    @app.route("/sandbox/world", methods=["PUT"])
    def set_world(self, request: IRequest) -> bytes:
        """Another world: one that was saved, or a seed."""
        try:
            self._restore(_read(request, dict[str, Any]))
        except ValueError as error:
            raise Refused(400, "bad_request", str(error)) from None
        return _say(request, {"people": len(self._world.people), "files": len(self._world.files)})

    @app.route("/sandbox/edit", methods=["POST"])
    def edit(self, request: IRequest) -> bytes:
        """Somebody writes another text into a file."""
        asked = _read(request, _Edit)
        person = self._person(asked.email)
        file = self._file(asked.file, person, "writer")
        if file.mime_type in (FOLDER, SHORTCUT):
            raise Refused(400, "bad_request", f"{file.name} has no content.")
        self._world.type_content(file, asked.text.encode(), person)
        return _say(request, _version(file))

    @app.route("/sandbox/view", methods=["POST"])
    def view(self, request: IRequest) -> bytes:
        """Somebody opens a file: its version moves, and nothing that anybody else could see."""
        asked = _read(request, _View)
        person = self._person(asked.email)
        file = self._file(asked.file, person, "reader")
        self._world.look_at(file, person, noisy=asked.noisy)
        return _say(request, _version(file))

    def _person(self, email: str) -> Person:
        person = self._world.people.get(email)
        if person is None:
            raise Refused(404, "not_found", f"There is nobody with the address {email}.")
        return person

    def _file(self, file_id: str, person: Person, role: str) -> File:
        file = self._world.files.get(file_id)
        own = "" if file is None else self._world.role(person, file)
        if file is None or not own:
            raise Refused(404, "not_found", f"{person.email} sees no file {file_id}.")
        if not at_least(own, role):
            raise Refused(403, "forbidden", f"{person.email} is only {own} of {file.name}.")
        return file

    # --- errors -----------------------------------------------------------------------------

    @app.handle_errors(Refused)
    def refused(self, request: IRequest, failure: Any) -> bytes:
        """As it says."""
        return _refuse(request, failure.value.status, failure.value.name, failure.value.message)

    @app.handle_errors(HTTPException)
    def no_route(self, request: IRequest, failure: Any) -> bytes:
        """Nothing has this path, or not with this verb."""
        name = "not_found" if failure.value.code == 404 else "method_not_allowed"
        return _refuse(request, failure.value.code, name, failure.value.name)

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Any) -> bytes:
        """A bug, or a disk that is full. It is logged."""
        self._log.failure("a control request failed", failure)
        return _refuse(request, 500, "internal_error", "Something went wrong here; it has been logged.")


def _version(file: File) -> dict[str, str]:
    return {"file": file.id, "version": str(file.version), "modifiedTime": file.modified}


def _say(request: IRequest, value: object) -> bytes:
    return send(request, json_answer(value))


def _refuse(request: IRequest, status: int, name: str, message: str) -> bytes:
    return send(request, json_answer({"error": {"name": name, "message": message}}, status=status))


def _read(request: IRequest, kind: type[Body]) -> Body:
    raw = request.content.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise Refused(413, "too_large", "That is too much.")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(400, "bad_request", str(error)) from None
