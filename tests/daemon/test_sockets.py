"""The benchmark of sockets on a small scale: whoever is measured, every tab gets every event once."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from benchmarks.sockets.generator import Generator, GeneratorFailed, Script
from benchmarks.sockets.peers import PEERS
from benchmarks.sockets.servers.floor import framed, plain
from benchmarks.sockets.subjects import OurSubject, upgrade
from benchmarks.sockets.turns import together

TABS = 20


@pytest.mark.parametrize("flight", [1, 8])
def test_every_tab_gets_every_event_of_the_daemon_and_of_the_floor(tmp_path: Path, flight: int) -> None:
    with together(tmp_path, [PEERS["floor-py"]], users=2) as subjects:
        assert [each.name for each in subjects] == ["docsession", "floor-py"]
        for subject in subjects:
            subject.prepare_fanout(TABS)
            used, answer = subject.fanout(TABS, flight=flight, seconds=0.05)
            assert answer["tabs"] == TABS
            assert answer["sent"] >= flight
            assert answer["delivered"] == TABS * answer["sent"]
            assert not answer["lost"] and not answer["twice"] and not answer["strange"]
            assert used > 0


def test_requests_and_handshakes_are_those_of_signed_in_tabs(tmp_path: Path) -> None:
    with together(tmp_path, [PEERS["floor-py"]], users=60) as subjects:
        for subject in subjects:
            subject.prepare_requests()
            _, answer = subject.requests(50, flight=2, seconds=0.05)
            assert answer["done"] >= 100 and not answer["wrong"] and not answer["lost"]
            subject.prepare_handshakes()
            _, answer = subject.handshakes(seconds=0.05)
            assert answer["opened"] >= 1 and not answer["failed"]


def test_an_event_that_a_tab_does_not_get_is_missed(tmp_path: Path) -> None:
    with together(tmp_path, [], users=2) as (subject,):
        assert isinstance(subject, OurSubject)
        subject.prepare_fanout(TABS)
        # A document that nobody watches changes.
        lost = f"change {'document-0024'} #########".encode()
        subject.generator.trigger_by_line(f"fan{TABS}", subject.ours.control, [lost])
        answer = subject.generator.fanout(f"fan{TABS}", seconds=0, flight=1, within=0.5)
        assert answer["lost"] == TABS
        with pytest.raises(GeneratorFailed):
            subject.checked(answer)


def nats_of_two(listener: socket.socket, *, doubled: bool) -> None:
    """As nats-server speaks to a subscriber and a publisher: two messages to a frame, whatever they are."""
    subscriber, publisher = None, None
    waiting = b""
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client, _address = listener.accept()
            stack.enter_context(client)
            client.recv(65536)
            client.sendall(b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            found = plain(client.recv(65536), 0)
            assert found is not None and found[0].startswith(b"CONNECT {")
            subscriber, publisher = (
                (client, publisher) if b"SUB fan1 1\r\n" in found[0] else (subscriber, client)
            )
            client.sendall(framed(b'INFO {"a":1}\r\n') + framed(b"PING\r\nPONG\r\n"))
        assert subscriber is not None and publisher is not None
        count, at, data = 0, 0, b""
        while more := publisher.recv(65536):
            data += more
            while (found := plain(data, at)) is not None:
                text, at = found
                if text.startswith(b"PUB fan1 "):
                    count += 1
                    waiting += text.replace(b"PUB fan1 ", b"MSG fan1 1 ", 1)
                if count == 2:
                    subscriber.sendall(framed(waiting + b"PING\r\n"))
                    if doubled:
                        subscriber.sendall(framed(waiting))
                    count, waiting = 0, b""


@pytest.mark.parametrize("doubled", [False, True])
def test_several_messages_of_nats_in_a_frame_are_all_counted(doubled: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=nats_of_two, args=[listener], kwargs={"doubled": doubled})
        server.start()
        event = b'{"name":"Says \\r\\n","version":"#########"}'
        connect = b"CONNECT {}\r\n"
        with Generator() as generator:
            address = f"nats:{listener.getsockname()[1]}"
            generator.group(
                "fan1", address, [Script(upgrade("/"), say=[connect + b"SUB fan1 1\r\nPING\r\n"])]
            )
            generator.open("fan1", 1)
            generator.group("pub1", address, [Script(upgrade("/"), say=[connect + b"PING\r\n"])])
            generator.open("pub1", 1)
            generator.trigger_by_message("fan1", "pub1", [b"PUB fan1 %d\r\n%b\r\n" % (len(event), event)])
            answer = generator.fanout("fan1", seconds=0, flight=8)
            assert (answer["sent"], answer["delivered"], answer["lost"], answer["strange"]) == (8, 8, 0, 0)
            assert (answer["twice"] > 0) == doubled
        server.join()
