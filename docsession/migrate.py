"""``docsession-migrate``: the command line that moves a store between SQLite and Redis, or adopts new keys.

docsession-migrate --config docsession.toml --from sqlite --to redis
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.python import usage

from docsession.backend.redis_meta import adopt_keys
from docsession.backend.redis_rows import RedisRows
from docsession.backend.rows import Rows
from docsession.backend.sqlite_rows import SqliteRows
from docsession.config import Config, Secrets
from docsession.config_file import check_startable, load
from docsession.errors import ConfigError, Unavailable
from docsession.keys import Keys, fingerprint, load_keys
from docsession.migration import Comparison, Migration

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["Options", "main", "table"]

PLACES = ("sqlite", "redis")


class Options(usage.Options):
    """The command line. Where the two stores are, and how long things live, says the configuration."""

    synopsis = (
        "Usage: docsession-migrate --config FILE"
        " (--from sqlite --to redis | --from redis --to sqlite | --adopt-keys)"
    )
    longdesc = (
        "Moves all that is stored, while no daemon runs. The source stays as it is; the target must be empty."
        " When it was stopped, the same command goes on. See docs/operations.rst, 'Several nodes'."
    )
    optParameters = [
        ["config", "c", None, "The daemon's configuration file (TOML), with [backend] url."],
        ["from", None, None, "Where it is: sqlite, or redis."],
        ["to", None, None, "Where it is to be: the other one."],
    ]
    optFlags = [["adopt-keys", None, "Tell Redis that the configured keys are the right ones from now on."]]

    def postOptions(self) -> None:
        if self["config"] is None:
            raise usage.UsageError("--config is missing")
        moves = (self["from"], self["to"])
        if self["adopt-keys"] and moves != (None, None):
            raise usage.UsageError("--adopt-keys goes alone")
        if not self["adopt-keys"] and sorted(str(each) for each in moves) != sorted(PLACES):
            raise usage.UsageError("--from and --to: one of them is sqlite, the other redis")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Ends with 0 where all was done and both sides are equal, else with 1 and one line that says why."""
    options = Options()  # type: ignore[no-untyped-call]
    try:
        options.parseOptions(None if argv is None else list(argv))  # type: ignore[no-untyped-call]
        config, given = load(Path(options["config"]).resolve(), environ)
        if config.backend.url is None:
            raise ConfigError("backend.url: missing; it says which Redis")
        check_startable(config, given)
        keys = load_keys(Path(config.server.state_directory).resolve(), configured=given.keys)
    except (usage.UsageError, ConfigError) as error:
        _fail(error)
    from twisted.internet import reactor

    work = _adopt(config, given, keys, reactor) if options["adopt-keys"] else None
    task.react(
        lambda _: Deferred.fromCoroutine(work or _move(options, config, given, keys, reactor)),
        _reactor=reactor,
    )


async def _move(options: Options, config: Config, given: Secrets, keys: Keys, reactor: Any) -> None:
    places: dict[str, Rows] = {
        "sqlite": SqliteRows(_database(config), _stamp(config), keys, config.sessions),
        "redis": RedisRows(
            _redis(config, given, reactor), _stamp(config), keys, config.sessions, clock=reactor
        ),
    }
    source, target = places[options["from"]], places[options["to"]]
    try:
        found = await Migration(source, target, reactor, _say).run()
    except ConfigError as error:
        _fail(error)
    except Unavailable:
        _fail("Redis is away; the same command goes on where this one stopped")
    for line in table(found):
        _say(line)
    if not all(each.equal for each in found):
        _fail("the two differ, so nothing was made of it; the next time it begins anew")
    _say(f"all is moved; {source.name} was left as it was")


def table(found: Sequence[Comparison]) -> list[str]:
    """What was compared, a line for each kind."""
    lines = [f"{'kind':<16}{'source':>12}{'target':>12}  digest"]
    for each in found:
        verdict = each.source.digest[:16] if each.equal else f"DIFFERS {each.target.digest[:16]}"
        lines.append(f"{each.kind:<16}{each.source.count:>12,}{each.target.count:>12,}  {verdict}")
    return lines


async def _adopt(config: Config, given: Secrets, keys: Keys, reactor: Any) -> None:
    """What nodes compare their keys with, set to the configured ones."""
    redis = _redis(config, given, reactor)
    try:
        await redis.start()
        await adopt_keys(redis, keys)
    except ConfigError as error:
        _fail(error)
    except Unavailable:
        _fail("Redis is away")
    finally:
        await redis.stop()
    _say(f"the keys of {redis.url} have the fingerprint {fingerprint(keys)[:12]} from now on")


def _redis(config: Config, given: Secrets, reactor: Any) -> Redis:
    # Only here, for what it imports takes the reactor.
    from docsession.backend.redis import Redis

    return Redis(config.backend, given.redis_password, reactor=reactor, rng=random.SystemRandom())


def _database(config: Config) -> Path:
    return Path(config.server.state_directory).resolve() / "docsession.sqlite"


def _stamp(config: Config) -> dict[str, str]:
    return {"issuer": config.google.endpoints.issuer, "client_id": config.google.client_id}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(error: Exception | str) -> NoReturn:
    sys.stderr.write(f"docsession-migrate: {' '.join(str(error).split())}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
