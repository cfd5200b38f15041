"""Tabs that come back by themselves, as the bundled client's do, and write down all they say and hear.

A :class:`Person` is one browser with a session; a :class:`Tab` watches documents for as long as it
lives, on whichever node the balancer leads it to. What a tab knows is what
:class:`tests.histories.Page` learns from what was written down, and nothing else.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from tests.daemon.cluster import Cluster
from tests.daemon.page import Browser, Page, Refused
from tests.histories import FILE_FIELDS, History, untrue_comments
from tests.histories import Page as Knowledge

__all__ = ["Person", "Tab"]

WITHIN = 10.0  # a step of coming back that takes longer is tried anew
LONGEST_PAUSE = 2.0
NOT_SIGNED_IN, NOT_FOUND, RATE_LIMITED, GOOGLE_AWAY, OUTCOME_UNKNOWN, AWAY = (
    1003,
    1006,
    1007,
    1008,
    1010,
    1012,
)
SESSION_UNKNOWN, SESSION_NOT_OPEN = 1002, 1001
GIVES_UP_AFTER = 90.0
_TROUBLE = (OSError, aiohttp.ClientError, TimeoutError, Refused, AssertionError, KeyError, ValueError)


class Person:
    """One browser, signed in as somebody; again where its session was forgotten."""

    def __init__(self, cluster: Cluster, email: str) -> None:
        self.cluster = cluster
        self.email = email
        self.browser = Browser(cluster.url)
        self.sign_ins = 0
        self._signing_in = asyncio.Lock()

    async def session(self) -> str:
        """The identifier of a session that is signed in."""
        cookie = await asyncio.wait_for(self.browser.cookie(), WITHIN)
        if not cookie["signed_in"]:
            async with self._signing_in:
                cookie = await asyncio.wait_for(self.browser.cookie(), WITHIN)
                if not cookie["signed_in"]:
                    await asyncio.wait_for(self.browser.sign_in(self.email), 3 * WITHIN)
                    self.sign_ins += 1
                    cookie = await asyncio.wait_for(self.browser.cookie(), WITHIN)
        return str(cookie["session"])

    async def close(self) -> None:
        await self.browser.http.close()


class Tab:
    """One tab; ``live`` while it has a socket on which all it wants was asked for.

    ``on`` names the node to go to, past the balancer.
    """

    def __init__(
        self,
        person: Person,
        name: str,
        files: Iterable[str],
        *,
        comments: bool = False,
        visible: bool = True,
        on: str = "",
    ) -> None:
        self.person = person
        self.history = History(name, person.email)
        self.knowledge = Knowledge()
        self.wants = list(files)
        self.comments = comments
        self.visible = visible
        self.on = on
        self.live = asyncio.Event()
        self.page: Page | None = None
        self.node = ""
        self.sockets = 0
        self.troubles: list[str] = []
        self._resumed = False
        self._name: str | None = None
        self._ids = 0
        self._pause = 0.1
        self._left = False
        self._take("want", {"files": self.wants})
        self._running = asyncio.create_task(self._run())

    # -- coming, and coming back

    async def _run(self) -> None:
        while not self._left:
            try:
                await self._once()
            except _TROUBLE as trouble:
                self.troubles.append(f"{type(trouble).__name__}: {trouble}"[:200])
                del self.troubles[:-20]
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise
            self.live.clear()
            await asyncio.sleep(random.uniform(0, self._pause))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _once(self) -> None:
        session = await self.person.session()
        cluster = self.person.cluster
        through = cluster.node(self.on).url if self.on else ""
        socket = await asyncio.wait_for(self.person.browser.socket(through), WITHIN)
        page = Page(socket, lambda what, message: self._heard(page, what, message))
        self.node = self.on or cluster.balancer.node_of.get(page.from_port, "")
        self.sockets += 1
        self._take("open", {"node": self.node, "session": session, "user": self.person.email})
        self.page = page
        try:
            named = {} if self._name is None else {"connection": self._name}
            opened = await self._call("session.open", session=session, visible=self.visible, **named)
            if opened["user"] is None:
                return
            self._name, self._resumed = opened["connection"], opened["resumed"] or not named
            await asyncio.gather(*(self._watch(file_id) for file_id in self.wants))
            self._pause = 0.1
            self.live.set()
            await asyncio.shield(page._reading)
        finally:
            self._is_over(page)

    def _is_over(self, page: Page) -> None:
        if self.page is page:
            self.page = None
            self.live.clear()
            self._take("close", {"code": page.close_code})
            if page.close_code is None:
                page.abort()

    def _heard(self, page: Page, what: str, message: Mapping[str, Any]) -> None:
        if self.page is page:
            self._take(what, message)
            if message.get("method") == "document.lost" and message["params"]["fileId"] in self.wants:
                self.wants.remove(message["params"]["fileId"])

    def _take(self, what: str, message: Mapping[str, Any]) -> None:
        self.knowledge.take(self.history.add(time.time(), what, message))

    # -- calls

    async def _watch(self, file_id: str) -> None:
        while True:
            known = self.knowledge.documents.get(file_id)
            params: dict[str, Any] = {"fileId": file_id}
            if known is not None and known.version:
                params["version"] = known.version
            if self.comments:
                params["comments"] = True
                if known is not None and known.mark is not None:
                    params["commentsMark"] = known.mark
            try:
                await self._call("documents.watch", **params)
                return
            except Refused as refused:
                if refused.code in (NOT_SIGNED_IN, SESSION_UNKNOWN, SESSION_NOT_OPEN):
                    raise
                self.troubles.append(f"watch: {refused.code} {refused}")
                if refused.code == NOT_FOUND:
                    return
                await asyncio.sleep(random.uniform(0.2, 1.0))

    async def _call(self, method: str, call_id: str = "", **params: Any) -> Any:
        """Raises Refused, or ConnectionError where the socket ended first."""
        page = self.page
        if page is None:
            raise ConnectionError("there is no socket")
        if not call_id:
            self._ids += 1
            call_id = f"{self.history.connection}-{self._ids}"
        try:
            return await page.call(method, call_id, **params)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            raise ConnectionError("the socket ended") from None

    async def call(self, method: str, **params: Any) -> Any:
        """A read: done again on the next socket, where one breaks. Raises Refused."""
        while True:
            await asyncio.wait_for(self.live.wait(), GIVES_UP_AFTER)
            try:
                return await self._call(method, **params)
            except (OSError, aiohttp.ClientError):
                await asyncio.sleep(0.05)

    async def write(self, method: str, *, cut: bool = False, **params: Any) -> str:
        """Until it is answered: ``done``, ``unknown``, or ``given up``; by the rules for pages."""
        call_id, first = "", True
        until = time.time() + GIVES_UP_AFTER
        while time.time() < until and not self._left:
            await asyncio.wait_for(self.live.wait(), GIVES_UP_AFTER)
            if not call_id:
                self._ids += 1
                call_id = f"{self.history.connection}-{self._ids}"
            elif not self._resumed:
                return "unknown"
            try:
                page = self.page
                asked = asyncio.create_task(self._call(method, call_id, **params))
                if cut and first and page is not None:
                    await asyncio.sleep(random.uniform(0, 0.02))
                    page.abort()
                first = False
                await asked
                return "done"
            except Refused as error:
                if error.code == OUTCOME_UNKNOWN:
                    return "unknown"
                if error.code not in (RATE_LIMITED, GOOGLE_AWAY, AWAY, NOT_SIGNED_IN):
                    raise
                # Under the same id: who cannot ask the journal refuses also what was done long ago.
                await asyncio.sleep(random.uniform(0.2, 1.0))
            except TimeoutError:
                self.abort()
            except (OSError, aiohttp.ClientError):
                await asyncio.sleep(0.05)
        return "given up"

    def abort(self) -> None:
        """Its socket breaks."""
        if self.page is not None:
            self.page.abort()

    async def sign_out(self, *, everywhere: bool = False) -> None:
        """Of this browser, or of all; this tab and (from :meth:`leave`) its others do not come back."""
        self.leave()
        await self._call("session.sign_out", **({"everywhere": True} if everywhere else {}))

    def leave(self) -> None:
        """From now on it does not come back, and nothing is expected of it."""
        if not self._left:
            self._left = True
            self._take("leave", {})

    async def stop(self) -> None:
        """End it, without a word in its history."""
        page, self.page = self.page, None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if page is not None:
            await page.close()

    # -- what it knows

    def ignorant_of(
        self, files: Mapping[str, Mapping[str, Any]], comments: Mapping[str, Mapping[str, Any]]
    ) -> list[str]:
        """What it wants, and does not know as it is now."""
        if self._left:
            return []
        if not self.live.is_set():
            return [f"{self.history.connection} is not back"]
        wrong = []
        for file_id in self.wants:
            known = self.knowledge.documents.get(file_id)
            there = files.get(file_id, {})
            names = FILE_FIELDS - {"version"}
            if known is None or any(known.file.get(name) != there.get(name) for name in names):
                wrong.append(f"{self.history.connection}: {file_id}")
            elif known.comments is not None:
                unlike = untrue_comments(file_id, known.comments, comments.get(file_id, {}))
                wrong += [f"{self.history.connection}: {each}"[:200] for each in unlike]
        return wrong
