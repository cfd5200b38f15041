"""``--check``: try every part as the daemon would use it, and say what was found."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application import strports
from twisted.internet import task
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.web.resource import Resource
from twisted.web.server import Site

from docsession.daemon import Environment
from docsession.errors import ConfigError, DocsessionError
from docsession.google.http import GoogleHttp, NoAnswer, NotSent
from docsession.google.oauth import OAuth
from docsession.keys import fingerprint

__all__ = ["check", "run_and_exit"]

# What a part that does not work raises; anything else is a bug of ours.
EXPECTED = (ConfigError, DocsessionError, CannotListenError, NotSent, NoAnswer, OSError, ValueError)


async def check(environment: Environment, say: Callable[[str], None]) -> bool:
    """Try all; one line each. True when the daemon could start."""
    config = environment.config
    good = True
    later: list[str] = []

    async def attempt(what: str, work: Callable[[], Awaitable[str]]) -> None:
        nonlocal good
        try:
            say(f"ok      {what}: {await work()}")
        except EXPECTED as error:
            good = False
            say(f"FAILED  {what}: {' '.join(str(error).split())}")
        while later:
            say(later.pop(0))

    async def keys() -> str:
        source = "configured" if environment.secrets.keys else str(environment.state_directory() / "keys")
        return f"{source}, fingerprint {fingerprint(environment.keys())[:12]}"

    async def redis() -> str:
        from docsession.backend.redis_checkup import look

        link = environment.redis()
        await link.start()
        try:
            found, warnings = await look(link)
        finally:
            await link.stop()
        later.extend(f"WARN    Redis: {warning}" for warning in warnings)
        return found

    async def store() -> str:
        keys = environment.keys()
        backing = environment.backend(keys)
        await backing.start(environment.stamp())
        try:
            await backing.backend.store.ping()
        finally:
            await backing.stop()
        same = f"; its keys are {fingerprint(keys)[:12]} too" if backing.backend.several else ""
        return f"opens, writes and reads{same}"

    async def address(endpoint: str) -> str:
        service = strports.service(endpoint, Site(Resource()), reactor=environment.reactor)
        try:
            service.privilegedStartService()
        finally:
            await maybeDeferred(service.stopService)
        return f"{endpoint} is free"

    async def google() -> str:
        if environment.sandbox_url is not None:
            return "a sandbox, served beside the daemon"
        pool = environment.pool()
        http = GoogleHttp(environment.agent(pool), environment.reactor, answer_within=10, most_bytes=2**20)
        try:
            await OAuth(http, environment.reactor, config.google, "").reachable()
            endpoints = config.google.endpoints
            for url in (endpoints.token, endpoints.authorization, f"{endpoints.api}/drive/v3/about"):
                await http.send("GET", url)
        finally:
            await pool.closeCachedConnections()
        return "sign-in, certificates and Drive answer"

    say(f"ok      configuration: public URL {config.server.public_url}")
    await attempt("keys", keys)
    if config.backend.url is not None:
        await attempt("Redis", redis)
    await attempt("store", store)
    await attempt("pages", lambda: address(config.server.listen))
    await attempt("metrics", lambda: address(config.server.admin_listen))
    if environment.sandbox_url is not None:
        await attempt("sandbox", lambda: address(environment.sandbox_endpoint()))
    await attempt("Google", google)
    return good


def run_and_exit(reactor: Any, environment: Environment) -> None:
    """Run :func:`check` in a reactor of its own time; exits 0 or 1."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    async def main() -> None:
        if not await check(environment, say):
            raise SystemExit(1)

    task.react(lambda _: Deferred.fromCoroutine(main()), _reactor=reactor)
