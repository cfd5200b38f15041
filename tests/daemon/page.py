"""A page without a browser: cookie, sign-in through the consent page, socket, calls, events."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urljoin

import aiohttp

PATIENCE = 30.0


class Refused(Exception):
    """An error answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = error["code"]
        self.data = error["data"]


class Browser:
    """One cookie jar; an async context manager."""

    def __init__(self, url: str, connector: aiohttp.BaseConnector | None = None) -> None:
        self.url = url
        self.http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            # By itself it would have no more than a hundred sockets.
            connector=connector or aiohttp.TCPConnector(limit=0),
        )

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def cookie(self, through: str = "") -> dict[str, Any]:
        """A cookie; ``through`` another address of the server's than the one that pages know."""
        url = f"{through or self.url}/api/generate_cookie"
        async with self.http.post(url, headers={"Origin": self.url}) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()  # type: ignore[no-any-return]

    async def socket(self, through: str = "") -> aiohttp.ClientWebSocketResponse:
        """A socket on which nothing was said yet."""
        url = f"{through or self.url}/api/socket"
        return await self.http.ws_connect(url, headers={"Origin": self.url})

    async def tab(self, name: str | None = None, *, through: str = "", visible: bool = True) -> Page:
        """A tab, opened; under the name of one from before, where given."""
        cookie = await self.cookie(through)
        page = Page(await self.socket(through))
        extra = {} if name is None else {"connection": name}
        page.opened = await page.call("session.open", session=cookie["session"], visible=visible, **extra)
        return page

    async def sign_in(self, email: str) -> None:
        """Through the consent page, as a person would."""
        page = await self.tab()
        url = (await page.call("session.sign_in"))["url"]
        async with self.http.get(url) as answer:
            form = re.search(r"<form.*?</form>", await answer.text(), re.S)
        assert form is not None
        fields = []
        for tag in [*re.findall(r"<input[^>]*>", form[0]), *re.findall(r"<button[^>]*>", form[0])[:1]]:
            given = {name: unescape(value) for name, value in re.findall(r'([a-z-]+)="([^"]*)"', tag)}
            if "name" in given and (given.get("type") != "radio" or given.get("value") == email):
                fields.append((given["name"], given.get("value", "on")))
        action = re.search(r'action="([^"]*)"', form[0])
        target = urljoin(url, unescape(action[1]) if action else url)
        async with self.http.post(target, data=fields, allow_redirects=False) as answer:
            back = answer.headers["Location"]
        async with self.http.get(back, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            assert "docsession_error" not in answer.headers["Location"], answer.headers["Location"]
        await page.close()


class Page:
    """One open socket. ``record`` hears of each message as it goes or comes: call, answer or event."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        record: Callable[[str, dict[str, Any]], None] = lambda what, message: None,
    ) -> None:
        self.socket = socket
        self._record = record
        self.opened: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self._answers: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._ids = 0
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self.close_code: int | None = None
        self.on_event: Callable[[dict[str, Any]], None] | None = None

    async def _read(self) -> None:
        async for message in self.socket:
            decoded = json.loads(message.data)
            for one in decoded if isinstance(decoded, list) else [decoded]:
                self._record("event" if "method" in one else "answer", one)
                if "method" in one:
                    self.events.append(one)
                    if self.on_event is not None:
                        self.on_event(one)
                elif one["id"] in self._answers and not self._answers[one["id"]].done():
                    self._answers[one["id"]].set_result(one)
            self._news.set()
        self.close_code = self.socket.close_code
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.cancel()
        self._news.set()

    async def send(self, method: str, call_id: Any = None, **params: Any) -> Any:
        """Send a call without waiting for its answer; returns its id."""
        self._ids += 1
        call_id = self._ids if call_id is None else call_id
        self._answers[call_id] = asyncio.get_running_loop().create_future()
        message = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
        self._record("call", message)
        await self.socket.send_str(json.dumps(message))
        return call_id

    async def result(self, call_id: Any) -> Any:
        """The answer's result. Raises Refused."""
        answer = await asyncio.wait_for(self._answers[call_id], PATIENCE)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    async def call(self, method: str, call_id: Any = None, **params: Any) -> Any:
        return await self.result(await self.send(method, call_id, **params))

    async def event(self, name: str, matches: Any = lambda params: True) -> dict[str, Any]:
        """The first event of that name that matches, waiting for it."""

        async def wait() -> dict[str, Any]:
            while True:
                for event in self.events:
                    if event["method"] == name and matches(event["params"]):
                        return event["params"]  # type: ignore[no-any-return]
                assert self.close_code is None, f"closed {self.close_code} before {name}"
                self._news.clear()
                await self._news.wait()

        return await asyncio.wait_for(wait(), PATIENCE)

    async def closed(self) -> int:
        """The close code, once it is closed."""
        await asyncio.wait_for(self._reading, PATIENCE)
        assert self.close_code is not None
        return self.close_code

    @property
    def from_port(self) -> int:
        """The port of this end of its TCP connection."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        return int(connection.transport.get_extra_info("sockname")[1])

    def abort(self) -> None:
        """Cut the socket, without a close frame."""
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def close(self) -> None:
        await self.socket.close()
        await asyncio.gather(self._reading, return_exceptions=True)


async def until(condition: Any, what: str) -> Any:
    """Poll (blocking calls in a thread) until it is true; for what lives in another process."""
    for _ in range(600):
        found = await asyncio.to_thread(condition)
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"never: {what}")
