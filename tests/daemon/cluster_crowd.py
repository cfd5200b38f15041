"""Many people on several nodes, what they do meanwhile, and what was so at Google in the end.

    async with Crowd(cluster, world(people=20, shared=20), tabs=60) as crowd:
        await crowd.arrive()
        async with crowd.busy():
            ...  # faults
        run = await crowd.end()

Every file has a mark of its own, which stands in its name and in all that is written to it; so whoever
is shown a mark was shown something of that file.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.cluster_checker import Access, Facts, Run, with_times
from tests.daemon.cluster import Cluster, Node
from tests.daemon.cluster_tabs import NOT_FOUND, Person, Tab
from tests.daemon.page import Refused
from tests.histories import COMMENT_FIELDS, FILE_FIELDS

__all__ = ["Crowd", "email", "world"]

_FIELDS = ",".join(sorted(FILE_FIELDS - {"lastModifyingUser"})) + ",lastModifyingUser(displayName,photoLink)"
_COMMENT = (
    ",".join(sorted(COMMENT_FIELDS - {"author", "replies", "action"})) + ",author(displayName,photoLink)"
)
_REPLIES = "id,createdTime,modifiedTime,author(displayName,photoLink),content,htmlContent,deleted,action"
_COMMENTS = f"comments({_COMMENT},replies({_REPLIES}))"
_MARK = re.compile(r"zq\w+q")
PROOF = 600.0
SETTLED_WITHIN = 60.0


def email(number: int) -> str:
    return f"person{number:03}@example.com"


def world(
    *, people: int, shared: int, private: int = 1, writers: int = 8, rng: random.Random | None = None
) -> dict[str, Any]:
    """A seed: files shared by some as writers, and private ones of everybody."""
    rng = rng or random.Random(7)
    files: list[dict[str, Any]] = []
    for number in range(shared):
        owner = number % people
        others = [other for other in range(people) if other != owner]
        files.append(
            {
                "name": f"Shared zqs{number:04}q",
                "owner": email(owner),
                "shared": {email(other): "writer" for other in rng.sample(others, min(writers, len(others)))},
                "text": f"What zqs{number:04}q says.",
            }
        )
    files.extend(
        {
            "name": f"Private zqp{owner:03}x{count}q",
            "owner": email(owner),
            "shared": {},
            "text": f"What zqp{owner:03}x{count}q keeps to itself.",
        }
        for owner in range(people)
        for count in range(private)
    )
    persons = [{"email": email(number), "name": f"Person {number:03}"} for number in range(people)]
    return {"people": persons, "files": files}


class Crowd:
    """People with tabs on the cluster; an async context manager."""

    def __init__(
        self,
        cluster: Cluster,
        seed: dict[str, Any],
        *,
        tabs: int,
        watched: int = 4,
        lease: float = 10.0,
        rng: random.Random | None = None,
    ) -> None:
        self.cluster = cluster
        self.seed = seed
        self.rng = rng or random.Random(1)
        self._tab_count = tabs
        self._watched = watched
        self.facts = Facts(0.0, lease=lease)
        self.people: list[Person] = []
        self.tabs: list[Tab] = []
        self.counts: dict[str, int] = {}
        self.ids: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._serial = 0
        self._acts: set[asyncio.Task[None]] = set()
        self.failures: list[str] = []

    async def __aenter__(self) -> Crowd:
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        overview = await self.sandbox("GET", "/sandbox/overview")
        self.ids = {file["name"]: file["id"] for file in overview["files"]}
        for file in self.seed["files"]:
            file_id = self.ids[file["name"]]
            mark = _MARK.findall(file["name"])[0]
            self.facts.words |= {file_id: file_id, mark: file_id}
            readers = {file["owner"], *file["shared"]}
            self.facts.access[file_id] = {reader: [Access(0.0, True)] for reader in readers}
        self.facts.doors = {node.door: node.name for node in self.cluster.nodes}
        return self

    async def __aexit__(self, *_: object) -> None:
        for act in self._acts:
            act.cancel()
        await asyncio.gather(*self._acts, return_exceptions=True)
        await asyncio.gather(*(tab.stop() for tab in self.tabs))
        await asyncio.gather(*(person.close() for person in self.people))
        await self.http.close()

    # -- Google

    async def sandbox(self, method: str, path: str, body: Any = None, *, of: str = "") -> Any:
        """A request to the sandbox, in somebody's name where one is given."""
        url = f"{self.cluster.sandbox_url}{path}"
        for again in (True, False):
            headers = {"Authorization": f"Bearer {await self._token(of)}"} if of else {}
            async with self.http.request(method, url, json=body, headers=headers) as answer:
                if answer.status == 401 and again:
                    self._tokens.pop(of, None)  # made to expire, with the daemon's
                    continue
                if answer.status >= 400:
                    raise AssertionError(f"{method} {path}: {answer.status} {await answer.text()}")
                return await answer.json(content_type=None) if answer.status != 204 else None
        return None

    async def _token(self, of: str) -> str:
        if of not in self._tokens:
            token = await self.sandbox("POST", "/sandbox/token", {"email": of})
            self._tokens[of] = token["access_token"]
        return self._tokens[of]

    def readers(self, file_id: str) -> list[str]:
        """Who may see it now."""
        users = self.facts.access[file_id]
        return sorted(user for user, spans in users.items() if spans[-1].sees)

    def owner(self, file_id: str) -> str:
        return next(str(file["owner"]) for file in self.seed["files"] if self.ids[file["name"]] == file_id)

    def shared(self) -> list[str]:
        """The files that several may see."""
        return [self.ids[file["name"]] for file in self.seed["files"] if file["shared"]]

    def mark(self, file_id: str) -> str:
        return next(word for word, of in self.facts.words.items() if of == file_id and word != file_id)

    # -- tabs

    async def arrive(self, *, on: Iterable[str] = (), visible: bool = True) -> None:
        """Everybody signs in and opens tabs; ``on`` these nodes in turn, or wherever they are led."""
        people = len(self.seed["people"])
        nodes = list(on)
        self.people = [Person(self.cluster, email(number)) for number in range(people)]
        gate = asyncio.Semaphore(6)

        async def sign_in(person: Person) -> None:
            async with gate:
                await person.session()

        await asyncio.gather(*(sign_in(person) for person in self.people))
        for number in range(self._tab_count):
            person = self.people[number % people]
            mine = [file_id for file_id in self.shared() if person.email in self.readers(file_id)]
            name = f"{person.email.partition('@')[0]}-{number}"
            files = self.rng.sample(mine, min(self._watched, len(mine)))
            here = nodes[number % len(nodes)] if nodes else ""
            comments = number % 2 == 0
            self.tabs.append(Tab(person, name, files, comments=comments, visible=visible, on=here))
        await self.all_live()

    async def all_live(self, within: float = SETTLED_WITHIN) -> None:
        """Every tab that did not leave is there."""
        waiting = [tab for tab in self.tabs if not tab._left]
        try:
            await asyncio.wait_for(asyncio.gather(*(tab.live.wait() for tab in waiting)), within)
        except TimeoutError:
            away = [tab for tab in waiting if not tab.live.is_set()]
            said = "; ".join(f"{tab.history.connection}: {tab.troubles[-1:]}" for tab in away[:5])
            raise AssertionError(f"{len(away)} tabs are not back: {said}\n{self._said()}") from None

    def _said(self) -> str:
        return "\n".join(line for line in self.cluster.log().splitlines() if '"level":"info"' not in line)[
            -3000:
        ]

    # -- what they do

    @asynccontextmanager
    async def busy(self, every: float = 0.1) -> AsyncIterator[None]:
        """Somebody does something at this pace while the context lasts; all of it is over when it ends."""

        async def going_on() -> None:
            while True:
                self._act()
                await asyncio.sleep(every)

        going = asyncio.create_task(going_on())
        try:
            yield
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
            await asyncio.gather(*self._acts)

    def _act(self) -> None:
        doing = self.rng.choices(
            [
                self.rename_at_google,
                self.comment_at_google,
                self.rename,
                self.comment,
                self.look_round,
                self.pry,
            ],
            [30, 10, 20, 25, 10, 5],
        )[0]
        task = asyncio.create_task(self._guarded(doing))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    async def _guarded(self, doing: Any) -> None:
        name = doing.__name__
        try:
            outcome = await doing()
        except (OSError, aiohttp.ClientError, Refused, TimeoutError) as error:
            outcome = type(error).__name__
        except AssertionError as error:
            self.failures.append(f"{name}: {error}")
            outcome = "failed"
        name = f"{name}: {outcome or 'done'}"
        self.counts[name] = self.counts.get(name, 0) + 1

    def _new(self, file_id: str) -> str:
        self._serial += 1
        return f"{self.mark(file_id)} number {self._serial}"

    def _some_tab(self) -> Tab | None:
        there = [tab for tab in self.tabs if not tab._left and tab.wants]
        return self.rng.choice(there) if there else None

    async def rename_at_google(self) -> None:
        file_id = self.rng.choice(self.shared())
        body = {"name": f"Renamed {self._new(file_id)}"}
        of = self.rng.choice(self.readers(file_id))
        await self.sandbox("PATCH", f"/drive/v3/files/{file_id}?fields=id", body, of=of)

    async def comment_at_google(self) -> None:
        file_id = self.rng.choice(self.shared())
        body = {"content": f"Said at Google {self._new(file_id)}"}
        of = self.rng.choice(self.readers(file_id))
        await self.sandbox("POST", f"/drive/v3/files/{file_id}/comments?fields=id", body, of=of)

    async def rename(self) -> str | None:
        tab = self._some_tab()
        if tab is None:
            return "nobody"
        file_id = self.rng.choice(tab.wants)
        body = {"name": f"Renamed by a page {self._new(file_id)}"}
        return await tab.write(
            "drive.files.update", cut=self.rng.random() < 0.2, fileId=file_id, requestBody=body
        )

    async def comment(self) -> str | None:
        tab = self._some_tab()
        if tab is None:
            return "nobody"
        file_id = self.rng.choice(tab.wants)
        text = f"Said by a page {self._new(file_id)}"
        self.facts.written[text] = 0
        return await tab.write(
            "drive.comments.create",
            cut=self.rng.random() < 0.2,
            fileId=file_id,
            requestBody={"content": text},
        )

    async def look_round(self) -> str | None:
        """A listing of all one has; through the caches."""
        tab = self._some_tab()
        if tab is None:
            return "nobody"
        await tab.call("drive.files.list", fields="files(id,name)", pageSize=100)
        return None

    async def pry(self) -> str:
        """Somebody asks for a file that they may not see, and others watch."""
        tab = self._some_tab()
        closed = (
            [] if tab is None else [f for f in self.facts.access if tab.person.email not in self.readers(f)]
        )
        if tab is None or not closed:
            return "nobody"
        method = self.rng.choice(["drive.files.get", "documents.watch", "drive.comments.list"])
        more = {"fields": "comments(content)"} if method.endswith(".list") else {}
        try:
            await tab.call(method, fileId=self.rng.choice(closed), **more)
        except Refused as refused:
            return "refused" if refused.code == NOT_FOUND else f"refused: {refused.code}"
        raise AssertionError(f"{tab.person.email} was given {method}")

    async def unshare(self, tab: Tab, file_id: str) -> None:
        """The owner takes somebody's access away, through the daemon; ``tab`` is the owner's."""
        whom = self.rng.choice([user for user in self.readers(file_id) if user != self.owner(file_id)])
        fields = "permissions(id,emailAddress)"
        listed = await self.sandbox(
            "GET", f"/drive/v3/files/{file_id}/permissions?fields={fields}", of=self.owner(file_id)
        )
        permission = next(p["id"] for p in listed["permissions"] if p["emailAddress"] == whom)
        at = time.time()
        outcome = await tab.write("drive.permissions.delete", fileId=file_id, permissionId=permission)
        assert outcome == "done", outcome
        # What was under way while the answer came may still arrive.
        self.facts.access[file_id][whom].append(Access(at, False, time.time() + 1.0))

    async def expire(self, user: str) -> None:
        """The user's access token is good for nothing any more."""
        self.facts.expired.setdefault(user, []).append(time.time())
        await self.sandbox("POST", "/sandbox/grants", {"email": user, "do": "expire_access"})

    @asynccontextmanager
    async def cut_off(self, *nodes: Node) -> AsyncIterator[None]:
        """Write down that these nodes do not reach Redis, or stand still, in this context."""
        since = time.time()
        try:
            yield
        finally:
            self.facts.cut_off += [(node.name, since, time.time()) for node in nodes]

    # -- the end

    async def settle(self, within: float = SETTLED_WITHIN) -> list[str]:
        """Wait until every tab knows what is so; what some do not know when the time is over is returned."""
        until = time.time() + within
        while True:
            files, comments = await self._files(), await self._comments()
            missing = [each for tab in self.tabs for each in tab.ignorant_of(files, comments)]
            if not missing or time.time() > until:
                return missing
            await asyncio.sleep(0.5)

    async def watch_lookers(self, seconds: float) -> None:
        """Nothing goes on for so long but looks; who looks is written down."""
        since = time.time()
        await asyncio.sleep(seconds)
        self.facts.settled.append((since, time.time()))

    async def end(self) -> Run:
        """All that happened, with what was so."""
        facts = self.facts
        facts.files = await self._files()
        facts.comments = await self._comments()
        for text in _texts(await self.sandbox("GET", "/sandbox/world")):
            if text in facts.written:
                facts.written[text] += 1
        log = await self.sandbox("GET", "/sandbox/calls/log")
        assert not log["forgotten"], "the sandbox's log was too short"
        # What this crowd did at Google itself came by the sandbox's own address.
        facts.calls = [call for call in with_times(log["calls"]) if call["door"] in facts.doors]
        facts.ended_at = time.time()
        return Run([tab.history for tab in self.tabs], facts)

    async def _files(self) -> dict[str, dict[str, Any]]:
        gate = asyncio.Semaphore(8)

        async def get(file_id: str) -> dict[str, Any]:
            async with gate:
                path = f"/drive/v3/files/{file_id}?fields={_FIELDS}"
                return await self.sandbox("GET", path, of=self.owner(file_id))  # type: ignore[no-any-return]

        files = self.shared()
        return dict(zip(files, await asyncio.gather(*map(get, files)), strict=True))

    async def _comments(self) -> dict[str, dict[str, Any]]:
        gate = asyncio.Semaphore(8)

        async def get(file_id: str) -> dict[str, Any]:
            path = f"/drive/v3/files/{file_id}/comments?fields=nextPageToken,{_COMMENTS}"
            found: dict[str, Any] = {}
            token = ""
            async with gate:
                while True:
                    more = f"&includeDeleted=true&pageSize=100{token}"
                    page = await self.sandbox("GET", path + more, of=self.owner(file_id))
                    found |= {comment["id"]: comment for comment in page["comments"]}
                    if not page.get("nextPageToken"):
                        return found
                    token = f"&pageToken={page['nextPageToken']}"

        files = self.shared()
        return dict(zip(files, await asyncio.gather(*map(get, files)), strict=True))


def _texts(value: Any) -> Iterator[str]:
    """Every text in the sandbox's world that somebody may have written."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("content", "name") and isinstance(inner, str):
                yield inner
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
