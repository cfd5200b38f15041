"""The floor: what a loop of ``socket.send`` costs in Python, with no framework and no rules at all.

It is no server: no UTF-8, fragments, limits, closing handshake or back-pressure. What it asks of the
machine is what any server in Python would have to ask.
"""

from __future__ import annotations

import base64
import hashlib
import json
import select
import socket
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DATA = {"file": {"data": {"id": "file", "name": "A file", "version": "12"}, "source": "cache"}}


def framed(text: bytes) -> bytes:
    """As one text frame."""
    if len(text) < 126:
        return bytes((0x81, len(text))) + text
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


def plain(data: bytes, at: int) -> tuple[bytes, int] | None:
    """The frame that begins there, unmasked, and where it ends."""
    if len(data) - at < 6:
        return None
    length, head = data[at + 1] & 127, at + 2
    if length == 126:
        length, head = int.from_bytes(data[head : head + 2], "big"), head + 2
    end = head + 4 + length
    if len(data) < end:
        return None
    mask = data[head : head + 4] * (length // 4 + 1)
    body = int.from_bytes(data[head + 4 : end], "big") ^ int.from_bytes(mask[:length], "big")
    return body.to_bytes(length, "big"), end


class Floor:
    """All of it."""

    def __init__(self, port: int) -> None:
        self.poll = select.epoll()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.poll.register(self.listener, select.EPOLLIN)
        self.sockets: dict[int, socket.socket] = {}
        self.rest: dict[int, bytes] = {}
        self.rooms: dict[bytes, dict[int, socket.socket]] = {}
        self.paths: dict[int, bytes] = {}

    def run(self) -> None:
        listening = self.listener.fileno()
        while True:
            for fd, _ in self.poll.poll():
                if fd == listening:
                    self.accept()
                else:
                    self.readable(fd, self.sockets[fd])

    def accept(self) -> None:
        for _ in range(100):
            try:
                client, _address = self.listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[client.fileno()] = client
            self.poll.register(client, select.EPOLLIN)

    def readable(self, fd: int, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.lost(fd)
            return
        data = self.rest.pop(fd, b"") + data
        path, at = self.paths.get(fd), 0
        if path is None:
            self.upgrade(fd, client, data)
            return
        while (found := plain(data, at)) is not None:
            text, at = found
            if path == b"/ask":
                call = json.loads(text)
                answer = {"jsonrpc": "2.0", "id": call["id"], "result": DATA[call["params"]["fileId"]]}
                client.send(framed(json.dumps(answer, separators=(",", ":")).encode()))
            elif path.startswith(b"/pub/"):
                frame = framed(text)
                for each in self.rooms.get(path[5:], {}).values():
                    each.send(frame)
        if at < len(data):
            self.rest[fd] = data[at:]

    def upgrade(self, fd: int, client: socket.socket, data: bytes) -> None:
        key = data.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        client.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        path = self.paths[fd] = data.split(b" ", 2)[1]
        if path.startswith(b"/sub/"):
            self.rooms.setdefault(path[5:], {})[fd] = client

    def lost(self, fd: int) -> None:
        path = self.paths.pop(fd, b"")
        self.rooms.get(path[5:], {}).pop(fd, None)
        self.rest.pop(fd, None)
        self.sockets.pop(fd).close()


if __name__ == "__main__":
    Floor(int(sys.argv[1])).run()
