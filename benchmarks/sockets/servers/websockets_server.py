"""The library ``websockets`` on asyncio, or on uvloop where the second argument says so."""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import broadcast, serve

ROOMS: dict[str, set] = {}
DATA = {"file": {"data": {"id": "file", "name": "A file", "version": "12"}, "source": "cache"}}


async def peer(connection):
    path = connection.request.path
    if path.startswith("/sub/"):
        room = ROOMS.setdefault(path[5:], set())
        room.add(connection)
        try:
            await connection.wait_closed()
        finally:
            room.discard(connection)
    elif path.startswith("/pub/"):
        async for message in connection:
            broadcast(ROOMS.get(path[5:], ()), message)
    elif path == "/call":
        async for message in connection:
            call = json.loads(message)
            answer = {"jsonrpc": "2.0", "id": call["id"], "result": DATA[call["params"]["fileId"]]}
            await connection.send(json.dumps(answer, separators=(",", ":")))
    else:
        async for message in connection:
            await connection.send(message)


async def main():
    async with serve(
        peer, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[2:] == ["uvloop"]:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
