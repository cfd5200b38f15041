"""``twistd docsession``: the command line, the only place that reaches for reactor and clock.

``makeService`` runs before twistd changes directory, sets the umask and forks: it reads the
configuration and opens nothing. Store, keys and threads begin in ``startService``.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from twisted.application.service import IService
from twisted.logger import LogEvent
from twisted.python import usage

from docsession.checkup import run_and_exit
from docsession.config import Config, Secrets
from docsession.config_file import check_startable, load, sandboxed
from docsession.daemon import Daemon, Environment
from docsession.errors import ConfigError
from docsession.origins import is_loopback
from docsession.steady import SteadyTime
from docsession.telemetry import LogFile, log_observer

__all__ = ["Options", "makeService"]

SANDBOX_URL = "http://127.0.0.1:8766"


class Options(usage.Options):
    """The command line. Everything else is in the configuration file."""

    synopsis = "[options]"
    longdesc = "A live-session server for Google Drive. See README.rst."
    optParameters = [
        ["config", "c", None, "The configuration file (TOML). Without it: all defaults."],
        ["sandbox-url", None, SANDBOX_URL, "Where --sandbox serves its Google; a loopback URL."],
    ]
    optFlags = [
        ["sandbox", None, "Serve a stand-in for Google beside the daemon: no Google account is needed."],
        ["check", None, "Try every part (store, keys, addresses, Google), say what was found, and end."],
    ]


def makeService(options: Options) -> IService:
    """The daemon as a service. What is wrong with the configuration is one line and exit code 1."""
    from twisted.internet import reactor

    try:
        config, given = configured(options)
    except ConfigError as error:
        raise SystemExit(f"docsession: {error}") from None
    # Before anything is due by it. (Every timer of a reactor asks it for the time, and every call of
    # a page: to call a method is quicker than to call an object.)
    reactor.seconds = SteadyTime(time.time, _elapsed).__call__  # type: ignore[method-assign]
    environment = Environment(
        config,
        given,
        reactor,
        random.SystemRandom(),
        sandbox_url=options["sandbox-url"].rstrip("/") if options["sandbox"] else None,
    )
    if options["check"]:
        run_and_exit(reactor, environment)
    return Daemon(
        environment,
        on_failed=lambda line: fail(reactor, line),
        log_observer=chosen_log(options.parent or {}),
    )


# Seconds since some time in the past, those that the machine slept included.
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)
_elapsed: Callable[[], float] = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)


def chosen_log(twistd: Mapping[str, Any]) -> Callable[[LogEvent], None] | None:
    """Our observer, writing where twistd was told to; None where it was told another way.

    In the foreground that is standard output, in the background ``twistd.log``.
    """
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon", True) else "twistd.log")
    if name == "-":
        return log_observer(sys.stdout, text=sys.stdout.isatty())
    return log_observer(LogFile(Path(name).absolute()))


def configured(options: Options) -> tuple[Config, Secrets]:
    """The configuration these options ask for. Raises :class:`ConfigError`."""
    path = None if options["config"] is None else Path(options["config"]).resolve()
    config, given = load(path, os.environ)
    if options["sandbox"]:
        url = options["sandbox-url"].rstrip("/")
        if not is_loopback(urlsplit(url).hostname or ""):
            raise ConfigError(f"--sandbox-url: {url} is not on a loopback address")
        config = sandboxed(config, url)
        if config.push.url is None:
            # It tells of changes as Google does, and reaches us where the browser does.
            push = msgspec.structs.replace(config.push, url=config.server.public_url)
            config = msgspec.structs.replace(config, push=push)
        given = msgspec.structs.replace(given, client_secret="sandbox")  # noqa: S106 - any will do there
    check_startable(config, given)
    return config, given


def fail(reactor: Any, line: str) -> None:
    """End the process with one line and exit code 1; ``reactor.stop()`` alone would exit 0."""
    # Not sys.stderr: twistd has made that a part of the log by now.
    plain = sys.__stderr__
    if plain is not None:
        plain.write(f"docsession: {line}\n")
        plain.flush()
    reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
    reactor.callLater(0, reactor.stop)
