"""``twistd docsession-sandbox``: the sandbox as a service of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.application import strports
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.python import usage
from twisted.web.client import Agent
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from docsession.sandbox.app import Sandbox, StateError
from docsession.sandbox.loopback import is_loopback

__all__ = ["Options", "SandboxService", "listening_address", "makeService"]

DEFAULT_LISTEN = "tcp:8766:interface=127.0.0.1"
_TCP = re.compile(r"\Atcp6?:(?:port=)?(?P<port>\d+)(?P<rest>(?::.*)?)\Z")
_INTERFACE = re.compile(r":interface=((?:[^:\\]|\\.)*)")


class Options(usage.Options):
    """What the command line may say."""

    synopsis = "[options]"
    longdesc = "A stand-in for Google: OAuth, Drive, changes, comments and faults, on loopback."
    optParameters = [
        ["listen", "l", DEFAULT_LISTEN, "Where to listen, as a Twisted endpoint."],
        ["seed", None, None, "A JSON file: the world to begin with."],
        ["state", None, None, "A file that keeps the world across restarts."],
    ]
    optFlags = [["allow-remote", None, "Listen elsewhere than on loopback: everybody can do everything."]]


class QuietSite(Site):
    """A site without an access log: URLs here carry codes and states."""

    def __init__(self, resource: IResource) -> None:
        Site.__init__(self, resource)
        self.displayTracebacks = False

    def log(self, request: Request) -> None:
        """Say nothing."""


class SandboxService(MultiService):
    """Runs a sandbox; a start that fails says why in one line, and exits with 1."""

    def __init__(self, sandbox: Sandbox, listen: str) -> None:
        MultiService.__init__(self)
        self.sandbox = sandbox
        self._listen = listen

    def privilegedStartService(self) -> None:
        """Listen."""
        site = QuietSite(self.sandbox.resource())
        listener = strports.service(self._listen, site)
        listener.setServiceParent(self)
        try:
            MultiService.privilegedStartService(self)
        except CannotListenError as error:
            raise SystemExit(f"cannot listen on {self._listen}: {error.socketError}") from None

    def startService(self) -> None:
        """Bring back what was kept."""
        try:
            self.sandbox.start()
        except (StateError, OSError) as error:
            raise SystemExit(str(error)) from None
        MultiService.startService(self)

    def stopService(self) -> Deferred[None]:
        """Stop listening, then keeping."""
        stopped: Deferred[None] = MultiService.stopService(self)
        stopped.addCallback(lambda _: self.sandbox.stop())
        return stopped


def listening_address(listen: str, *, allow_remote: bool) -> tuple[str, int]:
    """Interface and port of an endpoint. Raises SystemExit for one that is not loopback."""
    found = _TCP.match(listen)
    interface = _INTERFACE.search(found["rest"]) if found is not None else None
    host = interface[1].replace("\\:", ":") if interface is not None else ""
    if found is None:
        raise SystemExit(f"--listen: {listen} is not a TCP endpoint such as {DEFAULT_LISTEN}")
    if not allow_remote and not is_loopback(host):
        raise SystemExit(f"--listen: {listen} is not loopback only; --allow-remote if that is meant")
    # Who listens on all addresses is still called by this one from here.
    return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host, int(found["port"])  # noqa: S104


def _read_seed(name: str) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(Path(name).read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise SystemExit(f"--seed: {name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SystemExit(f"--seed: {name}: {error}") from None


def makeService(options: Options) -> IService:
    """The service, from the command line."""
    from twisted.internet import reactor

    remote = bool(options["allow-remote"])
    host, port = listening_address(options["listen"], allow_remote=remote)
    seed = _read_seed(options["seed"]) if options["seed"] else None
    shown = f"[{host}]" if ":" in host else host
    try:
        sandbox = Sandbox(
            reactor,
            base_url=f"http://{shown}:{port}",
            world=seed,
            state_path=Path(options["state"]).absolute() if options["state"] else None,
            agent=Agent(reactor, connectTimeout=5),
            allow_remote=remote,
        )
    except ValueError as error:
        raise SystemExit(f"--seed: {options['seed']}: {error}") from None
    return SandboxService(sandbox, options["listen"])
