"""Autobahn on Twisted as it comes: ``sendMessage`` to everybody."""

from __future__ import annotations

import json
import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor

ROOMS: dict[str, set[WebSocketServerProtocol]] = {}
DATA = {"file": {"data": {"id": "file", "name": "A file", "version": "12"}, "source": "cache"}}


class Peer(WebSocketServerProtocol):
    def onConnect(self, request):
        self.path = request.path

    def onOpen(self):
        if self.path.startswith("/sub/"):
            ROOMS.setdefault(self.path[5:], set()).add(self)

    def onMessage(self, payload, isBinary):
        if self.path == "/ask":
            self.sendMessage(payload)
        elif self.path == "/call":
            call = json.loads(payload)
            answer = {"jsonrpc": "2.0", "id": call["id"], "result": DATA[call["params"]["fileId"]]}
            self.sendMessage(json.dumps(answer, separators=(",", ":")).encode())
        elif self.path.startswith("/pub/"):
            for each in ROOMS.get(self.path[5:], ()):
                each.sendMessage(payload)

    def onClose(self, wasClean, code, reason):
        ROOMS.get(getattr(self, "path", "")[5:], set()).discard(self)


if __name__ == "__main__":
    factory = WebSocketServerFactory()
    factory.protocol = Peer
    reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
    reactor.run()
