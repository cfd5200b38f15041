"""The way to a Redis: over TCP, TLS or a socket, or to whom the sentinels call the master now."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from OpenSSL.crypto import Error as CryptoError
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionDone, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates

from docsession.backend.redis_welcome import NotReady, Refused
from docsession.errors import ConfigError
from docsession.redis_url import RedisUrl

__all__ = ["Lost", "finder", "said_of"]

Find = Callable[[], Awaitable[IStreamClientEndpoint]]
Ask = Callable[[IStreamClientEndpoint, tuple[str, ...]], Awaitable[Any]]

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Lost(Exception):
    """The connection is no more; ``__cause__`` may say why."""


def finder(url: RedisUrl, authorities: str | None, reactor: Any, *, patience: float, ask: Ask) -> Find:
    """How to find the endpoint for each new connection. Raises :class:`ConfigError`.

    ``ask`` makes a connection for one question, which is for the sentinels.
    """

    def to(host: str, port: int) -> IStreamClientEndpoint:
        return HostnameEndpoint(reactor, host.encode("ascii"), port, timeout=patience)

    if url.scheme == "unix":
        socket = UNIXClientEndpoint(reactor, url.path, timeout=patience)
        return lambda: _already(socket)
    if url.scheme == "redis+sentinel":
        return lambda: _master(url, to, ask)
    endpoint = to(*url.hosts[0])
    if url.scheme == "rediss":
        host = url.hosts[0][0]
        endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=_trusted(authorities)), endpoint)
    return lambda: _already(endpoint)


async def _already(endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
    return endpoint


async def _master(
    url: RedisUrl, to: Callable[[str, int], IStreamClientEndpoint], ask: Ask
) -> IStreamClientEndpoint:
    """Whom the first sentinel that answers calls the master."""
    said = []
    for host, port in url.hosts:
        try:
            master = await ask(to(host, port), ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.master))
        except (Lost, Refused, ConnectError, DNSLookupError, OSError) as error:
            said.append(f"{host}:{port}: {said_of(error)}")
            continue
        if master is not None:
            return to(master[0].decode("ascii"), int(master[1]))
        said.append(f"{host}:{port}: it knows no master {url.master!r}")
    raise NotReady("no sentinel says where the master is: " + "; ".join(said))


def _trusted(authorities: str | None) -> Any:
    if authorities is None:
        return platformTrust()
    try:
        text = Path(authorities).read_text("ascii")
        certificates = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(text)]
    except (OSError, UnicodeDecodeError, CryptoError, ValueError) as error:
        raise ConfigError(f"backend.certificate_authorities: {authorities} cannot be read: {error}") from None
    if not certificates:
        raise ConfigError(f"backend.certificate_authorities: there is no certificate in {authorities}")
    return trustRootFromCertificates(certificates)


def said_of(error: BaseException) -> str:
    """Why there is no connection, as an operator would say it."""
    if isinstance(error, Lost):
        cause = error.__cause__
        return str(error) if cause is None or isinstance(cause, ConnectionDone) else said_of(cause)
    if isinstance(error, VerificationError):
        return "its certificate is for another host name"
    if isinstance(error, TLSError):
        if "certificate verify failed" in str(error):
            return "its certificate is of no authority that is trusted here: backend.certificate_authorities"
        return f"it does not speak TLS as we do: {error}"
    return str(error) or type(error).__name__
