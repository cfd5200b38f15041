"""Random schedules of changes, faults, disconnects and restarts: what every connection was told is true.

``DOCSESSION_HISTORIES=500 pytest tests/stack/test_histories.py`` plays that many, other ones each time.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from docsession.sandbox.sharing import at_least
from tests.histories import listing_key
from tests.stack.playing import ANN, CONFIGURATION, PEOPLE, Play, PlayedTab

DOCUMENTS = ("Autumn plan", "Talk for the shops", "River bend.png", "House style.txt", "Minutes")
# What may be deleted for good: some are to be there in the end.
MORTAL = ("Talk for the shops", "River bend.png")
LISTINGS = (
    {"q": "trashed = false", "orderBy": "name", "fields": "files(id,name,modifiedTime)"},
    {"q": "name contains 'words'", "orderBy": "name", "fields": "files(id,name)"},
    {
        "corpora": "allDrives",
        "includeItemsFromAllDrives": True,
        "orderBy": "name",
        "fields": "files(id,name,trashed)",
    },
)
METHODS = (
    "drive.*",
    "drive.files.get",
    "drive.comments.list",
    "drive.changes.list",
    "drive.files.list",
    "drive.files.update",
)
HTML = "<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title></html>"
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 503},
    {"status": 500},
    {"status": 502, "body": HTML},
    {"status": 200, "body": HTML},
    {"status": 200, "body": '{"id": "1abc", "name": "Autu'},
    {"status": 429, "reason": "rateLimitExceeded"},
    {"status": 429, "reason": "rateLimitExceeded", "retry_after": 20},
    {"reason": "userRateLimitExceeded"},
    {"reason": "rateLimitExceeded", "retry_after": 5},
    {"drop": True},
    {"hang": True},
    {"delay": 4},
)

PUSH = """
visible_with_push = 60
hidden_with_push = 120

[push]
url = "http://127.0.0.1:8765"
"""

# What people do at Google, and what they must be there to do it (a writer, if nothing is said).
KINDS = [
    "rename",
    "edit",
    "trash",
    "move",
    "view",
    "share",
    "unshare",
    "delete",
    "comment",
    "change_comment",
    "change_reply",
]
NEEDS = {"view": "reader", "comment": "commenter", "change_comment": "commenter", "change_reply": "commenter"}

people = st.sampled_from(PEOPLE)
documents = st.sampled_from(DOCUMENTS)
numbers = st.integers(0, 7)
changes = st.tuples(st.sampled_from(KINDS), documents, numbers, numbers, st.sampled_from([0, 0, 1, 5, 20]))
writes = st.tuples(
    st.sampled_from(
        [
            "files.update",
            "files.update",
            "comments.create",
            "comments.update",
            "comments.delete",
            "replies.create",
            "replies.update",
            "replies.delete",
            "permissions.delete",
            "files.delete",
        ]
    ),
    documents,
    numbers,
    st.sampled_from([0, 0, 1, 5, 20]),
)


class Histories(RuleBasedStateMachine):
    """One history; what is wrong with it is said at its end."""

    configuration = CONFIGURATION

    def __init__(self) -> None:
        super().__init__()
        self.play: Any = self.make_play(DOCUMENTS)
        for email in PEOPLE:
            tab = self.play.tab(email)
            tab.wants = {self.play.documents[name]: True for name in DOCUMENTS[:3]}
            tab.wants_listings = {_key(0): LISTINGS[0]}
            tab.ask()

    def make_play(self, documents: tuple[str, ...]) -> Play:
        return Play(documents, self.configuration)

    def teardown(self) -> None:
        try:
            found = self.play.end()
        finally:
            self.play.close()
        if found:
            raise AssertionError("\n".join([f"{len(found)} complaints:", *map(str, found[:12])]))

    # -- changes at Google itself

    @rule(busy=st.lists(changes, min_size=4, max_size=12))
    def people_work(self, busy: list[tuple[Any, ...]]) -> None:
        for kind, what, who, which, pause in busy:
            person = self._able(what, who, NEEDS.get(kind, "writer"))
            if person is not None:
                getattr(self, f"_{kind}")(person, what, which)
            if pause:
                self.play.advance(pause)

    # Twice, since nothing is shown where nothing happens.
    people_work_on = people_work

    def _rename(self, who: str, what: str, which: int) -> None:
        self._of(who, what, "PATCH", "", {"name": self.play.words()})

    def _edit(self, who: str, what: str, which: int) -> None:
        self.play.edit(who, what, self.play.words())

    def _trash(self, who: str, what: str, which: int) -> None:
        file = self.play.file(what)
        assert file is not None
        self._of(who, what, "PATCH", "", {"trashed": not file.trashed})

    def _move(self, who: str, what: str, which: int) -> None:
        play, file = self.play, self.play.file(what)
        assert file is not None
        folders = (play.world.roots[who], play.stack.file("Catalogue"), play.stack.file("Press room"))
        query = {"addParents": folders[which % 3], "removeParents": file.parent}
        if folders[which % 3] != file.parent:
            self._of(who, what, "PATCH", "", {}, **query)

    def _view(self, who: str, what: str, which: int) -> None:
        self.play.view(who, what)

    def _share(self, who: str, what: str, which: int) -> None:
        role = ("reader", "commenter", "writer")[which % 3]
        body = {"type": "user", "role": role, "emailAddress": PEOPLE[which % 2 + 1]}
        self._of(who, what, "POST", "/permissions", body, sendNotificationEmail="false")

    def _unshare(self, who: str, what: str, which: int) -> None:
        permission = self.play.person(PEOPLE[which % 3]).permission_id
        self._of(who, what, "DELETE", f"/permissions/{permission}")

    def _delete(self, who: str, what: str, which: int) -> None:
        if what in MORTAL and which == 0:
            self._of(who, what, "DELETE", "")

    def _comment(self, who: str, what: str, which: int) -> None:
        self._of(who, what, "POST", "/comments", {"content": self.play.words()}, fields="id")

    def _change_comment(self, who: str, what: str, which: int) -> None:
        comment = self.play.comment_of(what, which)
        path, words = f"/comments/{comment}", {"content": self.play.words()}
        how = which % 4
        if comment is None:
            return
        if how == 0:
            self._of(who, what, "PATCH", path, words, fields="id")
        elif how == 1:
            self._of(who, what, "DELETE", path)
        else:
            action = {"action": "resolve"} if how == 2 else {}
            self._of(who, what, "POST", f"{path}/replies", words | action, fields="id")

    def _change_reply(self, who: str, what: str, which: int) -> None:
        comment = self.play.comment_of(what, which)
        reply = None if comment is None else self.play.reply_of(what, comment, which)
        if reply is not None:
            how, body = ("DELETE", None) if which % 2 else ("PATCH", {"content": self.play.words()})
            self._of(who, what, how, f"/comments/{comment}/replies/{reply}", body, fields="id")

    def _able(self, what: str, which: int, role: str) -> str | None:
        """Somebody who has that role there now."""
        file = self.play.file(what)
        world = self.play.world
        able = (
            []
            if file is None
            else [email for email in PEOPLE if at_least(world.role(self.play.person(email), file), role)]
        )
        return able[which % len(able)] if able else None

    def _of(self, who: str, what: str, method: str, path: str, body: Any = None, **query: str) -> None:
        file_id = self.play.documents[what]
        self.play.at_google(who, method, f"/drive/v3/files/{file_id}{path}", body, **query)

    # -- bad luck

    @rule(
        fault=st.sampled_from(FAULTS),
        method=st.sampled_from(METHODS),
        user=st.none() | people,
        times=st.none() | st.integers(1, 4),
    )
    def fault(self, fault: dict[str, Any], method: str, user: str | None, times: int | None) -> None:
        match = {"method": method} | ({} if user is None else {"user": user})
        self._order({"match": match, **fault} | ({} if times is None else {"times": times}))

    @rule(method=st.sampled_from(["drive.files.update", "drive.comments.create", "drive.replies.create"]))
    def done_but_not_answered(self, method: str) -> None:
        self._order({"match": {"method": method}, "after": True, "times": 1})

    @rule(status=st.sampled_from([400, 404, 410]), what=documents)
    def lost_feed_token(self, status: int, what: str) -> None:
        """And what happened since the last sweep is in no log that we can read."""
        self._order({"match": {"method": "drive.changes.list"}, "status": status, "times": 1})
        self._of(self._able(what, 0, "writer") or ANN, what, "PATCH", "", {"name": self.play.words()})

    @rule(what=documents, whom=people, pause=st.sampled_from([30, 590, 650]))
    def lost_while_blind(self, what: str, whom: str, pause: int) -> None:
        """Google does not answer somebody who loses access meanwhile; others see on."""
        self._order({"match": {"method": "drive.*", "user": whom}, "status": 503})
        owner = self._able(what, 0, "owner") or ANN
        self._of(owner, what, "DELETE", f"/permissions/{self.play.person(whom).permission_id}")
        self.play.jump(pause)
        self._of(owner, what, "PATCH", "", {"name": self.play.words()})
        self.play.advance(20)

    @rule()
    def no_faults(self) -> None:
        self.play.stack.faults()

    def _order(self, fault: dict[str, Any]) -> None:
        in_force = self.play.stack.control("GET", "/sandbox/faults")
        self.play.stack.faults(*in_force, fault)

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.play.restart(clean=clean)

    # -- time

    @rule(seconds=st.sampled_from([1, 3, 10, 30, 90]))
    def time_passes(self, seconds: int) -> None:
        self.play.advance(seconds)

    @rule(seconds=st.sampled_from([30, 300, 700, 3600]))
    def the_machine_sleeps(self, seconds: int) -> None:
        self.play.jump(seconds)

    # -- tabs

    @precondition(lambda self: len(self.play.tabs) < 8)
    @rule(who=people, visible=st.booleans())
    def open_tab(self, who: str, visible: bool) -> None:
        self.play.tab(who, visible=visible)

    @rule(which=numbers, what=documents, comments=st.booleans())
    def watch(self, which: int, what: str, comments: bool) -> None:
        tab = self._tab(which)
        tab.wants[self.play.documents[what]] = comments
        tab.ask()

    @rule(which=numbers, what=documents)
    def unwatch(self, which: int, what: str) -> None:
        tab, file_id = self._tab(which), self.play.documents[what]
        tab.wants.pop(file_id, None)
        if tab.open:
            tab.call("documents.unwatch", fileId=file_id)
        else:
            tab.page.documents.pop(file_id, None)

    @rule(which=numbers, listing=st.sampled_from(range(len(LISTINGS))))
    def watch_listing(self, which: int, listing: int) -> None:
        tab = self._tab(which)
        tab.wants_listings[_key(listing)] = LISTINGS[listing]
        tab.ask()

    @rule(which=numbers, listing=st.sampled_from(range(len(LISTINGS))))
    def unwatch_listing(self, which: int, listing: int) -> None:
        tab = self._tab(which)
        tab.wants_listings.pop(_key(listing), None)
        for listing_id, (key, _) in list(tab.page.listings.items()):
            if key == _key(listing) and tab.open:
                tab.call("listings.unwatch", listing=listing_id)

    @rule(which=numbers)
    def hide_or_show(self, which: int) -> None:
        tab = self._tab(which)
        tab.visible = not tab.visible
        if tab.open:
            tab.call("session.attention", visible=tab.visible)

    @rule(which=numbers)
    def disconnect(self, which: int) -> None:
        self._tab(which).lose()

    @rule(which=numbers)
    def come_back(self, which: int) -> None:
        self._tab(which).connect()

    @rule(which=numbers)
    def close_tab(self, which: int) -> None:
        if which == 0 and len(self.play.tabs) > 3:
            tab = self.play.tabs[-1]
            tab.lose()
            tab.gone = True

    # -- writes through the server

    @rule(which=numbers, busy=st.lists(writes, min_size=3, max_size=8))
    def pages_write(self, which: int, busy: list[tuple[Any, ...]]) -> None:
        tab = self._tab(which)
        for method, what, on, pause in busy:
            params = self._params(tab, method, what, on) if tab.open else None
            if params is not None:
                tab.call(f"drive.{method}", **params)
            if pause:
                self.play.advance(pause)

    def _params(self, tab: PlayedTab, method: str, what: str, on: int) -> dict[str, Any] | None:
        """What to send with a write, or None where there is nothing to write to."""
        play, file = self.play, self.play.file(what)
        if file is None:
            return None
        params: dict[str, Any] = {"fileId": file.id}
        if method == "files.delete":
            return params if what in MORTAL and on == 0 else None
        if method == "permissions.delete":
            return params | {"permissionId": play.person(PEOPLE[on % 3]).permission_id}
        if method == "files.update":
            body: dict[str, Any] = [
                {"name": play.words()},
                {"trashed": not file.trashed},
                {"starred": True},
                {},
            ][on % 4]
            if not body:
                params |= {"addParents": play.world.roots[tab.email], "removeParents": file.parent}
            return params | {"requestBody": body}
        if not method.endswith(".delete"):
            params["requestBody"] = {"content": play.words()}
        if method == "comments.create":
            return params
        comment = play.comment_of(what, on)
        if comment is None:
            return None
        params["commentId"] = comment
        if method == "replies.create" and on % 2:
            params["requestBody"]["action"] = "resolve"
        if method in ("replies.update", "replies.delete"):
            reply = play.reply_of(what, comment, on)
            return None if reply is None else params | {"replyId": reply}
        return params

    def _tab(self, which: int) -> PlayedTab:
        there = [tab for tab in self.play.tabs if not tab.gone]
        return there[which % len(there)]


class PushedHistories(Histories):
    """The same where Google pushes, and messages get lost, late or doubled; and with Google's habits."""

    configuration = CONFIGURATION + PUSH

    @rule(
        do=st.sampled_from(["drop", "duplicate", "delay", "late_sync"]),
        times=st.integers(1, 5),
        seconds=st.sampled_from([2, 20, 90]),
    )
    def messages_go_wrong(self, do: str, times: int, seconds: int) -> None:
        order = {"do": do, "times": times, "seconds": seconds}
        self.play.stack.control("POST", "/sandbox/channels", order)

    @rule()
    def channels_end(self) -> None:
        self.play.stack.control("POST", "/sandbox/channels", {"do": "expire"})

    @rule()
    def messages_go_well(self) -> None:
        self.play.stack.control("DELETE", "/sandbox/channels")

    @rule(
        lag=st.sampled_from([0, 20, 60]),
        pages=st.sampled_from([0, 0, 3]),
        lost=st.sampled_from([None, None, 400, 404, 410]),
        what=documents,
        stale=st.sampled_from([0, 0, 1, 3]),
    )
    def google_behaves(self, lag: int, pages: int, lost: int | None, what: str, stale: int) -> None:
        file_id = self.play.documents[what]
        there = stale and file_id in self.play.world.files
        reads = [{"file": file_id, "times": stale}] if there else []
        wanted = {"editor_lag": lag, "empty_pages": pages, "lost_tokens": lost, "stale": reads}
        self.play.stack.control("PUT", "/sandbox/habits", wanted)


def _key(listing: int) -> str:
    return listing_key(LISTINGS[listing])


def play_histories(histories: type[Histories], few: int) -> None:
    """So many, always the same ones; or as many others as the environment asks for."""
    many = int(os.environ.get("DOCSESSION_HISTORIES", "0"))
    run_state_machine_as_test(
        histories,
        settings=settings(
            max_examples=many or few,
            stateful_step_count=60 if many else 30,
            derandomize=not many,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.parametrize(("histories", "few"), [(Histories, 25), (PushedHistories, 10)])
def test_histories(histories: type[Histories], few: int) -> None:
    """What every connection was told, over whole random histories, was true, and said once."""
    play_histories(histories, few)
