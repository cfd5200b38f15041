"""Random changes while Google breaks, tokens are lost, messages go astray and the server restarts.

Every tab comes back as a page does, with the versions it has. In the end each must know the
present state of all that it watches, and none was told the same state twice on one connection.
"""

from __future__ import annotations

from typing import Any

from benchmarks.google_cost.google import file_id, rng_of, seed
from benchmarks.google_cost.ours import PUSH, arrive
from benchmarks.google_cost.shape import Day, Shape
from docsession.sandbox.records import Comment
from tests.support import Stack, Tab

__all__ = ["chaos"]

_SHAPE = Shape("chaos", 12, 12, 2, 40)
_A_SECOND = 5
# When all faults are over: a pause that Google asked for, and every interval once; with push the
# longest is five minutes.
_CALM, _CALM_WITH_PUSH = 150.0, 420.0
_FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 503},
    {"status": 500, "body": "<html>"},
    {"status": 429, "reason": "rateLimitExceeded", "retry_after": 2},
    {"reason": "userRateLimitExceeded"},
    {"drop": True},
    {"hang": True},
    {"delay": 3.0},
    {"match": {"method": "drive.changes.list"}, "status": 410, "reason": "gone"},
    {"match": {"method": "drive.changes.list"}, "status": 400, "reason": "invalid"},
    {"match": {"method": "oauth2.token*"}, "status": 503},
)
_AT = ("drive.*", "drive.files.get", "drive.files.list", "drive.changes.*", "drive.comments.list")


def chaos(number: int, changes: int, *, push: bool = False) -> dict[str, Any]:
    """So many changes: how many tabs know something old in the end, and how often one was told twice."""
    return _Chaos(number, push=push).run(changes)


class _Chaos:
    def __init__(self, number: int, *, push: bool) -> None:
        self.rng = rng_of(number, "chaos")
        self.push = push
        self.day = Day.deal(_SHAPE, self.rng)
        self.stack = Stack(
            PUSH if push else "", world=seed(self.day), rng=rng_of(number, "chaos", "google"), direct=True
        )
        self.identities = [arrive(self.stack, user) for user in range(_SHAPE.users)]
        self.pages = [_Page(self, plan.user, plan.visible) for plan in self.day.tabs]
        self.counts = {"faults": 0, "tokens_lost": 0, "sockets_cut": 0, "restarts": 0}
        for page in self.pages:
            page.come()

    def run(self, changes: int) -> dict[str, Any]:
        made = seconds = 0
        while made < changes:
            for _ in range(_A_SECOND):
                self.change()
            made += _A_SECOND
            self.stack.advance(1.0)
            seconds += 1
            for every, happen in (
                (15, self.break_something),
                (40, self.cut),
                (100, self.lose),
                (230, self.restart),
            ):
                if seconds % every == 0:
                    happen()
        self.stack.faults()
        self.stack.control("DELETE", "/sandbox/channels")
        self.stack.advance(_CALM_WITH_PUSH if self.push else _CALM, step=1.0)
        found = {"lost": sum(page.lost() for page in self.pages), "doubled": self.doubled}
        self.stack.close()
        return {"changes": made, "seconds": seconds, "push": self.push, **self.counts, **found}

    @property
    def doubled(self) -> int:
        return sum(page.doubled for page in self.pages)

    def change(self) -> None:
        """One of everything that may happen to a document: a view, a comment, another name."""
        world, what = self.stack.sandbox.world, self.rng.random()
        file = world.files[file_id(self.rng.randrange(_SHAPE.documents))]
        by, there = world.owner_of(file), [each for each in file.comments.values() if not each.deleted]
        assert by is not None
        if what < 0.2:
            world.look_at(file, by)
        elif what < 0.35 and len(there) < 15:
            comment_id = f"AAAA{self.rng.getrandbits(40):x}"
            file.comments[comment_id] = Comment(comment_id, by.email, world.now(), world.now(), "Why?")
            world.touch(file)
        elif what < 0.35:
            comment = self.rng.choice(there)
            comment.content, comment.modified = f"Since {self.rng.getrandbits(40):x}", world.now()
            comment.deleted = what < 0.22
            world.touch(file)
        else:
            file.name = f"Name {self.rng.getrandbits(40):x}"
            world.touch(file, by, modified=world.now())

    def break_something(self) -> None:
        fault = {"match": {"method": self.rng.choice(_AT)}, "times": self.rng.randint(1, 20)}
        self.stack.faults(fault | self.rng.choice(_FAULTS))
        self.counts["faults"] += 1
        if self.push:
            order = {"do": self.rng.choice(["drop", "duplicate", "delay"]), "times": self.rng.randint(1, 50)}
            self.stack.control("POST", "/sandbox/channels", order)

    def lose(self) -> None:
        """Google forgets every page token that it gave out."""
        status = self.rng.choice([400, 404, 410])
        self.stack.control("PUT", "/sandbox/habits", {"lost_tokens": status})
        self.counts["tokens_lost"] += 1

    def cut(self) -> None:
        """A socket breaks, and its page comes back."""
        page = self.rng.choice(self.pages)
        page.go()
        self.stack.advance(self.rng.choice([0.5, 5, 30]))
        page.come()
        self.counts["sockets_cut"] += 1

    def restart(self) -> None:
        for page in self.pages:
            page.go()
        self.stack.stop_server()
        self.stack.start_server()
        for page in self.pages:
            page.come()
        self.counts["restarts"] += 1


class _Page:
    """One tab: keeps what it was told, as the bundled client does."""

    def __init__(self, chaos: _Chaos, user: int, visible: bool) -> None:
        self._chaos = chaos
        self._user = user
        self._visible = visible
        self._tab: Tab | None = None
        self._read = 0
        self._known: dict[str, dict[str, Any]] = {}
        self._marks: dict[str, str] = {}
        self._comments: dict[str, dict[str, Any]] = {}
        self._listing: Any = None
        # What came on this connection: (document, version).
        self._told: set[tuple[str, str]] = set()
        self.doubled = 0

    def come(self) -> None:
        """Open, and watch with the versions it has."""
        tab = self._tab = self._chaos.stack.tab(self._chaos.identities[self._user], visible=self._visible)
        self._read = len(tab.wire.sent)
        self._told.clear()
        for document in self._chaos.day.watches[self._user]:
            self._watch(tab, file_id(document))
        self._listing = self._ask(tab, "listings.watch", {"pageSize": 100})["data"]

    def go(self) -> None:
        assert self._tab is not None
        self._hear()
        self._tab.lose()
        self._tab = None

    def lost(self) -> int:
        """Documents whose last told state is not the sandbox's, by name or by comments; and the listing."""
        self._hear()
        files = self._chaos.stack.sandbox.world.files
        wrong = sum(known["file"]["name"] != files[document].name for document, known in self._known.items())
        for document, known in self._comments.items():
            there = {each.id: each.content for each in files[document].comments.values() if not each.deleted}
            wrong += there != {
                each: comment["content"] for each, comment in known.items() if not comment.get("deleted")
            }
        listed = {entry["id"]: entry["name"] for entry in self._listing["files"]}
        return wrong + sum(files[each].name != name for each, name in listed.items())

    def _watch(self, tab: Tab, document: str) -> None:
        params: dict[str, Any] = {"fileId": document, "comments": True}
        if document in self._known:
            params |= {"version": self._known[document]["version"], "commentsMark": self._marks[document]}
        answer = self._ask(tab, "documents.watch", params)
        self._known[document], self._marks[document] = answer, answer["commentsMark"]
        self._told.add((document, answer["version"]))
        known = self._comments.setdefault(document, {})
        if "commentsMark" not in params:
            known.clear()
        known.update((comment["id"], comment) for comment in answer["comments"])

    def _ask(self, tab: Tab, method: str, params: dict[str, Any]) -> Any:
        while True:
            asked = tab.start(method, **params)
            while (answer := tab.answer(asked)) is None:
                self._chaos.stack.advance(0.5)
            # What came before the answer is of an older state than it; what came after is newer.
            self._hear(tab.wire.sent.index(answer))
            if "result" in answer:
                return answer["result"]
            self._chaos.stack.advance(1)

    def _hear(self, until: int | None = None) -> None:
        assert self._tab is not None
        heard = self._tab.wire.sent[self._read : until]
        for message in heard:
            params = message.get("params", {})
            if message.get("method") == "document.changed":
                said = params["fileId"], params["version"]
                self.doubled += said in self._told
                self._told.add(said)
                self._known[params["fileId"]] = params
            elif message.get("method") == "document.comment":
                comments, comment = self._comments[params["fileId"]], params["comment"]
                self.doubled += comments.get(comment["id"]) == comment
                comments[comment["id"]] = comment
                self._marks[params["fileId"]] = params["commentsMark"]
            elif message.get("method") == "listing.changed":
                self.doubled += self._listing == params["data"]
                self._listing = params["data"]
        self._read += len(heard)
