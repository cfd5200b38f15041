"""nginx and HAProxy as children, with the sample configurations of docs/operations.

Of a sample only addresses, ports, paths and the lines of the certificate are replaced, each as often as
it is there: a sample that says something else than it did fails here first.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.daemon.children import Child, free_port
from tests.daemon.page import Browser, until

SAMPLES = Path(__file__).parents[2] / "docs" / "operations"
KINDS = ("nginx", "haproxy")
LACKING = {
    "nginx": "nginx is not installed (Debian: nginx-light)",
    "haproxy": "haproxy is not installed (Debian: haproxy)",
}
OWN_PAGE = "<!doctype html><title>A page of the operator's own</title>\n"


def program(kind: str) -> str | None:
    """Where it is installed. Debian keeps both out of the paths of people."""
    return shutil.which(kind, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Proxy:
    """One of the two, in front of three nodes on these ports; a context manager.

    ``nodes`` may be the path of a unix socket instead, for nginx: then there is that node alone.
    """

    def __init__(
        self, kind: str, nodes: list[int] | Path, directory: Path, *, port: int | None = None
    ) -> None:
        assert kind == "nginx" if isinstance(nodes, Path) else len(nodes) == 3
        self.kind = kind
        self.port = port or free_port()
        self.plain_port = free_port()
        self.directory = directory
        self._nodes = nodes
        # Workers that are not root must reach it, which they do not reach pytest's directories.
        self._site = Path(tempfile.mkdtemp(prefix="docsession-site-"))
        self._site.chmod(0o755)
        (self._site / "index.html").write_text(OWN_PAGE)
        (self._site / "index.html").chmod(0o644)
        self._said = _Datagrams() if kind == "haproxy" else None
        self._certificate, key = certificate()
        (directory / "site.pem").write_bytes(self._certificate + (key if kind == "haproxy" else b""))
        (directory / "site.key").write_bytes(key)
        self._application = Child(
            ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(self._site), "0"],
            cwd=self._site,
        )
        self.child = self._nginx() if kind == "nginx" else self._haproxy()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self.child.start().wait_listening()
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self._application.kill()
        if self._said is not None:
            self._said.close()
        shutil.rmtree(self._site)

    def browser(self) -> Browser:
        """A browser that believes the certificate."""
        return Browser(self.url, _Connector(self.trust()))

    def trust(self) -> ssl.SSLContext:
        """Believes this proxy's certificate, and no other."""
        return ssl.create_default_context(cadata=self._certificate.decode())

    def logs(self) -> str:
        """All that it has written anywhere."""
        written = [self.child.log()]
        written += [path.read_text("utf-8", "replace") for path in sorted(self.directory.glob("*.log"))]
        return "\n".join(written + (self._said.lines if self._said is not None else []))

    # -- inside

    def _nginx(self) -> Child:
        text = (SAMPLES / "nginx.conf").read_text(encoding="utf-8")
        here = self.directory
        for number in (1, 2, 3):
            if isinstance(self._nodes, Path):
                text = replaced(text, f"server 10.0.0.1{number}:8765", f"#server 10.0.0.1{number}:8765")
            else:
                text = replaced(text, f"10.0.0.1{number}:8765", f"127.0.0.1:{self._nodes[number - 1]}")
        if isinstance(self._nodes, Path):
            sample = "server unix:/run/docsession/docsession.sock"
            text = replaced(text, f"#{sample}", f"server unix:{self._nodes}")
        text = replaced(text, "listen 80;", f"listen 127.0.0.1:{self.plain_port};")
        text = replaced(text, "listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;")
        text = replaced(text, "/etc/ssl/docs.example.org.pem", str(here / "site.pem"))
        text = replaced(text, "/etc/ssl/docs.example.org.key", str(here / "site.key"))
        text = replaced(text, "server_name docs.example.org;", "server_name 127.0.0.1;", times=2)
        text = replaced(text, "/var/log/nginx/error.log", str(here / "error.log"))
        text = replaced(text, "/var/log/nginx/access.log", str(here / "access.log"))
        text = replaced(text, "/run/nginx.pid", str(here / "nginx.pid"))
        text = replaced(text, "root /srv/www;", f"root {self._site};")
        path = here / "nginx.conf"
        path.write_text(text, encoding="utf-8")
        argv = [program("nginx") or "nginx", "-e", "stderr", "-c", str(path), "-g", "daemon off;"]
        return Child(argv, cwd=here, port=self.port)

    def _haproxy(self) -> Child:
        text = (SAMPLES / "haproxy.cfg").read_text(encoding="utf-8")
        assert self._said is not None
        assert isinstance(self._nodes, list)
        for number, node in enumerate(self._nodes, start=1):
            text = replaced(text, f"10.0.0.1{number}:8765", f"127.0.0.1:{node}", times=2)
        application = free_port()
        self._application.argv[-1] = str(application)
        self._application.port = application
        self._application.start().wait_listening()
        text = replaced(text, "10.0.0.20:8080", f"127.0.0.1:{application}")
        text = replaced(text, "bind :80\n", f"bind 127.0.0.1:{self.plain_port}\n")
        text = replaced(text, "bind :443 ssl", f"bind 127.0.0.1:{self.port} ssl")
        text = replaced(text, "/etc/haproxy/docs.example.org.pem", str(self.directory / "site.pem"))
        text = replaced(text, "log /dev/log", f"log 127.0.0.1:{self._said.port}")
        if os.geteuid() != 0:  # only root can become somebody else
            for line in ("    user haproxy\n", "    group haproxy\n", "    chroot /var/lib/haproxy\n"):
                text = replaced(text, line, "")
        path = self.directory / "haproxy.cfg"
        path.write_text(text, encoding="utf-8")
        return Child(
            [program("haproxy") or "haproxy", "-db", "-f", str(path)], cwd=self.directory, port=self.port
        )


def replaced(text: str, old: str, new: str, *, times: int = 1) -> str:
    """The text with one thing for another; it must be there exactly so often."""
    assert text.count(old) == times, f"{old!r} is there {text.count(old)} times"
    return text.replace(old, new)


class _Connector(aiohttp.TCPConnector):
    """Closed, it has closed: an ordinary one leaves it open whether the other end said goodbye in TLS."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._mine: list[socket.socket] = []
        super().__init__(ssl=trust, force_close=True, socket_factory=self._socket)

    def _socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        self._mine.append(socket.socket(family, kind, protocol))
        return self._mine[-1]

    async def close(self, **options: Any) -> None:
        await super().close(**options)
        for each in self._mine:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        await until(lambda: all(each.fileno() < 0 for each in self._mine), "all sockets closed")


class _Datagrams:
    """Takes log lines as syslog does."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._socket.close()

    def _take(self) -> None:
        while not self._closed.is_set():
            try:
                self.lines.append(self._socket.recv(65536).decode("utf-8", "replace"))
            except TimeoutError:
                continue


def certificate() -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = ipaddress.ip_address("127.0.0.1")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
