"""Starting on a Redis, or refusing to: one line that says what is wrong with it, and exit code 1."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.daemon.children import Child, free_port, twistd
from tests.daemon.redis_server import RedisServer, needs_redis
from tests.daemon.test_start import STOPPED, refusal, toml

pytestmark = needs_redis

KEYS = "k" * 40


def daemon(
    folder: Path, url: str, *arguments: str, env: dict[str, str] | None = None, **settings: str
) -> Child:
    """One on this Redis, not started."""
    folder.mkdir(exist_ok=True)
    lines = [f'{name} = "{value}"' for name, value in {"url": url, **settings}.items()]
    (folder / "docsession.toml").write_text("\n".join([toml(), "[backend]", *lines]))
    environment = {"DOCSESSION_CLIENT_SECRET": "a secret", "DOCSESSION_KEYS": KEYS, **(env or {})}
    argv = twistd("docsession", "--config", str(folder / "docsession.toml"), *arguments)
    return Child(argv, cwd=folder, env=environment)


def checked(child: Child) -> tuple[int, str]:
    """The exit code of ``--check``, and all that it said."""
    child.start()
    return child.wait_ended(), child.log()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as running:
        yield running


def test_two_on_one_redis(tmp_path: Path, server: RedisServer) -> None:
    with daemon(tmp_path / "one", server.url) as one, daemon(tmp_path / "two", server.url) as two:
        one.wait_said("docsession is ready")
        two.wait_said("docsession is ready")
        assert one.terminate() == STOPPED
        assert two.terminate() == STOPPED
    meta = server.cli("hgetall", "docsession:meta").splitlines()
    assert meta[meta.index("program") + 1] == "docsession"
    assert "Traceback" not in (tmp_path / "one" / "child.log").read_text()
    # Nothing of it is on this machine's disk.
    assert not (tmp_path / "one" / "docsession-state" / "docsession.sqlite").exists()


def test_no_keys(tmp_path: Path, server: RedisServer) -> None:
    child = daemon(tmp_path / "one", server.url, env={"DOCSESSION_KEYS": ""})
    assert "server.keys_file: missing; with backend.url all nodes need the same keys" in refusal(child)


def test_unreachable(tmp_path: Path) -> None:
    line = refusal(daemon(tmp_path / "one", f"redis://127.0.0.1:{free_port()}/0"))
    assert "backend.url: Redis at redis://127.0.0.1:" in line
    assert "refused" in line
    line = refusal(daemon(tmp_path / "two", f"unix://{tmp_path}/nothing.socket"))
    assert "No such file" in line


@pytest.mark.parametrize(
    ("url", "given", "said"),
    [
        ("redis://{}/0", "", "it asks for a password: backend.password_file, or DOCSESSION_REDIS_PASSWORD"),
        ("redis://{}/0", "not-this-one", "it does not know this password"),
        ("redis://nobody@{}/0", "the-password", "it does not know the user 'nobody' with this password"),
        ("redis://default@{}/0", "", "the user 'default' needs a password: backend.password_file"),
        ("redis://little@{}/0", "lit%tle", "NOPERM"),
    ],
)
def test_wrong_password(tmp_path: Path, url: str, given: str, said: str) -> None:
    settings = {"requirepass": "the-password", "user": "little on >lit%tle ~* &* +@all -info"}
    with RedisServer(tmp_path / "redis", **settings) as server:
        address = f"127.0.0.1:{server.port}"
        env = {"DOCSESSION_REDIS_PASSWORD": given}
        child = daemon(tmp_path / "one", url.format(address), env=env)
        assert said in refusal(child)
        assert "not-this-one" not in child.log()
        assert "lit%tle" not in child.log()
        assert server.cli("-a", "the-password", "--no-auth-warning", "dbsize") == "0"


def test_right_passwords(tmp_path: Path) -> None:
    """In a file, in the environment, in the URL; of a user of its own, who may do no more than is needed."""
    acl = "on >w/ord ~docsession:* &docsession:* +@all -@dangerous +info +role"
    with RedisServer(tmp_path / "redis", user=f"docs {acl}") as server:
        address = f"127.0.0.1:{server.port}"
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "password").write_text("w/ord\n")
        for child in (
            daemon(tmp_path / "one", f"redis://docs@{address}/0", password_file="password"),
            daemon(tmp_path / "two", f"redis://docs@{address}/0", env={"DOCSESSION_REDIS_PASSWORD": "w/ord"}),
            daemon(tmp_path / "three", f"redis://docs:w%2Ford@{address}/0"),
        ):
            with child:
                child.wait_said("docsession is ready")
                assert child.terminate() == STOPPED
                assert "w/ord" not in child.log()
                assert "w%2Ford" not in child.log()


def test_no_right_to_subscribe(tmp_path: Path) -> None:
    """Redis gives a new user no channel, unless it is told to."""
    with RedisServer(tmp_path / "redis", user="docs on >word ~* resetchannels +@all") as server:
        child = daemon(tmp_path / "one", f"redis://docs:word@127.0.0.1:{server.port}/0")
        line = refusal(child)
        assert "NOPERM" in line
        assert "channel" in line


def test_a_password_that_nobody_asks_for(tmp_path: Path, server: RedisServer) -> None:
    child = daemon(tmp_path / "one", server.url, env={"DOCSESSION_REDIS_PASSWORD": "x"})
    assert "it asks for no password, but one is given" in refusal(child)


def test_no_such_database(tmp_path: Path, server: RedisServer) -> None:
    url = server.url.removesuffix("0") + "16"
    assert "it has no database 16" in refusal(daemon(tmp_path / "one", url))


def test_a_database_of_its_own(tmp_path: Path, server: RedisServer) -> None:
    with daemon(tmp_path / "one", server.url.removesuffix("0") + "5") as child:
        child.wait_said("docsession is ready")
        assert server.cli("-n", "5", "exists", "docsession:meta") == "1"
    assert server.cli("exists", "docsession:meta") == "0"


def test_over_a_socket(tmp_path: Path) -> None:
    child = daemon(tmp_path / "one", f"unix://{tmp_path}/socket?db=2")
    with RedisServer(tmp_path / "redis", unixsocket=str(tmp_path / "socket")) as server, child:
        child.wait_said("docsession is ready")
        assert server.cli("-n", "2", "exists", "docsession:meta") == "1"


@contextmanager
def answering(answers: Sequence[bytes]) -> Iterator[int]:
    """The port of something that answers each of the things it is sent with the next of these."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        for answer in answers:
                            connection.recv(4096)
                            connection.sendall(answer)
                        while answers is not HANGS_UP and connection.recv(4096):
                            pass
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


HANGS_UP: tuple[bytes, ...] = (b"",)


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            [b"+OK\r\n", bulk("# Server\r\nredis_version:6.0.16\r\n"), b"*1\r\n$6\r\nmaster\r\n", b":0\r\n"],
            "it is Redis 6.0.16, and docsession needs 6.2 at least, where ZADD knows GT and GETDEL exists",
        ),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "it does not speak as Redis does"),
        ([b"-LOADING Redis is loading the dataset in memory\r\n"], "it is still loading what it had"),
        ([], "no answer within 0.5 seconds"),
        (HANGS_UP, "it closed the connection"),
    ],
)
def test_not_a_redis_that_will_do(tmp_path: Path, answers: Sequence[bytes], said: str) -> None:
    with answering(answers) as port:
        folder = tmp_path / "one"
        folder.mkdir()
        child = daemon(folder, f"redis://127.0.0.1:{port}/0")
        path = folder / "docsession.toml"
        path.write_text(path.read_text() + "\nanswer_within = 0.5\n")
        assert said in refusal(child)


def test_a_replica(tmp_path: Path, server: RedisServer) -> None:
    with RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {server.port}") as replica:
        line = refusal(daemon(tmp_path / "one", replica.url))
        assert "it is a replica" in line or "it is still loading" in line


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        (["set", "docsession:user:7", "theirs"], "docsession:user:7"),
        (["set", "docsession:meta", "theirs"], "docsession:meta"),
        (["hset", "docsession:meta", "program", "another"], "docsession:meta"),
    ],
)
def test_somebody_elses_names(tmp_path: Path, server: RedisServer, foreign: list[str], named: str) -> None:
    server.cli(*foreign)
    server.cli("set", "another:1", "x")
    before = server.cli("dbsize")
    line = refusal(daemon(tmp_path / "one", server.url))
    assert "backend.prefix: 'docsession:' is in use by something else, which has " + named in line
    assert server.cli("dbsize") == before
    with daemon(tmp_path / "two", server.url, prefix="mine:") as child:
        child.wait_said("docsession is ready")
        assert server.cli("exists", "mine:meta") == "1"


def test_what_is_not_for_this_node(tmp_path: Path, server: RedisServer) -> None:
    """Other keys, another client, a newer program."""
    with daemon(tmp_path / "one", server.url) as child:
        child.wait_said("docsession is ready")
    line = refusal(daemon(tmp_path / "two", server.url, env={"DOCSESSION_KEYS": "l" * 40}))
    fingerprint = server.cli("hget", "docsession:meta", "fingerprint")
    assert f"the keys of its nodes have the fingerprint {fingerprint[:12]}, these have " in line
    assert fingerprint not in line
    child = daemon(tmp_path / "three", server.url)
    path = tmp_path / "three" / "docsession.toml"
    path.write_text(path.read_text().replace('client_id = "x"', 'client_id = "another"'))
    line = refusal(child)
    assert (
        "belongs to client_id x, issuer https://accounts.google.com, the configuration to client_id another"
        in line
    )
    server.cli("hset", "docsession:meta", "schema", "2")
    assert "schema 2, newer than this program's 1" in refusal(daemon(tmp_path / "four", server.url))


# -- TLS


class Authority:
    """Signs certificates for host names."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.path = folder / "authority.pem"
        self._write(
            self.path, self._signed(self._name, self._key.public_key(), x509.BasicConstraints(True, 0))
        )

    def certificate(self, host: str) -> tuple[Path, Path]:
        """The files of a certificate for this name or address, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        try:
            names: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            names = x509.DNSName(host)
        path, key_path = self._folder / f"{host}.pem", self._folder / f"{host}.key"
        self._write(path, self._signed(name, key.public_key(), x509.SubjectAlternativeName([names])))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path, key_path

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + datetime.timedelta(days=36500))
            .add_extension(extension, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def test_tls(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    port = free_port()

    def served(host: str) -> RedisServer:
        certificate, key = ours.certificate(host)
        return RedisServer(
            tmp_path / "redis",
            tls_port=str(port),
            tls_cert_file=str(certificate),
            tls_key_file=str(key),
            tls_ca_cert_file=str(ours.path),
            tls_auth_clients="no",
        )

    url = f"rediss://127.0.0.1:{port}/0"
    authority = "its certificate is of no authority that is trusted here: backend.certificate_authorities"
    with served("127.0.0.1") as server:
        child = daemon(tmp_path / "one", url, certificate_authorities=str(ours.path))
        with child:
            child.wait_said("docsession is ready")
        assert authority in refusal(daemon(tmp_path / "two", url))
        wrong = daemon(tmp_path / "three", url, certificate_authorities=str(other.path))
        assert authority in refusal(wrong)
        none = daemon(tmp_path / "four", url, certificate_authorities=str(tmp_path / "none.pem"))
        assert f"backend.certificate_authorities: {tmp_path}/none.pem cannot be read" in refusal(none)
        (tmp_path / "empty.pem").write_text("no certificate")
        empty = daemon(tmp_path / "five", url, certificate_authorities=str(tmp_path / "empty.pem"))
        assert "there is no certificate in" in refusal(empty)
        plain = f"rediss://127.0.0.1:{server.port}/0"
        spoken = daemon(tmp_path / "six", plain, certificate_authorities=str(ours.path))
        assert "no answer within 2 seconds" in refusal(spoken)
        assert "Redis at redis://127.0.0.1:" in refusal(
            daemon(tmp_path / "seven", f"redis://127.0.0.1:{port}/0")
        )
    with served("redis.example.org"):
        elsewhere = daemon(tmp_path / "eight", url, certificate_authorities=str(ours.path))
        assert "its certificate is for another host name" in refusal(elsewhere)


# -- sentinels


def test_sentinel(tmp_path: Path, server: RedisServer) -> None:
    """The first that answers says where the master is."""
    watched = {"sentinel": f"monitor mymaster 127.0.0.1 {server.port} 1"}
    with RedisServer(tmp_path / "sentinel", sentinel_mode=True, **watched) as sentinel:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
        with daemon(tmp_path / "one", f"redis+sentinel://{hosts}/mymaster/3") as child:
            child.wait_said("docsession is ready")
            assert server.cli("-n", "3", "exists", "docsession:meta") == "1"
        line = refusal(daemon(tmp_path / "two", f"redis+sentinel://{hosts}/theirs/0"))
        assert "no sentinel says where the master is: " in line
        assert f"127.0.0.1:{sentinel.port}: it knows no master 'theirs'" in line


# -- --check


def test_check_says_what_it_found(tmp_path: Path, server: RedisServer) -> None:
    code, said = checked(daemon(tmp_path / "one", server.url, "--check"))
    assert f"ok      Redis: {server.url}, version 7." in said
    assert "master with 0 replicas; on disk: nothing; when memory is short: noeviction" in said
    assert "WARN    Redis: it keeps nothing on disk" in said
    assert "maxmemory-policy is" not in said
    assert "ok      store: opens, writes and reads; its keys are " in said
    assert (code, "FAILED  Google" in said) == (1, True)  # which this machine does not reach
    server.cli("config", "set", "save", "3600 1")
    server.cli("config", "set", "maxmemory-policy", "volatile-lru")
    _, said = checked(daemon(tmp_path / "two", server.url, "--check"))
    assert "on disk: snapshots;" in said
    assert "it keeps nothing on disk" not in said
    assert "WARN    Redis: maxmemory-policy is volatile-lru" in said
    server.cli("config", "set", "appendonly", "yes")
    _, said = checked(daemon(tmp_path / "three", server.url, "--check"))
    assert "on disk: appendonly and snapshots;" in said
    url = server.url.removesuffix("0") + "77"
    _, said = checked(daemon(tmp_path / "four", url, "--check"))
    assert f"FAILED  Redis: backend.url: Redis at {url}: it has no database 77" in said


def test_check_of_other_keys(tmp_path: Path, server: RedisServer) -> None:
    checked(daemon(tmp_path / "one", server.url, "--check"))
    code, said = checked(daemon(tmp_path / "two", server.url, "--check", env={"DOCSESSION_KEYS": "l" * 40}))
    assert code == 1
    assert "FAILED  store: Redis at " in said
    assert "the keys of its nodes have the fingerprint " in said
