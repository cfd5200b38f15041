"""The real daemon, as twistd runs it, with one socket of the benchmark's own beside it.

    twistd -n --pidfile= -y benchmarks/sockets/daemon.py

On the lines of that socket the hub is handed what a look at Google would have brought: a change a
message, without a request to the sandbox for each. From the hub on nothing differs.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from benchmarks.sockets.seed import WRITER
from docsession.google.look import view_of
from docsession.tap import Options, makeService
from docsession.times import rfc3339


class Writer:
    """Somebody who watches nothing."""

    id = WRITER


class Control(LineOnlyReceiver):
    """``change FILE NUMBER``; ``delayed``: how many timed calls the reactor has; ``held``: how many bytes
    wait for the slowest of all tabs, in its queue and in its transport."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        from twisted.internet import reactor

        words = line.decode().split()
        if words[0] == "change":
            daemon.assembly.documents.written.learn(
                Writer(), seen(words[1], int(words[2]), reactor.seconds())
            )
        elif words[0] == "held":
            tabs = daemon.assembly.directory.open_connections()
            queue = max((tab._backlog.bytes for tab in tabs if tab._backlog is not None), default=0)
            self.sendLine(b"%d %d" % (queue, max(map(in_transport, tabs), default=0)))
        else:
            self.sendLine(b"%d" % len(reactor.getDelayedCalls()))


def in_transport(tab: Any) -> int:
    """What the kernel has not taken yet."""
    transport = tab._wire.transport
    return 0 if transport is None else len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def seen(file_id: str, number: int, now: float) -> Any:
    """What a look brings of a file that was renamed."""
    answer = {
        "id": file_id,
        "name": f"Renamed {number}",
        "mimeType": "application/vnd.google-apps.document",
        "version": str(number),
        "modifiedTime": rfc3339(now),
        "lastModifyingUser": {"displayName": "Person 000"},
        "trashed": False,
        "webViewLink": f"https://docs.google.com/document/d/{file_id}/edit",
    }
    return view_of(answer, now)


def control_service() -> StreamServerEndpointService:
    from twisted.internet import reactor

    endpoint = UNIXServerEndpoint(reactor, os.environ["DOCSESSION_BENCH_SOCKET"])
    return StreamServerEndpointService(endpoint, Factory.forProtocol(Control))


options = Options()
options["config"] = os.environ["DOCSESSION_BENCH_CONFIG"]
application = Application("docsession")
daemon: Any = makeService(options)
daemon.setServiceParent(application)
control_service().setServiceParent(application)
