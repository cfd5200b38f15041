"""aiohttp on asyncio: ``send_str`` to everybody."""

from __future__ import annotations

import sys

from aiohttp import WSMsgType, web

ROOMS: dict[str, set] = {}


async def peer(request):
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    path = request.path
    if path.startswith("/sub/"):
        ROOMS.setdefault(path[5:], set()).add(socket)
    try:
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            if path == "/ask":
                await socket.send_str(message.data)
            elif path.startswith("/pub/"):
                for each in list(ROOMS.get(path[5:], ())):
                    await each.send_str(message.data)
    finally:
        ROOMS.get(path[5:], set()).discard(socket)
    return socket


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/{tail:.*}", peer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, backlog=4096)
