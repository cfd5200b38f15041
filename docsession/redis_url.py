"""A Redis as the operator names it: ``backend.url``, taken apart and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from docsession.errors import ConfigError

__all__ = ["RedisUrl", "parse_redis_url"]

_FORMS = "redis://, rediss://, unix:// or redis+sentinel://"
_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379}
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, repr=False)
class RedisUrl:
    """Where a Redis is: at a host, at a path, or wherever the sentinels say that ``master`` is now."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    user: str | None = None
    password: str | None = None
    database: int = 0

    def __str__(self) -> str:
        """As it may be shown: without the password."""
        if self.scheme == "unix":
            return f"unix://{self.path}?db={self.database}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{hosts}/{self.master and self.master + '/'}{self.database}"

    def __repr__(self) -> str:  # a password must not reach a log by accident
        return f"<RedisUrl {self}>"


def parse_redis_url(url: str) -> RedisUrl:
    """Raises :class:`ConfigError`, which never repeats the URL: there may be a password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"backend.url: is not a URL; {_FORMS}") from None
    if parts.scheme not in ("unix", *_PORTS):
        raise ConfigError(f"backend.url: must begin with {_FORMS}")
    if parts.fragment:
        raise ConfigError("backend.url: has a '#' in it; in a user or a password write %23")
    if "@" in parts.path:
        raise ConfigError("backend.url: has a '/' before its '@'; in a user or a password write %2F")
    account, _, place = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    whose = RedisUrl(parts.scheme, user=unquote(user) or None, password=unquote(password) or None)
    if parts.scheme == "unix":
        return _socket(parts, place, whose)
    if parts.query:
        raise ConfigError("backend.url: has a '?' in it; in a user or a password write %3F")
    hosts = tuple(_host(text, _PORTS[parts.scheme]) for text in place.split(","))
    segments = [unquote(segment) for segment in parts.path.strip("/").split("/") if segment]
    master = ""
    if parts.scheme == "redis+sentinel":
        if not segments:
            raise ConfigError("backend.url: the sentinels' name of the master is missing: .../mymaster/0")
        master = segments.pop(0)
    elif len(hosts) > 1:
        raise ConfigError("backend.url: several hosts; that is for redis+sentinel://")
    if len(segments) > 1:
        raise ConfigError("backend.url: after the host comes the number of a database, and nothing else")
    database = _database(segments[0] if segments else "0")
    return replace(whose, hosts=hosts, master=master, database=database)


def _socket(parts: SplitResult, place: str, whose: RedisUrl) -> RedisUrl:
    if place or not parts.path:
        raise ConfigError("backend.url: a socket's path is absolute, so that is unix:///...")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    database = _database(settings.pop("db", "0"))
    if settings:
        raise ConfigError("backend.url: after a socket's path there may be ?db= and nothing else")
    return replace(whose, path=unquote(parts.path), database=database)


def _host(text: str, port: int) -> tuple[str, int]:
    if not (found := _HOST.fullmatch(text)) or not 0 < int(found["port"] or port) < 65536:
        raise ConfigError("backend.url: what stands for the host is no host, and no host:port")
    return found["host"].strip("[]"), int(found["port"] or port)


def _database(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise ConfigError("backend.url: what stands for the database is not the number of one")
    return int(text)
