"""What all HTTP answers of the daemon share: JSON, headers, errors, and who is asking."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

import msgspec
from twisted.web.server import Request

from docsession.errors import DocsessionError

__all__ = ["Proxies", "error_body", "header", "json", "plain_headers"]


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
        request.setHeader(b"Retry-After", str(max(1, round(error.retry_after))).encode())
    return json(
        request,
        error.http_status if status is None else status,
        {"error": {"name": name or error.name, "message": error.message}},
    )


class Proxies:
    """The proxies whose word about a client's address is taken."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def client(self, request: Request) -> str:
        """The address the request came from, as far as it can be believed.

        From the right, ``X-Forwarded-For`` is believed as long as a trusted proxy wrote it.
        """
        address = str(getattr(request.getClientAddress(), "host", "") or "local")
        forwarded = request.requestHeaders.getRawHeaders(b"X-Forwarded-For") or []
        hops = [hop.strip() for hop in b",".join(forwarded).decode("latin-1").split(",") if hop.strip()]
        while hops and self._trusts(address):
            address = hops.pop()
        return address[:64]

    def _trusts(self, address: str) -> bool:
        if address == "local":  # a unix socket: only a proxy on this machine is behind it
            return bool(self._networks)
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
