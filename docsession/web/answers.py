"""What all HTTP answers of the daemon share: JSON, headers, errors, and who is asking."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from typing import Any

import msgspec
from twisted.web.server import Request

from docsession.config import UNIX
from docsession.errors import DocsessionError

__all__ = ["Proxies", "error_body", "header", "json", "plain_headers"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def header(request: Request, name: str) -> str | None:
    """A request header that came exactly once; None where it is missing, doubled or no ASCII."""
    values = request.requestHeaders.getRawHeaders(name.encode()) or []
    if len(values) != 1:
        return None
    try:
        return str(values[0].decode("ascii"))
    except UnicodeDecodeError:
        return None


def plain_headers(request: Request) -> None:
    """Headers that every answer carries."""
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Referrer-Policy", b"no-referrer")
    request.setHeader(b"Cache-Control", b"no-store")


def json(request: Request, status: int, value: Any) -> bytes:
    """Set status and headers; returns the body."""
    plain_headers(request)
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json; charset=utf-8")
    return msgspec.json.encode(value)


def error_body(
    request: Request, error: DocsessionError, *, status: int | None = None, name: str | None = None
) -> bytes:
    """``{"error": {"name", "message"}}`` with the error's status."""
    if error.retry_after is not None:
        request.setHeader(b"Retry-After", str(max(1, math.ceil(error.retry_after))).encode())
    return json(
        request,
        error.http_status if status is None else status,
        {"error": {"name": name or error.name, "message": error.message}},
    )


class Proxies:
    """The proxies whose word about a client's address is taken."""

    def __init__(self, networks: Iterable[str]) -> None:
        named = set(networks)
        # Who comes over a unix socket has no address.
        self._unix = UNIX in named
        self._networks = [ipaddress.ip_network(network) for network in named - {UNIX}]

    def client(self, request: Request) -> str:
        """Whom to count a request to, as far as it can be believed: an address, or an IPv6 network.

        From the right, ``X-Forwarded-For`` is believed as long as a trusted proxy wrote it.
        """
        host = str(getattr(request.getClientAddress(), "host", "") or "")
        address = _address(host)
        trusted = self._trusts(address) if host else self._unix
        forwarded = request.requestHeaders.getRawHeaders(b"X-Forwarded-For") or []
        hops = [hop.strip() for hop in b",".join(forwarded).decode("latin-1").split(",") if hop.strip()]
        while hops and trusted:
            host = hops.pop()
            address = _address(host)
            trusted = self._trusts(address)
        if address is None:
            return host[:64] or "local"
        if address.version == 6:
            # Whoever has one address of it has all.
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address)

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> _Address | None:
    """The address in ``203.0.113.7``, ``203.0.113.7:4711``, ``2001:db8::7`` or ``[2001:db8::7]:4711``."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A listener for both families shows IPv4 clients so.
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address
