"""uWebSockets (C++) through PyPI's socketify: its own publish and subscribe."""

from __future__ import annotations

import sys

from socketify import App, AppListenOptions, CompressOptions, OpCode


def upgrade(response, request, context):
    response.upgrade(
        request.get_header("sec-websocket-key"),
        request.get_header("sec-websocket-protocol"),
        request.get_header("sec-websocket-extensions"),
        context,
        {"path": request.get_url()},
    )


def opened(socket):
    path = socket.get_user_data()["path"]
    if path.startswith("/sub/"):
        socket.subscribe(path[5:])


app = App()


def heard(socket, message, opcode):
    path = socket.get_user_data()["path"]
    if path == "/ask":
        socket.send(message, opcode)
    elif path.startswith("/pub/"):
        app.publish(path[5:], message, OpCode.TEXT)


app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 65536,
        "idle_timeout": 0,
        "upgrade": upgrade,
        "open": opened,
        "message": heard,
    },
)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
app.run()
