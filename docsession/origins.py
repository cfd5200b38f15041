"""Origins, as a browser writes them: ``scheme://host[:port]``, and nothing that only looks like one."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from docsession.errors import ConfigError

__all__ = ["exact_origin", "is_loopback", "origin_of", "site_of", "split"]

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")


def is_loopback(host: str) -> bool:
    """Whether a host name or literal address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` as a browser would write it in an ``Origin`` header."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def split(where: str, url: str) -> SplitResult:
    """The parts of the setting ``where``. Raises :class:`ConfigError`."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{where}: {url!r} is not a URL") from None
    return parts


def site_of(origin: SplitResult) -> tuple[str, str]:
    """Two origins that differ in this are two sites. (That two which agree are one, only the
    list of public suffixes could say.)"""
    host = origin.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = ".".join(host.split(".")[-2:])
    return origin.scheme, host


def exact_origin(where: str, url: str) -> SplitResult:
    """The parts of a setting that must be an origin to the letter. Raises :class:`ConfigError`."""
    parts = split(where, url)
    canonical = origin_of(url)
    if parts.hostname and not _HOST.fullmatch(parts.hostname):
        raise ConfigError(
            f"{where}: {url!r} has no host that a browser would name (no wildcards; punycode for others)"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or url != canonical:
        wanted = (
            f"; did you mean {canonical!r}?" if parts.scheme in ("http", "https") and parts.hostname else ""
        )
        raise ConfigError(f"{where}: {url!r} is not an exact origin (scheme://host[:port]){wanted}")
    return parts
