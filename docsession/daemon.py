"""The process: keys, store, sandbox and listeners, started in order and stopped in reverse."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent
from twisted.web.server import Site

from docsession.assembly import Assembly, assemble
from docsession.backend.embedded import EmbeddedBackend
from docsession.backend.redis_store import RedisStore
from docsession.config import Config, Secrets
from docsession.errors import ConfigError, Unavailable
from docsession.interfaces import Store
from docsession.keys import Keys, Sealer, load_keys
from docsession.sandbox.app import Sandbox, StateError
from docsession.tasks import sleep, with_timeout
from docsession.web.sites import PublicSite, QuietSite, admin_resource
from docsession.web.turnstile import Turnstile, with_room

if TYPE_CHECKING:
    from docsession.backend.redis import Redis
    from docsession.backend.redis_backend import RedisBackend

__all__ = ["Daemon", "Environment"]

# Tabs are told to come back within so many seconds, or more where there are many of them.
LEAST_SPREAD = 5.0
# Writes under way are given this long to end before the store closes.
LAST_WRITES = 10.0
# A connection is some fifty objects that live long: by Python's own figures a crowd that comes makes
# the collector go through all of them again and again, a third of what a handshake costs.
_COLLECT_AFTER = 10_000, 20, 50


@dataclass(frozen=True)
class Environment:
    """What the process is given: its configuration and the world it runs in."""

    config: Config
    secrets: Secrets
    reactor: Any
    rng: random.Random
    sandbox_url: str | None = None

    def state_directory(self) -> Path:
        """Resolved only once twistd has changed directory."""
        return Path(self.config.server.state_directory).resolve()

    def keys(self) -> Keys:
        """Read, or made at the first start. Raises ConfigError."""
        return load_keys(self.state_directory(), configured=self.secrets.keys)

    def backend(self, keys: Keys) -> EmbeddedBackend | RedisBackend:
        """What nodes share, or what one has for itself; not started yet."""
        settings = self.config.backend
        if settings.url is None:
            path = self.state_directory() / "docsession.sqlite"
            return EmbeddedBackend(path, keys, reactor=self.reactor)
        # Not before it is needed: its client takes the global reactor.
        from docsession.backend.redis_backend import RedisBackend

        link = self.redis()
        lifetimes = self.config.sessions
        return RedisBackend(
            link,
            RedisStore(link, keys, clock=self.reactor, lifetimes=lifetimes),
            Sealer(keys),
            clock=self.reactor,
            rng=self.rng,
            lease=settings.lease,
            quota=self.config.google.quota,
        )

    def redis(self) -> Redis:
        """A link to the Redis that is configured; not started yet."""
        from docsession.backend.redis import Redis

        return Redis(self.config.backend, self.secrets.redis_password, reactor=self.reactor, rng=self.rng)

    def stamp(self) -> dict[str, str]:
        """Whose store it is: a sandbox never gets a real grant, nor one client another's."""
        google = self.config.google
        return {"issuer": google.endpoints.issuer, "client_id": google.client_id}

    def pool(self) -> HTTPConnectionPool:
        """Connections to Google: as many as the gate lets in flight, and never a silent retry,
        which would send a DELETE again behind the gate's back."""
        pool = HTTPConnectionPool(self.reactor, persistent=True)
        google = self.config.google
        pool.maxPersistentPerHost = google.in_flight + google.media_in_flight
        pool.retryAutomatically = False
        pool.cachedConnectionTimeout = 120
        return pool

    def agent(self, pool: HTTPConnectionPool) -> IAgent:
        """How Google is reached."""
        return Agent(self.reactor, pool=pool, connectTimeout=10)

    def sandbox(self) -> Sandbox:
        """Google's stand-in, with its world kept beside our own state."""
        assert self.sandbox_url is not None
        # Where keys are configured and the store is elsewhere nobody else has made it.
        self.state_directory().mkdir(mode=0o700, parents=True, exist_ok=True)
        return Sandbox(
            self.reactor,
            base_url=self.sandbox_url,
            state_path=self.state_directory() / "sandbox.json",
            agent=Agent(self.reactor, connectTimeout=5),
        )

    def sandbox_endpoint(self) -> str:
        """Where the sandbox listens."""
        url = urlsplit(self.sandbox_url or "")
        return f"tcp:{url.port or 80}:interface={url.hostname}"


class Daemon(Service):
    """``twistd docsession``."""

    _log = Logger()

    def __init__(
        self,
        environment: Environment,
        *,
        on_failed: Callable[[str], None],
        log_observer: Callable[[LogEvent], None] | None = None,
    ) -> None:
        self._environment = environment
        self._on_failed = on_failed
        self._log_observer = log_observer
        self._starting: Deferred[None] | None = None
        self._stopping = False
        # How to stop what runs, in the order it was started.
        self._running: list[tuple[str, Callable[[], Any]]] = []
        self._backend: EmbeddedBackend | RedisBackend | None = None
        self._turnstile: Turnstile | None = None
        self.assembly: Assembly | None = None

    def setServiceParent(self, parent: Any) -> None:
        if self._log_observer is not None and hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self._log_observer)
        Service.setServiceParent(self, parent)

    def startService(self) -> None:
        Service.startService(self)
        self._starting = Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    # -- starting

    async def _start(self) -> None:
        try:
            await self._start_parts()
        except (ConfigError, CannotListenError) as error:
            self._on_failed(_one_line(error))
        except Exception as error:
            self._log.failure("the daemon could not start")
            self._on_failed(f"could not start: {type(error).__name__}: {error}")

    async def _start_parts(self) -> None:
        environment, config = self._environment, self._environment.config
        reactor = environment.reactor
        keys = environment.keys()
        backing = self._backend = environment.backend(keys)
        await backing.start(environment.stamp())
        self._running.append(("backend", lambda: Deferred.fromCoroutine(backing.stop())))
        pool = environment.pool()
        self._running.append(("connections to Google", pool.closeCachedConnections))
        if environment.sandbox_url is not None:
            sandbox = environment.sandbox()
            try:
                sandbox.start()
            except StateError as error:
                raise ConfigError(str(error)) from None
            self._running.append(("sandbox", sandbox.stop))
            await self._listen(
                "sandbox", environment.sandbox_endpoint(), QuietSite(sandbox.resource(), reactor)
            )
        assembly = self.assembly = assemble(
            config,
            environment.secrets,
            keys,
            backend=backing.backend,
            clock=reactor,
            agent=environment.agent(pool),
            rng=environment.rng,
            sandbox_url=environment.sandbox_url,
            health=self._health,
        )
        backing.measure(assembly.metrics)
        self._running.append(("what was spent", assembly.spending.stopService))
        assembly.spending.startService()
        self._running.append(("what is asked of Google", assembly.economy.stopService))
        assembly.economy.startService()
        self._running.append(("documents", lambda: Deferred.fromCoroutine(assembly.documents.stop())))
        assembly.documents.schedule.startService()
        self._running.append(("sessions", assembly.directory.stopService))
        assembly.directory.startService()
        # Stopped before the sessions are, whose end would stop the channels at Google.
        self._running.append(("push channels", assembly.channels.stopService))
        assembly.channels.startService()
        self._running.append(("tabs", lambda: Deferred.fromCoroutine(self._drain(assembly))))
        turnstile = self._turnstile = Turnstile(reactor, config.limits.accepts_per_second)
        turnstile.measure(assembly.metrics)
        pages = PublicSite(assembly.pages.resource(), reactor, assembly.door, turnstile)
        turnstile.guard(await self._listen("pages", with_room(config.server.listen), pages))
        self._running.append(("turnstile", turnstile.stop))
        await self._listen(
            "metrics", config.server.admin_listen, QuietSite(admin_resource(assembly.metrics), reactor)
        )
        # What is there by now stays: the collector has nothing to find in it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        self._log.info(
            "docsession is ready at {url}, listening on {listen}",
            url=config.server.public_url,
            listen=config.server.listen,
        )
        if environment.sandbox_url is not None:
            self._log.info("its Google is a sandbox: {url}/sandbox/", url=environment.sandbox_url)

    async def _listen(self, what: str, endpoint: str, site: Site) -> Any:
        try:
            parsed = serverFromString(self._environment.reactor, endpoint)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ConfigError(f"{endpoint!r} is no endpoint to listen on: {error}") from None
        port: Any = await parsed.listen(site)
        self._running.append((f"listener of {what}", port.stopListening))
        return port

    async def _health(self) -> Mapping[str, str]:
        held = self._turnstile is not None and self._turnstile.holds
        parts = {
            "serving": "draining" if self._stopping else "ok",
            "accepting": "busy" if held else "ok",
        }
        assert self._backend is not None
        try:
            await with_timeout(self._environment.reactor, 5, _pinged(self._backend.backend.store))
            parts["store"] = "ok"
        except (Unavailable, TimeoutError):
            parts["store"] = "unavailable"
        return {**parts, **await self._backend.health()}

    # -- stopping

    async def _stop(self) -> None:
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
        while self._running:
            what, stop = self._running.pop()
            try:
                await maybeDeferred(stop)
            except Exception:
                self._log.failure("{what} did not stop cleanly", what=what)

    async def _drain(self, assembly: Assembly) -> None:
        """Tell every tab when to come back, and let writes under way end."""
        rate = self._environment.config.limits.opens_per_second
        spread = max(LEAST_SPREAD, assembly.directory.connections / rate)
        assembly.directory.drain(lambda: self._environment.rng.uniform(0, spread))
        waited = 0.0
        while len(assembly.journal) and waited < LAST_WRITES:
            await sleep(self._environment.reactor, 0.05)
            waited += 0.05


async def _pinged(store: Store) -> None:
    await store.ping()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
