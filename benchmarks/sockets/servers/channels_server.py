"""Django Channels behind daphne, with the channel layer in memory: a group for each room."""

from __future__ import annotations

import sys

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="not secret",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10**6}}
    },
    LOGGING_CONFIG=None,
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from daphne.endpoints import build_endpoint_description_strings  # noqa: E402
from daphne.server import Server  # noqa: E402


class Peer(AsyncWebsocketConsumer):
    async def connect(self):
        self.path = self.scope["path"]
        if self.path.startswith("/sub/"):
            await self.channel_layer.group_add(f"room{self.path[5:]}", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        if self.path.startswith("/sub/"):
            await self.channel_layer.group_discard(f"room{self.path[5:]}", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        if self.path == "/ask":
            await self.send(text_data=text_data)
        elif self.path.startswith("/pub/"):
            await self.channel_layer.group_send(f"room{self.path[5:]}", {"type": "tell", "text": text_data})

    async def tell(self, event):
        await self.send(text_data=event["text"])


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await Peer.as_asgi()(scope, receive, send)


if __name__ == "__main__":
    Server(
        application,
        endpoints=build_endpoint_description_strings(host="127.0.0.1", port=int(sys.argv[1])),
        signal_handlers=True,
        ping_interval=0,
        websocket_timeout=-1,
        verbosity=0,
    ).run()
