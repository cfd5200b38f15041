"""Which host names can only be this machine."""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["is_loopback"]


def is_loopback(host: str) -> bool:
    """``localhost``, or a literal loopback address (an IPv6 one without brackets)."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
