"""The whole sandbox: its parts put together, and kept in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from random import Random, SystemRandom
from typing import Any
from urllib.parse import urlsplit

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent, IRequest
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from docsession.sandbox import seed
from docsession.sandbox.answers import json_answer, send
from docsession.sandbox.calls import Calls, Quota
from docsession.sandbox.channels import Channel, Channels
from docsession.sandbox.control import Control
from docsession.sandbox.drive import Drive
from docsession.sandbox.example import example
from docsession.sandbox.exchange import Exchange
from docsession.sandbox.faults import Faults
from docsession.sandbox.grants import Grants
from docsession.sandbox.keys import Keys
from docsession.sandbox.loopback import is_loopback
from docsession.sandbox.oauth import OAuth
from docsession.sandbox.pages import Pages
from docsession.sandbox.world import World

__all__ = ["Sandbox", "StateError"]


class StateError(Exception):
    """The kept state cannot be read. One line, for whoever starts the sandbox."""


class Sandbox:
    """A stand-in for Google under one base URL.

    ``world`` is a saved world or a seed; without it the example begins. With ``state_path``
    everything is kept there: what an answered request has done is in the file. ``agent`` delivers
    the messages of push channels.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        base_url: str,
        world: Mapping[str, Any] | None = None,
        state_path: Path | None = None,
        rng: Random | None = None,
        agent: IAgent | None = None,
        allow_remote: bool = False,
    ) -> None:
        rng = rng or SystemRandom()
        self.base_url = base_url.rstrip("/")
        self.state_path = state_path
        self._allow_remote = allow_remote
        self._keeping = False
        self.world = World(clock, rng, base_url=self.base_url)
        self.grants = Grants(clock, rng, self.world.people)
        self.keys = Keys(clock)
        self.channels = Channels(self.world, self.grants, clock, rng)
        self.channels.agent = agent
        self.calls, self.faults, self.quota = Calls(clock), Faults(), Quota(clock)
        self._encoded_world = b""
        self.world.on_change.append(self._world_changed)
        self.grants.on_change.append(self._keep)
        self.channels.on_change.append(self._keep)
        self.keys.on_change.append(self._keep)
        if world is not None:
            self.restore(world)
        else:
            seed.sow(self.world, example(clock.seconds()))

    def resource(self) -> IResource:
        """Everything that is served."""
        exchange = Exchange(self.world.clock, self.calls, self.faults, self.quota)
        control = Control(
            self.world,
            self.grants,
            self.calls,
            self.faults,
            self.quota,
            self.channels,
            dump=self.dump,
            restore=self.restore,
        )
        return _Front(
            self.base_url,
            drive=Drive(self.world, self.grants, exchange, self.channels).app.resource(),
            control=control.app.resource(),
            pages=Pages(self.world.people).app.resource(),
            oauth=OAuth(
                self.grants, self.world.people, self.keys, self.base_url, exchange.perform
            ).app.resource(),
            allow_remote=self._allow_remote,
        )

    # --- keeping ----------------------------------------------------------------------------

    def start(self) -> None:
        """Bring back what was kept, and keep from now on. Raises StateError."""
        if self.state_path is None:
            return
        try:
            kept = self.state_path.read_bytes()
        except FileNotFoundError:
            kept = b""
        except OSError as error:
            raise StateError(f"{self.state_path} cannot be read: {error.strerror}") from None
        if kept:
            try:
                self.restore(msgspec.json.decode(kept, type=dict[str, Any]))
            except ValueError as error:
                raise StateError(f"{self.state_path} is no state of a sandbox: {error}") from None
        self._keeping = True
        try:
            self._keep()
        except OSError as error:
            raise StateError(f"{self.state_path} cannot be written: {error.strerror}") from None

    def stop(self) -> None:
        """Stop keeping. Nothing is left to write: every change was written as it happened."""
        self._keeping = False

    def dump(self) -> dict[str, Any]:
        """Everything there is: what :meth:`restore` and ``PUT /sandbox/world`` take."""
        kept = self.world.kept()
        parts = {name: getattr(kept, name) for name in kept.__struct_fields__}
        return parts | self._rest()

    def _rest(self) -> dict[str, Any]:
        return {
            "grants": self.grants.to_json(),
            "keys": self.keys.to_json(),
            "channels": self.channels.to_json(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what :meth:`dump` gave, or what a seed says. Raises ValueError, then nothing changed."""
        rest = ("grants", "keys", "channels")
        world = {name: part for name, part in state.items() if name not in rest}
        grants, keys, channels = map(state.get, rest)
        # Tried on spare ones first, so that what is wrong in one part leaves the others alone.
        if grants is not None:
            Grants(self.world.clock, self.world.rng, {}).load_json(grants)
        if keys is not None:
            Keys(self.world.clock).load_json(keys)
        if channels is not None:
            msgspec.convert(channels, list[Channel])
        keeping, self._keeping = self._keeping, False
        try:
            seed.load(self.world, world)
            if grants is not None:
                self.grants.load_json(grants)
            if keys is not None:
                self.keys.load_json(keys)
            self.channels.load_json(channels or [])
        finally:
            self._keeping = keeping
        self._world_changed()

    def _world_changed(self) -> None:
        self._encoded_world = b""
        self._keep()

    def _keep(self) -> None:
        if not self._keeping or self.state_path is None:
            return
        # A world may be large, and tokens change more often than it does.
        self._encoded_world = self._encoded_world or msgspec.json.encode(self.world.kept())
        rest = msgspec.json.encode(self._rest())
        # Not synced to the disk: it is to survive the end of this process, not of the machine.
        temporary = self.state_path.with_name(self.state_path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((memoryview(self._encoded_world)[:-1], b",", memoryview(rest)[1:]))
        temporary.replace(self.state_path)


@implementer(IResource)
class _Front(Resource):
    """Sends each request to the part that serves its path, after a look at who sent it."""

    isLeaf = True

    def __init__(
        self,
        base_url: str,
        *,
        drive: IResource,
        control: IResource,
        pages: IResource,
        oauth: IResource,
        allow_remote: bool,
    ) -> None:
        Resource.__init__(self)
        self._origin = base_url
        self._own_host = urlsplit(base_url).hostname or ""
        self._drive, self._control, self._pages, self._oauth = drive, control, pages, oauth
        self._allow_remote = allow_remote

    def render(self, request: IRequest) -> Any:
        """Refuse, or pass on."""
        if not self._allow_remote and not self._is_ours(request.getRequestHostname()):
            # Else a page anywhere could have its name resolved to this machine, and be let in.
            return _refuse(request, "This Host is not the sandbox's.")
        path = request.path.decode("latin-1")
        if path == "/":
            request.redirect(b"/sandbox/")
            return b""
        if path.startswith("/sandbox"):
            origin = request.getHeader("Origin")
            if origin not in (None, self._origin, f"http://{request.getHeader('Host')}"):
                return _refuse(request, "This Origin is not the sandbox's.")
            return self._page_or_control(path).render(request)
        if path.startswith(("/drive/", "/upload/", "/batch/")):
            _apply_override(request)
            return self._drive.render(request)
        return self._oauth.render(request)

    def _page_or_control(self, path: str) -> IResource:
        if path in ("/sandbox", "/sandbox/") or path.startswith(("/sandbox/static/", "/sandbox/pictures/")):
            return self._pages
        return self._control

    def _is_ours(self, host: bytes) -> bool:
        name = host.decode("latin-1").strip("[]")
        return name == self._own_host or is_loopback(name)


def _refuse(request: IRequest, message: str) -> bytes:
    return send(request, json_answer({"error": {"name": "forbidden", "message": message}}, status=403))


def _apply_override(request: IRequest) -> None:
    """A POST may stand for another verb; with a form for its query, where that would be too long."""
    override = request.getHeader("X-HTTP-Method-Override")
    if request.method == b"POST" and override in ("GET", "PATCH", "PUT", "DELETE"):
        request.method = override.encode()
